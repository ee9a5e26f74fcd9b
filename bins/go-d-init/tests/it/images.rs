//! The static build inside roots that hold next to nothing.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use god_runtime::launch::{ContainerLaunch, Output, Timing};

use crate::support::{PROGRAM, is_root, key, skip};

/// A root directory with the static program and what else is asked for.
fn root(with: &[&str]) -> Option<tempfile::TempDir> {
    if !is_root() {
        skip("changing the root directory needs root");
        return None;
    }
    // Built beside the profile these tests use, by `cargo xtask init-static`.
    let built = Path::new(PROGRAM).parent().and_then(Path::parent).unwrap().join("init/go-d-init");
    if !built.exists() {
        skip("go-d-init is not built as a static program: cargo xtask init-static");
        return None;
    }
    let busybox =
        ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
    let Some(busybox) = busybox else {
        skip("busybox is missing: install busybox-static");
        return None;
    };
    let root = tempfile::tempdir().unwrap();
    for dir in ["work", "latch", "dev", "bin", "mnt"] {
        std::fs::create_dir(root.path().join(dir)).unwrap();
    }
    let null = root.path().join("dev/null");
    assert!(Command::new("mknod").arg(&null).args(["-m", "666", "c", "1", "3"]).status().unwrap().success());
    std::fs::copy(built, root.path().join("mnt/go-d-init")).unwrap();
    for path in with {
        std::fs::copy(&busybox, root.path().join(path)).unwrap();
    }
    Some(root)
}

fn run(root: &tempfile::TempDir, script: &str) -> (Option<i32>, String, String) {
    let path = root.path().join("mnt/cmd.sh");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    let launch = ContainerLaunch {
        key: key(1),
        script: "/mnt/cmd.sh".into(),
        args: vec![],
        env: vec![],
        workdir: "/work".into(),
        latch_dir: "/latch".into(),
        output: Output::Files,
        info: true,
        uris: vec![],
        umask: 0o027,
        timing: Timing::default(),
        rlimits: vec![],
    };
    std::fs::write(root.path().join("mnt/launch.json"), serde_json::to_vec(&launch).unwrap()).unwrap();
    let status = Command::new("chroot")
        .arg(root.path())
        .args(["/mnt/go-d-init", "--container", "/mnt/launch.json"])
        .status()
        .unwrap();
    let file = |name: &str| std::fs::read_to_string(root.path().join("work").join(name)).unwrap_or_default();
    (status.code(), file("god.log"), file("god.err"))
}

#[test]
fn one_static_program_as_interpreter() {
    let Some(root) = root(&["prog-busybox"]) else { return };
    std::fs::rename(root.path().join("prog-busybox"), root.path().join("busybox")).unwrap();
    let (code, log, err) = run(&root, "#!/busybox sh\necho inside\nexit 6\n");
    assert_eq!((code, log.as_str(), err.as_str()), (Some(6), "inside\n", ""));
}

#[test]
fn only_busybox() {
    let Some(root) = root(&["bin/sh"]) else { return };
    let (code, log, _) = run(&root, "echo without a first line\nexit 5\n");
    assert_eq!((code, log.as_str()), (Some(5), "without a first line\n"));
}

#[test]
fn nothing_at_all() {
    let Some(root) = root(&[]) else { return };
    let (code, log, err) = run(&root, "#!/bin/bash\necho never\n");
    assert_eq!((code, log.as_str()), (Some(127), ""));
    assert!(err.contains("the interpreter it names does not exist (#!/bin/bash)"), "{err}");
    std::fs::remove_file(root.path().join("latch/started")).unwrap();
    let (code, _, err) = run(&root, "echo never\n");
    assert_eq!(code, Some(126));
    assert!(err.contains("names no interpreter"), "{err}");
}
