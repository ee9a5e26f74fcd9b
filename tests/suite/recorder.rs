//! The log of the clients and of the faults, for the judge.

use god_tests::client_log::{ClientLine, Op};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970.
pub fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    u64::try_from(since.as_nanos()).expect("a clock before 2500")
}

/// Writes lines in the order of time.
#[derive(Debug)]
pub struct Recorder(Mutex<File>);

impl Recorder {
    pub fn new(path: &Path) -> Recorder {
        Recorder(Mutex::new(File::options().append(true).create_new(true).open(path).expect("a new log")))
    }

    fn write(&self, line: impl FnOnce(u64) -> ClientLine) {
        let mut file = self.0.lock().expect("no writer panics");
        let line = serde_json::to_string(&line(now_ns())).expect("plain data");
        writeln!(file, "{line}").expect("a disk with room");
    }

    pub fn invoke(&self, op: Op, key: &str) {
        self.write(|ns| ClientLine::Invoke { ns, op, key: key.to_owned() });
    }

    pub fn ok(&self, op: Op, key: &str, task: u64) {
        self.write(|ns| ClientLine::Ok { ns, op, key: key.to_owned(), task });
    }

    pub fn fail(&self, op: Op, key: &str, status: u16) {
        self.write(|ns| ClientLine::Fail { ns, op, key: key.to_owned(), status });
    }

    pub fn unknown(&self, op: Op, key: &str, status: Option<u16>) {
        self.write(|ns| ClientLine::Unknown { ns, op, key: key.to_owned(), status });
    }

    pub fn fault(&self, kind: &str, target: &str) {
        self.write(|ns| ClientLine::Fault { ns, kind: kind.to_owned(), target: target.to_owned() });
    }
}
