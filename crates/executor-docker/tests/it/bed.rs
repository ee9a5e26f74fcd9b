//! A cluster of its own for each test: own name, own directories, nothing left behind.

use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use executor_docker::{DockerExecutor, Options};
use god_core::executor::{Executor, Launch};
use god_core::ids::ExecutorName;
use god_core::spec::Owner;
use god_runtime::jobdir::JobDirs;
use god_testkit::executor_contract::Bed;
use god_testkit::{build, service, skip};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub const BUSYBOX: &str = "godtest/busybox:1";

/// The static go-d-init, when it was made.
pub fn init() -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let init = std::path::absolute(target.join("init/go-d-init")).ok()?;
    if !init.is_file() {
        skip("there is no static go-d-init: make it with `cargo xtask init-static`");
        return None;
    }
    Some(init)
}

/// Address of the engine; `None` (said aloud) when these tests cannot run here.
pub fn engine() -> Option<String> {
    let url = service("DOCKER_HOST")?;
    if !rustix::process::geteuid().is_root() {
        skip("containers run as other users: that needs root");
        return None;
    }
    Some(url)
}

/// Directories and name of one cluster. Its containers go when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    pub url: String,
    pub name: String,
    pub dir: tempfile::TempDir,
}

impl Cluster {
    pub fn new(url: String) -> Cluster {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new().prefix("god-docker-").tempdir().expect("a directory");
        // Jobs run as somebody else, below this directory.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let name = format!("it{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Cluster { url, name, dir }
    }

    pub fn options(&self) -> Option<Options> {
        Some(Options {
            url: self.url.clone(),
            network: "none".to_owned(),
            grace: god_core::Seconds(25),
            ..Options::new(&self.name, self.dir.path(), init()?)
        })
    }

    pub fn job_dir(shared: PathBuf, launch: &Launch) -> PathBuf {
        let dirs = JobDirs::new(shared);
        match &launch.child {
            None => dirs.task_dir(launch.key.task.0),
            Some(child) => dirs.child_dir(child.parent.0, child.index),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let (url, name) = (self.url.clone(), self.name.clone());
        let clean = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a run time");
            runtime.block_on(remove_all(&url, &name));
        });
        if clean.join().is_err() {
            println!("containers of {} were left", self.name);
        }
    }
}

/// A client of the engine for looking behind the executor's back.
pub async fn client(url: &str) -> Docker {
    let docker = match url.strip_prefix("unix://") {
        Some(path) => Docker::connect_with_unix(path, 60, API_DEFAULT_VERSION),
        None => Docker::connect_with_http(url, 60, API_DEFAULT_VERSION),
    };
    docker.expect("an address").negotiate_version().await.expect("the engine answers")
}

async fn remove_all(url: &str, cluster: &str) {
    let Some(path) = url.strip_prefix("unix://").filter(|path| Path::new(path).exists()) else { return };
    let Ok(docker) = Docker::connect_with_unix(path, 60, API_DEFAULT_VERSION) else { return };
    let Ok(docker) = docker.negotiate_version().await else { return };
    let filters = [("label".to_owned(), vec![format!("god.cluster={cluster}")])].into();
    let options = ListContainersOptions { all: true, filters: Some(filters), ..Default::default() };
    for found in docker.list_containers(Some(options)).await.unwrap_or_default() {
        let options = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        if let Err(err) = docker.remove_container(&found.id.unwrap_or_default(), Some(options)).await {
            println!("a container was left: {err}");
        }
    }
}

pub async fn bed() -> Option<Bed> {
    bed_with(|_| {}).await
}

pub async fn bed_with(change: impl FnOnce(&mut Options)) -> Option<Bed> {
    let cluster = Cluster::new(engine()?);
    let mut options = cluster.options()?;
    change(&mut options);
    Some(bed_of(cluster, options).await)
}

/// A bed with a second instance, as a user of this machine that exists nowhere.
pub async fn bed_of(cluster: Cluster, options: Options) -> Bed {
    let new = || {
        let name = ExecutorName::new("docker");
        Arc::new(DockerExecutor::new(name, options.clone()).expect("good options"))
    };
    let executor = new();
    let node = executor.nodes().await.expect("the engine answers").remove(0);
    let mut bed = Bed::new(executor, node.name);
    bed.second = Some(new());
    let shared = cluster.dir.path().to_owned();
    bed.job_dirs = Some(Box::new(move |launch| Cluster::job_dir(shared.clone(), launch)));
    bed.owner = owner();
    bed.image = BUSYBOX.to_owned();
    bed.sets_identity = true;
    bed.limits_memory = true;
    bed.patience = Duration::from_secs(90);
    bed.keep.push(Box::new(cluster));
    bed
}

pub fn owner() -> Owner {
    build::owner(20_001, 20_002)
}
