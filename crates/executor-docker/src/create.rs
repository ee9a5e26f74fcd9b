//! From a launch to what the engine is asked to create and what go-d-init is told. Pure.
//!
//! Nothing of a request reaches the engine as it stands: every option is made here, from checked values, and what is
//! not made here cannot be asked for.

use crate::files::{Prepared, SCRIPT};
use crate::options::Options;
use crate::wire;
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount, MountType, PortBinding,
    ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use god_core::executor::Launch;
use god_core::spec::{Output, TaskSpec};
use god_core::units::Seconds;
use god_runtime::environment::{self, ArrayRange, CONTAINER_WORKDIR, DATA_DIR, Place};
use god_runtime::launch::{ContainerLaunch, DEFAULT_UMASK, Identity, Key, Output as Files, Timing, Warn};
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// Where go-d-init is in the container.
const INIT: &str = "/mnt/god-init/go-d-init";
/// Where the attempt's directory is in the container, read-only.
const CONTROL: &str = "/mnt/god-launch";
/// Where the latch directory is in the container.
const LATCH: &str = "/mnt/god-latch";
/// What the engine calls no network at all.
const NO_NETWORK: &str = "none";
/// Where a container looks up the names of hosts first.
const HOSTS: &str = "/etc/hosts";
/// Directories of the host that no volume may show, nor anything above them.
const NEVER_SHOWN: [&str; 7] = ["/proc", "/sys", "/dev", "/etc", "/run", "/var/run", "/boot"];
/// Directories of the container that are not a volume's to cover.
const NEVER_COVERED: [&str; 8] =
    ["/proc", "/sys", "/dev", "/mnt/god-init", CONTROL, LATCH, CONTAINER_WORKDIR, DATA_DIR];
/// What root in a container may do beyond a plain user: give files away, act as other users, and pass the modes of
/// files, so that package managers work.
const ROOT_CAPABILITIES: [&str; 7] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"];

/// What go-d-init is told.
pub fn description(launch: &Launch, grace: Seconds) -> ContainerLaunch {
    let spec = &launch.spec;
    let home = spec.volumes.iter().find(|volume| volume.name == "home").map(|volume| volume.mount.as_str());
    let range = launch.child.as_ref().map(|child| ArrayRange {
        first: child.array.first,
        last: child.array.last,
        step: child.array.step,
    });
    let index = launch.child.as_ref().map(|child| child.index);
    let mut env = environment::shared(spec.owner.id.as_str(), Place::Container { home_mount: home }, range);
    env.extend(environment::own(launch.key.task.0, index, None));
    ContainerLaunch {
        key: Key { task: launch.key.task.0, attempt: launch.key.attempt },
        script: Path::new(CONTROL).join(SCRIPT),
        args: Vec::new(),
        env,
        workdir: PathBuf::from(CONTAINER_WORKDIR),
        latch_dir: PathBuf::from(LATCH),
        output: if spec.output == Output::Files { Files::Files } else { Files::None },
        info: spec.output == Output::Files,
        uris: spec.uris.clone(),
        umask: DEFAULT_UMASK,
        timing: Timing {
            time_limit_seconds: spec.limit().map(|limit| limit.0),
            grace_seconds: grace.0,
            warn: spec
                .warning()
                .map(|warning| Warn { signal: warning.signal, before_seconds: warning.before.0 }),
        },
        rlimits: Vec::new(),
    }
}

/// Why this executor will never run such a task, in words for its owner; `None` when it may.
pub fn refusal(spec: &TaskSpec, description: &ContainerLaunch, options: &Options) -> Option<String> {
    if spec.interactive {
        return Some("interactive sessions are not built into executor docker yet".to_owned());
    }
    if spec.gpus > 0 {
        return Some("executor docker offers no GPUs".to_owned());
    }
    let owner = &spec.owner;
    let identity = Identity { uid: owner.uid, gid: owner.gid, groups: owner.sgids.clone() };
    // Root in the container is allowed by the server, for those it is allowed to; the owner's ids are checked all the
    // same, since files are theirs.
    if let Err(bad) = identity.check(options.min_id) {
        return Some(bad.to_string());
    }
    if let Err(bad) = description.check() {
        return Some(bad.to_string());
    }
    if let Err(big) = environment::exec_bytes_limit([], &description.env) {
        return Some(big.to_string());
    }
    if !is_image(&spec.image) {
        return Some(format!("{:?} is no image: accepted is [registry/]name[:tag][@digest]", spec.image));
    }
    spec.volumes.iter().find_map(|volume| {
        if !is_plain(&volume.path) || overlaps(&volume.path, &NEVER_SHOWN) {
            return Some(format!("volume {} is not shown to tasks", volume.name));
        }
        (!is_plain(&volume.mount) || overlaps(&volume.mount, &NEVER_COVERED))
            .then(|| format!("volume {} cannot be mounted at {:?}", volume.name, volume.mount))
    })
}

/// The image with the private registry's name before it.
pub fn image(spec: &TaskSpec, options: &Options) -> String {
    match &options.registry {
        Some(registry) => format!("{}/{}", registry.trim_end_matches('/'), spec.image),
        None => spec.image.clone(),
    }
}

fn is_image(image: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b':' | b'@' | b'-');
    image.len() <= 512
        && image.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && image.bytes().all(plain)
        && !image.contains("..")
        && !image.contains("//")
}

/// An absolute path without any detour.
fn is_plain(path: &str) -> bool {
    !path.contains('\0')
        && Path::new(path).is_absolute()
        && !path.split('/').any(|part| part == "." || part == "..")
}

/// Whether a path is one of these, above one of these, or inside one of these.
fn overlaps(path: &str, places: &[&str]) -> bool {
    fn parts(path: &str) -> Vec<Component<'_>> {
        Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect()
    }
    let path = parts(path);
    places.iter().map(|place| parts(place)).any(|place| place.starts_with(&path) || path.starts_with(&place))
}

/// What the engine is asked to create. `cores` are those of its host.
pub fn body(launch: &Launch, prepared: &Prepared, options: &Options, cores: u32) -> ContainerCreateBody {
    let spec = &launch.spec;
    let uid = if spec.root { 0 } else { spec.owner.uid };
    let mut labels = HashMap::from([
        (wire::LABEL_CLUSTER.to_owned(), options.cluster.clone()),
        (wire::LABEL_TASK.to_owned(), launch.key.task.to_string()),
        (wire::LABEL_ATTEMPT.to_owned(), launch.key.attempt.to_string()),
        (wire::LABEL_EPOCH.to_owned(), launch.epoch.to_string()),
    ]);
    if let Some(limit) = spec.limit() {
        labels.insert(wire::LABEL_LIMIT.to_owned(), limit.0.to_string());
    }
    let network = network(spec, options);
    let ports = if network == NO_NETWORK { &[][..] } else { &launch.ports[..] };
    ContainerCreateBody {
        image: Some(image(spec, options)),
        user: Some(format!("{uid}:{}", spec.owner.gid)),
        entrypoint: Some(vec![INIT.to_owned()]),
        cmd: Some(vec!["--container".to_owned(), format!("{CONTROL}/launch.json")]),
        working_dir: Some(CONTAINER_WORKDIR.to_owned()),
        labels: Some(labels),
        // A paused container that gets its stop signal is let go on by the engine, and so hears it.
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(i64::try_from(options.grace.0).unwrap_or(i64::MAX)),
        // An image's own check would be one more process that the user did not ask for.
        healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        // The engine then makes no sandbox for a network that is not there, which costs as much as the rest of a start.
        // The container still has a network namespace of its own, with a loopback device that works.
        network_disabled: (network == NO_NETWORK).then_some(true),
        exposed_ports: (!ports.is_empty())
            .then(|| ports.iter().map(|port| format!("{}/tcp", port.container)).collect()),
        host_config: Some(HostConfig {
            port_bindings: (!ports.is_empty()).then(|| {
                let binding = |port: u16| PortBinding {
                    host_ip: Some(options.publish_address.clone()),
                    host_port: Some(port.to_string()),
                };
                ports
                    .iter()
                    .map(|port| (format!("{}/tcp", port.container), Some(vec![binding(port.host)])))
                    .collect()
            }),
            network_mode: Some(network.to_owned()),
            mounts: Some(mounts(launch, prepared, options)),
            tmpfs: prepared.job.is_none().then(|| {
                let options = format!("rw,exec,nosuid,nodev,mode=0700,uid={uid},gid={}", spec.owner.gid);
                HashMap::from([(CONTAINER_WORKDIR.to_owned(), options)])
            }),
            group_add: Some(spec.owner.sgids.iter().map(ToString::to_string).collect()),
            privileged: Some(false),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: spec.root.then(|| ROOT_CAPABILITIES.map(str::to_owned).to_vec()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            ipc_mode: Some("private".to_owned()),
            // No more than memory: what does not fit must not push others out to disk.
            memory: Some(limit(spec.amount().memory.0)),
            memory_swap: Some(limit(spec.amount().memory.0)),
            // A quota of more than the host has is an error; it would limit nothing.
            nano_cpus: (spec.cores.0 < cores).then(|| i64::from(spec.cores.0) * 1_000_000_000),
            pids_limit: Some(i64::from(options.pids_limit)),
            ulimits: Some(vec![ResourcesUlimits {
                name: Some("core".to_owned()),
                soft: Some(0),
                hard: Some(0),
            }]),
            // The end must stay visible until it is stored.
            restart_policy: Some(RestartPolicy {
                name: Some(RestartPolicyNameEnum::NO),
                maximum_retry_count: None,
            }),
            auto_remove: Some(false),
            init: Some(false),
            // Output goes to files. A second copy with the engine would grow without limit.
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The engine's name of the network of a task's container.
fn network<'a>(spec: &TaskSpec, options: &'a Options) -> &'a str {
    if spec.network == NO_NETWORK { NO_NETWORK } else { &options.network }
}

fn limit(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What is visible in the container. As mounts and not as "binds": the engine makes a missing source of a bind, as
/// root, and refuses one of a mount. A removed attempt directory must stop a late start.
fn mounts(launch: &Launch, prepared: &Prepared, options: &Options) -> Vec<Mount> {
    let bind = |source: &Path, target: &str, read_only: bool| Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    };
    let mut mounts = vec![
        bind(&options.init, INIT, true),
        bind(&prepared.attempt.dir, CONTROL, true),
        bind(&prepared.attempt.latch, LATCH, false),
    ];
    mounts.extend(prepared.job.as_deref().map(|job| bind(job, CONTAINER_WORKDIR, false)));
    mounts.extend(prepared.data.as_deref().map(|data| bind(data, DATA_DIR, true)));
    let spec = &launch.spec;
    // Without a network the engine makes no such file. What lies in a volume is not covered, nor made there.
    let volume_has_it = spec.volumes.iter().any(|volume| overlaps(&volume.mount, &[HOSTS]));
    if network(spec, options) == NO_NETWORK && !volume_has_it {
        mounts.push(bind(&prepared.hosts, HOSTS, true));
    }
    mounts.extend(spec.volumes.iter().map(|volume| {
        // The server forces this for root as well; what root could write must not depend on one place.
        bind(Path::new(&volume.path), &volume.mount, spec.root || !volume.writable)
    }));
    mounts
}

#[cfg(test)]
#[path = "create/tests.rs"]
mod tests;
