//! Why a command ended without success, and the exit code that says so. One place prints it, `main`.
//!
//! Texts that come from the server are cleaned before they get in here.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

/// Exit code for an error of the server, of a file, or of what was asked.
pub const FAILED: u8 = 1;
/// Exit code when a job ended and has no exit code to pass on.
pub const NO_CODE: u8 = 3;
/// Exit code when the server does not know us or does not allow it.
pub const REFUSED: u8 = 4;
/// Exit code when no server answers.
pub const UNREACHABLE: u8 = 5;
/// Exit code after Ctrl-C, as shells count it.
pub const INTERRUPTED: u8 = 130;

/// Why a command ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What was asked makes no sense; found before anything was sent.
    #[error("{0}")]
    Usage(String),
    /// No credentials, or the server does not accept them.
    #[error("{0}")]
    NotLoggedIn(String),
    /// The server knows the user and says no.
    #[error("{doing}: the server refuses: {text}")]
    Refused {
        /// What we were doing, to what.
        doing: String,
        /// The server's words.
        text: String,
    },
    /// The server answered with an error.
    #[error("{doing}: {text}")]
    Server {
        /// What we were doing, to what.
        doing: String,
        /// The server's words, or what its status means.
        text: String,
    },
    /// The server knows of no such thing.
    #[error("{doing}: {text}")]
    Missing {
        /// What we were doing, to what.
        doing: String,
        /// The server's words.
        text: String,
    },
    /// The answer is not what a GO-Docker server would send.
    #[error("{doing}: {url} gave an answer that this program cannot read ({why}). Is it a GO-Docker server?")]
    Garbled {
        /// What we were doing, to what.
        doing: String,
        /// The address asked.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// No server answers at the address.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke after something was sent: it may or may not have taken effect.
    #[error("{0}")]
    Lost(String),
    /// A task ended without an exit code.
    #[error("task {task} ended without an exit code: {reason}")]
    NoExitCode {
        /// The task.
        task: u64,
        /// Why, as the server tells it.
        reason: String,
    },
    /// A local file cannot be used.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// `cannot read`, say.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    /// Whoever read our output has gone. Nothing is printed and nothing is wrong.
    #[error("the reader of the output has gone")]
    PipeClosed,
    /// Some of several tasks failed; each was reported when it happened.
    #[error("{failed} of {all} failed")]
    Some {
        /// How many failed.
        failed: usize,
        /// How many were asked for.
        all: usize,
        /// Exit code of the first.
        code: u8,
    },
    /// Ctrl-C while waiting.
    #[error("{0}")]
    Interrupted(String),
}

impl Failure {
    /// The exit code of the program.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Usage(_)
            | Failure::Server { .. }
            | Failure::Missing { .. }
            | Failure::Garbled { .. }
            | Failure::File { .. }
            | Failure::Output(_) => FAILED,
            Failure::NotLoggedIn(_) | Failure::Refused { .. } => REFUSED,
            Failure::Unreachable(_) | Failure::Lost(_) => UNREACHABLE,
            Failure::NoExitCode { .. } => NO_CODE,
            Failure::PipeClosed => 0,
            Failure::Some { code, .. } => *code,
            Failure::Interrupted(_) => INTERRUPTED,
        }
    }

    /// Whether every further request would end the same way, so that a list of tasks is given up.
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Failure::NotLoggedIn(_)
                | Failure::Unreachable(_)
                | Failure::Lost(_)
                | Failure::Output(_)
                | Failure::PipeClosed
                | Failure::Interrupted(_)
        )
    }
}

/// Writing to standard output failed: a closed pipe is a quiet end, anything else an error.
impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Failure {
        if source.kind() == io::ErrorKind::BrokenPipe { Failure::PipeClosed } else { Failure::Output(source) }
    }
}

/// Under what name the program was called.
static PROGRAM: OnceLock<&'static str> = OnceLock::new();

/// Remembers under what name the program was called; the first call counts.
pub fn called(name: &'static str) {
    PROGRAM.get_or_init(|| name);
}

/// The name under which the program was called.
pub fn program() -> &'static str {
    PROGRAM.get().copied().unwrap_or("go-d-cli")
}

/// Prints a failure and gives the exit code of the program.
pub fn report(failure: &Failure) -> ExitCode {
    if !matches!(failure, Failure::PipeClosed) {
        warn(&failure.to_string());
    }
    ExitCode::from(failure.code())
}

/// One line to standard error, with the name of the program before it.
pub fn warn(text: &str) {
    complain(&format!("{}: {text}", program()));
}

/// One line to standard error. When nobody can read it there is nothing left to do about it.
pub fn complain(line: &str) {
    use std::io::Write as _;
    let written = writeln!(io::stderr().lock(), "{line}");
    drop(written);
}
