//! Which runs there are: one for each attempt, none for an abandoned one, listed until forgotten.

use super::bed::{Bed, by_itself};
use super::ends::LONG;
use crate::{build, until};
use god_core::executor::{Abandon, AttemptKey, Cause, Exit, Finished, Launch, Run, Seen};
use std::collections::BTreeSet;

/// Ends at once and leaves one line for each time it was run.
const MARK: &str = "#!/bin/sh\n#FAKE exit=2\necho ran >> \"$GODOCKER_PWD/marks\"\nexit 2\n";

/// How often the script [`MARK`] ran; `None` when the executor has no files.
fn marks(bed: &Bed, launch: &Launch) -> Option<usize> {
    let dir = bed.job_dir(launch)?;
    Some(std::fs::read_to_string(dir.join("marks")).map_or(0, |text| text.lines().count()))
}

fn finished(launch: &Launch, keep_files: bool) -> Finished {
    Finished { key: launch.key, parent: launch.child.as_ref().map(|child| child.parent), keep_files }
}

async fn forget(bed: &Bed, launch: &Launch) {
    bed.executor.forget(&[finished(launch, true)]).await.expect("forgets");
}

async fn abandon(bed: &Bed, run: &Run) -> Abandon {
    bed.executor.abandon(run).await.expect("can be settled")
}

/// Many launches in one call: one answer each, in order, and each run has its own result.
pub async fn a_batch_is_answered_in_order(bed: &Bed) {
    let launches: Vec<Launch> =
        (0..24).map(|code| bed.launch(&format!("#!/bin/sh\n#FAKE exit={code}\nexit {code}\n"))).collect();
    let answers = bed.executor.start(launches.clone()).await;
    assert_eq!(answers.len(), launches.len());
    for (code, (launch, answer)) in (0..).zip(launches.iter().zip(answers)) {
        answer.expect("accepted");
        by_itself(&bed.until_exited(&build::run_of(launch)).await, Cause::Code(code));
    }
    assert!(bed.executor.start(Vec::new()).await.is_empty());
}

/// However often and however simultaneously an attempt is started, its script runs once.
pub async fn the_same_attempt_makes_one_run(bed: &Bed) {
    let launch = bed.launch(MARK);
    let again = || bed.executor.start(vec![launch.clone()]);
    let (first, second, third) = tokio::join!(again(), again(), again());
    assert!(
        [&first, &second, &third].iter().any(|answer| answer[0].is_ok()),
        "{first:?} {second:?} {third:?}"
    );
    let run = build::run_of(&launch);
    by_itself(&bed.until_exited(&run).await, Cause::Code(2));
    // The answer to a start of what has ended is the executor's choice; the run is not.
    for answer in again().await {
        drop(answer);
    }
    by_itself(&bed.until_exited(&run).await, Cause::Code(2));
    if let Some(marks) = marks(bed, &launch) {
        assert_eq!(marks, 1, "the script ran {marks} times");
    }
}

/// An attempt that nobody started is surely not there.
pub async fn an_unknown_attempt_is_absent(bed: &Bed) {
    let launch = bed.launch(MARK);
    assert_eq!(bed.observe(&build::run_of(&launch)).await, Seen::Absent);
    assert!(bed.executor.observe(&[]).await.expect("answers").is_empty());
    // Another attempt of a task that runs is just as absent.
    let run = bed.start(&launch).await;
    bed.until_exited(&run).await;
    let next = AttemptKey { attempt: 2, ..launch.key };
    assert_eq!(bed.observe(&Run { key: next, run: None }).await, Seen::Absent);
}

/// Answers come in the order of the questions, whatever the states; a question may come twice.
pub async fn observing_keeps_the_order(bed: &Bed) {
    let (_, long) = bed.run(LONG).await;
    let (_, ended) = bed.run("#!/bin/sh\n#FAKE exit=8\nexit 8\n").await;
    let unknown = build::run_of(&bed.launch(LONG));
    bed.until_running(&long).await;
    bed.until_exited(&ended).await;
    let runs = [ended.clone(), unknown.clone(), long.clone(), unknown, ended, long.clone()];
    let seen = bed.executor.observe(&runs).await.expect("answers");
    let words: Vec<&str> = seen
        .iter()
        .map(|seen| match seen {
            Seen::Absent => "absent",
            Seen::Running { .. } => "running",
            Seen::Exited(Exit { cause: Cause::Code(8), .. }) => "ended",
            _ => "wrong",
        })
        .collect();
    assert_eq!(words, ["ended", "absent", "running", "absent", "ended", "running"], "{seen:?}");
    bed.kill(&long, 0).await;
    bed.until_exited(&long).await;
}

/// The list holds runs and ended runs until they are forgotten; forgetting twice is fine.
pub async fn list_shows_what_is_not_forgotten(bed: &Bed) {
    assert!(bed.executor.list().await.expect("answers").is_empty(), "a fresh bed has no runs");
    let (running, long) = bed.run(LONG).await;
    let (ended, short) = bed.run(MARK).await;
    bed.until_running(&long).await;
    let exit = bed.until_exited(&short).await;
    let list = bed.executor.list().await.expect("answers");
    let keys: BTreeSet<_> = list.iter().map(|listed| listed.key).collect();
    assert_eq!(keys, BTreeSet::from([running.key, ended.key]), "{list:?}");
    for listed in list {
        match listed.seen {
            Seen::Running { .. } => assert_eq!(listed.key, running.key),
            Seen::Exited(seen) => assert_eq!((listed.key, &seen), (ended.key, &exit)),
            other => panic!("{}: {other:?}", listed.key),
        }
    }
    for _ in 0..2 {
        forget(bed, &ended).await;
        assert_eq!(bed.observe(&short).await, Seen::Absent);
    }
    let list = bed.executor.list().await.expect("answers");
    assert_eq!(list.iter().map(|listed| listed.key).collect::<Vec<_>>(), [running.key]);
    bed.kill(&long, 0).await;
    bed.until_exited(&long).await;
    bed.executor.forget(&[finished(&running, true), finished(&ended, true)]).await.expect("forgets");
    assert!(bed.executor.list().await.expect("answers").is_empty());
}

/// A start that comes after its attempt was forgotten (from a scheduler that was frozen, say) runs nothing; the next
/// attempt runs.
pub async fn a_forgotten_attempt_never_runs_again(bed: &Bed) {
    let (launch, run) = bed.run(MARK).await;
    bed.until_exited(&run).await;
    forget(bed, &launch).await;
    let late = bed.try_start(&launch).await;
    assert!(late.is_err(), "a late start was accepted: {late:?}");
    assert_eq!(bed.observe(&run).await, Seen::Absent);
    if let Some(marks) = marks(bed, &launch) {
        assert_eq!(marks, 1, "the script ran {marks} times");
    }
    let next = Launch { key: AttemptKey { attempt: 2, ..launch.key }, ..launch.clone() };
    let run = bed.start(&next).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(2));
}

/// An attempt that was given up before it started never runs, however late its start arrives.
pub async fn an_abandoned_attempt_never_runs(bed: &Bed) {
    let launch = bed.launch(MARK);
    let run = build::run_of(&launch);
    for _ in 0..2 {
        assert_eq!(abandon(bed, &run).await, Abandon::NeverRan, "also when asked again");
    }
    let late = bed.try_start(&launch).await;
    assert!(late.is_err(), "a late start was accepted: {late:?}");
    let seen = bed.observe(&run).await;
    assert!(
        matches!(&seen, Seen::Absent) || matches!(&seen, Seen::Exited(exit) if exit.cause == Cause::NeverRan),
        "{seen:?}"
    );
    if let Some(marks) = marks(bed, &launch) {
        assert_eq!(marks, 0, "the script ran");
    }
    forget(bed, &launch).await;
    assert!(bed.try_start(&launch).await.is_err(), "forgetting must not open the way");
    let next = Launch { key: AttemptKey { attempt: 2, ..launch.key }, ..launch.clone() };
    let run = bed.start(&next).await;
    by_itself(&bed.until_exited(&run).await, Cause::Code(2));
}

/// An attempt that runs or ran cannot be given up.
pub async fn abandon_says_what_ran(bed: &Bed) {
    let (_, long) = bed.run(LONG).await;
    let (_, ended) = bed.run(MARK).await;
    bed.until_running(&long).await;
    let exit = bed.until_exited(&ended).await;
    assert_eq!(abandon(bed, &long).await, Abandon::Ran);
    assert_eq!(abandon(bed, &ended).await, Abandon::Ran);
    assert!(matches!(bed.observe(&long).await, Seen::Running { .. }), "the run is untouched");
    assert_eq!(bed.observe(&ended).await, Seen::Exited(exit), "the result is untouched");
    bed.kill(&long, 0).await;
    bed.until_exited(&long).await;
}

/// When a start and a giving up happen at the same time, either the script runs or it never does, as answered.
pub async fn abandon_and_start_have_one_winner(bed: &Bed) {
    for _ in 0..8 {
        let launch = bed.launch(MARK);
        let run = build::run_of(&launch);
        let (_, first) = tokio::join!(bed.try_start(&launch), bed.executor.abandon(&run));
        let verdict = match first {
            Ok(verdict) => verdict,
            // Not settled now: the caller asks again, and then it is.
            Err(_) => abandon(bed, &run).await,
        };
        let expected = match verdict {
            Abandon::NeverRan => 0,
            Abandon::Ran => {
                by_itself(&bed.until_exited(&run).await, Cause::Code(2));
                1
            }
        };
        if expected == 0 {
            // What was set up for it may take a moment to find its latch taken.
            until(bed.patience, &format!("{} is settled", launch.key), async || {
                match bed.observe(&run).await {
                    Seen::Absent => Some(()),
                    Seen::Exited(exit) if exit.cause == Cause::NeverRan => Some(()),
                    Seen::Exited(exit) => panic!("{} never ran and ended: {exit:?}", launch.key),
                    _ => None,
                }
            })
            .await;
        }
        if let Some(marks) = marks(bed, &launch) {
            assert_eq!(marks, expected, "{}: {verdict:?}", launch.key);
        }
    }
}
