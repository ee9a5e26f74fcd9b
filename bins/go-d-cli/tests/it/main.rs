//! The program as its users run it, against a server that records what it is asked.

mod acts;
mod batch;
mod client;
mod errors;
mod fake;
mod files;
mod lists;
mod login;
mod logs;
mod old;
mod people;
mod submit;
mod wait;
