//! The crate as its callers see it: samples, environment, old forms, reports of many faults.

mod embedded;
mod environment;
mod faults;
mod never_panics;
mod old_forms;
mod refusals;
mod reload;
mod samples;

use std::path::Path;

use god_config::{Config, ConfigErrors, Environment, FileText, Input, Known, Loaded, ProductionIni};

/// Everything that exists, as if all plugins were built in.
pub const ALL: Known<'static> = Known {
    executors: &["docker", "fake", "kubernetes", "local", "mesos", "sge", "slurm", "swarm"],
    auth: &["fake", "goauth", "local"],
    policies: &["FairShare", "FiFo"],
    watchers: &["fake", "godflow", "maxlifespan"],
    status: &["consul", "etcd"],
    storages: &["pairtree"],
};

/// What the first release has.
pub const FEW: Known<'static> = Known {
    executors: &["local", "docker", "fake"],
    auth: &["fake", "local"],
    policies: &["FiFo"],
    watchers: &["maxlifespan"],
    status: &[],
    storages: &["pairtree"],
};

/// The keys without which nothing works.
pub const LEAST: &str =
    "shared_dir: /srv/god/shared\nexecutors: [local]\nsecret_passphrase: kG7qLz0PweR4vX2m\n";

/// The answer for a file's text, variables, a `production.ini`, and the plugins that are built in.
pub fn check_with(
    text: &str,
    variables: &[(&str, &str)],
    production: Option<&ProductionIni>,
    known: Known<'_>,
) -> Result<Loaded, ConfigErrors> {
    let environment: Environment = variables.iter().copied().collect();
    Config::check(&Input {
        file: Some(FileText { name: "go-d.ini", bytes: text.as_bytes(), mode: Some(0o640) }),
        production,
        environment: &environment,
        known,
        data_dir: Path::new("/var/lib/god"),
        dir_exists: &|path| !path.starts_with("/missing"),
    })
}

/// The answer for a file's text alone, with all plugins built in.
pub fn check(text: &str) -> Result<Loaded, ConfigErrors> {
    check_with(text, &[], None, ALL)
}

/// The least configuration with more lines; must be good.
pub fn loaded(more: &str) -> Loaded {
    check(&format!("{LEAST}{more}")).expect("a good configuration")
}

/// All faults of the least configuration with more lines.
pub fn faults(more: &str) -> Vec<String> {
    let errors = check(&format!("{LEAST}{more}")).expect_err("a bad configuration");
    errors.faults.iter().map(ToString::to_string).collect()
}

/// The texts of the warnings.
pub fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

/// A sample file of the repository.
pub fn sample(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
