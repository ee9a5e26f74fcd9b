//! Jobs run as their user and cannot become anybody else.

use std::os::unix::fs::PermissionsExt;

use god_runtime::keeper::StartResult;
use god_runtime::launch::Identity;

use crate::support::{World, is_root, skip};

#[test]
fn all_ids_are_the_users() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\ngrep -E '^(Uid|Gid|Groups|Cap...)' /proc/self/status\n");
    template.identity = Identity { uid: 12_345, gid: 12_346, groups: vec![20_001, 20_002] };
    assert_eq!(client.finish(&template, 1).code, Some(0));
    let log = world.file(1, "god.log");
    for line in [
        "Uid:\t12345\t12345\t12345\t12345",
        "Gid:\t12346\t12346\t12346\t12346",
        "Groups:\t20001 20002 ",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
    ] {
        assert!(log.lines().any(|found| found.trim_end() == line.trim_end()), "{line} is missing in {log}");
    }
    template.identity.groups = vec![];
    client.finish(&template, 2);
    assert!(
        world.file(2, "god.log").lines().any(|line| line.trim_end() == "Groups:"),
        "no group of root is left"
    );
}

#[test]
fn setuid_programs_give_nothing() {
    if !is_root() {
        return skip("making a setuid program needs root");
    }
    let world = World::new();
    let mut client = world.client();
    let id = world.path().join("id");
    let source =
        ["/usr/bin/id", "/bin/id"].into_iter().find(|path| std::path::Path::new(path).exists()).unwrap();
    std::fs::copy(source, &id).unwrap();
    std::fs::set_permissions(&id, PermissionsExt::from_mode(0o6755)).unwrap();
    client.finish(&world.template(&format!("#!/bin/sh\n{} -u\n", id.display())), 1);
    assert_eq!(world.file(1, "god.log"), "12345\n", "{}", world.file(1, "god.err"));
}

#[test]
fn system_users_are_refused() {
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\n");
    let own = template.identity.clone();
    let mut refused = |identity: Identity| {
        template.identity = identity;
        let result = client.start(&template, 1);
        assert!(matches!(result, StartResult::Refused { .. }), "{:?}: {result:?}", template.identity);
    };
    for uid in [0, 1, 999, 65_534, u32::MAX, u32::MAX - 1] {
        refused(Identity { uid, ..own.clone() });
        refused(Identity { gid: uid, ..own.clone() });
        if is_root() {
            refused(Identity { groups: vec![own.gid, uid], ..own.clone() });
        }
    }
    assert!(!world.jobs().join("1").exists());
}

#[test]
fn only_a_floor_of_zero_lets_roots_own_jobs_run() {
    if !is_root() {
        return skip("only root could start a job as root");
    }
    let root = Identity { uid: 0, gid: 0, groups: vec![] };
    for (floor, allowed) in [("1000", false), ("1", false), ("0", true)] {
        let world = World::with(&["--cgroups", "off", "--min-uid", floor]);
        let mut client = world.client();
        let mut template = world.template("#!/bin/sh\n");
        template.identity = root.clone();
        let started = matches!(client.start(&template, 1), StartResult::Started { .. });
        assert_eq!(started, allowed, "floor {floor}");
    }
}

#[test]
fn jobs_of_one_user_cannot_reach_the_keeper() {
    if !is_root() {
        return skip("becoming another user needs root");
    }
    let world = World::new();
    let mut client = world.client();
    let keeper = client.ping().pid;
    let text = format!(
        "#!/bin/sh\nkill -9 {keeper} 2>/dev/null && echo killed\ncat {}/journal 2>/dev/null && echo read\n\
         cat /proc/{keeper}/environ 2>/dev/null && echo looked\necho end\n",
        world.dir().display()
    );
    client.finish(&world.template(&text), 1);
    assert_eq!(world.file(1, "god.log"), "end\n");
    assert_eq!(client.ping().pid, keeper);
}
