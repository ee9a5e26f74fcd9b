//! How runs end: by themselves, by a limit, by request.

use super::bed::{Bed, by_itself, leave_out, now};
use crate::{build, until};
use god_core::executor::{Cause, Seen};
use god_core::units::Seconds;
use god_core::warning::WARN_FIELD;
use std::time::{Duration, Instant};

/// Waits for TERM, cleans up, ends with 3.
const TIDY: &str = "#!/bin/sh
#FAKE duration=10m term=3
trap 'echo tidied > \"$GODOCKER_PWD/tidied\"; exit 3' TERM
echo yes > \"$GODOCKER_PWD/ready\"
while :; do sleep 0.1; done
";

/// Takes no notice of TERM, and counts in two processes.
const STUBBORN: &str = "#!/bin/sh
#FAKE duration=10m term=ignore
trap '' TERM
cd \"$GODOCKER_PWD\"
( trap '' TERM; while :; do echo x >> inner; sleep 0.05; done ) &
echo yes > ready
while :; do echo x >> outer; sleep 0.05; done
";

/// Runs for long.
pub(super) const LONG: &str = "#!/bin/sh
#FAKE duration=10m
exec sleep 600
";

/// The exit code of a script is its result, and the times are those of the run.
pub async fn exit_codes_are_told(bed: &Bed) {
    let before = now();
    for code in [0, 7, 255] {
        let exit = bed.result_of(&format!("#!/bin/sh\n#FAKE exit={code}\nexit {code}\n")).await;
        by_itself(&exit, Cause::Code(code));
        // The engine's clock may be cut to whole seconds.
        assert!(exit.started.is_some_and(|at| at.0 >= before.0 - 1000), "{exit:?} before {before:?}");
        assert!(exit.ended.0 <= now().0 + 1000, "{exit:?} ends in the future");
    }
}

/// A script that a signal ended is no script that ended with a code.
pub async fn a_signal_is_told_apart(bed: &Bed) {
    for signal in [9, 15] {
        let exit =
            bed.result_of(&format!("#!/bin/sh\n#FAKE signal={signal}\nkill -{signal} $$\nsleep 60\n")).await;
        by_itself(&exit, Cause::Signal(signal));
    }
}

/// A script whose interpreter does not exist ends, with the code that shells give.
pub async fn a_script_that_cannot_run_ends(bed: &Bed) {
    let exit = bed.result_of("#!/no/such/interpreter\n#FAKE exit=127\n").await;
    assert!(matches!(exit.cause, Cause::Code(126 | 127)), "{exit:?}");
    assert!(!exit.by_request, "{exit:?}");
}

/// A run longer than its time limit is ended, and that is told.
pub async fn the_time_limit_ends_a_run(bed: &Bed) {
    let spec = god_core::TaskSpec { time_limit: Some(Seconds(1)), ..bed.spec(LONG) };
    let run = bed.start(&bed.launch_of(spec)).await;
    let exit = bed.until_exited(&run).await;
    assert_eq!(exit.cause, Cause::TimeLimit, "{exit:?}");
    assert!(!exit.by_request, "nobody asked: {exit:?}");
    // A run that stays below it has its own result.
    let spec =
        god_core::TaskSpec { time_limit: Some(Seconds(60)), ..bed.spec("#!/bin/sh\n#FAKE exit=4\nexit 4\n") };
    let run = bed.start(&bed.launch_of(spec)).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(4));
}

/// The time limit of a run can be moved away, and back to before now.
pub async fn a_changed_time_limit_holds(bed: &Bed) {
    let Some(limiting) = bed.executor.limiting() else {
        return leave_out(&format!("executor {} does not change limits", bed.executor.name()));
    };
    let spec = god_core::TaskSpec { time_limit: Some(Seconds(2)), ..bed.spec(LONG) };
    let run = bed.start(&bed.launch_of(spec)).await;
    bed.until_running(&run).await;
    limiting.set_limit(&run, Some(Seconds(3600))).await.expect("it runs");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2500) {
        assert!(matches!(bed.observe(&run).await, Seen::Running { .. }), "the old limit ended it");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    limiting.set_limit(&run, Some(Seconds(1))).await.expect("it runs");
    let exit = bed.until_exited(&run).await;
    assert_eq!(exit.cause, Cause::TimeLimit, "{exit:?}");
    // What has ended, and what never was, stays so.
    limiting.set_limit(&run, None).await.expect("it has ended");
    assert!(matches!(bed.observe(&run).await, Seen::Exited(_)));
}

/// Who asked for a signal before the time limit gets it, and may end by itself.
pub async fn a_warning_comes_before_the_time_limit(bed: &Bed) {
    if bed.executor.limiting().is_none() {
        return leave_out(&format!("executor {} does not warn", bed.executor.name()));
    }
    let script = "#!/bin/sh\n#FAKE duration=10m warn=5\ntrap 'exit 5' USR1\nwhile :; do sleep 0.1; done\n";
    let fields = [(WARN_FIELD.to_owned(), "USR1@58s".to_owned())].into();
    let spec = god_core::TaskSpec { time_limit: Some(Seconds(60)), fields, ..bed.spec(script) };
    let run = bed.start(&bed.launch_of(spec)).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(5));
}

/// A run that takes more memory than it asked for is ended, and that is told.
pub async fn too_much_memory_is_told(bed: &Bed) {
    if !bed.limits_memory {
        return leave_out(&format!("executor {} does not limit memory here", bed.executor.name()));
    }
    // `tail` keeps the whole last line, and a stream without a line end is one line.
    let exit = bed.result_of("#!/bin/sh\n#FAKE fail=memory\ntail -n 1 < /dev/zero\n").await;
    assert_eq!(exit.cause, Cause::OutOfMemory, "{exit:?}");
    assert!(!exit.by_request, "{exit:?}");
}

/// Without grace the hard signal comes at once, whatever the script does about the polite one.
pub async fn kill_without_grace_is_hard(bed: &Bed) {
    let (launch, run) = bed.run(TIDY).await;
    bed.until_running(&run).await;
    bed.until_written(&launch, "ready").await;
    bed.kill(&run, 0).await;
    let exit = bed.until_exited(&run).await;
    assert_eq!(exit.cause, Cause::Signal(9), "{exit:?}");
    assert!(exit.by_request, "we asked: {exit:?}");
    if let Some(dir) = bed.job_dir(&launch) {
        assert!(!dir.join("tidied").exists(), "the script saw a polite signal");
    }
}

/// With grace a script hears the polite signal and has time to end by itself.
pub async fn kill_with_grace_lets_the_script_clean_up(bed: &Bed) {
    let (launch, run) = bed.run(TIDY).await;
    bed.until_running(&run).await;
    bed.until_written(&launch, "ready").await;
    bed.kill(&run, 20).await;
    let exit = bed.until_exited(&run).await;
    assert_eq!(exit.cause, Cause::Code(3), "{exit:?}");
    assert!(exit.by_request, "we asked: {exit:?}");
    if let Some(dir) = bed.job_dir(&launch) {
        assert!(dir.join("tidied").exists(), "the script did not clean up");
    }
}

/// After the grace the hard signal ends every process of the run.
pub async fn kill_goes_on_to_the_hard_signal(bed: &Bed) {
    let (launch, run) = bed.run(STUBBORN).await;
    bed.until_running(&run).await;
    bed.until_written(&launch, "ready").await;
    let asked = Instant::now();
    bed.kill(&run, 1).await;
    bed.kill(&run, 1).await;
    let exit = bed.until_exited(&run).await;
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(900), "the grace of a second was {took:?}");
    assert!(took < Duration::from_secs(15), "the grace of a second was {took:?}");
    assert_eq!(exit.cause, Cause::Signal(9), "{exit:?}");
    assert!(exit.by_request, "we asked: {exit:?}");
    let Some(dir) = bed.job_dir(&launch) else { return };
    let sizes =
        || ["inner", "outer"].map(|file| std::fs::metadata(dir.join(file)).map_or(0, |meta| meta.len()));
    let after = sizes();
    assert!(after.iter().all(|size| *size > 0), "both processes counted");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sizes(), after, "a process outlived the run's end");
}

/// A kill of what has ended or never was is no error.
pub async fn kill_of_nothing_is_fine(bed: &Bed) {
    let (_, ended) = bed.run("#!/bin/sh\n#FAKE exit=5\nexit 5\n").await;
    let exit = bed.until_exited(&ended).await;
    bed.kill(&ended, 0).await;
    bed.kill(&ended, 3).await;
    assert_eq!(bed.observe(&ended).await, Seen::Exited(exit.clone()), "a late kill changes no result");
    if let Some(second) = &bed.second {
        // One that did not see the end does no harm either.
        let one = std::slice::from_ref(&ended);
        for answer in second.kill(one, Seconds(3)).await {
            answer.expect("the request is taken");
        }
        assert_eq!(second.observe(one).await.expect("answers"), [Seen::Exited(exit)]);
    }
    bed.kill(&build::run_of(&bed.launch("exit 0")), 0).await;
}

/// A paused run can be killed, and hears the polite signal first.
pub async fn kill_of_a_paused_run_ends_it(bed: &Bed) {
    let Some(pausing) = bed.executor.pausing() else { return no_pausing(bed) };
    let (launch, run) = bed.run(TIDY).await;
    bed.until_running(&run).await;
    bed.until_written(&launch, "ready").await;
    for answer in pausing.pause(std::slice::from_ref(&run)).await {
        answer.expect("pauses");
    }
    bed.kill(&run, 20).await;
    let exit = bed.until_exited(&run).await;
    assert_eq!(exit.cause, Cause::Code(3), "{exit:?}");
    assert!(exit.by_request, "we asked: {exit:?}");
}

/// A paused run stands still, stays running, and goes on when resumed.
pub async fn pause_stands_still(bed: &Bed) {
    let Some(pausing) = bed.executor.pausing() else { return no_pausing(bed) };
    let (launch, run) = bed
        .run(
            "#!/bin/sh\n#FAKE duration=1s\ncd \"$GODOCKER_PWD\"\n( while :; do echo x >> count; sleep 0.05; done ) &\nsleep 1\n",
        )
        .await;
    bed.until_running(&run).await;
    bed.until_written(&launch, "count").await;
    let one = std::slice::from_ref(&run);
    for _ in 0..2 {
        for answer in pausing.pause(one).await {
            answer.expect("pauses, and again");
        }
    }
    let size = || {
        let dir = bed.job_dirs.as_ref().map(|find| find(&launch));
        dir.and_then(|dir| std::fs::metadata(dir.join("count")).ok()).map_or(0, |meta| meta.len())
    };
    let before = size();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(size(), before, "a process of the run went on");
    assert!(matches!(bed.observe(&run).await, Seen::Paused { .. }), "it is not seen paused");
    for _ in 0..2 {
        for answer in pausing.resume(one).await {
            answer.expect("resumes, and again");
        }
    }
    by_itself(&bed.until_exited(&run).await, Cause::Code(0));
    for answer in pausing.pause(one).await {
        // Whatever it says of a run that is over, it must not hang; the state is unchanged.
        drop(answer);
    }
    assert!(matches!(bed.observe(&run).await, Seen::Exited(_)));
}

/// Starts and ends are told without being asked for.
pub async fn events_come_by_themselves(bed: &Bed) {
    let Some(events) = bed.executor.events() else {
        return leave_out(&format!("executor {} has no events", bed.executor.name()));
    };
    let mut stream = events.subscribe();
    // A first wait that is dropped must lose nothing.
    let nothing = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
    assert!(nothing.is_err(), "nothing has happened yet: {nothing:?}");
    let (_, run) = bed.run("#!/bin/sh\n#FAKE duration=500ms exit=6\nsleep 0.5\nexit 6\n").await;
    let mut seen = Vec::new();
    let all = async {
        while !matches!(seen.last(), Some(Seen::Exited(_))) {
            let news = stream.next().await.expect("the executor lives");
            assert!(!news.is_empty(), "an empty batch of events");
            seen.extend(news.into_iter().filter(|event| event.key == run.key).map(|event| event.seen));
        }
    };
    tokio::time::timeout(bed.patience, all).await.expect("start and end are told");
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Running { .. })), "{seen:?}");
    let Some(Seen::Exited(exit)) = seen.last() else { panic!("{seen:?}") };
    by_itself(exit, Cause::Code(6));
    assert_eq!(bed.observe(&run).await, Seen::Exited(exit.clone()), "event and observation agree");
}

/// A daemon that starts anew, or another one, finds, lists and ends the runs.
pub async fn another_instance_finds_the_runs(bed: &Bed) {
    let Some(second) = &bed.second else {
        return leave_out(&format!("executor {} lives in one instance", bed.executor.name()));
    };
    let (_, long) = bed.run(LONG).await;
    let (_, short) = bed.run("#!/bin/sh\n#FAKE exit=9\nexit 9\n").await;
    bed.until_running(&long).await;
    by_itself(&bed.until_exited(&short).await, Cause::Code(9));
    let both = [long.clone(), short.clone()];
    let seen = second.observe(&both).await.expect("answers");
    assert!(matches!(&seen[0], Seen::Running { .. }), "{seen:?}");
    assert!(
        matches!(&seen[1], Seen::Exited(exit) if exit.cause == Cause::Code(9) && !exit.by_request),
        "{seen:?}"
    );
    assert_eq!(second.list().await.expect("answers").len(), 2);
    for answer in second.kill(&both[..1], Seconds(0)).await {
        answer.expect("the request is taken");
    }
    let exit = until(bed.patience, "the end by the second", async || {
        match second.observe(&both[..1]).await.expect("answers").remove(0) {
            Seen::Exited(exit) => Some(exit),
            _ => None,
        }
    })
    .await;
    assert!(exit.by_request && exit.cause == Cause::Signal(9), "{exit:?}");
}

fn no_pausing(bed: &Bed) {
    leave_out(&format!("executor {} does not pause", bed.executor.name()));
}
