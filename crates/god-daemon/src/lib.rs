//! What all daemons share: the command line, the process file, supervision of the loops, systemd, reload.
//!
//! A program of ours is a few lines over this crate. Nothing here decides anything about tasks; that is the engine's.

mod alive;
pub mod clock;
pub mod daemon;
mod detach;
pub mod front;
pub mod notify;
pub mod pidfile;
pub mod places;
mod reload;
pub mod setup;
pub mod status;
pub mod supervise;
mod told;
#[cfg(feature = "web")]
mod web;

pub use daemon::{Daemon, DaemonError};
pub use front::FrontError;
pub use setup::{Kind, Overrides, Setup};
