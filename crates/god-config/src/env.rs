//! The environment: variables that override keys of the file, and variables that steer a process.
//!
//! The variables are handed in; nothing here reads the environment of the running process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use crate::fault::{ConfigErrors, Place, Report};
use crate::names;
use crate::reader::is_word;
use crate::sections::log::{LEVELS_ACCEPTED, LogLevel};
use crate::tree::{Map, Node};

/// Environment variables. `Debug` prints names only: values may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Takes variables as the operating system gives them. Bytes that are not UTF-8 become U+FFFD.
    pub fn from_os(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        Environment(variables.into_iter().map(|(name, value)| (lossy(name), lossy(value))).collect())
    }

    /// The value of a variable; an empty one is a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a variable that counts as absent when it is empty.
    fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Environment {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// How the text of a variable becomes a value.
#[derive(Clone, Copy)]
enum Form {
    /// As it stands. Numbers are checked where the key is read, and the fault names the variable.
    Text,
    /// `1` is on, anything else is off.
    Switch,
    /// Texts separated by commas.
    List,
}

/// Every variable that overrides a key: section (empty for the top level), key, form.
const OVERRIDES: &[(&str, &str, &str, Form)] = &[
    ("GODOCKER_PLUGINS_DIR", "", "plugins_dir", Form::Text),
    ("GODOCKER_SHARED_DIR", "", "shared_dir", Form::Text),
    ("GODOCKER_DATA_DIR", "", "data_dir", Form::Text),
    ("GODOCKER_STORE", "", "store", Form::Text),
    ("GODOCKER_SECRET_PASSPHRASE", "", "secret_passphrase", Form::Text),
    ("GODOCKER_SECRET_PASSPHRASE_PREVIOUS", "", "secret_passphrase_previous", Form::Text),
    ("GODOCKER_PROXY_SECRET", "", "proxy_secret", Form::Text),
    ("GODOCKER_SHARED_SECRET_PASSPHRASE", "", "shared_secret_passphrase", Form::Text),
    ("GODOCKER_MONGO_URL", "", "mongo_url", Form::Text),
    ("GODOCKER_MONGO_DB", "", "mongo_db", Form::Text),
    ("GODOCKER_REDIS_HOST", "", "redis_host", Form::Text),
    ("GODOCKER_REDIS_PORT", "", "redis_port", Form::Text),
    ("GODOCKER_REDIS_DB", "", "redis_db", Form::Text),
    ("GODOCKER_REDIS_PREFIX", "", "redis_prefix", Form::Text),
    ("GODOCKER_INFLUXDB_HOST", "", "influxdb_host", Form::Text),
    ("GODOCKER_INFLUXDB_PORT", "", "influxdb_port", Form::Text),
    ("GODOCKER_INFLUXDB_USER", "", "influxdb_user", Form::Text),
    ("GODOCKER_INFLUXDB_PASSWORD", "", "influxdb_password", Form::Text),
    ("GODOCKER_INFLUXDB_DB", "", "influxdb_db", Form::Text),
    ("GODOCKER_EXECUTOR", "", "executors", Form::List),
    ("GODOCKER_SCHEDULER_POLICY", "", "scheduler_policy", Form::Text),
    ("GODOCKER_AUTH_POLICY", "", "auth_policy", Form::Text),
    ("GODOCKER_STATUS_POLICY", "", "status_policy", Form::Text),
    ("GODOCKER_PROMETHEUS_EXPORTER", "", "prometheus_exporter", Form::Text),
    ("GODOCKER_WEB_ENDPOINT", "", "web_endpoint", Form::Text),
    ("GODOCKER_MESOS_MASTER", "mesos", "master", Form::Text),
    ("GODOCKER_KUBE_SERVER", "", "kube_server", Form::Text),
    ("GODOCKER_KUBE_TOKEN", "", "kube_token", Form::Text),
    ("GODOCKER_DOCKER_URL", "docker", "url", Form::Text),
    ("GODOCKER_DOCKER_TLS", "docker", "tls", Form::Switch),
    ("GODOCKER_DOCKER_CA_CERT", "docker", "ca_cert", Form::Text),
    ("GODOCKER_DOCKER_CLIENT_CERT", "docker", "client_cert", Form::Text),
    ("GODOCKER_DOCKER_CLIENT_KEY", "docker", "client_key", Form::Text),
    ("GODOCKER_LDAP_HOST", "", "ldap_host", Form::Text),
    ("GODOCKER_LDAP_PORT", "", "ldap_port", Form::Text),
    ("GODOCKER_LDAP_DN", "", "ldap_dn", Form::Text),
    ("GODOCKER_LDAP_BASE_DN_FILTER", "", "ldap_base_dn_filter", Form::Text),
    ("GODOCKER_LDAP_SSL", "ldap", "ssl", Form::Switch),
    ("GODOCKER_LDAP_ADMIN_PASSWORD", "", "ldap_admin_password", Form::Text),
    ("GODOCKER_WATCHERS", "", "watchers", Form::List),
    ("GODOCKER_CADVISOR_PORT", "", "cadvisor_port", Form::Text),
    ("GODOCKER_EMAIL_FROM", "", "email_from", Form::Text),
    ("GODOCKER_EMAIL_SMTP_TLS", "", "email_smtp_tls", Form::Switch),
    ("GODOCKER_EMAIL_SMTP_USER", "", "email_smtp_user", Form::Text),
    ("GODOCKER_EMAIL_SMTP_PASSWORD", "", "email_smtp_password", Form::Text),
    ("GODOCKER_EMAIL_SMTP_HOST", "", "email_smtp_host", Form::Text),
    ("GODOCKER_EMAIL_SMTP_PORT", "", "email_smtp_port", Form::Text),
    ("GODOCKER_ETCD_PREFIX", "", "etcd_prefix", Form::Text),
    ("GODOCKER_ETCD_HOST", "", "etcd_host", Form::Text),
    ("GODOCKER_ETCD_PORT", "", "etcd_port", Form::Text),
    ("GODOCKER_FTP_LISTEN", "ftp", "listen", Form::Text),
    ("GODOCKER_FTP_PUBLIC_ENDPOINT", "ftp", "public_endpoint", Form::Text),
    ("GODOCKER_FTP_PORT", "ftp", "port", Form::Text),
];

/// Lays the variables over the tree of the file.
pub(crate) fn apply(environment: &Environment, root: &mut Map, report: &mut Report) {
    for &(variable, section, key, form) in OVERRIDES {
        let Some(value) = environment.get(variable) else { continue };
        let place = Place::new(variable);
        let node = match form {
            Form::Text => Node::text(&place, value),
            Form::Switch => {
                if !matches!(value, "" | "0" | "1") {
                    report.warnings.push(place.fault(
                        key,
                        format!("`{value}` switches this off"),
                        "accepted: 1 for on, 0 for off",
                    ));
                }
                Node::text(&place, if value == "1" { "true" } else { "false" })
            }
            Form::List => Node::list(
                &place,
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Node::text(&place, item))
                    .collect(),
            ),
        };
        let target = match section {
            "" => Some(&mut *root),
            // When something else than a map stands there, the reader of that section reports it.
            name => root.section_mut(name, &place),
        };
        if let Some(target) = target {
            target.set(key, node);
        }
    }
    warn_of_slips(environment, report);
}

/// Variables of ours that come close to a known one are most likely misspelt.
fn warn_of_slips(environment: &Environment, report: &mut Report) {
    let known: Vec<&str> = OVERRIDES.iter().map(|(variable, ..)| *variable).collect();
    let strangers = environment.0.keys().filter(|name| {
        name.starts_with("GODOCKER_") && !known.contains(&name.as_str()) && *name != "GODOCKER_WEB_PREFIX"
    });
    for name in strangers {
        if let Some(near) = names::nearest(name, &known) {
            report.warnings.push(Place::new(name).fault(
                "",
                "unknown variable, ignored",
                format!("did you mean `{near}`?"),
            ));
        }
    }
}

/// The variables that steer one process, read by the daemons themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessEnv {
    /// `GOD_CONFIG`: the configuration file. `go-d.ini` in the working directory when absent.
    pub config_file: PathBuf,
    /// Whether `GOD_CONFIG` was set: a missing file is then always a fault.
    pub config_file_is_set: bool,
    /// `GOD_PROCID`: suffix of the process name, needed with several processes on one host.
    pub process_id: Option<String>,
    /// `GOD_LOGLEVEL`: overrides the levels of all loggers.
    pub log_level: Option<LogLevel>,
    /// `GOD_PID`: where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// `HOSTNAME`: host part of the process name; `None`: ask the system.
    pub host_name: Option<String>,
    /// `GODOCKER_WEB_PREFIX`: what paths of the web pages start with; empty, or `/` and no `/` at its end.
    pub web_prefix: String,
}

impl ProcessEnv {
    /// Reads the variables. An empty variable counts as absent.
    ///
    /// # Errors
    /// A log level that is none, or names with odd characters: all of them, each with its variable.
    pub fn read(environment: &Environment) -> Result<ProcessEnv, ConfigErrors> {
        const NAME: &str = "accepted: letters, digits and `-`, `_`, `.`, starting with a letter or digit";
        let mut report = Report::default();
        let mut fault = |variable: &str, value: &str, what: &str, accepted: &str| {
            let fault = Place::new(variable).fault("", format!("`{value}` is not {what}"), accepted);
            report.faults.push(fault);
        };
        let log_level = environment.non_empty("GOD_LOGLEVEL").and_then(|value| {
            let level = LogLevel::parse(value);
            if level.is_none() {
                fault("GOD_LOGLEVEL", value, "a level", LEVELS_ACCEPTED);
            }
            level
        });
        let mut name = |variable: &str| {
            let value = environment.non_empty(variable)?;
            if !is_word(value) {
                fault(variable, value, "a plain name", NAME);
            }
            Some(value.to_owned())
        };
        let process_id = name("GOD_PROCID");
        let host_name = name("HOSTNAME");
        let prefix = environment.non_empty("GODOCKER_WEB_PREFIX").unwrap_or_default().trim_matches('/');
        let config_file = environment.non_empty("GOD_CONFIG");
        let process = ProcessEnv {
            config_file: PathBuf::from(config_file.unwrap_or("go-d.ini")),
            config_file_is_set: config_file.is_some(),
            process_id,
            log_level,
            pid_file: environment.non_empty("GOD_PID").map(PathBuf::from),
            host_name,
            web_prefix: if prefix.is_empty() { String::new() } else { format!("/{prefix}") },
        };
        report.finish(process).map(|(process, _)| process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_variables() {
        let empty = ProcessEnv::read(&Environment::default()).expect("defaults");
        assert_eq!(empty.config_file, PathBuf::from("go-d.ini"));
        assert!(!empty.config_file_is_set);
        assert_eq!((empty.process_id, empty.log_level, empty.web_prefix), (None, None, String::new()));

        let environment = Environment::from_iter([
            ("GOD_CONFIG", "/etc/god.yaml"),
            ("GOD_PROCID", "2"),
            ("GOD_LOGLEVEL", "debug"),
            ("GOD_PID", ""),
            ("GODOCKER_WEB_PREFIX", "god/"),
        ]);
        let full = ProcessEnv::read(&environment).expect("good values");
        assert_eq!(full.config_file, PathBuf::from("/etc/god.yaml"));
        assert_eq!((full.log_level, full.pid_file), (Some(LogLevel::Debug), None));
        assert_eq!((full.process_id.as_deref(), full.web_prefix.as_str()), (Some("2"), "/god"));
    }

    #[test]
    fn all_bad_process_variables_are_named() {
        let environment = Environment::from_iter([("GOD_LOGLEVEL", "loud"), ("GOD_PROCID", "a/b")]);
        let errors = ProcessEnv::read(&environment).expect_err("two faults").to_string();
        assert!(errors.contains("GOD_LOGLEVEL: `loud` is not a level; accepted: DEBUG"), "{errors}");
        assert!(errors.contains("GOD_PROCID: `a/b` is not a plain name"), "{errors}");
    }

    #[test]
    fn debug_prints_no_values() {
        let environment = Environment::from_iter([("GODOCKER_KUBE_TOKEN", "hunter2")]);
        assert_eq!(format!("{environment:?}"), r#"{"GODOCKER_KUBE_TOKEN"}"#);
    }

    #[test]
    fn variables_are_listed_once() {
        let mut names: Vec<_> = OVERRIDES.iter().map(|(variable, ..)| variable).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), OVERRIDES.len());
    }
}
