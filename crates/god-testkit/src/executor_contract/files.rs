//! What a script finds and what it leaves. An executor that runs nothing skips all of it.

use super::bed::{Bed, by_itself, now};
use crate::build;
use god_core::executor::{Cause, Finished, Launch};
use god_core::spec::{Output, TaskSpec};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|err| panic!("{}: {err}", path.display()))
}

/// Runs a launch to its end and gives what it wrote to standard output.
async fn log_of(bed: &Bed, launch: &Launch) -> Option<String> {
    let dir = bed.job_dir(launch)?;
    let run = bed.start(launch).await;
    let exit = bed.until_exited(&run).await;
    assert_eq!(
        exit.cause,
        Cause::Code(0),
        "{exit:?}; god.err: {:?}",
        std::fs::read_to_string(dir.join("god.err"))
    );
    Some(read(&dir, "god.log"))
}

/// Standard output, standard error and the two times are in the job directory, which is the working directory.
pub async fn output_goes_to_the_job_directory(bed: &Bed) {
    let launch = bed.launch("#!/bin/sh\necho out\necho err >&2\necho here > relative\necho more\nexit 1\n");
    let Some(dir) = bed.job_dir(&launch) else { return };
    let before = now();
    let run = bed.start(&launch).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(1));
    assert_eq!(read(&dir, "god.log"), "out\nmore\n");
    assert_eq!(read(&dir, "god.err"), "err\n");
    assert_eq!(read(&dir, "relative"), "here\n");
    let info = read(&dir, "god.info");
    let times: Vec<i64> = info.lines().map(|line| line.parse().expect("seconds since 1970")).collect();
    let [started, ended] = times[..] else { panic!("two lines, not {info:?}") };
    assert!(before.0 / 1000 <= started && started <= ended && ended <= now().0 / 1000, "{info:?}");
}

/// The URIs of a task are a file that its script can read.
pub async fn uris_are_listed(bed: &Bed) {
    let uris = vec!["https://example.org/a b".to_owned(), "ftp://example.org/$(id)".to_owned()];
    let script = "#!/bin/sh\ncat godocker-uris.txt\nls -l godocker-uris.txt | cut -c1-10 >&2\n";
    let launch = bed.launch_of(TaskSpec { uris, ..bed.spec(script) });
    let Some(dir) = bed.job_dir(&launch) else { return };
    let run = bed.start(&launch).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(0));
    let listed = "https://example.org/a b\nftp://example.org/$(id)";
    assert_eq!(read(&dir, "god.log"), listed);
    assert_eq!(read(&dir, "godocker-uris.txt"), listed);
    let without = bed.launch("#!/bin/sh\nls\n");
    let run = bed.start(&without).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(0));
    let dir = bed.job_dir(&without).expect("it has files");
    assert!(!dir.join("godocker-uris.txt").exists());
}

/// A task that wants no output leaves no directory.
pub async fn no_output_leaves_nothing(bed: &Bed) {
    let spec = TaskSpec { output: Output::None, ..bed.spec("#!/bin/sh\necho out\necho err >&2\nexit 3\n") };
    let launch = bed.launch_of(spec);
    let Some(dir) = bed.job_dir(&launch) else { return };
    let run = bed.start(&launch).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(3));
    bed.executor
        .forget(&[Finished { key: launch.key, parent: None, keep_files: true }])
        .await
        .expect("forgets");
    for file in ["god.log", "god.err", "god.info"] {
        assert!(!dir.join(file).exists(), "{file} was left");
    }
    assert!(!dir.exists(), "{} was left", dir.display());
}

/// Every variable of the contract with users' scripts is set.
pub async fn the_environment_is_complete(bed: &Bed) {
    let launch = bed.launch(
        "#!/bin/sh\ncd \"$GODOCKER_PWD\"\necho \"$GODOCKER_JID\" \"$GODOCKER_DATA\"\necho here > marked\n\
         [ -d \"$GODOCKER_HOME\" ] && echo home\necho \"[${GODOCKER_TASK_ID-}${GOGOCKER_TASK_ID-}]\"\n",
    );
    let Some(log) = log_of(bed, &launch).await else { return };
    assert_eq!(log, format!("{} /mnt/god-data\nhome\n[]\n", launch.key.task));
    let dir = bed.job_dir(&launch).expect("it has files");
    assert_eq!(read(&dir, "marked"), "here\n", "GODOCKER_PWD is the job directory");
}

/// A child of an array knows the array's bounds and its own value, in both spellings that scripts use.
pub async fn a_child_of_an_array_knows_its_place(bed: &Bed) {
    let spec = TaskSpec {
        array: Some("2:9:3".parse().expect("an array")),
        ..bed.spec(
            "#!/bin/sh\necho $GODOCKER_JID\n\
             echo $GODOCKER_TASK_ID $GODOCKER_TASK_FIRST $GODOCKER_TASK_LAST $GODOCKER_TASK_STEP\n\
             echo $GOGOCKER_TASK_ID $GOGOCKER_TASK_FIRST $GOGOCKER_TASK_LAST $GOGOCKER_TASK_STEP\n",
        )
    };
    let parent = bed.fresh_task();
    for (ordinal, value) in [(0, 2), (2, 8)] {
        let launch = build::child_launch(spec.clone(), parent, ordinal, &bed.node);
        let Some(log) = log_of(bed, &launch).await else { return };
        assert_eq!(log, format!("{}\n{value} 2 9 3\n{value} 2 9 3\n", launch.key.task));
    }
}

/// No byte of the script is touched on its way.
pub async fn the_script_arrives_byte_for_byte(bed: &Bed) {
    let script = "#!/bin/sh\n# ünï \"quoted\" 'quoted' \\ $(echo no) `echo no` %s {} \t.\ncat \"$0\"";
    let launch = bed.launch(script);
    let Some(log) = log_of(bed, &launch).await else { return };
    assert_eq!(log, script);
}

/// The script runs under the owner's ids, and its files are the owner's.
pub async fn the_identity_is_the_owners(bed: &Bed) {
    let mut spec = bed.spec("#!/bin/sh\nid -u\nid -g\necho $(id -G)\numask\n");
    if bed.sets_identity {
        spec.owner.sgids = vec![20_777, 20_778];
    }
    let owner = spec.owner.clone();
    let launch = bed.launch_of(spec);
    let Some(log) = log_of(bed, &launch).await else { return };
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines[..2], [owner.uid.to_string(), owner.gid.to_string()], "{log}");
    if bed.sets_identity {
        let groups: std::collections::BTreeSet<&str> = lines[2].split_whitespace().collect();
        let gid = owner.gid.to_string();
        assert_eq!(groups, std::collections::BTreeSet::from([gid.as_str(), "20777", "20778"]), "{log}");
    }
    let dir = bed.job_dir(&launch).expect("it has files");
    for path in [dir.clone(), dir.join("god.log"), dir.join("god.err"), dir.join("god.info")] {
        let meta = std::fs::metadata(&path).expect("is there");
        assert_eq!((meta.uid(), meta.gid()), (owner.uid, owner.gid), "{}", path.display());
        assert_eq!(meta.mode() & 0o007, 0, "{} is open to others", path.display());
    }
}

/// What a run leaves stays or goes as the caller says.
pub async fn forget_keeps_files_when_asked(bed: &Bed) {
    for keep_files in [true, false] {
        let launch = bed.launch("#!/bin/sh\nmkdir -p a/b; echo x > a/b/c; ln -s / a/out\n");
        let Some(dir) = bed.job_dir(&launch) else { return };
        let run = bed.start(&launch).await;
        by_itself(&bed.until_exited(&run).await, Cause::Code(0));
        for _ in 0..2 {
            let over = Finished { key: launch.key, parent: None, keep_files };
            bed.executor.forget(&[over]).await.expect("forgets");
        }
        assert_eq!(dir.join("a/b/c").exists(), keep_files);
        assert_eq!(dir.exists(), keep_files, "{}", dir.display());
        assert!(Path::new("/etc").exists(), "a link was followed");
    }
}
