//! `start`: the same program again with the word that works in the foreground, in a session of its own.
//!
//! Nothing forks here: the parent is small and spawns, the child leaves the session itself before it starts any
//! thread. The child's standard output is the line on which it tells what became of the start.

use crate::front::FrontError;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a daemon may take to be ready.
const READY: Duration = Duration::from_secs(60);
const READY_WORD: &str = "ready";
const FAILED_WORD: &str = "failed ";

/// Starts the program in the background and waits until it is ready; its process id.
pub(crate) fn start(arguments: &[OsString], log: &Path) -> Result<u32, FrontError> {
    let io = |what, path: &Path| {
        let path = path.to_owned();
        move |source| FrontError::Io { what, path, source }
    };
    let program = std::env::current_exe().map_err(io("find", Path::new("this program")))?;
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(log);
    let mut command = Command::new(&program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file.map_err(io("open the log", log))?);
    let mut child = command.spawn().map_err(io("start", &program))?;
    match answer(&mut child) {
        Some(line) if line == READY_WORD => Ok(child.id()),
        Some(line) => Err(FrontError::Said(line.strip_prefix(FAILED_WORD).unwrap_or(&line).to_owned())),
        None => {
            let how = match child.try_wait() {
                Ok(Some(status)) => format!("it ended at once ({status})"),
                _ => format!("it is not ready after {} s (process {})", READY.as_secs(), child.id()),
            };
            Err(FrontError::Said(format!("{how}; see {}", log.display())))
        }
    }
}

/// The line that the child says; `None` when it dies, or says nothing in time.
fn answer(child: &mut Child) -> Option<String> {
    let out = child.stdout.take()?;
    let (said, heard) = mpsc::channel();
    // A thread, because a read has no deadline; it ends with this program, which is about to end.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = BufReader::new(out).read_line(&mut line);
        if read.is_ok_and(|n| n > 0) && said.send(line.trim_end().to_owned()).is_err() {
            tracing::debug!("nobody waits for the answer any more");
        }
    });
    heard.recv_timeout(READY).ok()
}

/// In the child: out of the terminal's reach. Before any thread is started.
pub(crate) fn leave_session() -> Result<(), FrontError> {
    rustix::process::setsid().map(|_| ()).map_err(|source| FrontError::Io {
        what: "leave the session of",
        path: "this program".into(),
        source: source.into(),
    })
}

/// In the child: says that it is ready, and lets go of the line.
pub(crate) fn ready() {
    tell(READY_WORD);
}

/// In the child: says why it is not going to be ready.
pub(crate) fn failed(why: &str) {
    tell(&format!("{FAILED_WORD}{}", why.replace('\n', " ")));
}

fn tell(line: &str) {
    if let Err(err) = writeln!(std::io::stdout(), "{line}") {
        // Whoever started us has gone; the log tells the same.
        tracing::debug!(%err, "nobody hears what became of the start");
    }
    let closed = File::options().write(true).open("/dev/null").map(|null| rustix::stdio::dup2_stdout(&null));
    if let Err(err) = closed {
        tracing::warn!(%err, "standard output stays open");
    }
}
