//! A real SMTP server for tests, which keeps what it gets. It has a certificate of an authority of its own when TLS is
//! wanted, and is ended with the test.

use crate::server::{Server, free_port};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// User and password that a server with [`Mode::StartTls`] wants.
pub const LOGIN: (&str, &str) = ("god", "pw");
/// The interpreter of the system, which has the system's libraries.
const PYTHON: &str = "/usr/bin/python3";

/// A mail as it came in.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Received {
    /// Sender of the envelope.
    pub from: String,
    /// Recipients of the envelope.
    pub to: Vec<String>,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Who had logged in.
    pub user: Option<String>,
    /// Connections made to the server so far.
    pub connections: u32,
    /// Head and text, as sent.
    pub data: String,
}

impl Received {
    /// A header; empty when there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let begin = format!("{name}: ");
        self.data.lines().find_map(|line| line.strip_prefix(&begin)).unwrap_or_default()
    }

    /// The text, decoded.
    ///
    /// # Panics
    /// It is no mail as ours are.
    #[must_use]
    pub fn body(&self) -> String {
        let (head, body) = self.data.split_once("\r\n\r\n").expect("a head and a body");
        match head.lines().find_map(|line| line.strip_prefix("Content-Transfer-Encoding: ")) {
            Some("quoted-printable") => unquoted(body),
            Some("7bit" | "8bit") | None => body.to_owned(),
            Some(other) => panic!("{other} is not read here"),
        }
    }
}

fn unquoted(text: &str) -> String {
    let text = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
            let digits = std::str::from_utf8(&digits).expect("ASCII").to_owned();
            bytes.push(u8::from_str_radix(&digits, 16).expect("a number"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// The server.
#[derive(Debug)]
pub struct Sink {
    dir: TempDir,
    port: u16,
    server: Option<Server>,
    mode: Mode,
}

/// How connections are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all, and nobody logs in.
    Plain,
    /// STARTTLS and a login are required.
    StartTls,
    /// TLS from the first byte on.
    Tls,
}

impl Sink {
    /// Starts one on a free port; `None`, said aloud, when it can not be had here.
    ///
    /// # Panics
    /// It can not be started; or it can not be had, and `CI` is `true`.
    pub async fn start(mode: Mode) -> Option<Sink> {
        let has_library = Command::new(PYTHON).args(["-c", "import aiosmtpd"]).output();
        if !has_library.is_ok_and(|output| output.status.success()) {
            crate::skip("python3-aiosmtpd is not installed");
            return None;
        }
        let mut sink = Sink { dir: TempDir::new().expect("made"), port: free_port(), server: None, mode };
        if mode != Mode::Plain {
            sink.certificate();
        }
        sink.again().await;
        Some(sink)
    }

    /// Its port at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How its connections are protected.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Certificate of the authority behind its own, if it has one.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        (self.mode != Mode::Plain).then(|| self.path("ca.pem"))
    }

    /// Kills it, as a power cut would.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        self.server.take().expect("it runs").kill();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An authority of our own, and the server's certificate for 127.0.0.1 by it.
    fn certificate(&self) {
        let config = "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\n\
                      keyUsage=keyCertSign\n[server]\nsubjectAltName=IP:127.0.0.1\n\
                      extendedKeyUsage=serverAuth\n";
        std::fs::write(self.path("ssl.cnf"), config).expect("written");
        let run = |line: &str| {
            let words = line.split_whitespace();
            let output =
                Command::new("openssl").args(words).current_dir(self.dir.path()).output().expect("openssl");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=ca -config ssl.cnf -extensions ca \
             -keyout ca.key -out ca.pem");
        run("req -newkey rsa:2048 -nodes -subj /CN=sink -config ssl.cnf -keyout key.pem -out sink.csr");
        run("x509 -req -in sink.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ssl.cnf \
             -extensions server -out cert.pem");
    }

    /// Starts it again, after it was killed.
    ///
    /// # Panics
    /// It can not be started.
    pub async fn again(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/smtp.py");
        let mut command = Command::new(PYTHON);
        command.arg(script).arg(self.port.to_string()).arg(self.path("mail.jsonl"));
        if self.mode != Mode::Plain {
            command.arg(self.path("cert.pem")).arg(self.path("key.pem"));
        }
        if self.mode == Mode::Tls {
            command.arg("tls");
        }
        let port = self.port;
        let server = Server::start(&mut command, &self.path("log"));
        let answers = async || TcpStream::connect(("127.0.0.1", port)).await.is_ok();
        self.server = Some(server.ready(answers).await);
    }

    /// All mail so far.
    ///
    /// # Panics
    /// The server wrote nonsense.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        let text = std::fs::read_to_string(self.path("mail.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }
}
