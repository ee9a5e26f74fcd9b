//! What the watcher plugins say of running tasks, asked with every reconciliation.

use super::*;
use god_core::state::Ask;
use god_core::store::Change;
use god_core::units::Seconds;
use god_core::watcher::Verdict;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Watcher<'_> {
    /// Asks the plugins about each running task of ours, and asks for the end of those that must not go on.
    pub(super) async fn judge_running(
        &self,
        s: &mut State,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        if !std::mem::take(&mut s.judge) || self.world.watchers.is_empty() {
            return Ok(());
        }
        let (now, mono) = (self.world.clock.now(), self.world.clock.mono());
        let mut ends = BTreeMap::new();
        let mut tasks = Vec::new();
        let ids: Vec<TaskId> = s.live.keys().copied().filter(|id| self.is_mine(s, *id)).collect();
        for id in ids {
            let Some(watched) = s.live.get_mut(&id).filter(|w| !w.task.kill_wanted()) else { continue };
            let Some(elapsed) = watched.elapsed(now, mono) else { continue };
            if let Some(why) = self.verdict(&watched.task, Seconds(elapsed.as_secs())) {
                info!(task = %id, why, "a watcher ends the task");
                ends.insert(id, why);
                tasks.push(watched.task.clone());
            }
        }
        let decide = |task: &Task| {
            let next = task.asked(Ask::Kill, ends.get(&task.id).map(String::as_str), now)?;
            Some(Change::of(task, next, self.world.ops.next()))
        };
        // The notes of these changes come back to us, and the requests are worked on like a user's.
        inflight.drive(moves::commit_decided(self.world, Some(&s.lease), tasks, decide)).await?;
        Ok(())
    }

    /// Why a task must end, if it must.
    fn verdict(&self, task: &Task, elapsed: Seconds) -> Option<String> {
        self.world.watchers.iter().find_map(|watcher| {
            match catch_unwind(AssertUnwindSafe(|| watcher.can_run(task, elapsed))) {
                Ok(Verdict::GoOn) => None,
                Ok(Verdict::End(why)) => Some(why),
                Err(_) => {
                    warn!(task = %task.id, watcher = watcher.name(), "the watcher broke over a task, which goes on");
                    None
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease;
    use crate::testing::{claimed, spec, stored, submitted, task, world};
    use god_core::state::WishStatus;
    use god_core::store::{Committed, Store};
    use god_core::watcher::WatcherPlugin;
    use god_store::MemoryStore;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    /// Ends what has run for a minute, and breaks over one name.
    #[derive(Debug)]
    struct Minute;

    impl WatcherPlugin for Minute {
        fn name(&self) -> &'static str {
            "minute"
        }
        fn can_run(&self, task: &Task, elapsed: Seconds) -> Verdict {
            assert!(task.spec.name != "breaks", "over a task");
            if elapsed.0 > 60 { Verdict::End("a minute is enough".to_owned()) } else { Verdict::GoOn }
        }
    }

    /// A task that runs since the zero of the clock, on an executor that is not there.
    fn running(store: &MemoryStore, name: &str) -> TaskId {
        let spec = god_core::TaskSpec { name: name.to_owned(), ..spec() };
        let id = submitted(store, spec);
        let before = stored(store, id);
        let started = Event::Started { run: None, since: Timestamp(0) };
        let after = claimed(&before, "n", &[]).after(&started, Timestamp(0)).expect("it was claimed");
        let change = Change::of(&before, after, god_core::OpId(1));
        assert_eq!(crate::testing::now(store.commit(vec![change], None)), [Committed::Done]);
        id
    }

    #[test]
    fn the_end_of_a_task_is_asked_for_when_a_plugin_says_so_and_a_broken_plugin_ends_nothing() {
        let store = Arc::new(MemoryStore::new());
        let (long, broken) = (running(&store, "long"), running(&store, "breaks"));
        let world = World { watchers: vec![Arc::new(Minute)], ..world(&store) };
        let (tenure, stop, beat) = (Tenure::default(), crate::signal::Signal::default(), Default::default());
        let watcher = Watcher::new(&world, &tenure, &stop, &beat);
        let name = format!("{}test", lease::WATCHERS);
        let mut loops = pin!(futures::future::join(watcher.run(), lease::hold(&world, &name, &tenure)));
        for _ in 0..5_000 {
            assert!(loops.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            if stored(&store, long).kill_wanted() {
                break;
            }
        }
        let wish = stored(&store, long).wish.expect("asked for");
        assert_eq!((wish.ask, wish.status), (Ask::Kill, WishStatus::Requested));
        assert_eq!(wish.reason.as_deref(), Some("a minute is enough"));
        assert!(world.clock.mono() > Duration::from_secs(60), "not before its time");
        assert_eq!(stored(&store, broken).wish, None);
    }

    #[test]
    fn a_jump_of_the_wall_clock_makes_no_run_longer() {
        let started = Event::Started { run: None, since: Timestamp(1_000) };
        let task = claimed(&task(1, spec()), "n", &[]).after(&started, Timestamp(1_000)).expect("claimed");
        let mut watched = Watched::new(task);
        let second = Duration::from_secs;
        assert_eq!(watched.elapsed(Timestamp(6_000), second(100)), Some(second(5)));
        assert_eq!(watched.elapsed(Timestamp(3_600_000), second(101)), Some(second(6)));
        assert_eq!(watched.elapsed(Timestamp(0), second(102)), Some(second(7)));
        // One that seems to have started in the future has just started.
        watched.ran_for = None;
        assert_eq!(watched.elapsed(Timestamp(0), second(102)), Some(second(0)));
    }
}
