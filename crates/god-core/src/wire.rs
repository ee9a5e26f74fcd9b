//! The one place where typed state meets the wire document that REST clients read and send.
//!
//! [`document`] projects a task to the document, [`read_document`] reads one back, [`Submission`] reads what a client
//! asks for. Everything is pure and total: no input makes it panic, and every fault of an input is reported at once.
//! It never decides whether something is allowed; that is [`crate::admission`]'s.

mod document;
mod fault;
mod people;
mod reader;
mod stored;
mod submission;
mod words;

pub use document::{WireContext, document, status};
pub use fault::{Fault, shown};
pub use people::{ProjectChange, UserChange, UserFacts, project_document, user_document};
pub use stored::{BadDocument, read_document};
pub use submission::{AskedVolume, Submission};
pub use words::status_words;
pub(crate) use words::{KILLED, reason};

/// Name of the volume that holds the job directory.
pub const JOB_VOLUME: &str = "go-docker";
/// Name of the volume that holds the user's uploads.
pub const UPLOAD_VOLUME: &str = "god-ftp";
/// Where the job directory is mounted.
pub const JOB_MOUNT: &str = "/mnt/go-docker";
/// Port of the ssh server in interactive tasks.
pub const SSH_PORT: u16 = 22;

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
