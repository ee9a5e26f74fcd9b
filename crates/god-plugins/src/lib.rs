//! The one table of plugins: name -> constructor, read top to bottom, one feature each.
//!
//! A plugin is handed what it needs and never sees the configuration as a whole. A name that the product has and this
//! build has not is a fault of the configuration; nothing is ever left out in silence.

mod auths;
mod executors;
mod files;
pub mod init;
mod limits;
mod site;
mod statuses;
mod stores;

pub use auths::auth;
pub use executors::{executors, needs_one_process};
pub use files::files;
pub use limits::{not_built_in, without_effect};
pub use site::site;
pub use statuses::status;
pub use stores::{backup, store};

use god_config::{Config, Known};
use god_core::BoxError;
use god_core::policy::Policy;
use god_core::watcher::WatcherPlugin;
use std::sync::Arc;

/// Why a plugin was not made.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// This build has no plugin of the name.
    #[error("the {kind} `{name}` is not built into this program; known here: {known}")]
    NotBuiltIn {
        /// Which kind of plugin.
        kind: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The plugin itself refused.
    #[error("the {kind} `{name}` can not be used")]
    Failed {
        /// Which kind of plugin.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: BoxError,
    },
}

type BuildPolicy = fn(&Config) -> Arc<dyn Policy>;

/// Constructors of policies.
const POLICIES: &[(&str, BuildPolicy)] =
    &[(policy_fifo::NAME, |_| Arc::new(policy_fifo::FiFo)), (policy_fairshare::NAME, fair_share)];

type BuildWatcher = fn(&Config) -> Arc<dyn WatcherPlugin>;

/// Constructors of watchers.
const WATCHERS: &[(&str, BuildWatcher)] = &[
    (watcher_maxlifespan::NAME, |_| Arc::new(watcher_maxlifespan::MaxLifespan)),
    (watcher_godflow::NAME, |_| Arc::new(watcher_godflow::Godflow)),
    (watcher_fake::NAME, |_| Arc::new(watcher_fake::Fake)),
];

/// Layouts of job directories.
const STORAGES: &[&str] = &["pairtree"];

/// The names that a configuration may use with this program.
#[must_use]
pub fn known() -> Known<'static> {
    const POLICY_NAMES: [&str; POLICIES.len()] = names(POLICIES);
    const WATCHER_NAMES: [&str; WATCHERS.len()] = names(WATCHERS);
    Known {
        executors: executors::NAMES,
        auth: auths::NAMES,
        policies: &POLICY_NAMES,
        watchers: &WATCHER_NAMES,
        status: statuses::NAMES,
        storages: STORAGES,
    }
}

/// The configured policy.
///
/// # Errors
/// [`PluginError::NotBuiltIn`].
pub fn policy(config: &Config) -> Result<Arc<dyn Policy>, PluginError> {
    let build = find("scheduling policy", POLICIES, &config.scheduling.policy)?;
    Ok(build(config))
}

fn fair_share(config: &Config) -> Arc<dyn Policy> {
    let weights = &config.scheduling.fairshare;
    Arc::new(policy_fairshare::FairShare::new(policy_fairshare::Weights {
        waiting_time: weights.waiting_time,
        user_time: weights.user_time,
        user_cpu: weights.user_cpu,
        user_ram: weights.user_ram,
        project_time: weights.group_time,
        project_cpu: weights.group_cpu,
        project_ram: weights.group_ram,
        user: weights.user,
        project: weights.group,
    }))
}

/// The configured watchers, in their order.
///
/// # Errors
/// [`PluginError::NotBuiltIn`].
pub fn watchers(config: &Config) -> Result<Vec<Arc<dyn WatcherPlugin>>, PluginError> {
    let names = config.scheduling.watchers.iter();
    names.map(|name| find("watcher", WATCHERS, name).map(|build| build(config))).collect()
}

/// The names of a table.
const fn names<T, const N: usize>(table: &[(&'static str, T)]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = table[i].0;
        i += 1;
    }
    names
}

/// The row of this name.
fn find<'t, T>(kind: &'static str, table: &'t [(&'static str, T)], name: &str) -> Result<&'t T, PluginError> {
    let row = table.iter().find(|(known, _)| *known == name);
    row.map(|(_, build)| build).ok_or_else(|| PluginError::NotBuiltIn {
        kind,
        name: name.to_owned(),
        known: table.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", "),
    })
}

#[cfg(test)]
mod tests;
