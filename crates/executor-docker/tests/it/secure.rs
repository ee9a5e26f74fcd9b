//! Engines behind TLS: the four ways to be checked and to check, on a port of the loopback device.

use crate::bed::{BUSYBOX, Cluster, bed_of, engine, init};
use crate::private::Dockerd;
use executor_docker::{ClientIdentity, DockerExecutor, Options, Tls};
use god_core::executor::{Cause, ExecError, Executor};
use god_core::ids::ExecutorName;
use god_testkit::skip;
use std::path::Path;
use std::process::{Command, Stdio};

/// An authority, and certificates of it: of an engine at 127.0.0.1, and of a client.
struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    /// `None` (said aloud) without the openssl program.
    fn new() -> Option<Authority> {
        if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
            skip("openssl is not installed");
            return None;
        }
        let authority = Authority { dir: tempfile::tempdir().expect("a directory") };
        let self_signed =
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem";
        authority.openssl(self_signed);
        authority.sign("engine", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n");
        authority.sign("client", "extendedKeyUsage=clientAuth\n");
        Some(authority)
    }

    fn sign(&self, name: &str, extensions: &str) {
        std::fs::write(self.dir.path().join("extensions"), extensions).expect("written");
        self.openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out {name}.pem"
        ));
    }

    fn openssl(&self, words: &str) {
        let done = Command::new("openssl")
            .args(words.split(' '))
            .current_dir(self.dir.path())
            .output()
            .expect("runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn client(&self) -> Option<ClientIdentity> {
        Some(ClientIdentity { cert: self.file("client.pem").into(), key: self.file("client.key").into() })
    }
}

/// What an executor with these options hears from the engine.
async fn answer(options: &Options, url: &str, tls: Tls) -> Result<(), ExecError> {
    let options = Options { url: url.to_owned(), tls: Some(tls), ..options.clone() };
    let executor = DockerExecutor::new(ExecutorName::new("docker"), options).expect("good options");
    executor.nodes().await.map(|_| ())
}

fn why(answer: Result<(), ExecError>) -> String {
    let err = answer.expect_err("is refused");
    format!("{err}: {:?}", std::error::Error::source(&err).map(ToString::to_string))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_checks_the_engine_and_shows_it_who_we_are() {
    let Some((from, (authority, other))) = engine().zip(Authority::new().zip(Authority::new())) else {
        return;
    };
    let Some(init) = init() else { return };
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let (url, tcp) = (format!("https://127.0.0.1:{port}"), format!("tcp://127.0.0.1:{port}"));
    let (cert, key, ca) =
        (authority.file("engine.pem"), authority.file("engine.key"), authority.file("ca.pem"));
    let open = ["--host", &tcp, "--tlsverify=false", "--tls", "--tlscert", &cert, "--tlskey", &key];
    let Some(mut dockerd) = Dockerd::start(&open).await else { return };
    dockerd.load(BUSYBOX, &from);
    let cluster = Cluster::new(dockerd.url());
    let options =
        Options { network: "none".to_owned(), ..Options::new(&cluster.name, cluster.dir.path(), init) };
    let known = |authority: &Authority| Some(Path::new(&authority.file("ca.pem")).to_owned());

    // An engine that lets everybody in: whether it is the right one is our question.
    answer(&options, &url, Tls { authority: None, client: None }).await.expect("whoever answers is fine");
    answer(&options, &url, Tls { authority: known(&authority), client: None })
        .await
        .expect("it is the right one");
    answer(&options, &tcp, Tls { authority: known(&authority), client: None })
        .await
        .expect("the same by another name");
    let wrong = answer(&options, &url, Tls { authority: known(&other), client: None }).await;
    assert!(why(wrong).contains("connect"), "signed by somebody else");
    let named = format!("https://localhost:{port}");
    let wrong = answer(&options, &named, Tls { authority: known(&authority), client: None }).await;
    assert!(why(wrong).contains("connect"), "the certificate is for another name");
    let plain = Options { url: format!("http://127.0.0.1:{port}"), ..options.clone() };
    let plain = DockerExecutor::new(ExecutorName::new("docker"), plain).expect("good options");
    plain.nodes().await.expect_err("TLS is what the port speaks");

    // One that asks who we are.
    dockerd.down(rustix::process::Signal::TERM).await;
    dockerd.arguments[2] = "--tlsverify".to_owned();
    dockerd.arguments.extend(["--tlscacert".to_owned(), ca]);
    dockerd.up().await;
    why(answer(&options, &url, Tls { authority: None, client: None }).await);
    why(answer(&options, &url, Tls { authority: known(&authority), client: None }).await);
    why(answer(&options, &url, Tls { authority: known(&authority), client: other.client() }).await);
    answer(&options, &url, Tls { authority: None, client: authority.client() })
        .await
        .expect("we are who we say");
    let both = Tls { authority: known(&authority), client: authority.client() };
    let bed = bed_of(cluster, Options { url, tls: Some(both), ..options }).await;
    let (_, run) = bed.run("#!/bin/sh\nexit 7\n").await;
    assert_eq!(bed.until_exited(&run).await.cause, Cause::Code(7));
}
