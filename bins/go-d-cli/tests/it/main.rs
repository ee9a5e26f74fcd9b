//! The program as its users run it, against a server that records what it is asked.

mod acts;
mod client;
mod errors;
mod fake;
mod files;
mod lists;
mod login;
mod logs;
mod submit;
mod wait;
