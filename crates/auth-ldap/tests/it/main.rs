//! The plugin against a real directory.

mod attacks;
mod logins;
mod security;
mod world;
