//! The web server, the FTP server, mail, and the flow server.

use std::path::PathBuf;

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};

/// The web server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Web {
    /// Host name or address to listen on.
    pub host: String,
    /// Port to listen on.
    pub port: u16,
    /// Logins of the administrators.
    pub admin: Vec<String>,
    /// Largest file that can be downloaded, in bytes; `None`: no limit.
    pub max_file_download_bytes: Option<u64>,
    /// Address under which users reach the web server; `None`: what their request says.
    pub public_url: Option<Endpoint>,
    /// Whether measurements are offered.
    pub prometheus: bool,
    /// Address under which daemons reach the web server.
    pub endpoint: Endpoint,
}

impl Default for Web {
    fn default() -> Web {
        Web {
            host: "127.0.0.1".to_owned(),
            port: 6543,
            admin: Vec::new(),
            max_file_download_bytes: None,
            public_url: None,
            prometheus: false,
            endpoint: Endpoint::new("http://127.0.0.1:6543"),
        }
    }
}

impl Web {
    pub(crate) fn read(root: &mut Section<'_>) -> Web {
        let default = Web::default();
        let endpoint = root.endpoint("web_endpoint", &["http", "https"]).unwrap_or(default.endpoint);
        let mut section = root.section("web");
        let listen = listen(&mut section);
        let host = host(&mut section, "host");
        let port = section.port("port");
        let (listen_host, listen_port) = listen.unwrap_or((default.host, default.port));
        let web = Web {
            host: host.unwrap_or(listen_host),
            port: port.unwrap_or(listen_port),
            admin: admins(&mut section),
            max_file_download_bytes: section.size("max_file_download").filter(|&bytes| bytes > 0),
            public_url: section.endpoint("public_url", &["http", "https"]),
            prometheus: section.flag("prometheus").unwrap_or(default.prometheus),
            endpoint,
        };
        section.finish();
        web
    }
}

fn admins(section: &mut Section<'_>) -> Vec<String> {
    let admins = section.texts("admin").unwrap_or_default();
    admins.into_iter().map(|(_, _, login)| login).collect()
}

fn listen(section: &mut Section<'_>) -> Option<(String, u16)> {
    const ACCEPTED: &str = "accepted: host:port, such as 127.0.0.1:6543 or [::1]:6543";
    let text = section.text("listen")?;
    let parts = text.rsplit_once(':').and_then(|(host, port)| {
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let port = port.parse::<u16>().ok().filter(|&port| port > 0)?;
        is_host(host).then(|| (host.to_owned(), port))
    });
    if parts.is_none() {
        section.fault("listen", format!("`{text}` is not an address to listen on"), ACCEPTED);
    }
    if section.has("host") || section.has("port") {
        section.warn("listen", "host and port stand beside it and win", "");
    }
    parts
}

/// The host name or address under `key`.
fn host(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    if is_host(&text) {
        return Some(text);
    }
    section.fault(key, format!("`{text}` is not a host"), "accepted: a host name or an address");
    None
}

fn is_host(text: &str) -> bool {
    !text.is_empty()
        && (text.parse::<std::net::IpAddr>().is_ok()
            || text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')))
}

/// The FTP server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ftp {
    /// Host name or address to listen on.
    pub listen: String,
    /// Port to listen on.
    pub port: u16,
    /// Bytes that one user may store; `None`: no limit.
    pub quota_bytes: Option<u64>,
    /// Address shown to users.
    pub public_endpoint: Option<Endpoint>,
}

impl Default for Ftp {
    fn default() -> Ftp {
        Ftp {
            listen: "127.0.0.1".to_owned(),
            port: 2121,
            quota_bytes: Some(1_000_000),
            public_endpoint: None,
        }
    }
}

impl Ftp {
    pub(crate) fn read(root: &mut Section<'_>) -> Ftp {
        let default = Ftp::default();
        let mut section = root.section("ftp");
        let ftp = Ftp {
            listen: host(&mut section, "listen").unwrap_or(default.listen),
            port: section.port("port").unwrap_or(default.port),
            quota_bytes: match section.has("quota") {
                true => section.size("quota").filter(|&bytes| bytes > 0),
                false => {
                    section.node("quota");
                    default.quota_bytes
                }
            },
            public_endpoint: section.endpoint("public_endpoint", &[]),
        };
        section.finish();
        ftp
    }
}

/// How mail is sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mail {
    /// Host name of the mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// TLS, with STARTTLS; on port 465 from the first byte on.
    pub tls: bool,
    /// File with the certificate of an authority that is trusted beside the system's.
    pub ca_cert: Option<PathBuf>,
    /// User at the mail server; `None`: no login.
    pub user: Option<String>,
    /// Password at the mail server.
    pub password: Option<Secret>,
    /// Sender of the mails.
    pub from: String,
}

impl Mail {
    /// `None` when no mail is sent.
    pub(crate) fn read(root: &mut Section<'_>) -> Option<Mail> {
        let host = root.text("email_smtp_host");
        let port = root.port("email_smtp_port").unwrap_or(25);
        let tls = root.flag("email_smtp_tls").unwrap_or(false);
        let ca_cert = root.path_value("email_smtp_ca_cert");
        let user = root.text("email_smtp_user");
        let password = root.secret("email_smtp_password");
        let from = root.text("email_from");
        let host = host?;
        if from.is_none() {
            root.missing("email_from", "accepted: the sender's address, since email_smtp_host is set");
        }
        if password.is_some() && !tls {
            root.warn(
                "email_smtp_password",
                "the password is sent without TLS",
                "set email_smtp_tls to true",
            );
        }
        Some(Mail { host, port, tls, ca_cert, user, password, from: from? })
    }
}

/// The flow server.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Flow {
    /// Its address; `None`: there is none.
    pub frontend: Option<Endpoint>,
    /// Events it works on at the same time. Only the flow server itself uses it.
    pub max_parallel_event: Option<u32>,
    /// User of its tests. Only the flow server itself uses it.
    pub fake_user: Option<String>,
}

impl Flow {
    pub(crate) fn read(root: &mut Section<'_>) -> Flow {
        let mut section = root.section("flow");
        let flow = Flow {
            frontend: section.endpoint("frontend", &["http", "https"]),
            max_parallel_event: section.count32("max_parallel_event", 1),
            fake_user: section.text("fake_user"),
        };
        section.finish();
        flow
    }
}
