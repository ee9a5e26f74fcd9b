use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::launch::{Key, Output, Timing};

fn me() -> Owner {
    Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

/// Another user when that can be tried, else ourselves.
fn user() -> Owner {
    if rustix::process::geteuid().is_root() { Owner { uid: 12_345, gid: 12_346 } } else { me() }
}

fn mode(path: &Path) -> u32 {
    std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn owner(path: &Path) -> Owner {
    let meta = std::fs::symlink_metadata(path).unwrap();
    Owner { uid: meta.uid(), gid: meta.gid() }
}

fn launch() -> ContainerLaunch {
    ContainerLaunch {
        key: Key { task: 9, attempt: 2 },
        script: "/mnt/god-init/cmd.sh".into(),
        args: vec![],
        env: vec![],
        workdir: "/mnt/go-docker".into(),
        latch_dir: "/mnt/god-latch".into(),
        output: Output::Files,
        info: true,
        uris: vec![],
        umask: 0o027,
        timing: Timing::default(),
        rlimits: vec![],
    }
}

#[test]
fn paths_follow_the_pairtree() {
    let dirs = JobDirs::new("/shared");
    assert_eq!(dirs.task_dir(7), Path::new("/shared/tasks/pairtree_root/7/task"));
    assert_eq!(dirs.child_dir(123, 5), Path::new("/shared/tasks/pairtree_root/12/3/task/5"));
    assert_eq!(dirs.user_dir("bob"), Path::new("/shared/tasks/pairtree_root/us/er/_b/ob/task"));
    assert_eq!(dirs.script_path(1234), Path::new("/shared/control/12/34/cmd.sh"));
}

#[test]
fn a_tasks_directory_is_its_users_alone() {
    let keep = tempfile::tempdir().unwrap();
    let dirs = JobDirs::new(keep.path());
    let made = dirs.create_task_dir(123, user()).unwrap();
    assert_eq!(made, dirs.task_dir(123));
    assert_eq!((owner(&made), mode(&made)), (user(), 0o700));
    for above in made.ancestors().skip(1).take(4) {
        assert_eq!((owner(above).uid, mode(above)), (me().uid, 0o755), "{}", above.display());
    }
    std::fs::write(made.join("result"), "x").unwrap();
    dirs.create_task_dir(123, user()).unwrap();
    assert!(made.join("result").exists());
}

#[test]
fn an_arrays_children_are_apart() {
    let keep = tempfile::tempdir().unwrap();
    let dirs = JobDirs::new(keep.path());
    let child = dirs.create_child_dir(50, 3, user()).unwrap();
    assert_eq!(child, dirs.child_dir(50, 3));
    assert_eq!((owner(&child), mode(&child)), (user(), 0o700));
    let parent = child.parent().unwrap();
    assert_eq!((owner(parent).uid, owner(parent).gid, mode(parent)), (me().uid, user().gid, 0o750));
}

#[test]
fn links_and_strangers_in_the_way_are_refused() {
    let keep = tempfile::tempdir().unwrap();
    let victim = keep.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    let dirs = JobDirs::new(keep.path());
    let parent = dirs.create_task_parent(8).unwrap();
    symlink(&victim, parent.join("task")).unwrap();
    assert!(dirs.create_task_dir(8, user()).is_err());
    assert_eq!(owner(&victim), me());

    let parent = dirs.create_task_parent(9).unwrap();
    std::fs::set_permissions(&parent, PermissionsExt::from_mode(0o777)).unwrap();
    assert!(matches!(dirs.create_task_dir(9, user()), Err(JobDirError::Open { .. })));

    if rustix::process::geteuid().is_root() {
        dirs.create_task_dir(6, Owner { uid: 777, gid: 777 }).unwrap();
        assert!(dirs.create_task_dir(6, user()).is_err(), "the directory of another user was given away");
    }
}

#[test]
fn the_script_is_written_once_and_only_its_user_reads_it() {
    let keep = tempfile::tempdir().unwrap();
    let dirs = JobDirs::new(keep.path());
    let text = b"#!/bin/sh\necho \xff\n";
    let path = dirs.write_script(42, user(), text).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), text);
    assert_eq!((owner(&path).uid, mode(&path)), (user().uid, 0o500));
    assert_eq!(mode(path.parent().unwrap()), 0o711);
    let first = std::fs::metadata(&path).unwrap().ino();
    dirs.write_script(42, user(), text).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), first, "it was written again");
    dirs.write_script(42, user(), b"other").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"other");
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "a draft stayed");
}

#[test]
fn removing_one_control_directory_leaves_the_longer_ids() {
    let keep = tempfile::tempdir().unwrap();
    let dirs = JobDirs::new(keep.path());
    for task in [12, 123, 1234] {
        dirs.write_script(task, user(), b"x").unwrap();
    }
    dirs.create_attempt(12, 1, user(), &launch()).unwrap();
    dirs.remove_control_dir(12).unwrap();
    assert!(!dirs.script_path(12).exists() && !dirs.attempt_dirs(12, 1).dir.exists());
    assert!(dirs.script_path(123).exists() && dirs.script_path(1234).exists());
    dirs.remove_control_dir(123).unwrap();
    assert!(!dirs.control_dir(123).exists());
    dirs.remove_control_dir(123).unwrap();
}

#[test]
fn removing_a_task_leaves_the_longer_ids() {
    let keep = tempfile::tempdir().unwrap();
    let dirs = JobDirs::new(keep.path());
    let short = dirs.create_task_dir(12, user()).unwrap();
    let long = dirs.create_task_dir(123, user()).unwrap();
    std::fs::create_dir_all(short.join("a/b")).unwrap();
    dirs.remove_task_dir(12).unwrap();
    dirs.remove_task_dir(12).unwrap();
    dirs.remove_task_dir(999).unwrap();
    assert!(!short.exists() && long.exists());
}

#[test]
fn an_attempt_runs_or_is_abandoned() {
    let keep = tempfile::tempdir().unwrap();
    let dirs = JobDirs::new(keep.path());
    let made = dirs.create_attempt(9, 2, user(), &launch()).unwrap();
    assert_eq!((owner(&made.latch), mode(&made.latch)), (user(), 0o700));
    assert_eq!((owner(&made.launch).uid, mode(&made.launch)), (user().uid, 0o400));
    let read: ContainerLaunch = serde_json::from_slice(&std::fs::read(&made.launch).unwrap()).unwrap();
    assert_eq!(read, launch());
    assert!(dirs.abandon_attempt(9, 2).unwrap());
    assert!(!dirs.abandon_attempt(9, 2).unwrap());
    assert!(dirs.abandon_attempt(9, 3).unwrap(), "never made: nothing can have run");
}

#[test]
fn exit_records_are_read_with_suspicion() {
    let keep = tempfile::tempdir().unwrap();
    let dirs = JobDirs::new(keep.path());
    let latch = dirs.create_attempt(9, 1, me(), &launch()).unwrap().latch;
    assert_eq!(dirs.read_exit_record(9, 1), None);
    let record = ExitRecord { code: Some(7), ..ExitRecord::default() };
    std::fs::write(latch.join(EXIT_FILE), serde_json::to_vec(&record).unwrap()).unwrap();
    assert_eq!(dirs.read_exit_record(9, 1), Some(record));
    for bad in [vec![b' '; 1 << 20], b"{".to_vec(), vec![]] {
        std::fs::write(latch.join(EXIT_FILE), bad).unwrap();
        assert_eq!(dirs.read_exit_record(9, 1), None);
    }
    std::fs::remove_file(latch.join(EXIT_FILE)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(latch.join(EXIT_FILE)).status().unwrap().success());
    assert_eq!(dirs.read_exit_record(9, 1), None, "a pipe was read");
    std::fs::remove_file(latch.join(EXIT_FILE)).unwrap();
    symlink("/etc/passwd", latch.join(EXIT_FILE)).unwrap();
    assert_eq!(dirs.read_exit_record(9, 1), None);
}
