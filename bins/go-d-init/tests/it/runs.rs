//! A script runs, writes its files, and its end is told.

use std::os::unix::fs::MetadataExt;

use god_runtime::keeper::{Event, Seen, StartResult};
use god_runtime::launch::{Key, Launch, Output, Resource, Rlimit};

use crate::support::{World, key, user};

#[test]
fn output_code_and_times_are_kept() {
    let world = World::new();
    let mut client = world.client();
    let template = world.template("#!/bin/sh\necho out\necho err >&2\npwd\nexit 7\n");
    let record = client.finish(&template, 5);
    assert_eq!((record.code, record.signal, record.failure.clone()), (Some(7), None, None));
    assert!(!record.timed_out && !record.killed && !record.lost);
    let workdir = world.jobs().join("5");
    assert_eq!(world.file(5, "god.log"), format!("out\n{}\n", workdir.display()));
    assert_eq!(world.file(5, "god.err"), "err\n");
    assert_eq!(world.file(5, "god.info"), record.info_text());
    assert!(record.started_ms <= record.ended_ms && record.started_ms > 1_600_000_000_000);
    assert!(record.maxrss_kib > 100, "{record:?}");
    for name in ["", "god.log", "god.err", "god.info"] {
        let meta = std::fs::metadata(workdir.join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (user().uid, user().gid), "owner of {name:?}");
        assert_eq!(meta.mode() & 0o7777, if name.is_empty() { 0o700 } else { 0o640 }, "mode of {name:?}");
    }
    assert_eq!(client.seen(5), Seen::Exited(record));
}

#[test]
fn codes_and_signals_are_told_apart() {
    let world = World::new();
    let mut client = world.client();
    let record = client.finish(&world.template("#!/bin/sh\nexit 0\n"), 1);
    assert_eq!((record.code, record.signal), (Some(0), None));
    let record = client.finish(&world.template("#!/bin/sh\nkill -KILL $$\n"), 2);
    assert_eq!((record.code, record.signal), (Some(137), Some(9)));
    let record = client.finish(&world.template("#!/bin/sh\nexit 137\n"), 3);
    assert_eq!((record.code, record.signal), (Some(137), None));
}

#[test]
fn environment_and_arguments_are_exactly_those_given() {
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\nprintf '<%s>' \"$@\"\nexec /usr/bin/env -0\n");
    template.args = vec!["a b".into(), String::new(), "$HOME;*\n\"'".into()];
    template.env = vec![("SHARED".into(), "s".into()), ("BOTH".into(), "template".into())];
    let launch = |task: u64, value: &str| Launch {
        key: key(task),
        template: 0,
        env: vec![("BOTH".into(), "launch".into()), ("OWN".into(), value.into())],
        leaf: Some(task.to_string()),
    };
    let launches = vec![launch(1, "line\nbreak `id` $(id)"), launch(2, "ümlaut")];
    client.call(god_runtime::keeper::Op::Start { templates: vec![template], launches });
    for (task, value) in [(1, "line\nbreak `id` $(id)"), (2, "ümlaut")] {
        assert_eq!(client.wait(task).code, Some(0));
        let log = world.file(task, "god.log");
        let env = log.strip_prefix("<a b><><$HOME;*\n\"'>").expect("arguments came through");
        let mut env: Vec<&str> =
            env.split_terminator('\0').filter(|text| !text.starts_with("PWD=")).collect();
        env.retain(|text| {
            !text.starts_with("_=") && !text.starts_with("SHLVL=") && !text.starts_with("OLDPWD=")
        });
        env.sort_unstable();
        assert_eq!(env, ["BOTH=launch", &format!("OWN={value}"), "SHARED=s"]);
    }
}

#[test]
fn without_files_nothing_is_left() {
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\necho lost; echo lost >&2; pwd > /dev/null\nexit 3\n");
    template.output = Output::None;
    template.info = false;
    template.workdir = None;
    template.create = false;
    assert_eq!(client.finish(&template, 1).code, Some(3));
    assert_eq!(std::fs::read_dir(world.jobs()).unwrap().count(), 0);
}

#[test]
fn a_script_without_a_first_line_is_run_by_the_shell() {
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template("echo \"$1\"\nexit 4\n");
    template.args = vec!["word".into()];
    assert_eq!(client.finish(&template, 1).code, Some(4));
    assert_eq!(world.file(1, "god.log"), "word\n");
}

#[test]
fn what_cannot_be_run_says_why() {
    let world = World::new();
    let mut client = world.client();
    let record = client.finish(&world.template("#!/no/such/interpreter -x\n"), 1);
    assert_eq!(record.code, Some(127));
    assert!(record.failure.unwrap().contains("interpreter"));
    let err = world.file(1, "god.err");
    assert!(err.contains("the interpreter it names does not exist (#!/no/such/interpreter -x)"), "{err}");

    let mut template = world.template("");
    template.script = "/no/such/script".into();
    let record = client.finish(&template, 2);
    assert_eq!(record.code, Some(127));
    assert!(world.file(2, "god.err").contains("/no/such/script: no such file or directory"));

    let template = world.template("#!/bin/sh\n");
    std::fs::set_permissions(&template.script, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let record = client.finish(&template, 3);
    assert_eq!(record.code, Some(126));
    assert!(record.failure.is_some());
    assert!(world.file(3, "god.err").contains("permission denied"));
    assert!(!client.events.iter().any(|event| matches!(event, Event::Started { .. })), "nothing was entered");
}

#[test]
fn a_script_that_was_just_written_is_tried_again() {
    let world = World::new();
    let mut client = world.client();
    let template = world.template("#!/bin/sh\nexit 0\n");
    let writer = std::fs::OpenOptions::new().append(true).open(&template.script).unwrap();
    let record = client.finish(&template, 1);
    assert_eq!(record.code, None, "not the script's fault: {record:?}");
    assert!(record.failure.unwrap().contains("open for writing"));
    let closer = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(5));
        drop(writer);
    });
    // Whichever comes first, the closing or the start: it runs.
    assert_eq!(client.finish(&template, 2).code, Some(0));
    closer.join().unwrap();
}

#[test]
fn limits_and_mask_reach_the_job() {
    let world = World::new();
    let mut client = world.client();
    let mut template = world.template("#!/bin/sh\nulimit -n; ulimit -c; umask; touch made\n");
    template.umask = 0o077;
    template.rlimits = vec![
        Rlimit { resource: Resource::OpenFiles, soft: 77, hard: 99 },
        Rlimit { resource: Resource::Core, soft: 0, hard: 0 },
    ];
    assert_eq!(client.finish(&template, 1).code, Some(0));
    assert_eq!(world.file(1, "god.log"), "77\n0\n0077\n");
    assert_eq!(std::fs::metadata(world.jobs().join("1/made")).unwrap().mode() & 0o777, 0o600);
    // Raised for the keeper itself, never for jobs.
    let own = std::process::Command::new("sh").args(["-c", "ulimit -Sn"]).output().unwrap().stdout;
    client.finish(&world.template("#!/bin/sh\nulimit -Sn\n"), 2);
    assert_eq!(world.file(2, "god.log").as_bytes(), own);
}

#[test]
fn a_job_inherits_nothing_of_the_keeper() {
    let world = World::new();
    let mut client = world.client();
    let text = "#!/bin/sh\nls -l /proc/self/fd | sed -n 's/.*-> //p' | grep -v /proc/\n\
                grep -E '^(SigBlk|SigIgn|NoNewPrivs)' /proc/self/status\nps -o sid= -p $$; echo $$\n";
    assert_eq!(client.finish(&world.template(text), 1).code, Some(0));
    let log = world.file(1, "god.log");
    let lines: Vec<&str> = log.lines().map(str::trim).collect();
    assert_eq!(lines[0], "/dev/null");
    assert!(lines[1].starts_with("pipe:"), "the pipe of `sed`: {log}");
    assert!(lines[2].ends_with("/god.err"), "{log}");
    assert_eq!(
        lines[3..6],
        ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "NoNewPrivs:\t1"],
        "{log}"
    );
    assert_eq!(lines[6], lines[7], "the job leads a session of its own");
    assert_eq!(lines.len(), 8);
}

#[test]
fn a_second_start_of_an_attempt_runs_nothing() {
    let world = World::new();
    let mut client = world.client();
    let template = world.template("#!/bin/sh\necho ran >> ../../count.$$; exit 0\n");
    let record = client.finish(&template, 1);
    assert_eq!(client.start(&template, 1), StartResult::Known(Seen::Exited(record)));
    client.forget(1);
    let taken = client.start(&template, 1);
    assert!(matches!(taken, StartResult::Taken { attempt: 1, .. }), "{taken:?}");
    let again = Launch { key: Key { task: 1, attempt: 2 }, template: 0, env: vec![], leaf: Some("1".into()) };
    let op = god_runtime::keeper::Op::Start { templates: vec![template], launches: vec![again] };
    client.events.clear();
    client.call(op);
    client.wait(1);
    assert_eq!(client.events.iter().filter(|event| matches!(event, Event::Started { .. })).count(), 1);
}

#[test]
fn bad_descriptions_are_refused_and_leave_the_latch() {
    let world = World::new();
    let mut client = world.client();
    let good = world.template("#!/bin/sh\nexit 0\n");
    let mut bad = good.clone();
    bad.script = "relative".into();
    assert!(matches!(client.start(&bad, 1), StartResult::Refused { .. }));
    let mut bad = good.clone();
    bad.needs.cores = 1_000_000;
    match client.start(&bad, 1) {
        StartResult::Refused { reason } => assert!(reason.contains("1000000 cores"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(client.seen(1), Seen::Absent { latch: None });
    assert_eq!(client.finish(&good, 1).code, Some(0));
}
