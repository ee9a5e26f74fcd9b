//! What the daemons tell: log lines for operators, mail to owners, live events, measurements.
//!
//! Nothing here reads the environment or the configuration. What is sent was stored first, together with the move of the
//! task that it tells of ([`Noting`]), so nothing is lost with a process; [`Outbox`] sends it later, beside the work.

mod log;
mod noting;
pub mod outbox;

pub use log::{Error, Form, Handle, Level, Options, start};
pub use noting::Noting;
pub use outbox::Outbox;
