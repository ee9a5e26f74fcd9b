//! Put together: file, `production.ini` and environment -> one checked [`Config`], or all that is wrong.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::env::{self, Environment};
use crate::fault::{ConfigErrors, Fault, Place, Report};
use crate::names::Known;
use crate::old_forms;
use crate::production::ProductionIni;
use crate::reader::{Context, Section};
use crate::sections::access::{Auth, Guests, Sharing};
use crate::sections::base::Base;
use crate::sections::executors::Executors;
use crate::sections::log::Log;
use crate::sections::monitoring::Monitoring;
use crate::sections::network::{Images, Network};
use crate::sections::scheduling::Scheduling;
use crate::sections::services::{Flow, Ftp, Mail, Web};
use crate::sections::stores::Stores;
use crate::tree::{Kind, Map};
use crate::volumes::VolumesConfig;
use crate::yaml;

/// A checked configuration. Printing it shows no secret.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Directories, limits, intervals.
    pub base: Base,
    /// Container networks and host ports.
    pub network: Network,
    /// Images that users may run.
    pub images: Images,
    /// Volumes that users may ask for.
    pub volumes: VolumesConfig,
    /// What users share.
    pub sharing: Sharing,
    /// Guests.
    pub guests: Guests,
    /// Authentication and secrets.
    pub auth: Auth,
    /// Where state is kept.
    pub stores: Stores,
    /// Order, limits, quotas.
    pub scheduling: Scheduling,
    /// Executors in use.
    pub executors: Executors,
    /// Measurements and status.
    pub monitoring: Monitoring,
    /// Mail; `None`: none is sent.
    pub mail: Option<Mail>,
    /// The FTP server.
    pub ftp: Ftp,
    /// The flow server.
    pub flow: Flow,
    /// The web server.
    pub web: Web,
    /// Logging.
    pub log: Log,
    /// The file that was read; `None` when there was none.
    pub file: Option<ConfigFile>,
}

/// Facts about the file that a configuration was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFile {
    /// Its name, as the operator gave it.
    pub name: String,
    /// Its permission bits; `None`: not known.
    pub mode: Option<u32>,
    /// Whether a secret stands in it (and not only in the environment).
    pub holds_secrets: bool,
}

/// The text of a configuration file.
#[derive(Clone, Copy)]
pub struct FileText<'a> {
    /// Name for messages.
    pub name: &'a str,
    /// Content.
    pub bytes: &'a [u8],
    /// Permission bits, when the text comes from a file.
    pub mode: Option<u32>,
}

/// Everything that a configuration is made from.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The file; `None`: the environment alone.
    pub file: Option<FileText<'a>>,
    /// The web server's own file of the old system.
    pub production: Option<&'a ProductionIni>,
    /// Environment variables.
    pub environment: &'a Environment,
    /// Names of the plugins that are built in.
    pub known: Known<'a>,
    /// Default of `data_dir`; absolute.
    pub data_dir: &'a Path,
    /// Whether a directory exists on this host.
    pub dir_exists: &'a dyn Fn(&Path) -> bool,
}

/// A configuration that can be used, and what was noticed on the way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Unknown keys, old forms, settings without effect.
    pub warnings: Vec<Fault>,
}

/// Keys that hold a secret, for the check of the file's permissions.
const SECRET_KEYS: &[&str] = &[
    "secret_passphrase",
    "secret_passphrase_previous",
    "proxy_secret",
    "shared_secret_passphrase",
    "ldap_admin_password",
    "influxdb_password",
    "kube_token",
    "prometheus_key",
    "email_smtp_password",
    "consul_token",
];

impl Config {
    /// Checks a configuration. Opens nothing itself.
    ///
    /// # Errors
    /// Everything that is wrong, in one report.
    pub fn check(input: &Input<'_>) -> Result<Loaded, ConfigErrors> {
        let (result, _) = check_with_schema(input);
        result
    }

    /// Reads the file at `path`, and the `production.ini` when one is named, and checks both.
    ///
    /// # Errors
    /// Files that cannot be read, and everything that [`Config::check`] finds.
    pub fn load(
        path: &Path,
        production: Option<&Path>,
        environment: &Environment,
        known: Known<'_>,
        data_dir: &Path,
    ) -> Result<Loaded, ConfigErrors> {
        let name = path.display().to_string();
        let mut unread = Report::default();
        let file = read_file(path, &mut unread);
        let production = production.and_then(|path| {
            let (bytes, _) = read_file(path, &mut unread)?;
            Some(ProductionIni::parse(path, &String::from_utf8_lossy(&bytes)))
        });
        let ((), _) = unread.finish(())?;
        Config::check(&Input {
            file: file.as_ref().map(|(bytes, mode)| FileText { name: &name, bytes, mode: Some(*mode) }),
            production: production.as_ref(),
            environment,
            known,
            data_dir,
            dir_exists: &|path| path.is_dir(),
        })
    }

    /// Keys whose values differ in a way that only a restart can apply: all else may be taken over at run time.
    pub fn restart_keys(&self, newer: &Config) -> Vec<&'static str> {
        let (old, new) = (self, newer);
        [
            ("shared_dir", old.base.shared_dir != new.base.shared_dir),
            ("data_dir", old.base.data_dir != new.base.data_dir),
            ("cluster", old.base.cluster != new.base.cluster),
            ("storage", old.base.storage != new.base.storage),
            ("secret_passphrase", old.auth.secret_passphrase != new.auth.secret_passphrase),
            (
                "secret_passphrase_previous",
                old.auth.secret_passphrase_previous != new.auth.secret_passphrase_previous,
            ),
            ("auth_policy", old.auth.policy != new.auth.policy),
            ("store", old.stores.kind != new.stores.kind),
            ("mongo_url", old.stores.mongo != new.stores.mongo),
            ("redis_host", old.stores.redis != new.stores.redis),
            ("executors", old.executors != new.executors),
            ("web.listen", (&old.web.host, old.web.port) != (&new.web.host, new.web.port)),
            ("ftp.listen", (&old.ftp.listen, old.ftp.port) != (&new.ftp.listen, new.ftp.port)),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }
}

/// Content and permission bits of a file. More than the largest accepted file is never read.
fn read_file(path: &Path, report: &mut Report) -> Option<(Vec<u8>, u32)> {
    let read = || -> std::io::Result<(Vec<u8>, u32)> {
        let file = File::open(path)?;
        let mode = file.metadata()?.mode() & 0o7777;
        let mut bytes = Vec::new();
        file.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    match read() {
        Ok(content) => Some(content),
        Err(error) => {
            let place = Place::new(&path.display().to_string());
            report.faults.push(place.fault("", format!("cannot read the file: {error}"), ""));
            None
        }
    }
}

/// The result of the check, and every key path that was asked for.
pub(crate) fn check_with_schema(input: &Input<'_>) -> (Result<Loaded, ConfigErrors>, Vec<String>) {
    let mut report = Report::default();
    let place = Place::new(input.file.map_or("environment", |file| file.name));
    let parsed = match input.file {
        Some(file) => yaml::parse(file.bytes, &place, &mut report),
        None => Some(Map::default()),
    };
    let Some(mut root) = parsed else {
        // Without a tree every required key would be missing: only the reason is worth telling.
        return (Err(report.into_errors()), Vec::new());
    };
    let holds_secrets = holds_secrets(&root);
    old_forms::translate(&mut root, &mut report);
    if let Some(production) = input.production {
        production.apply(&mut root, &mut report);
    }
    env::apply(input.environment, &mut root, &mut report);

    let cx = Context::new(input.known, input.dir_exists, report);
    let mut config = read_sections(&cx, &root, place, input.data_dir);
    config.file =
        input.file.map(|file| ConfigFile { name: file.name.to_owned(), mode: file.mode, holds_secrets });
    let (report, schema) = cx.into_parts();
    (report.finish(config).map(|(config, warnings)| Loaded { config, warnings }), schema)
}

fn holds_secrets(root: &Map) -> bool {
    let has_key = SECRET_KEYS.iter().any(|key| root.get(key).is_some_and(|node| !node.is_null()));
    let has_credentials = root.get("mongo_url").is_some_and(|node| node.to_json().to_string().contains('@'));
    let has_client = root.get("oidc").is_some_and(|node| match &node.kind {
        Kind::List(items) => items.iter().any(|item| match &item.kind {
            Kind::Map(map) => map.get("client_secret").is_some_and(|node| !node.is_null()),
            _ => false,
        }),
        _ => false,
    });
    has_key || has_credentials || has_client
}

fn read_sections(cx: &Context<'_>, map: &Map, place: Place, data_dir: &Path) -> Config {
    let mut root = Section::root(cx, map, place);
    let network = Network::read(&mut root);
    let executors = Executors::read(&mut root, network.disabled);
    let base = Base::read(&mut root, data_dir);
    let config = Config {
        volumes: VolumesConfig::protecting(&base.data_dir, &executors.docker).read(&mut root),
        images: Images::read(&mut root),
        sharing: Sharing::read(&mut root),
        guests: Guests::read(&mut root),
        auth: Auth::read(&mut root),
        stores: Stores::read(&mut root),
        scheduling: Scheduling::read(&mut root),
        monitoring: Monitoring::read(&mut root, executors.mesos.unified),
        mail: Mail::read(&mut root),
        ftp: Ftp::read(&mut root),
        flow: Flow::read(&mut root),
        web: Web::read(&mut root),
        log: Log::read(&mut root),
        base,
        network,
        executors,
        file: None,
    };
    root.finish();
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys that are read and have no place in the sample: without effect, or other spellings.
    const NOT_IN_SAMPLE: &[&str] =
        &["cadvisor_url_part", "plugin_zfs", "plugins_dir", "web.host", "web.port"];

    fn sample_tree(text: &str) -> Map {
        let mut report = Report::default();
        yaml::parse(text.as_bytes(), &Place::new("sample"), &mut report).expect("a map")
    }

    /// Whether a key path such as `volumes[].name` stands in the tree.
    fn stands_in(map: &Map, path: &str) -> bool {
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        let node = map.get(key.trim_end_matches("[]"));
        match (node.map(|node| &node.kind), rest) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(Kind::Map(inner)), Some(rest)) => stands_in(inner, rest),
            (Some(Kind::List(items)), Some(rest)) => {
                items.iter().any(|item| matches!(&item.kind, Kind::Map(inner) if stands_in(inner, rest)))
            }
            (Some(_), Some(_)) => false,
        }
    }

    #[test]
    fn the_sample_shows_every_key() {
        let text = include_str!("../../../config/go-d.ini");
        let environment = Environment::default();
        let known = Known {
            executors: &["local"],
            auth: &["local"],
            policies: &["FiFo"],
            watchers: &[],
            status: &[],
            storages: &["pairtree"],
        };
        let (result, schema) = check_with_schema(&Input {
            file: Some(FileText { name: "go-d.ini", bytes: text.as_bytes(), mode: None }),
            production: None,
            environment: &environment,
            known,
            data_dir: Path::new("/d"),
            dir_exists: &|_| true,
        });
        result.expect("the sample is good");
        assert!(schema.len() > 120, "the schema is known: {schema:?}");
        let tree = sample_tree(text);
        let absent: Vec<&String> = schema
            .iter()
            .filter(|path| !NOT_IN_SAMPLE.contains(&path.as_str()) && !stands_in(&tree, path))
            .collect();
        assert!(absent.is_empty(), "not in config/go-d.ini: {absent:?}");
    }
}
