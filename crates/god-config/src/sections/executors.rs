//! The executors in use, and what each needs to know.

use std::path::PathBuf;

use crate::reader::Section;
use crate::secret::{Endpoint, Secret};

/// The executors in use, and what each needs to know.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Executors {
    /// Names in the order of the file; the first one takes the tasks that ask for none. Not empty.
    pub names: Vec<String>,
    /// Docker, or a Docker Swarm behind the same API.
    pub docker: Docker,
    /// Plain processes on this host.
    pub local: Local,
    /// Apache Mesos.
    pub mesos: Mesos,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// Grid Engine.
    pub sge: Sge,
}

/// Docker, or a Docker Swarm behind the same API.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Docker {
    /// `unix:///path`, `tcp://host:port` or `https://host:port`.
    pub url: Endpoint,
    /// Version of the API, or `auto`.
    pub api_version: String,
    /// TLS; `None`: plain.
    pub tls: Option<DockerTls>,
    /// Cores that tasks may use in all; `None`: all that the engine has.
    pub cores: Option<u32>,
    /// Memory that tasks may use in all, in bytes; `None`: all that the engine has.
    pub memory_bytes: Option<u64>,
    /// Network of the containers.
    pub network: String,
}

/// How the engine is reached over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DockerTls {
    /// The authority that signed the engine's certificate; `None`: the engine is not checked at all.
    pub ca_cert: Option<PathBuf>,
    /// What we show to the engine.
    pub client: Option<ClientIdentity>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientIdentity {
    /// File of the certificate.
    pub cert: PathBuf,
    /// File of the key.
    pub key: PathBuf,
}

/// Plain processes on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Local {
    /// Cores that tasks may use in all; `None`: all of this host.
    pub cores: Option<u32>,
    /// Memory that tasks may use in all, in bytes; `None`: all of this host.
    pub memory_bytes: Option<u64>,
    /// Whether tasks are held to their limits by control groups.
    pub cgroups: Cgroups,
    /// What is kept of a task's output.
    pub output: Output,
}

/// Whether tasks are held to their limits by control groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// When this host lets us.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always: the executor does not start without them.
    Require,
}

/// What is kept of a task's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// `god.log` and `god.err` in the job directory.
    #[default]
    Files,
    /// Nothing.
    None,
}

/// Apache Mesos.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Mesos {
    /// `zk://…` or `host:port`.
    pub master: Option<Endpoint>,
    /// Ask for the state of running tasks when registering.
    pub reconcile: bool,
    /// Use the unified containerizer.
    pub unified: bool,
    /// Let Mesos hand out GPUs; only with the unified containerizer.
    pub native_gpu: bool,
}

/// Kubernetes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Kubernetes {
    /// URL of the API server.
    pub server: Option<Endpoint>,
    /// Bearer token.
    pub token: Option<Secret>,
    /// Namespace of the pods.
    pub namespace: String,
}

/// Grid Engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sge {
    /// Queues offered to users.
    pub queues: Vec<String>,
    /// Whether jobs in containers are allowed.
    pub docker: bool,
    /// Whether native jobs are allowed.
    pub native: bool,
    /// Parallel environment of jobs with more than one core.
    pub parallel_env: Option<String>,
    /// Never call Grid Engine; give canned answers.
    pub simulate: bool,
}

impl Default for Docker {
    fn default() -> Docker {
        Docker {
            url: Endpoint::new("unix:///var/run/docker.sock"),
            api_version: "auto".to_owned(),
            tls: None,
            cores: None,
            memory_bytes: None,
            network: "bridge".to_owned(),
        }
    }
}

impl Default for Mesos {
    fn default() -> Mesos {
        Mesos { master: None, reconcile: true, unified: false, native_gpu: false }
    }
}

impl Default for Kubernetes {
    fn default() -> Kubernetes {
        Kubernetes { server: None, token: None, namespace: "default".to_owned() }
    }
}

impl Executors {
    pub(crate) fn read(root: &mut Section<'_>, network_disabled: bool) -> Executors {
        let mut placement = root.section("placement");
        let mut sge = placement.section("sge");
        let sge_values = Sge::read(&mut sge);
        sge.finish();
        placement.finish();
        let executors = Executors {
            names: names(root),
            docker: Docker::read(root, network_disabled),
            local: Local::read(root),
            mesos: Mesos::read(root),
            kubernetes: Kubernetes {
                server: root.endpoint("kube_server", &["http", "https"]),
                token: root.secret("kube_token"),
                namespace: root.text("kube_namespace").unwrap_or_else(|| "default".to_owned()),
            },
            sge: sge_values,
        };
        let uses = |name: &str| executors.names.iter().any(|own| own == name);
        if uses("mesos") && executors.mesos.master.is_none() {
            root.missing("mesos.master", "accepted: zk://… or host:port, since the executor mesos is used");
        }
        if uses("kubernetes") && executors.kubernetes.server.is_none() && root.node("kube_server").is_none() {
            root.missing("kube_server", "accepted: a URL, since the executor kubernetes is used");
        }
        executors
    }
}

fn names(root: &mut Section<'_>) -> Vec<String> {
    let known = root.cx.known.executors;
    let mut sorted = known.to_vec();
    sorted.sort_unstable();
    let accepted = format!("accepted: a list of executors; known here: {}", sorted.join(", "));
    match root.node("executors") {
        None => {
            root.missing("executors", &accepted);
            Vec::new()
        }
        Some(node) => {
            let is_empty = matches!(&node.kind, crate::tree::Kind::List(items) if items.is_empty())
                || matches!(&node.kind, crate::tree::Kind::Scalar { text, .. } if text.trim().is_empty());
            if is_empty {
                root.fault("executors", "the list is empty", accepted);
            }
            root.plugins("executors", "executor", known).unwrap_or_default()
        }
    }
}

impl Docker {
    fn read(root: &mut Section<'_>, network_disabled: bool) -> Docker {
        let default = Docker::default();
        let mut section = root.section("docker");
        let tls = tls(&mut section);
        let url = section.endpoint("url", &["unix", "tcp", "http", "https"]).unwrap_or(default.url);
        if tls.is_none() && url.scheme() != Some("unix") && !url.is_loopback() {
            section.warn(
                "url",
                "the engine is reached without TLS: whoever can reach it is root on its hosts",
                "set docker.tls with ca_cert, client_cert and client_key",
            );
        }
        let docker = Docker {
            url,
            api_version: section.text("api_version").unwrap_or(default.api_version),
            tls,
            cores: section.count32("cores", 1),
            memory_bytes: memory(&mut section),
            network: docker_network(&mut section, network_disabled).unwrap_or(default.network),
        };
        if docker.network == "host" {
            section.fault(
                "network",
                "with the network `host` jobs see every port of their node",
                "accepted: bridge, none, or the name of a network made for jobs",
            );
        }
        section.finish();
        docker
    }
}

/// With `network.disabled` containers have no network, whatever else is said here.
fn docker_network(section: &mut Section<'_>, network_disabled: bool) -> Option<String> {
    let network = section.word("network", 128);
    if !network_disabled {
        return network;
    }
    if network.is_some_and(|network| network != "none") {
        section.warn(
            "network",
            "network.disabled is on: containers have no network",
            "remove one of the two",
        );
    }
    Some("none".to_owned())
}

fn tls(section: &mut Section<'_>) -> Option<DockerTls> {
    let is_on = section.flag("tls").unwrap_or(false);
    let ca_cert = section.path_value("ca_cert");
    let cert = section.path_value("client_cert");
    let key = section.path_value("client_key");
    let skips_check = section.flag("tls_skip_verify").unwrap_or(false);
    if !is_on {
        if ca_cert.is_some() || cert.is_some() || key.is_some() {
            section.warn(
                "tls",
                "certificates are named but TLS is off: they are not used",
                "set docker.tls to true",
            );
        }
        return None;
    }
    match (section.node("ca_cert").is_some(), skips_check) {
        (false, false) => section.fault(
            "tls",
            "TLS is on and nothing says how to check the engine's certificate",
            "set docker.ca_cert, or docker.tls_skip_verify: true to talk to any engine that answers",
        ),
        (true, true) => {
            section.warn("tls_skip_verify", "ca_cert is set: the engine is checked all the same", "")
        }
        (false, true) => {
            section.warn("tls_skip_verify", "the engine's certificate is not checked", "set docker.ca_cert");
        }
        (true, false) => {}
    }
    let client = match (section.node("client_cert").is_some(), section.node("client_key").is_some()) {
        (true, true) => cert.zip(key).map(|(cert, key)| ClientIdentity { cert, key }),
        (false, false) => None,
        (true, false) => {
            section.missing("client_key", "accepted: the file of the key that belongs to client_cert");
            None
        }
        (false, true) => {
            section
                .missing("client_cert", "accepted: the file of the certificate that belongs to client_key");
            None
        }
    };
    Some(DockerTls { ca_cert, client })
}

/// Memory that tasks may use in all; 0 is a mistake here, not "no limit".
fn memory(section: &mut Section<'_>) -> Option<u64> {
    let bytes = section.size("memory")?;
    if bytes == 0 {
        section.fault(
            "memory",
            "no memory is left for tasks",
            "accepted: a size such as 64g, or null for all",
        );
    }
    Some(bytes)
}

impl Local {
    fn read(root: &mut Section<'_>) -> Local {
        let mut section = root.section("local");
        let local = Local {
            cores: section.count32("cores", 1),
            memory_bytes: memory(&mut section),
            cgroups: match section.text("cgroups").as_deref() {
                None | Some("auto") => Cgroups::Auto,
                Some("off" | "no" | "false" | "False") => Cgroups::Off,
                Some("require") => Cgroups::Require,
                Some(other) => {
                    let what = format!("`{other}` is not a choice");
                    section.fault("cgroups", what, "accepted: auto, off, require");
                    Cgroups::Auto
                }
            },
            output: match section.text("output").as_deref() {
                None | Some("files") => Output::Files,
                Some("none") => Output::None,
                Some(other) => {
                    section.fault("output", format!("`{other}` is not a choice"), "accepted: files, none");
                    Output::Files
                }
            },
        };
        section.finish();
        local
    }
}

impl Mesos {
    fn read(root: &mut Section<'_>) -> Mesos {
        let default = Mesos::default();
        let mut section = root.section("mesos");
        let unified = section.flag("unified").unwrap_or(default.unified);
        let native_gpu = section.flag("native_gpu").unwrap_or(default.native_gpu);
        if native_gpu && !unified {
            section.warn("native_gpu", "needs mesos.unified: taken as false", "");
        }
        let mesos = Mesos {
            master: section.endpoint("master", &[]),
            reconcile: section.flag("reconcile").unwrap_or(default.reconcile),
            unified,
            native_gpu: native_gpu && unified,
        };
        section.finish();
        mesos
    }
}

impl Sge {
    fn read(section: &mut Section<'_>) -> Sge {
        Sge {
            queues: section
                .texts("queues")
                .unwrap_or_default()
                .into_iter()
                .map(|(_, _, queue)| queue)
                .collect(),
            docker: section.flag("docker").unwrap_or(false),
            native: section.flag("native").unwrap_or(false),
            parallel_env: section.text("parallel_env"),
            simulate: section.flag("simulate").unwrap_or(false),
        }
    }
}
