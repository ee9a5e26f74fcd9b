//! The status plugin `consul`: each process is a service at the Consul agent of its host, with one check.
//!
//! The agent itself looks at web and FTP servers; the other processes have a check that becomes critical a minute after
//! their last sign of life. What the agent knows are the processes of its own host.

use async_trait::async_trait;
use god_core::BoxError;
use god_core::status::{KINDS, Process, ProcessStatus, StatusPlugin};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The name in the configuration.
pub const NAME: &str = "consul";
/// How often the agent looks at a server.
const LOOKS: &str = "20s";
/// How long a sign of life counts.
const TTL: &str = "1m";
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);

/// Where the agent is, and what it looks at.
#[derive(Clone, PartialEq, Eq)]
pub struct Options {
    /// Host name or address of the agent.
    pub host: String,
    /// Port of its HTTP interface.
    pub port: u16,
    /// Token of an access list.
    pub token: Option<String>,
    /// Address of the web server as the agent reaches it.
    pub web: String,
    /// Port of the web server.
    pub web_port: u16,
    /// Host and port of the FTP server as the agent reaches it.
    pub ftp: (String, u16),
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Host and port are no address.
    #[error("`{0}` is not the address of a Consul agent")]
    Address(String),
    /// No answer.
    #[error("the Consul agent does not answer while {doing}")]
    Unreachable {
        /// What was asked of it.
        doing: &'static str,
        /// What the client said.
        source: reqwest::Error,
    },
    /// It does not do what was asked.
    #[error("the Consul agent answers {status} while {doing}: {text}")]
    Refused {
        /// What was asked of it.
        doing: &'static str,
        /// Its answer.
        status: StatusCode,
        /// The beginning of what it said.
        text: String,
    },
    /// The answer makes no sense.
    #[error("the Consul agent gave an answer that can not be read")]
    Garbled(#[source] serde_json::Error),
}

/// The plugin.
#[derive(Debug)]
pub struct Consul {
    http: reqwest::Client,
    base: Url,
    options: Options,
    /// Processes that this one has registered.
    registered: Mutex<BTreeSet<Process>>,
}

impl Consul {
    /// The plugin; it connects when it has something to say.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn new(options: Options) -> Result<Consul, Error> {
        let address = format!("http://{}/v1/agent/", place(&options.host, options.port));
        let bad = || Error::Address(address.clone());
        let base = Url::parse(&address).map_err(|_| bad())?;
        let http = reqwest::Client::builder().timeout(ANSWER).no_proxy().build().map_err(|_| bad())?;
        Ok(Consul { http, base, options, registered: Mutex::default() })
    }

    async fn register(&self, process: &Process) -> Result<(), Error> {
        self.ask(
            Method::PUT,
            &["service", "register"],
            Some(&self.service(process)),
            "a process is registered",
        )
        .await?;
        self.registered().insert(process.clone());
        Ok(())
    }

    /// A process as the agent shall know it.
    fn service(&self, process: &Process) -> Value {
        let Process { kind, name, .. } = process;
        let Options { web, web_port, ftp: (ftp_host, ftp_port), .. } = &self.options;
        let (port, check) = match kind.as_str() {
            "web" => (Some(web_port), json!({"HTTP": web, "Interval": LOOKS, "Timeout": "5s"})),
            "ftp" => {
                let address = place(ftp_host, *ftp_port);
                (Some(ftp_port), json!({"TCP": address, "Interval": LOOKS, "Timeout": "5s"}))
            }
            // Well from the start: it would be critical until the first sign otherwise.
            _ => (None, json!({"TTL": TTL, "Status": "passing"})),
        };
        let mut service = json!({"ID": name, "Name": kind, "Tags": [kind], "Check": check});
        service["Check"]["CheckID"] = check_id(name).into();
        service["Check"]["Name"] = format!("{name} is alive").into();
        if let Some(port) = port {
            service["Port"] = (*port).into();
        }
        service
    }

    /// Whether the agent still has a process that was registered; its sign of life, for those that give one.
    async fn renew(&self, process: &Process) -> Result<bool, Error> {
        const DOING: &str = "a sign of life is given";
        let answer = match process.kind.as_str() {
            "web" | "ftp" => self.ask(Method::GET, &["service", &process.name], None, DOING).await,
            _ => self.ask(Method::PUT, &["check", "pass", &check_id(&process.name)], None, DOING).await,
        };
        match answer {
            Ok(_) => Ok(true),
            // Newer agents answer 404 for what they do not know, older ones 500.
            Err(Error::Refused { status, .. })
                if status == StatusCode::NOT_FOUND || status == StatusCode::INTERNAL_SERVER_ERROR =>
            {
                Ok(false)
            }
            Err(err) => Err(err),
        }
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
        doing: &'static str,
    ) -> Result<String, Error> {
        let mut url = self.base.clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.options.token {
            request = request.header("X-Consul-Token", token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let unreachable = |source| Error::Unreachable { doing, source };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = answer.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(text);
        }
        let text = text.chars().filter(|c| !c.is_control()).take(200).collect();
        Err(Error::Refused { doing, status, text })
    }

    fn registered(&self) -> std::sync::MutexGuard<'_, BTreeSet<Process>> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl StatusPlugin for Consul {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn keep_alive(&self, process: &Process) -> Result<(), BoxError> {
        let is_registered = self.registered().contains(process);
        // An agent that was started anew may have forgotten all services.
        if !(is_registered && self.renew(process).await?) {
            self.register(process).await?;
        }
        Ok(())
    }

    async fn leave(&self, process: &Process) -> Result<(), BoxError> {
        self.registered().remove(process);
        let path = ["service", "deregister", &process.name];
        match self.ask(Method::PUT, &path, None, "a process leaves").await {
            Ok(_) => Ok(()),
            Err(Error::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            Err(err) => Err(err.into()),
        }
    }

    async fn processes(&self) -> Result<Vec<ProcessStatus>, BoxError> {
        let text = self.ask(Method::GET, &["checks"], None, "processes are listed").await?;
        Ok(of_checks(&text)?)
    }
}

/// The processes of ours among the checks of an agent.
fn of_checks(text: &str) -> Result<Vec<ProcessStatus>, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Check {
        #[serde(rename = "CheckID")]
        check_id: String,
        status: String,
        #[serde(rename = "ServiceID")]
        service_id: String,
        service_name: String,
    }
    let checks: BTreeMap<String, Check> = serde_json::from_str(text).map_err(Error::Garbled)?;
    let ours = |check: &Check| {
        KINDS.contains(&check.service_name.as_str()) && check.check_id == check_id(&check.service_id)
    };
    Ok(checks
        .into_values()
        .filter(ours)
        .map(|check| ProcessStatus {
            name: check.service_id,
            kind: check.service_name,
            alive: check.status == "passing",
            seen: None,
        })
        .collect())
}

fn check_id(name: &str) -> String {
    format!("{name}_check")
}

fn place(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_of_ours_are_processes() {
        let text = r#"{
            "web-h_check": {"Node": "n", "CheckID": "web-h_check", "Name": "x", "Status": "critical",
                "ServiceID": "web-h", "ServiceName": "web", "ServiceTags": ["web"]},
            "scheduler-h_check": {"CheckID": "scheduler-h_check", "Status": "passing",
                "ServiceID": "scheduler-h", "ServiceName": "scheduler"},
            "service:redis": {"CheckID": "service:redis", "Status": "passing", "ServiceID": "redis",
                "ServiceName": "redis"},
            "service:web": {"CheckID": "service:web", "Status": "passing", "ServiceID": "web-other",
                "ServiceName": "web"},
            "disk": {"CheckID": "disk", "Status": "passing", "ServiceID": "", "ServiceName": ""}
        }"#;
        let status = |kind: &str, name: &str, alive| ProcessStatus {
            name: name.to_owned(),
            kind: kind.to_owned(),
            alive,
            seen: None,
        };
        let expected = [status("scheduler", "scheduler-h", true), status("web", "web-h", false)];
        assert_eq!(of_checks(text).expect("it can be read"), expected);
        assert!(of_checks("{}").expect("it can be read").is_empty());
        assert!(of_checks("<html>").is_err());
    }

    #[test]
    fn secrets_and_addresses() {
        let options = |host: &str| Options {
            host: host.to_owned(),
            port: 8500,
            token: Some("s3cret".to_owned()),
            web: "http://127.0.0.1:6543".to_owned(),
            web_port: 6543,
            ftp: ("::1".to_owned(), 2121),
        };
        let consul = Consul::new(options("::1")).expect("an address");
        assert!(!format!("{consul:?}").contains("s3cret"));
        let ftp = Process { kind: "ftp".into(), name: "ftp-h".into(), host: "h".into() };
        assert_eq!(consul.service(&ftp)["Check"]["TCP"], "[::1]:2121");
        let err = Consul::new(options("a b")).expect_err("no host").to_string();
        assert_eq!(err, "`http://a b:8500/v1/agent/` is not the address of a Consul agent");
    }
}
