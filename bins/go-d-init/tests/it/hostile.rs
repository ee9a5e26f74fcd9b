//! Jobs that put traps where the keeper writes.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::support::{World, is_root, skip, user};

/// Runs a script that spoils `god.info`, and expects the result and everything else to be fine.
#[track_caller]
fn check(spoil: &str) {
    let world = World::new();
    let victim = world.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o666)).unwrap();
    let mut client = world.client();
    let text = format!("#!/bin/sh\nv={}\n{spoil}\nexit 6\n", victim.display());
    let record = client.finish(&world.template(&text), 1);
    assert_eq!(record.code, Some(6));
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(world.file(1, "god.err"), "");
    assert_eq!(client.finish(&world.template("#!/bin/sh\nexit 0\n"), 2).code, Some(0), "the keeper goes on");
}

#[test]
fn god_info_is_never_written_through() {
    check("ln -s \"$v\" god.info");
    check("mkfifo god.info");
    check("mkdir god.info");
    check("rm god.log; chmod 0 .");
    check("mkfifo god.info; sh -c 'exec 3<>god.info; sleep 1000' &");
}

#[test]
fn a_moved_working_directory_is_still_the_same() {
    let world = World::new();
    let mut client = world.client();
    let record = client.finish(&world.template("#!/bin/sh\nmkdir sub; echo old > god.info\nexit 0\n"), 1);
    assert_eq!(world.file(1, "god.info"), record.info_text());
    assert_eq!(std::fs::metadata(world.jobs().join("1/god.info")).unwrap().uid(), user().uid);
}

#[test]
fn output_files_are_never_written_through() {
    for kind in ["link", "pipe", "directory"] {
        let world = World::new();
        let victim = world.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o666)).unwrap();
        let mut client = world.client();
        // An earlier attempt of the same user prepared the directory.
        let prepare = match kind {
            "link" => format!("ln -s {} god.log", victim.display()),
            "pipe" => "mkfifo god.log".to_owned(),
            _ => "mkdir god.log".to_owned(),
        };
        client.finish(&world.template(&format!("#!/bin/sh\nrm god.log\n{prepare}\n")), 1);
        let mut launch = god_runtime::launch::Launch {
            key: crate::support::key(2),
            template: 0,
            env: vec![],
            leaf: Some("1".to_owned()),
        };
        let templates = vec![world.template("#!/bin/sh\necho overwritten\n")];
        launch.key.task = 2;
        client.call(god_runtime::keeper::Op::Start { templates, launches: vec![launch] });
        let record = client.wait(2);
        assert_eq!(record.code, None, "{kind}");
        assert!(record.failure.as_ref().unwrap().contains("god.log"), "{record:?}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    }
}

#[test]
fn working_directories_are_not_made_where_users_can_write() {
    if !is_root() {
        return skip("giving directories to users needs root");
    }
    let world = World::new();
    let mut client = world.client();
    let open = world.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    let mut template = world.template("#!/bin/sh\n");
    template.workdir = Some(open.clone());
    let record = client.finish(&template, 1);
    assert_eq!(record.code, None);
    assert!(record.failure.unwrap().contains("writable by root alone"));
    assert!(!open.join("1").exists());
    // A link in place of the directory is not followed, and its target not given away.
    let victim = world.path().join("victim");
    std::fs::create_dir(&victim).unwrap();
    symlink(&victim, world.jobs().join("2")).unwrap();
    assert_eq!(client.finish(&world.template("#!/bin/sh\n"), 2).code, None);
    assert_eq!(std::fs::metadata(&victim).unwrap().uid(), 0);
    // A directory that belongs to another user is not taken.
    let other = world.jobs().join("3");
    std::fs::create_dir(&other).unwrap();
    std::os::unix::fs::chown(&other, Some(20_000), Some(20_000)).unwrap();
    assert_eq!(client.finish(&world.template("#!/bin/sh\n"), 3).code, None);
    assert_eq!(std::fs::metadata(&other).unwrap().uid(), 20_000);
}

#[test]
fn a_directory_below_the_users_own_is_entered_as_the_user() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let world = World::new();
    let mut client = world.client();
    let home = world.path().join("home");
    std::fs::create_dir_all(home.join("work")).unwrap();
    std::fs::create_dir(home.join("closed")).unwrap();
    for dir in ["", "work"] {
        std::os::unix::fs::chown(home.join(dir), Some(user().uid), Some(user().gid)).unwrap();
    }
    std::fs::set_permissions(home.join("closed"), PermissionsExt::from_mode(0o700)).unwrap();
    let mut template = world.template("#!/bin/sh\npwd\n");
    template.create = false;
    template.info = false;
    template.workdir = Some(home.join("work"));
    let launch = |task: u64| god_runtime::launch::Launch {
        key: crate::support::key(task),
        template: 0,
        env: vec![],
        leaf: None,
    };
    client.call(god_runtime::keeper::Op::Start {
        templates: vec![template.clone()],
        launches: vec![launch(1)],
    });
    assert_eq!(client.wait(1).code, Some(0));
    let log = std::fs::read_to_string(home.join("work/god.log")).unwrap();
    assert_eq!(log.trim(), home.join("work").to_str().unwrap());
    template.workdir = Some(home.join("closed"));
    client.call(god_runtime::keeper::Op::Start { templates: vec![template], launches: vec![launch(2)] });
    assert_eq!(client.wait(2).code, None);
}
