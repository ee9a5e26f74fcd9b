//! A running suite to measure: `go-d up` in a directory of its own, and the calls that measure it.

use crate::http::{self, Connection, request};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// The user that the measured tasks run as when root measures.
const BENCH_UID: u32 = 23_456;

/// A running suite.
pub struct Site {
    dir: tempfile::TempDir,
    process: Child,
    address: String,
    token: String,
}

impl Site {
    /// Starts one with these executors and further lines of configuration.
    pub async fn start(bin: &Path, init: Option<&Path>, executors: &str, lines: &str) -> Result<Site> {
        let dir = tempfile::Builder::new().prefix("god-bench").tempdir()?;
        // Jobs run as another user must be able to reach their directories.
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let config = dir.path().join("go-d.ini");
        let data = dir.path().display();
        std::fs::create_dir(dir.path().join("shared"))?;
        let text = format!(
            "shared_dir: {data}/shared\ndata_dir: {data}\nexecutors: [{executors}]\nauth_policy: local\nstore: sqlite\n\
             secret_passphrase: 2f0c1d5e7b9a4c3d8e6f00112233445566778899aabbccdd\narray_max: 1000000\n\
             web: {{admin: [bench]}}\n{lines}"
        );
        std::fs::write(&config, text)?;
        std::fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let go_d = bin.join("go-d");
        let run = |words: &[&str]| -> Result<String> {
            let out = Command::new(&go_d).args(words).arg("--config").arg(&config).output()?;
            if !out.status.success() {
                bail!("go-d {words:?}: {}", String::from_utf8_lossy(&out.stderr));
            }
            Ok(String::from_utf8(out.stdout)?)
        };
        // SAFETY: geteuid and getegid only read.
        let (me, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let (uid, gid) = if me == 0 { (BENCH_UID, BENCH_UID) } else { (me, group) };
        let (uid, gid) = (uid.to_string(), gid.to_string());
        run(&["user", "add", "bench", "--no-password", "--uid", &uid, "--gid", &gid, "--home", "/tmp"])?;
        let key = run(&["user", "key", "bench"])?;
        let key =
            key.split_whitespace().find(|w| w.starts_with("god_")).context("no key was shown")?.to_owned();
        let log = std::fs::File::create(dir.path().join("go-d.log"))?;
        let mut command = Command::new(&go_d);
        if let Some(init) = init {
            command.env("GODOCKER_INIT", init);
        }
        let mut process = command
            .args(["up", "--listen", "127.0.0.1:0"])
            .arg("--config")
            .arg(&config)
            .env("GOD_LOGLEVEL", "WARN")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = process.stdout.take().context("stdout is piped")?;
        let address = tokio::task::spawn_blocking(move || {
            use std::io::BufRead;
            let mut found = None;
            for line in std::io::BufReader::new(stdout).lines() {
                let line = line.unwrap_or_default();
                if let Some(at) = line.split("http://").nth(1) {
                    found = Some(at.trim().trim_end_matches('/').to_owned());
                    break;
                }
            }
            found
        })
        .await?
        .context("go-d up did not say where it is")?;
        let mut site = Site { dir, process, address, token: String::new() };
        let mut connection = site.connect().await?;
        let login = json!({ "user": "bench", "apikey": key }).to_string();
        let answer =
            json_of(connection.call(&request("POST", "/api/1.0/authenticate", None, &login)).await?)?;
        site.token = answer["token"].as_str().context("no token")?.to_owned();
        Ok(site)
    }

    /// A connection to the web server.
    pub async fn connect(&self) -> Result<Connection<TcpStream>> {
        http::tcp(&self.address).await
    }

    /// Where the web server listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A submit of one task or array.
    pub fn submit(&self, script: &str, array: Option<u64>, quiet: bool, image: &str) -> Vec<u8> {
        let body = json!({
            "meta": { "name": "bench" },
            "requirements": {
                "cpu": 1, "ram": 1, "array": { "values": array.map(|n| n.to_string()) },
                "output": if quiet { "none" } else { "files" },
            },
            "container": { "image": image },
            "command": { "interactive": false, "cmd": script },
        });
        request("POST", "/api/1.0/task", Some(&self.token), &body.to_string())
    }

    /// A request without a body.
    pub fn get(&self, path: &str) -> Vec<u8> {
        request("GET", &format!("/api/1.0{path}"), Some(&self.token), "")
    }

    /// Runs an array to its end: tasks per second from the submit to the parent's end.
    pub async fn array(&self, script: &str, n: u64, quiet: bool, image: &str) -> Result<f64> {
        let mut connection = self.connect().await?;
        let began = Instant::now();
        let answer = json_of(connection.call(&self.submit(script, Some(n), quiet, image)).await?)?;
        let id = answer["id"].as_u64().with_context(|| format!("no id in {answer}"))?;
        let status = self.until_over(&mut connection, id, Duration::from_secs(300)).await?;
        let span = began.elapsed();
        if status["status"]["exitcode"] != 0 {
            bail!("the array ended badly: {status}");
        }
        Ok(n as f64 / span.as_secs_f64())
    }

    /// Waits for a task's end and answers its status.
    pub async fn until_over(
        &self,
        connection: &mut Connection<TcpStream>,
        id: u64,
        limit: Duration,
    ) -> Result<Value> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            let wait = self.get(&format!("/task/{id}/wait?timeout=20"));
            let status = json_of(connection.call(&wait).await?)?;
            if status["status"]["primary"] == "over" {
                return Ok(status);
            }
        }
        bail!("task {id} is not over after {limit:?}")
    }

    /// Processor seconds used by the daemon (and its keeper) so far, and its resident MiB.
    pub fn cost(&self) -> Result<(f64, f64)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let ticks: f64 = [11, 12].iter().filter_map(|n| fields.get(*n)?.parse::<f64>().ok()).sum();
        // SAFETY: sysconf only reads.
        let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        Ok((ticks / hertz, rss_mib(self.process.id())?))
    }
}

/// Resident MiB of a process.
pub fn rss_mib(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0");
    let kib: f64 = rss.split_whitespace().next().and_then(|w| w.parse().ok()).unwrap_or(0.0);
    Ok(kib / 1024.0)
}

impl Drop for Site {
    fn drop(&mut self) {
        // SAFETY: the process is our child and was not waited for.
        unsafe { libc::kill(self.process.id().cast_signed(), libc::SIGTERM) };
        if let Err(err) = self.process.wait() {
            eprintln!("go-d did not end: {err}");
        }
        // The keeper outlives the daemon on purpose; a measured site is not needed any more.
        let pattern = format!("{}/", self.dir.path().display());
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains("go-d-init --serve") && line.contains(&pattern) {
                // SAFETY: a plain signal to a process whose command line names our directory.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        }
    }
}

/// The JSON of a good answer.
pub fn json_of((status, body): (u16, Vec<u8>)) -> Result<Value> {
    if status != 200 {
        bail!("status {status}: {}", String::from_utf8_lossy(&body));
    }
    Ok(serde_json::from_slice(&body)?)
}
