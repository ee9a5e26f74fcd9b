//! `go-d.ini` (YAML) and the environment -> one checked [`Config`], every fault reported at once.
//!
//! A daemon reads its [`ProcessEnv`], calls [`Config::load`], prints the warnings, looks at
//! [`Config::refusals`], and from then on never parses anything: sizes are bytes, times are seconds, names are
//! known, secrets do not print. The order of strength is defaults, file, `production.ini` where the file is
//! silent, environment.
//!
//! The crate reads no environment, opens no file but those it is told to, and knows no plugin: the names that are
//! built in are handed to it as [`Known`].

mod config;
mod embedded;
mod env;
mod fault;
mod names;
mod old_forms;
mod production;
mod reader;
mod refusals;
mod secret;
mod sections;
mod tree;
mod units;
mod volumes;
mod yaml;

pub use config::{Config, ConfigFile, FileText, Input, Loaded};
pub use embedded::{Embedded, embedded_file_text};
pub use env::{Environment, ProcessEnv};
pub use fault::{ConfigErrors, Fault};
pub use names::Known;
pub use production::ProductionIni;
pub use secret::{Endpoint, Secret};
pub use sections::access::{Auth, GuestHome, Guests, Sharing};
pub use sections::base::Base;
pub use sections::doors::{Provider, Proxies};
pub use sections::executors::{
    Cgroups, ClientIdentity, Docker, DockerTls, Executors, Kubernetes, Local, Mesos, Output, Sge,
};
pub use sections::ldap::{Ldap, LdapSecurity};
pub use sections::log::{Log, LogHandler, LogLevel, LogTarget};
pub use sections::monitoring::{Cadvisor, Consul, Etcd, EtcdApi, Monitoring};
pub use sections::network::{Cni, CniPlugin, Image, Images, Network, Ports, RegistryLink};
pub use sections::scheduling::{Constraint, DynamicField, FairShare, Scheduling};
pub use sections::services::{Flow, Ftp, Mail, Web};
pub use sections::stores::{InfluxDb, Mongo, Redis, StoreKind, Stores};
pub use units::{UnitError, parse_lifespan, parse_size};
pub use volumes::{
    Access, DropReason, DroppedVolume, Resolution, ResolvedVolume, Volume, VolumeRequest, VolumeUser,
    VolumesConfig, resolve_volumes,
};
