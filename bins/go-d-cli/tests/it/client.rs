//! The program, with a home directory of its own.

use crate::fake::{Fake, KEY};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// No command of a test takes longer than this unless it hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A user's account on a machine.
pub struct Account {
    pub home: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub bytes: Vec<u8>,
    pub err: String,
}

impl Ended {
    pub fn out(&self) -> &str {
        std::str::from_utf8(&self.bytes).expect("text")
    }

    /// Checks the exit code; the message shows what was said.
    #[track_caller]
    pub fn with(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.bytes.escape_ascii(), self.err);
        self
    }

    /// Checks that the error text holds these words.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Ended {
        for word in words {
            assert!(self.err.contains(word), "{word:?} is not in {:?}", self.err);
        }
        self
    }
}

impl Account {
    /// Nothing saved, nothing set.
    pub fn new() -> Account {
        Account { home: tempfile::tempdir().expect("a directory"), variables: Vec::new() }
    }

    /// Server, user and key in the environment.
    pub fn at(server: &Fake) -> Account {
        Account::new().of(server)
    }

    /// The same home, with server, user and key in the environment.
    pub fn of(self, server: &Fake) -> Account {
        self.set("GODOCKER_SERVER", &server.url).set("GODOCKER_USER", "ada").set("GODOCKER_APIKEY", KEY)
    }

    pub fn set(mut self, name: &'static str, value: &str) -> Account {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// The same home with nothing set.
    pub fn plain(mut self) -> Account {
        self.variables.clear();
        self
    }

    pub fn config(&self, name: &str) -> PathBuf {
        self.home.path().join(".config/go-docker").join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_go-d-cli"));
        command.args(args).env_clear().env("HOME", self.home.path()).env("TZ", "UTC").env("USER", "ada");
        command.envs(self.variables.iter().map(|(name, value)| (*name, value)));
        command.current_dir(self.home.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        finish(self.command(args).spawn().expect("the program starts"))
    }

    pub fn run_with_input(&self, args: &[&str], input: &[u8]) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the program starts");
        child.stdin.take().expect("piped").write_all(input).expect("it reads");
        finish(child)
    }
}

/// Reads everything and waits for the end.
pub fn finish(mut child: Child) -> Ended {
    let mut out = child.stdout.take().expect("piped");
    let mut err = child.stderr.take().expect("piped");
    let out = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let err = std::thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).map(|_| text)
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().expect("our child") {
            Some(status) => break status,
            None if begun.elapsed() > LIMIT => {
                child.kill().expect("our child");
                panic!("the program did not end; it said {:?}", err.join().expect("read"));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    Ended {
        code: status.code(),
        bytes: out.join().expect("no panic").expect("read"),
        err: err.join().expect("no panic").expect("text"),
    }
}
