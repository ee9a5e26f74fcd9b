//! What the containers are like, and what images can and cannot do.

use crate::bed::{Cluster, bed, bed_with, client, engine};
use crate::images;
use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::CreateContainerOptions;
use god_core::executor::{Cause, PortPair, Run, Seen, StartError};
use god_core::spec::{TaskSpec, Volume};
use god_testkit::build;
use god_testkit::executor_contract::Bed;
use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

fn cluster(bed: &Bed) -> &Cluster {
    bed.keep.iter().find_map(|kept| kept.downcast_ref()).expect("a bed keeps its cluster")
}

fn name(bed: &Bed, run: &Run) -> String {
    format!("god-{}-{}", cluster(bed).name, run.key)
}

async fn docker() -> Docker {
    client(&engine().expect("known")).await
}

async fn log(bed: &Bed, spec: TaskSpec) -> String {
    let launch = bed.launch_of(spec);
    let run = bed.start(&launch).await;
    let exit = bed.until_exited(&run).await;
    let dir = bed.job_dir(&launch).expect("has files");
    let read = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap_or_default();
    assert_eq!(exit.cause, Cause::Code(0), "{exit:?}: {} {}", read("god.log"), read("god.err"));
    read("god.log")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_has_no_right_it_does_not_need() {
    let Some(bed) = bed().await else { return };
    let (_, run) = bed.run("#!/bin/sh\nsleep 600\n").await;
    let found = docker().await.inspect_container(&name(&bed, &run), None).await.expect("is there");
    let host = found.host_config.expect("told");
    assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
    assert_eq!(host.cap_add.unwrap_or_default(), Vec::<String>::new());
    assert!(host.security_opt.unwrap_or_default().iter().any(|word| word.starts_with("no-new-privileges")));
    assert_eq!((host.memory, host.memory_swap), (Some(1 << 30), Some(1 << 30)));
    assert_eq!((host.pids_limit, host.privileged), (Some(4096), Some(false)));
    assert_eq!(host.log_config.and_then(|log| log.typ).as_deref(), Some("none"));
    assert_eq!(host.network_mode.as_deref(), Some("none"));
    let config = found.config.expect("told");
    assert_eq!(config.user.as_deref(), Some("20001:20002"));
    let labels = config.labels.expect("told");
    assert_eq!(labels["god.task"], run.key.task.to_string());
    assert_eq!(labels["god.epoch"], "1");
    bed.kill(&run, 0).await;
}

/// The kernel's view from inside, which no option of the engine can gloss over.
#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_agrees() {
    let Some(bed) = bed().await else { return };
    let script = "#!/bin/sh\ngrep -E '^(Uid|Gid|CapEff|CapBnd|NoNewPrivs)' /proc/self/status\nulimit -c\n";
    let log = log(&bed, bed.spec(script)).await;
    for line in ["Uid:\t20001\t20001\t20001\t20001", "Gid:\t20002\t20002\t20002\t20002"] {
        assert!(log.contains(line), "{log}");
    }
    assert!(log.contains("CapEff:\t0000000000000000"), "{log}");
    assert!(log.contains("CapBnd:\t0000000000000000"), "{log}");
    assert!(log.contains("NoNewPrivs:\t1"), "{log}");
    assert!(log.ends_with("\n0\n"), "no core dumps: {log}");
}

/// A network namespace of its own, in which nothing is but a loopback device that works and has its name.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_network_only_the_loopback_device_is_there() {
    let Some(bed) = bed().await else { return };
    let script =
        "#!/bin/sh\nls /sys/class/net\nreadlink /proc/self/ns/net\nwget http://localhost:9/ 2>&1\n:\n";
    let spec = TaskSpec { network: "none".to_owned(), ..bed.spec(script) };
    let log = log(&bed, spec).await;
    let mine = std::fs::read_link("/proc/self/ns/net").expect("is there");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[0], "lo", "{log}");
    // An answer, and not that the name is unknown or the network is unreachable.
    assert!(log.contains("127.0.0.1") && log.contains("refused"), "{log}");
    assert_ne!(lines[1], mine.to_str().expect("is text"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setuid_program_gives_nothing() {
    let Some(bed) = bed().await else { return };
    let docker = docker().await;
    let root = busybox_root();
    let shell = root.path().join("bin/busybox");
    std::fs::set_permissions(&shell, PermissionsExt::from_mode(0o4755)).expect("its mode");
    let image = format!("godtest/setuid-{}:1", cluster(&bed).name);
    images::import(&docker, root.path(), &image).await;
    let spec = TaskSpec { image: image.clone(), ..bed.spec("#!/bin/sh\ngrep ^Uid /proc/self/status\n") };
    let log = log(&bed, spec).await;
    drop(bed);
    images::remove(&docker, &image).await;
    assert_eq!(log, "Uid:\t20001\t20001\t20001\t20001\n");
}

/// The task's script is run by what its first line names, and by nothing else of the image.
#[tokio::test(flavor = "multi_thread")]
async fn programs_of_the_image_are_not_trusted() {
    let Some(bed) = bed().await else { return };
    let docker = docker().await;
    let root = busybox_root();
    for trap in ["bin/sh", "bin/bash", "bin/su", "bin/sudo", "bin/useradd", "bin/env", "bin/login"] {
        let path = root.path().join(trap);
        if path.symlink_metadata().is_ok() {
            std::fs::remove_file(&path).expect("goes");
        }
        std::fs::write(&path, "#!/bin/ash\necho trapped as $(id -u) > /mnt/go-docker/trapped\n")
            .expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4755)).expect("its mode");
    }
    // Neither names nor settings of the image mean anything.
    std::fs::create_dir_all(root.path().join("etc")).expect("made");
    std::fs::write(root.path().join("etc/passwd"), "bob:x:0:0::/:/bin/sh\nx:x:20001:0::/:/bin/sh\n")
        .expect("written");
    std::fs::write(root.path().join("etc/ld.so.preload"), "/bin/evil.so\n").expect("written");
    let image = format!("godtest/hostile-{}:1", cluster(&bed).name);
    images::import(&docker, root.path(), &image).await;
    let launch =
        bed.launch_of(TaskSpec { image: image.clone(), ..bed.spec("#!/bin/ash\necho $(id -u):$(id -g)\n") });
    let run = bed.start(&launch).await;
    let exit = bed.until_exited(&run).await;
    let dir = bed.job_dir(&launch).expect("has files");
    let (log, trapped) = (std::fs::read_to_string(dir.join("god.log")), dir.join("trapped").exists());
    drop(bed);
    images::remove(&docker, &image).await;
    assert_eq!(
        (exit.cause, log.expect("written").as_str(), trapped),
        (Cause::Code(0), "20001:20002\n", false)
    );
}

fn busybox_root() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).expect("its mode");
    for dir in ["bin", "proc", "sys", "dev", "tmp"] {
        std::fs::create_dir(root.path().join(dir)).expect("made");
    }
    std::fs::copy("/bin/busybox", root.path().join("bin/busybox")).expect("a static busybox on this machine");
    for applet in ["sh", "ash", "id", "grep", "sleep", "cat", "env", "su"] {
        std::os::unix::fs::symlink("busybox", root.path().join("bin").join(applet)).expect("linked");
    }
    root
}

/// An image with nothing but one static program runs that program, given as the script.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_a_shell_is_enough() {
    let Some(bed) = bed().await else { return };
    let launch = bed.launch_of(TaskSpec { image: "godtest/scratch:1".to_owned(), ..bed.spec("#!/prog\n") });
    let run = bed.start(&launch).await;
    let exit = bed.until_exited(&run).await;
    assert!(matches!(exit.cause, Cause::Code(code) if code != 126 && code != 127), "{exit:?}");
    let dir = bed.job_dir(&launch).expect("has files");
    assert!(dir.join("god.info").exists(), "it was run by go-d-init");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_are_as_asked_and_uploads_are_read_only() {
    let Some(bed) = bed().await else { return };
    let shared = cluster(&bed).dir.path().to_owned();
    let make = |name: &str| -> PathBuf {
        let dir = shared.join(name);
        std::fs::create_dir_all(&dir).expect("made");
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).expect("its mode");
        std::fs::write(dir.join("greeting"), "hello").expect("written");
        dir
    };
    let volume = |name: &str, writable| Volume {
        name: name.to_owned(),
        path: make(name).display().to_string(),
        mount: format!("/volumes/{name}"),
        writable,
    };
    let uploads = god_runtime::jobdir::JobDirs::new(&shared).user_dir("bob");
    make(uploads.strip_prefix(&shared).expect("below").to_str().expect("text"));
    let script = "#!/bin/sh\ncat /volumes/rw/greeting /volumes/ro/greeting /mnt/god-data/greeting; echo\n\
                  touch /volumes/rw/new && echo rw\ntouch /volumes/ro/new 2>/dev/null || echo ro\n\
                  touch /mnt/god-data/new 2>/dev/null || echo data\n\
                  touch /mnt/god-launch/new /mnt/god-init/go-d-init 2>/dev/null || echo control\n";
    let spec = || TaskSpec { volumes: vec![volume("rw", true), volume("ro", false)], ..bed.spec(script) };
    assert_eq!(log(&bed, spec()).await, "hellohellohello\nrw\nro\ndata\ncontrol\n");
    let meta = std::fs::metadata(shared.join("rw/new")).expect("written");
    assert_eq!((meta.uid(), meta.gid()), (20_001, 20_002));
    // A volume that is not there is told to the owner, and nothing is made in its place.
    let mut missing = spec();
    missing.volumes[0].path.push_str("-missing");
    let path = PathBuf::from(&missing.volumes[0].path);
    let launch = bed.launch_of(missing);
    assert!(matches!(bed.try_start(&launch).await, Err(StartError::Refused(_))));
    assert!(!path.exists());
    assert_eq!(bed.observe(&build::run_of(&launch)).await, Seen::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn root_jobs_are_root_inside_and_write_only_their_directory() {
    let Some(bed) = bed().await else { return };
    let dir = cluster(&bed).dir.path().join("volume");
    std::fs::create_dir(&dir).expect("made");
    let volume = Volume {
        name: "v".to_owned(),
        path: dir.display().to_string(),
        mount: "/volume".to_owned(),
        writable: true,
    };
    let spec = TaskSpec {
        root: true,
        volumes: vec![volume],
        ..bed.spec("#!/bin/sh\nid -u; touch /volume/x 2>/dev/null || echo refused; mknod /tmp/d b 8 0 2>/dev/null || echo no device\n")
    };
    assert_eq!(log(&bed, spec).await, "0\nrefused\nno device\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_is_adopted_only_when_it_is_ours() {
    let Some(bed) = bed().await else { return };
    let docker = docker().await;
    let create = |run: &Run, cluster: &str| {
        let labels = HashMap::from([
            ("god.cluster".to_owned(), cluster.to_owned()),
            ("god.task".to_owned(), run.key.task.to_string()),
            ("god.attempt".to_owned(), "1".to_owned()),
        ]);
        let body = ContainerCreateBody {
            image: Some(bed.image.clone()),
            entrypoint: Some(vec!["/bin/true".to_owned()]),
            labels: Some(labels),
            host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        let options = CreateContainerOptions { name: Some(name(&bed, run)), ..Default::default() };
        let docker = docker.clone();
        async move { docker.create_container(Some(options), body).await.expect("created").id }
    };
    // Created by somebody who never got to start it.
    let launch = bed.launch("#!/bin/sh\nexit 3\n");
    let ours = create(&build::run_of(&launch), &cluster(&bed).name).await;
    assert_eq!(bed.observe(&build::run_of(&launch)).await, Seen::Created);
    let run = bed.start(&launch).await;
    assert_eq!(run.run.expect("known").as_str(), ours, "adopted, not made anew");
    // Somebody else's: untouched, whatever we are asked.
    let launch = bed.launch("#!/bin/sh\nexit 3\n");
    let run = build::run_of(&launch);
    let theirs = create(&run, "somebody-else").await;
    let refused = bed.try_start(&launch).await;
    assert!(matches!(&refused, Err(StartError::NotNow(why)) if why.contains("not ours")), "{refused:?}");
    assert_eq!(bed.observe(&run).await, Seen::Absent);
    bed.kill(&run, 0).await;
    let over = god_core::executor::Finished { key: run.key, parent: None, keep_files: true };
    bed.executor.forget(&[over]).await.expect("nothing to forget");
    let left = docker.inspect_container(&theirs, None).await.expect("still there");
    let state = left.state.and_then(|state| state.status).expect("told");
    docker.remove_container(&theirs, None).await.expect("goes");
    assert_eq!(state, bollard::models::ContainerStateStatusEnum::CREATED);
}

/// A container that has ended can be started again by anybody who may use the engine. Its script can not.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_behind_our_back_runs_nothing() {
    let Some(bed) = bed().await else { return };
    let docker = docker().await;
    let (launch, run) = bed.run("#!/bin/sh\necho ran >> marks\nexit 2\n").await;
    let exit = bed.until_exited(&run).await;
    docker.start_container(&name(&bed, &run), None).await.expect("the engine starts it");
    let code = god_testkit::until(bed.patience, "it ends again", async || {
        let state = docker.inspect_container(&name(&bed, &run), None).await.expect("is there").state?;
        (state.running == Some(false)).then_some(state.exit_code?)
    })
    .await;
    let marks = std::fs::read_to_string(bed.job_dir(&launch).expect("has files").join("marks"));
    assert_eq!((code, marks.expect("written").as_str()), (125, "ran\n"));
    assert_eq!(bed.observe(&run).await, Seen::Exited(exit), "what was seen stays");
    let second = bed.second.as_ref().expect("has one").observe(&[run]).await.expect("answers");
    assert!(
        matches!(&second[..], [Seen::Exited(exit)] if matches!(exit.cause, Cause::Lost(_))),
        "{second:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_nowhere_is_refused_with_its_name() {
    let Some(bed) = bed().await else { return };
    let image = "127.0.0.1:9/no/such-image:1";
    let launch = bed.launch_of(TaskSpec { image: image.to_owned(), ..bed.spec("#!/bin/sh\n") });
    match bed.try_start(&launch).await {
        Err(StartError::Refused(why)) => assert!(why.contains(image), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.observe(&build::run_of(&launch)).await, Seen::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_lead_into_the_container() {
    let Some(bed) = bed_with(|options| {
        options.network = "bridge".to_owned();
        options.publish_address = "127.0.0.1".to_owned();
    })
    .await
    else {
        return;
    };
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("known").port();
    let mut launch = bed.launch("#!/bin/sh\necho hello | nc -l -p 8080\n");
    launch.ports = vec![PortPair { host: free, container: 8080 }];
    let run = bed.start(&launch).await;
    let answer = god_testkit::until(bed.patience, "the port answers", async || {
        use tokio::io::AsyncReadExt;
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", free)).await.ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.ok()?;
        (!text.is_empty()).then_some(text)
    })
    .await;
    assert_eq!(answer, "hello\n");
    bed.until_exited(&run).await;
    // The next one finds the port free again; one that is not is no fault of the task.
    let held = std::net::TcpListener::bind(("127.0.0.1", free)).expect("free again");
    let mut launch = bed.launch("#!/bin/sh\n");
    launch.ports = vec![PortPair { host: free, container: 8080 }];
    let refused = bed.try_start(&launch).await;
    assert!(matches!(refused, Err(StartError::NotNow(_))), "{refused:?}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_process_table_stays_inside() {
    let Some(bed) = bed_with(|options| options.pids_limit = 20).await else { return };
    let spec = bed.spec("#!/bin/sh\nn=0; while [ $n -lt 60 ]; do sleep 60 & n=$((n+1)); done 2>/dev/null\n");
    let run = bed.start(&bed.launch_of(spec)).await;
    let exit = bed.until_exited(&run).await;
    assert!(matches!(exit.cause, Cause::Code(code) if code != 0), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_the_engines_host() {
    let Some(bed) = bed_with(|options| {
        options.cores = Some(3);
        options.max_tasks = Some(5);
        options.labels = vec!["disk==ssd".to_owned()];
    })
    .await
    else {
        return;
    };
    let info = docker().await.info().await.expect("answers");
    let node = bed.executor.nodes().await.expect("answers").remove(0);
    assert_eq!(Some(node.name.as_str()), info.name.as_deref());
    assert_eq!((node.total.cores.0, node.max_tasks), (3, Some(5)));
    assert_eq!(i64::try_from(node.total.memory.0).ok(), info.mem_total);
    assert_eq!(node.labels, ["disk==ssd"]);
}
