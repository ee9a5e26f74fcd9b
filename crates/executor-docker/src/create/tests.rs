use super::*;
use god_core::executor::PortPair;
use god_core::ids::NodeName;
use god_core::spec::Volume;
use god_runtime::jobdir::AttemptDirs;
use god_testkit::build;

fn options() -> Options {
    Options::new("site", "/srv/god", "/usr/lib/god/go-d-init")
}

fn prepared(job: bool) -> Prepared {
    let dir = PathBuf::from("/srv/god/control/7/attempt-1");
    Prepared {
        job: job.then(|| PathBuf::from("/srv/god/tasks/pairtree_root/7/task")),
        attempt: AttemptDirs { launch: dir.join("launch.json"), latch: dir.join("latch"), dir },
        data: None,
        hosts: PathBuf::from("/srv/god/control/hosts"),
    }
}

fn spec() -> TaskSpec {
    TaskSpec { image: "debian:12".to_owned(), ..build::spec(build::owner(20_001, 20_002), "#!/bin/sh\n") }
}

fn launch(spec: TaskSpec) -> Launch {
    build::launch(spec, 7, 1, &NodeName::new("n"))
}

fn volume(path: &str, mount: &str, writable: bool) -> Volume {
    Volume { name: "data".to_owned(), path: path.to_owned(), mount: mount.to_owned(), writable }
}

fn refused(spec: TaskSpec) -> Option<String> {
    let launch = launch(spec);
    refusal(&launch.spec, &description(&launch, Seconds(5)), &options())
}

#[test]
fn a_plain_task_gets_no_right_it_does_not_need() {
    let body = body(&launch(spec()), &prepared(true), &options(), 64);
    assert_eq!(body.user.as_deref(), Some("20001:20002"));
    let host = body.host_config.unwrap();
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.cap_add, None);
    assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
    assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
    assert_eq!(host.nano_cpus, Some(1_000_000_000));
    assert_eq!(host.pids_limit, Some(4096));
    assert_eq!((host.privileged, host.auto_remove), (Some(false), Some(false)));
    // What could open the host is not only off, it is not even said.
    assert_eq!((host.pid_mode, host.userns_mode, host.uts_mode, host.devices), (None, None, None, None));
    assert_eq!((host.binds, host.volumes_from, host.cgroup_parent, host.sysctls), (None, None, None, None));
    let writable: Vec<_> = host
        .mounts
        .unwrap()
        .into_iter()
        .filter(|mount| mount.read_only != Some(true))
        .map(|mount| mount.target.unwrap())
        .collect();
    assert_eq!(writable, ["/mnt/god-latch", "/mnt/go-docker"]);
}

#[test]
fn root_is_root_with_few_rights_and_writes_no_volume() {
    let root = TaskSpec { root: true, volumes: vec![volume("/data", "/data", true)], ..spec() };
    let body = body(&launch(root), &prepared(true), &options(), 1);
    assert_eq!(body.user.as_deref(), Some("0:20002"));
    let host = body.host_config.unwrap();
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    let added = host.cap_add.unwrap();
    for never in ["SYS_ADMIN", "NET_RAW", "NET_ADMIN", "MKNOD", "SYS_PTRACE", "DAC_READ_SEARCH", "ALL"] {
        assert!(!added.iter().any(|cap| cap == never), "{never}");
    }
    assert!(
        host.mounts
            .unwrap()
            .iter()
            .any(|m| m.target.as_deref() == Some("/data") && m.read_only == Some(true))
    );
    assert_eq!(host.nano_cpus, None, "as many cores as the host has");
}

#[test]
fn ports_and_networks() {
    let mut launch = launch(spec());
    launch.ports = vec![PortPair { host: 10_022, container: 22 }];
    let body_ = body(&launch, &prepared(true), &options(), 8);
    assert_eq!(body_.exposed_ports, Some(vec!["22/tcp".to_owned()]));
    let host = body_.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("bridge"));
    let binding = host.port_bindings.unwrap()["22/tcp"].clone().unwrap().remove(0);
    assert_eq!(binding.host_port.as_deref(), Some("10022"));
    assert_eq!(body_.network_disabled, None);
    std::sync::Arc::make_mut(&mut launch.spec).network = "none".to_owned();
    let body = body(&launch, &prepared(true), &options(), 8);
    assert_eq!(body.network_disabled, Some(true));
    let host = body.host_config.unwrap();
    assert_eq!((host.network_mode.as_deref(), host.port_bindings), (Some("none"), None));
}

#[test]
fn without_a_network_the_loopback_device_has_its_names() {
    let shown = |network: &str, mount: &str| {
        let spec =
            TaskSpec { network: network.to_owned(), volumes: vec![volume("/data", mount, true)], ..spec() };
        let mounts = body(&launch(spec), &prepared(true), &options(), 8).host_config.unwrap().mounts.unwrap();
        mounts.into_iter().find(|mount| mount.target.as_deref() == Some("/etc/hosts"))
    };
    let hosts = shown("none", "/data").unwrap();
    assert_eq!((hosts.source.as_deref(), hosts.read_only), (Some("/srv/god/control/hosts"), Some(true)));
    assert_eq!(shown("public", "/data"), None, "the engine makes its own");
    for mount in ["/etc", "/etc/hosts"] {
        assert_ne!(shown("none", mount).and_then(|hosts| hosts.source).as_deref(), hosts.source.as_deref());
    }
}

#[test]
fn no_output_is_a_directory_in_memory() {
    let launch = launch(TaskSpec { output: Output::None, ..spec() });
    let host = body(&launch, &prepared(false), &options(), 8).host_config.unwrap();
    assert!(host.tmpfs.unwrap()["/mnt/go-docker"].contains("uid=20001"));
    let told = description(&launch, Seconds(5));
    assert_eq!((told.output, told.info), (Files::None, false));
}

#[test]
fn the_registry_goes_before_the_image() {
    let options = Options { registry: Some("registry.example.org/".to_owned()), ..options() };
    assert_eq!(image(&spec(), &options), "registry.example.org/debian:12");
}

#[test]
fn what_could_open_the_host_is_refused() {
    assert_eq!(refused(spec()), None);
    for path in [
        "/",
        "/etc",
        "/etc/ssh",
        "/proc",
        "/sys/fs",
        "/run/docker.sock",
        "/var/run",
        "/var",
        "/dev/sda",
        "x",
        "/data/../etc",
        "/data/./x",
        "",
        "/a\0b",
    ] {
        assert!(
            refused(TaskSpec { volumes: vec![volume(path, "/data", false)], ..spec() }).is_some(),
            "{path}"
        );
    }
    for mount in
        ["/", "/proc/1", "/mnt", "/mnt/god-init", "/mnt/god-launch/x", "/mnt/go-docker", "x", "/a/../proc"]
    {
        assert!(
            refused(TaskSpec { volumes: vec![volume("/data", mount, false)], ..spec() }).is_some(),
            "{mount}"
        );
    }
    for (path, mount) in [("/data", "/data"), ("/home/bob", "/mnt/home"), ("/variety", "/devices")] {
        assert_eq!(refused(TaskSpec { volumes: vec![volume(path, mount, true)], ..spec() }), None);
    }
    for image in ["", "-x", "a b", "a;b", "../x", "a//b", "$(id)", "a\nb"] {
        assert!(refused(TaskSpec { image: image.to_owned(), ..spec() }).is_some(), "{image}");
    }
    for (uid, gid) in [(0, 20_000), (999, 20_000), (20_000, 0), (65_534, 20_000), (u32::MAX, 20_000)] {
        assert!(refused(TaskSpec { owner: build::owner(uid, gid), ..spec() }).is_some(), "{uid}:{gid}");
        assert!(refused(TaskSpec { owner: build::owner(uid, gid), root: true, ..spec() }).is_some());
    }
    assert!(refused(TaskSpec { gpus: 1, ..spec() }).is_some());
    assert!(refused(TaskSpec { interactive: true, ..spec() }).is_some());
}

#[test]
fn the_home_volume_is_known_to_scripts() {
    let home = Volume { name: "home".to_owned(), ..volume("/home/bob", "/mnt/home", true) };
    let told = description(
        &launch(TaskSpec { volumes: vec![home], time_limit: Some(Seconds(60)), ..spec() }),
        Seconds(5),
    );
    assert!(told.env.contains(&("GODOCKER_HOME".to_owned(), "/mnt/home".to_owned())));
    assert_eq!(told.timing.time_limit_seconds, Some(60));
}
