//! Time limits that were changed while the task runs: told to the executor until it has taken them over.

use super::*;
use crate::inflight::guarded;
use std::sync::Arc;

impl Watcher<'_> {
    /// Tells the executors the limits that are due to be told.
    pub(super) fn tell_limits(&self, s: &mut State, inflight: &Inflight) {
        let mono = self.world.clock.mono();
        let due = |w: &Watched| w.task.phase() == Phase::Running && w.relimit_at.is_some_and(|at| mono >= at);
        let ids: Vec<TaskId> = s.live.iter().filter(|(_, w)| due(w)).map(|(id, _)| *id).collect();
        let mut by_executor: BTreeMap<usize, Vec<(Run, Option<Seconds>)>> = BTreeMap::new();
        for id in ids {
            let mine = self.is_mine(s, id);
            let Some(watched) = s.live.get_mut(&id) else { continue };
            watched.relimit_at = Some(mono + self.world.settings.retry);
            let (Some(run), Some(attempt)) = (watched.task.run(), watched.task.state.attempt()) else {
                continue;
            };
            let executors = &self.world.executors;
            let ix = executors.iter().position(|e| *e.name() == attempt.executor && e.limiting().is_some());
            match ix {
                Some(ix) if mine => {
                    by_executor.entry(ix).or_default().push((run, watched.task.spec.limit()));
                }
                // Somebody else tells it, without telling us when it is done. Should that one leave, it is ours.
                Some(_) => watched.relimit_at = Some(mono + self.world.settings.lease_ttl),
                None => watched.relimit_at = None,
            }
        }
        for (ix, runs) in by_executor {
            let plugin = Arc::clone(&self.world.executors[ix]);
            inflight.begin(async move {
                let mut results = Vec::with_capacity(runs.len());
                for (run, limit) in runs {
                    let Some(limiting) = plugin.limiting() else { continue };
                    let answer = guarded(limiting.set_limit(&run, limit)).await;
                    let answer = answer.and_then(|answer| answer.map_err(|err| crate::chain(&err)));
                    results.push((run.key, limit, answer));
                }
                Done::Limited { results }
            });
        }
    }

    /// Notes what the executors took over.
    pub(super) fn take_limits(
        &self,
        s: &mut State,
        results: Vec<(AttemptKey, Option<Seconds>, Result<(), String>)>,
    ) {
        for (key, limit, answer) in results {
            let Some(watched) = s.live.get_mut(&key.task) else { continue };
            let same = watched.task.state.attempt().map(|a| a.number) == Some(key.attempt);
            match answer {
                Ok(()) if same && watched.task.spec.limit() == limit => {
                    info!(task = %key.task, limit = ?limit, "time limit was changed");
                    watched.relimit_at = None;
                }
                Ok(()) => {}
                Err(why) => warn!(task = %key.task, why, "time limit was not changed, trying again"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease;
    use crate::testing::{claimed, now, parent, spec, stored, submitted, world};
    use async_trait::async_trait;
    use god_core::executor::{Executor, Launch, Limiting, Listed, StartError, Started};
    use god_core::ids::ExecutorName;
    use god_core::resources::Node;
    use god_core::store::{Change, Committed, Store};
    use god_store::MemoryStore;
    use std::sync::Mutex;
    use std::task::{Context, Waker};

    /// Takes limits over, but not at the first try; runs nothing.
    #[derive(Debug)]
    struct Slow {
        name: ExecutorName,
        told: Mutex<Vec<(TaskId, Option<Seconds>)>>,
    }

    #[async_trait]
    impl Executor for Slow {
        fn name(&self) -> &ExecutorName {
            &self.name
        }
        async fn nodes(&self) -> Result<Vec<Node>, ExecError> {
            Ok(Vec::new())
        }
        async fn start(&self, launches: Vec<Launch>) -> Vec<Result<Started, StartError>> {
            launches.iter().map(|_| Err(StartError::NotNow(String::new()))).collect()
        }
        async fn observe(&self, runs: &[Run]) -> Result<Vec<Seen>, ExecError> {
            Ok(vec![Seen::Unknown(String::new()); runs.len()])
        }
        async fn list(&self) -> Result<Vec<Listed>, ExecError> {
            Ok(Vec::new())
        }
        async fn kill(&self, runs: &[Run], _: Seconds) -> Vec<Result<(), ExecError>> {
            runs.iter().map(|_| Ok(())).collect()
        }
        async fn abandon(&self, _: &Run) -> Result<Abandon, ExecError> {
            Ok(Abandon::Ran)
        }
        async fn forget(&self, _: &[Finished]) -> Result<(), ExecError> {
            Ok(())
        }
        fn limiting(&self) -> Option<&dyn Limiting> {
            Some(self)
        }
    }

    #[async_trait]
    impl Limiting for Slow {
        async fn set_limit(&self, run: &Run, limit: Option<Seconds>) -> Result<(), ExecError> {
            let mut told = self.told.lock().expect("no panic under the lock");
            told.push((run.key.task, limit));
            if told.len() > 1 {
                return Ok(());
            }
            Err(ExecError::Garbled { executor: self.name.clone(), what: "once".to_owned() })
        }
    }

    fn change(store: &MemoryStore, before: &Task, after: Task) {
        let change = Change::of(before, after, god_core::OpId(1));
        assert_eq!(now(store.commit(vec![change], None)), [Committed::Done]);
    }

    fn run(store: &MemoryStore, task: &Task) {
        let started = Event::Started { run: None, since: Timestamp(0) };
        let after = claimed(task, "n", &[]).after(&started, Timestamp(0)).expect("it was claimed");
        change(store, task, after);
    }

    fn relimit(store: &MemoryStore, id: TaskId, text: &str) {
        let before = stored(store, id);
        let mut spec = (*before.spec).clone();
        spec.fields.insert(LIMIT_FIELD.to_owned(), text.to_owned());
        let after = Task { spec: Arc::new(spec), rev: before.rev.next(), ..before.clone() };
        change(store, &before, after);
    }

    #[test]
    fn changed_limits_are_told_until_they_are_taken_over_also_to_children() {
        let store = Arc::new(MemoryStore::new());
        let single = submitted(&store, spec());
        run(&store, &stored(&store, single));
        let array = submitted(&store, (*parent(1, "1:2").spec).clone());
        let unfolded = stored(&store, array).after(&Event::Unfolded, Timestamp(0)).expect("an array");
        change(&store, &stored(&store, array), unfolded);
        run(&store, &stored(&store, array.child(0)));
        let executor = Arc::new(Slow { name: ExecutorName::new("local"), told: Mutex::default() });
        let executors = vec![Arc::clone(&executor) as Arc<dyn Executor>];
        let world = World { executors, ..world(&store) };
        let (tenure, stop, beat) = (Tenure::default(), crate::signal::Signal::default(), Default::default());
        let watcher = Watcher::new(&world, &tenure, &stop, &beat);
        let name = format!("{}test", lease::WATCHERS);
        let mut loops = pin!(futures::future::join(watcher.run(), lease::hold(&world, &name, &tenure)));
        let mut work = |turns: usize| {
            for _ in 0..turns {
                assert!(loops.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            std::mem::take(&mut *executor.told.lock().expect("no panic under the lock"))
        };
        assert_eq!(work(500), [], "nothing was changed");
        relimit(&store, single, "2h");
        let limit = Some(Seconds(7200));
        assert_eq!(work(500), [(single, limit), (single, limit)], "told again, then no more");
        executor.told.lock().expect("no panic under the lock").push((single, None));
        relimit(&store, array, "5m");
        assert_eq!(work(500), [(single, None), (array.child(0), Some(Seconds(300)))]);
    }
}
