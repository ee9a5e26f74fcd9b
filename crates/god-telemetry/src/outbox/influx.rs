//! Points for InfluxDB over its write interface of version 1, in line protocol.

use super::{BadChannel, Channel, Delivery, Item, chain};
use async_trait::async_trait;
use god_core::notice::{Message, Usage};
use god_core::{TaskId, Timestamp};
use reqwest::StatusCode;
use std::fmt::Write;
use std::time::Duration;

/// How long one write may take.
const ANSWER: Duration = Duration::from_secs(10);
/// History is worth waiting for.
const PATIENCE: Duration = Duration::from_secs(2 * 86_400);

/// Where points are written.
#[derive(Clone)]
pub struct Options {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the database; it must exist.
    pub db: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// Writes points.
#[derive(Debug, Clone)]
pub struct Influx {
    http: reqwest::Client,
    url: reqwest::Url,
    options: Options,
}

/// One look at the queue of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchedulerPoint {
    /// Tasks that wait.
    pub pending: u64,
    /// Tasks that run.
    pub running: u64,
    /// Seconds that the last pass took.
    pub pass_seconds: f64,
    /// When.
    pub at: Timestamp,
}

impl Influx {
    /// A writer; it connects when it writes.
    ///
    /// # Errors
    /// The host is none.
    pub fn new(options: Options) -> Result<Influx, BadChannel> {
        let bad = |what: String| BadChannel { key: "influxdb_host", what, source: None };
        let host = if options.host.contains(':') && !options.host.starts_with('[') {
            format!("[{}]", options.host)
        } else {
            options.host.clone()
        };
        let mut url = reqwest::Url::parse(&format!("http://{host}:{}/write", options.port))
            .map_err(|err| bad(format!("`{}` is not a host: {err}", options.host)))?;
        url.query_pairs_mut().append_pair("db", &options.db).append_pair("precision", "ns");
        let http = reqwest::Client::builder()
            .timeout(ANSWER)
            .connect_timeout(ANSWER / 2)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|err| bad(chain(&err)))?;
        Ok(Influx { http, url, options })
    }

    /// Writes one look at the scheduler's queue.
    ///
    /// # Errors
    /// Why it was not written; there is no need to try again.
    pub async fn scheduler(&self, point: &SchedulerPoint) -> Result<(), String> {
        let SchedulerPoint { pending, running, pass_seconds, at } = point;
        let ns = i128::from(at.0) * 1_000_000;
        let line = format!(
            "god_scheduler nb_pending={pending}i,nb_running={running}i,duration_scheduler={pass_seconds} {ns}\n"
        );
        match self.write(line).await {
            Delivery::Done => Ok(()),
            Delivery::Never(why) | Delivery::Later(why) | Delivery::Down(why) => Err(why),
        }
    }

    async fn write(&self, lines: String) -> Delivery {
        let Options { user, password, .. } = &self.options;
        let sent = self.http.post(self.url.clone()).basic_auth(user, Some(password)).body(lines).send().await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(err) => return Delivery::Down(chain(&err.without_url())),
        };
        let status = answer.status();
        if status.is_success() {
            return Delivery::Done;
        }
        let text = answer.text().await.unwrap_or_default();
        let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        let why = format!("InfluxDB answers {status}: {text}");
        // What it can not read it will never read; all else is about the server and may pass.
        if status == StatusCode::BAD_REQUEST { Delivery::Never(why) } else { Delivery::Down(why) }
    }
}

#[async_trait]
impl Channel for Influx {
    fn name(&self) -> &'static str {
        "InfluxDB"
    }

    fn takes(&self, message: &Message) -> bool {
        matches!(message, Message::Usage(_))
    }

    fn batch(&self) -> usize {
        500
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    async fn deliver(&self, items: &[Item]) -> Vec<Delivery> {
        let mut lines = String::new();
        for item in items {
            if let Message::Usage(usage) = &item.message {
                usage_line(&mut lines, item.task, usage);
            }
        }
        vec![self.write(lines).await; items.len()]
    }
}

/// Adds the point of one run. Two runs that ended in the same millisecond must not be one point, and the same run told
/// twice must be: the nanoseconds below the millisecond are the task's.
fn usage_line(lines: &mut String, task: TaskId, usage: &Usage) {
    lines.push_str("god_task_usage");
    for (name, value) in [("user", usage.user.as_str()), ("image", &usage.image)] {
        // A tag without a value is not allowed.
        if !value.is_empty() {
            write!(lines, ",{name}={}", tag(value)).expect("writing to a String cannot fail");
        }
    }
    let ns = i128::from(usage.at.0) * 1_000_000 + i128::from(task.0 % 1_000_000);
    writeln!(
        lines,
        " cpu={}i,ram={}i,durationtime={},waitingtime={} {ns}",
        usage.cpu.0,
        usage.ram,
        usage.ran_ms as f64 / 1000.0,
        usage.waited_ms as f64 / 1000.0,
    )
    .expect("writing to a String cannot fail");
}

/// A tag's value in line protocol. Control characters, a line end above all, can not be written and become spaces; a
/// backslash at the end would escape what follows.
fn tag(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if matches!(c, ',' | '=' | ' ') {
            out.push('\\');
        }
        out.push(if c == '\\' { '/' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::{Cores, UserId};

    #[test]
    fn lines_hold_whatever_texts_hold() {
        let mut lines = String::new();
        let usage = Usage {
            user: UserId::new("b,o=b x"),
            image: "reg:5000/a\\b\nevil v=1\\".into(),
            cpu: Cores(2),
            ram: 3,
            ran_ms: 1500,
            waited_ms: 20,
            at: Timestamp(1_700_000_000_123),
        };
        usage_line(&mut lines, TaskId(7_000_042), &usage);
        usage_line(&mut lines, TaskId(7), &Usage { image: String::new(), ..usage });
        let expected = "god_task_usage,user=b\\,o\\=b\\ x,image=reg:5000/a/b\\ evil\\ v\\=1/ \
                        cpu=2i,ram=3i,durationtime=1.5,waitingtime=0.02 1700000000123000042\n\
                        god_task_usage,user=b\\,o\\=b\\ x \
                        cpu=2i,ram=3i,durationtime=1.5,waitingtime=0.02 1700000000123000007\n";
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_host_that_is_none_is_said() {
        let options = |host: &str| Options {
            host: host.into(),
            port: 8086,
            db: "g d".into(),
            user: "root".into(),
            password: "s3cret".into(),
        };
        let influx = Influx::new(options("::1")).expect("an address is a host");
        assert_eq!(influx.url.as_str(), "http://[::1]:8086/write?db=g+d&precision=ns");
        assert!(!format!("{influx:?}").contains("s3cret"));
        assert!(Influx::new(options("a b")).expect_err("no host").to_string().starts_with("influxdb_host:"));
    }
}
