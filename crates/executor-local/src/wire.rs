//! From the keeper's words to ours and back. Pure.

use god_core::executor::{AttemptKey, Cause, Exit, Seen, StartError, Started};
use god_core::ids::TaskId;
use god_core::units::{Bytes, Timestamp};
use god_runtime::keeper::{self, StartResult};
use god_runtime::launch::{ExitRecord, Key};

/// The keeper's name of an attempt.
pub(crate) fn key(key: AttemptKey) -> Key {
    Key { task: key.task.0, attempt: key.attempt }
}

/// Our name of an attempt.
pub(crate) fn attempt(key: Key) -> AttemptKey {
    AttemptKey { task: TaskId(key.task), attempt: key.attempt }
}

/// Milliseconds since 1970.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    Timestamp(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// What the keeper sees of an attempt.
///
/// Of one that was taken back the keeper notes no time: it is said to have ended `now`.
pub(crate) fn seen(seen: keeper::Seen, now: Timestamp) -> Seen {
    match seen {
        keeper::Seen::Queued => Seen::Created,
        keeper::Seen::Running { started_ms, paused: true, .. } => {
            Seen::Paused { run: None, since: timestamp(started_ms) }
        }
        keeper::Seen::Running { started_ms, .. } => Seen::Running { run: None, since: timestamp(started_ms) },
        keeper::Seen::Exited(record) => Seen::Exited(exit(record)),
        keeper::Seen::NeverRan => Seen::Exited(never_ran(now)),
        // The keeper of a host knows every run there is; its journal outlives it.
        keeper::Seen::Absent { .. } => Seen::Absent,
    }
}

/// The end of an attempt that was taken back before its start.
pub(crate) fn never_ran(ended: Timestamp) -> Exit {
    Exit { cause: Cause::NeverRan, by_request: true, started: None, ended, cpu_us: 0, max_rss: Bytes(0) }
}

/// How a run ended.
pub(crate) fn exit(record: ExitRecord) -> Exit {
    let started = timestamp(record.started_ms);
    Exit {
        by_request: record.killed,
        // The script was not entered when there is a failure.
        started: record.failure.is_none().then_some(started),
        ended: timestamp(record.ended_ms),
        cpu_us: record.utime_us.saturating_add(record.stime_us),
        max_rss: Bytes(record.maxrss_kib.saturating_mul(1024)),
        cause: cause(record),
    }
}

fn cause(record: ExitRecord) -> Cause {
    if record.timed_out {
        return Cause::TimeLimit;
    }
    // A child that was killed for want of memory, and a script that coped with it, is a script that ended well.
    if record.oom == Some(true) && record.code != Some(0) && !record.killed {
        return Cause::OutOfMemory;
    }
    match (record.signal, record.code, record.failure) {
        (Some(signal), _, _) => Cause::Signal(signal),
        (None, Some(code), _) => Cause::Code(code),
        (None, None, Some(failure)) => Cause::Lost(failure),
        (None, None, None) => Cause::Lost(
            "the keeper of this host was ended before the script; how the script ended is not known".into(),
        ),
    }
}

/// What became of a start.
pub(crate) fn started(result: StartResult) -> Result<Started, StartError> {
    let closed = || "this attempt was given up or forgotten: it never runs again".to_owned();
    match result {
        StartResult::Started { at_ms, .. } => Ok(Started::Running { run: None, since: timestamp(at_ms) }),
        StartResult::Queued | StartResult::Known(keeper::Seen::Queued | keeper::Seen::Exited(_)) => {
            Ok(Started::Accepted)
        }
        StartResult::Known(keeper::Seen::Running { started_ms, .. }) => {
            Ok(Started::Running { run: None, since: timestamp(started_ms) })
        }
        StartResult::Known(keeper::Seen::NeverRan) | StartResult::Taken { .. } => {
            Err(StartError::NotNow(closed()))
        }
        StartResult::Known(keeper::Seen::Absent { .. }) => {
            Err(StartError::Unknown("the keeper took it and knows it no more".to_owned()))
        }
        StartResult::Refused { reason } => Err(StartError::Refused(reason)),
        StartResult::NotNow { reason } => Err(StartError::NotNow(reason)),
    }
}

/// An answer that must have been given by now.
pub(crate) fn settled(answer: Option<Result<Started, StartError>>) -> Result<Started, StartError> {
    answer
        .unwrap_or_else(|| Err(StartError::Unknown("the keeper gave no answer for this attempt".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: ExitRecord, expected: Cause) {
        let shown = format!("{record:?}");
        assert_eq!(exit(record).cause, expected, "{shown}");
    }

    #[test]
    fn every_end_has_its_cause() {
        let base = || ExitRecord { started_ms: 1000, ended_ms: 2000, ..ExitRecord::default() };
        check(ExitRecord { code: Some(0), ..base() }, Cause::Code(0));
        check(ExitRecord { code: Some(137), ..base() }, Cause::Code(137));
        let killed = || ExitRecord { code: Some(137), signal: Some(9), ..base() };
        check(killed(), Cause::Signal(9));
        check(ExitRecord { oom: Some(false), ..killed() }, Cause::Signal(9));
        check(ExitRecord { oom: Some(true), ..killed() }, Cause::OutOfMemory);
        check(ExitRecord { oom: Some(true), killed: true, ..killed() }, Cause::Signal(9));
        check(ExitRecord { oom: Some(true), code: Some(137), ..base() }, Cause::OutOfMemory);
        check(ExitRecord { oom: Some(true), code: Some(0), ..base() }, Cause::Code(0));
        check(ExitRecord { timed_out: true, ..killed() }, Cause::TimeLimit);
        check(ExitRecord { timed_out: true, code: Some(3), ..base() }, Cause::TimeLimit);
        let failure = Some("no directory".to_owned());
        check(ExitRecord { code: Some(127), failure: failure.clone(), ..base() }, Cause::Code(127));
        check(ExitRecord { failure, ..base() }, Cause::Lost("no directory".to_owned()));
        assert!(matches!(exit(ExitRecord { lost: true, ..base() }).cause, Cause::Lost(_)));
    }

    #[test]
    fn times_and_uses_are_converted() {
        let exit = exit(ExitRecord {
            code: Some(0),
            killed: true,
            started_ms: 1000,
            ended_ms: 2500,
            utime_us: 7,
            stime_us: 5,
            maxrss_kib: 3,
            ..ExitRecord::default()
        });
        assert_eq!((exit.started, exit.ended), (Some(Timestamp(1000)), Timestamp(2500)));
        assert_eq!((exit.cpu_us, exit.max_rss, exit.by_request), (12, Bytes(3072), true));
    }

    #[test]
    fn late_starts_are_no_starts() {
        let taken = StartResult::Taken { verdict: god_runtime::latch::Verdict::Abandoned, attempt: 2 };
        assert!(matches!(started(taken), Err(StartError::NotNow(_))));
        assert!(matches!(started(StartResult::Known(keeper::Seen::NeverRan)), Err(StartError::NotNow(_))));
        assert_eq!(started(StartResult::Queued), Ok(Started::Accepted));
    }
}
