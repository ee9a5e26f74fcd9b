//! Executors.

use crate::{PluginError, find, names};
use futures::future::BoxFuture;
use god_config::Config;
use god_core::BoxError;
use god_core::executor::Executor;
use std::sync::Arc;

/// An executor, or why it can not be used.
type Built = Result<Arc<dyn Executor>, BoxError>;

/// One row of the table.
pub(crate) struct Row {
    build: fn(&Config) -> BoxFuture<'_, Built>,
    /// Whether it runs images.
    pub(crate) images: bool,
    /// Whether its runs are known in one process only.
    one_process: bool,
}

/// All executors of this build.
pub(crate) const TABLE: &[(&str, Row)] = &[
    #[cfg(feature = "local")]
    ("local", Row { build: local, images: false, one_process: false }),
    #[cfg(feature = "docker")]
    ("docker", Row { build: docker, images: true, one_process: false }),
    #[cfg(feature = "fake")]
    ("fake", Row { build: fake, images: false, one_process: true }),
];

const NAMES_ARRAY: [&str; TABLE.len()] = names(TABLE);
/// Their names.
pub(crate) const NAMES: &[&str] = &NAMES_ARRAY;

/// The configured executors, in their order.
///
/// # Errors
/// The first that is not built in or can not be used, with the reason.
pub async fn executors(config: &Config) -> Result<Vec<Arc<dyn Executor>>, PluginError> {
    let mut executors = Vec::new();
    for name in &config.executors.names {
        let row = find("executor", TABLE, name)?;
        let built = (row.build)(config).await;
        let failed = |source| PluginError::Failed { kind: "executor", name: name.clone(), source };
        executors.push(built.map_err(failed)?);
    }
    Ok(executors)
}

/// The configured executors whose runs end with their process and are known in it alone: all daemons must then be one
/// process.
#[must_use]
pub fn needs_one_process(config: &Config) -> Vec<&str> {
    let alone = |name: &&str| TABLE.iter().any(|(known, row)| known == name && row.one_process);
    config.executors.names.iter().map(String::as_str).filter(alone).collect()
}

#[cfg(feature = "local")]
fn local(config: &Config) -> BoxFuture<'_, Built> {
    use executor_local::Cgroups;
    use god_core::ids::ExecutorName;
    use god_core::units::{Bytes, Seconds};
    Box::pin(async move {
        let local = &config.executors.local;
        let options = executor_local::Options {
            cores: local.cores,
            memory: local.memory_bytes.map(Bytes),
            grace: Seconds(config.base.grace_seconds),
            min_id: config.base.min_uid,
            cgroups: match local.cgroups {
                god_config::Cgroups::Auto => Cgroups::Auto,
                god_config::Cgroups::Off => Cgroups::Off,
                god_config::Cgroups::Require => Cgroups::Require,
            },
            keep_output: local.output == god_config::Output::Files,
            ..executor_local::Options::new(
                config.base.cluster.clone(),
                config.base.shared_dir.clone(),
                crate::init::find(false)?,
                config.base.data_dir.join("keeper"),
            )
        };
        let executor: Arc<dyn Executor> =
            Arc::new(executor_local::LocalExecutor::new(ExecutorName::new("local"), options)?);
        Ok(executor)
    })
}

#[cfg(feature = "docker")]
fn docker(config: &Config) -> BoxFuture<'_, Built> {
    use god_core::ids::ExecutorName;
    use god_core::units::{Bytes, Seconds};
    Box::pin(async move {
        let docker = &config.executors.docker;
        let options = executor_docker::Options {
            url: docker.url.reveal().to_owned(),
            tls: docker.tls.clone().map(|tls| executor_docker::Tls {
                authority: tls.ca_cert,
                client: tls
                    .client
                    .map(|client| executor_docker::ClientIdentity { cert: client.cert, key: client.key }),
            }),
            cores: docker.cores,
            memory: docker.memory_bytes.map(Bytes),
            network: docker.network.clone(),
            registry: config.images.private_registry.clone(),
            grace: Seconds(config.base.grace_seconds),
            min_id: config.base.min_uid,
            ..executor_docker::Options::new(
                config.base.cluster.clone(),
                config.base.shared_dir.clone(),
                crate::init::find(true)?,
            )
        };
        let executor: Arc<dyn Executor> =
            Arc::new(executor_docker::DockerExecutor::new(ExecutorName::new("docker"), options)?);
        Ok(executor)
    })
}

#[cfg(feature = "fake")]
fn fake(_: &Config) -> BoxFuture<'_, Built> {
    use god_core::ids::ExecutorName;
    Box::pin(async {
        // Fake runs are short: the node holds as many ahead as a few turns of the scheduler end.
        let options = executor_fake::Options { queue: 4_096, ..executor_fake::Options::default() };
        let executor: Arc<dyn Executor> =
            Arc::new(executor_fake::FakeExecutor::new(ExecutorName::new("fake"), options));
        Ok(executor)
    })
}
