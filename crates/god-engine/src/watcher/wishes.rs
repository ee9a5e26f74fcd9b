//! Requests on live tasks, worked on until they are true: kill, suspend, resume, reschedule.

use super::*;
use crate::inflight::guarded;
use god_core::executor::{Executor, Run};
use god_core::state::Ask;
use god_core::units::Seconds;
use std::sync::Arc;

/// A request to work on.
#[derive(Debug, Clone)]
struct Errand {
    run: Run,
    /// The request's number; `None` when a run is only put right to what its document says.
    seq: Option<u32>,
    ask: Ask,
    /// Whether the run was not seen to start yet.
    starting: bool,
}

impl Errand {
    fn answer(&self, acted: Acted) -> Answer {
        Answer { key: self.run.key, seq: self.seq, acted }
    }
}

impl Watcher<'_> {
    /// Begins work on each open request that is new, or whose last try is too long ago, and on runs that are paused though
    /// their document says they run, or the other way round.
    pub(super) fn act_on_wishes(&self, s: &mut State, inflight: &Inflight) {
        let mono = self.world.clock.mono();
        let retry = self.world.settings.retry;
        let mut errands: BTreeMap<usize, Vec<Errand>> = BTreeMap::new();
        let mine: Vec<TaskId> = s
            .live
            .iter()
            .filter(|(_, w)| w.wants_work())
            .filter(|(_, w)| w.acted_at.is_none_or(|at| mono >= at + retry && !flaw::on(Flaw::KillTriedOnce)))
            .map(|(id, _)| *id)
            .filter(|id| self.is_mine(s, *id))
            .collect();
        for id in mine {
            let Some(watched) = s.live.get_mut(&id) else { continue };
            let Some(run) = watched.task.run() else { continue };
            let open = watched.task.wish.as_ref().filter(|w| w.is_open());
            let (seq, ask) = match (open, &watched.task.state) {
                (Some(wish), _) => (Some(wish.seq), wish.ask),
                (None, TaskState::Running { paused: true, .. }) => (None, Ask::Suspend),
                (None, _) => (None, Ask::Resume),
            };
            let starting = watched.task.phase() == Phase::Starting;
            if starting && matches!(ask, Ask::Suspend | Ask::Resume) {
                // Nothing to pause before it runs.
                continue;
            }
            watched.acted_at = Some(mono);
            watched.busy = true;
            watched.astray = false;
            let name = watched.task.state.attempt().map(|a| a.executor.clone());
            if let Some(ix) = self.world.executors.iter().position(|e| Some(e.name()) == name.as_ref()) {
                errands.entry(ix).or_default().push(Errand { run, seq, ask, starting });
            }
            if flaw::on(Flaw::DroppedBeforeDead) {
                s.live.remove(&id);
            }
        }
        for (ix, list) in errands {
            let plugin = Arc::clone(&self.world.executors[ix]);
            let grace = self.world.settings.kill_grace;
            inflight.begin(async move { Done::Acted { results: act(&*plugin, list, grace).await } });
        }
    }

    /// Writes what the executors answered.
    pub(super) async fn take_answers(
        &self,
        s: &mut State,
        answers: Vec<Answer>,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mut events = BTreeMap::new();
        let mut tasks = Vec::new();
        for Answer { key, seq, acted } in answers {
            let id = key.task;
            let Some(watched) = s.live.get_mut(&id) else { continue };
            if !watched.take_answer(key, seq) {
                continue;
            }
            let event = match acted {
                Acted::KillSent | Acted::Righted => continue,
                Acted::Failed(why) => {
                    warn!(task = %id, why, "request was not carried out, trying again");
                    continue;
                }
                Acted::Paused => Event::Paused,
                Acted::Resumed => Event::Resumed,
                Acted::NeverRan => Event::Returned { why: None },
                Acted::Impossible(why) => Event::AskRejected(why),
            };
            tasks.push(watched.task.clone());
            events.insert(id, (watched.task.state.attempt().map(|a| a.number), vec![event]));
        }
        self.write(s, tasks, events, inflight).await
    }
}

impl Watched {
    /// Takes note that work on a request has come back; `true` when it was work on the request that is open now. The
    /// numbers of requests begin again with each attempt.
    fn take_answer(&mut self, key: AttemptKey, seq: Option<u32>) -> bool {
        if self.task.state.attempt().map(|a| a.number) != Some(key.attempt) {
            return false;
        }
        self.busy = false;
        if seq.is_none() || self.task.wish.as_ref().map(|w| w.seq) != seq {
            self.acted_at = None;
            return false;
        }
        true
    }
}

impl Watcher<'_> {
    /// Asks the latches of claimed runs that their executor does not know.
    pub(super) fn settle_doubtful(&self, s: &mut State, inflight: &Inflight) {
        for (ix, runs) in std::mem::take(&mut s.doubtful) {
            let plugin = Arc::clone(&self.world.executors[ix]);
            inflight.begin(async move {
                let mut results = Vec::with_capacity(runs.len());
                for run in runs {
                    let answer = if flaw::on(Flaw::RequeueWithoutLatch) {
                        Ok(Abandon::NeverRan)
                    } else {
                        abandon(&*plugin, &run).await
                    };
                    results.push((run.key, answer));
                }
                Done::Settled { results }
            });
        }
    }

    /// Puts back what never ran; what ran is looked for like any running task.
    pub(super) async fn take_settled(
        &self,
        s: &mut State,
        settled: Vec<(AttemptKey, Result<Abandon, String>)>,
        inflight: &mut Inflight,
    ) -> Result<(), StoreError> {
        let mut events = BTreeMap::new();
        let mut tasks = Vec::new();
        for (key, answer) in settled {
            let Some(watched) = s.live.get_mut(&key.task) else { continue };
            let number = watched.task.state.attempt().map(|a| a.number);
            if number != Some(key.attempt) {
                continue;
            }
            match answer {
                Ok(Abandon::NeverRan) => {
                    tasks.push(watched.task.clone());
                    events.insert(key.task, (number, vec![Event::Returned { why: None }]));
                }
                Ok(Abandon::Ran) => {
                    watched.ran = true;
                    watched.absent_since = None;
                    watched.look_at = Some(self.world.clock.mono());
                }
                Err(why) => warn!(task = %key.task, why, "what became of a start is not known yet"),
            }
        }
        self.write(s, tasks, events, inflight).await
    }
}

/// Carries requests out on one executor.
async fn act(plugin: &dyn Executor, errands: Vec<Errand>, grace: Seconds) -> Vec<Answer> {
    let mut results = Vec::with_capacity(errands.len());
    for ask in [Ask::Kill, Ask::Suspend, Ask::Resume] {
        let group: Vec<&Errand> = errands
            .iter()
            .filter(|e| e.ask == ask || (ask == Ask::Kill && e.ask == Ask::Reschedule))
            .collect();
        if group.is_empty() {
            continue;
        }
        let runs: Vec<Run> = group.iter().map(|e| e.run.clone()).collect();
        if ask != Ask::Kill && plugin.pausing().is_none() {
            let why = format!("Executor {} can not pause tasks", plugin.name());
            results.extend(group.iter().map(|e| e.answer(Acted::Impossible(why.clone()))));
            continue;
        }
        let answers = match guarded(carry_out(plugin, ask, &runs, grace)).await {
            Ok(answers) => answers,
            Err(why) if runs.len() == 1 => vec![Err(why)],
            // It breaks over one of them: each alone, so that the others are done.
            Err(_) => {
                let mut answers = Vec::with_capacity(runs.len());
                for run in &runs {
                    let alone = guarded(carry_out(plugin, ask, std::slice::from_ref(run), grace)).await;
                    let answer = alone.map(|mut answers| answers.pop());
                    answers.push(answer.and_then(|a| a.unwrap_or_else(|| Err("no answer".to_owned()))));
                }
                answers
            }
        };
        for (errand, answer) in group.into_iter().zip(answers) {
            let acted = match answer {
                Err(why) => Acted::Failed(why),
                Ok(()) if errand.seq.is_none() => Acted::Righted,
                Ok(()) if ask == Ask::Suspend => Acted::Paused,
                Ok(()) if ask == Ask::Resume => Acted::Resumed,
                Ok(()) if errand.starting => settle_unstarted(plugin, &errand.run).await,
                Ok(()) => Acted::KillSent,
            };
            results.push(errand.answer(acted));
        }
    }
    results
}

/// Tells an executor that can do it what is wanted of runs; one answer each.
async fn carry_out(plugin: &dyn Executor, ask: Ask, runs: &[Run], grace: Seconds) -> Vec<Result<(), String>> {
    let suspend = ask == Ask::Suspend || (ask == Ask::Resume && flaw::on(Flaw::ResumeIsSuspend));
    let answers = match (ask, plugin.pausing()) {
        (Ask::Suspend | Ask::Resume, Some(pausing)) if suspend => pausing.pause(runs).await,
        (Ask::Suspend | Ask::Resume, Some(pausing)) => pausing.resume(runs).await,
        _ => plugin.kill(runs, grace).await,
    };
    answers.into_iter().map(|answer| answer.map_err(|err| crate::chain(&err))).collect()
}

/// A kill of a task that was not seen to start: the latch says whether it ever will.
async fn settle_unstarted(plugin: &dyn Executor, run: &Run) -> Acted {
    if flaw::on(Flaw::RequeueWithoutLatch) {
        return Acted::NeverRan;
    }
    match abandon(plugin, run).await {
        Ok(Abandon::NeverRan) => Acted::NeverRan,
        // It runs or ran: its end will be seen.
        Ok(Abandon::Ran) => Acted::KillSent,
        Err(why) => Acted::Failed(why),
    }
}

/// Asks the latch of an attempt.
async fn abandon(plugin: &dyn Executor, run: &Run) -> Result<Abandon, String> {
    guarded(plugin.abandon(run)).await?.map_err(|err| crate::chain(&err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{claimed, spec, task};
    use god_core::Timestamp;

    fn key(attempt: u32) -> AttemptKey {
        AttemptKey { task: TaskId(1), attempt }
    }

    #[test]
    fn an_answer_is_taken_for_the_open_request_of_the_same_attempt_only() {
        let now = Timestamp(3000);
        let first = claimed(&task(1, spec()), "n", &[]);
        let first = first.after(&Event::Returned { why: None }, now).expect("put back");
        let second = claimed(&first, "n", &[]).asked(Ask::Suspend, None, now).expect("wanted");
        let mut watched = Watched { busy: true, acted_at: Some(Duration::ZERO), ..Watched::new(second) };

        assert!(
            !watched.take_answer(key(1), Some(1)),
            "of the attempt before, whose request had this number too"
        );
        assert!(watched.busy, "and what is under way for this attempt goes on");
        assert!(watched.take_answer(key(2), Some(1)) && !watched.busy);
        for seq in [Some(0), None] {
            watched.busy = true;
            watched.acted_at = Some(Duration::ZERO);
            assert!(!watched.take_answer(key(2), seq) && !watched.busy);
            assert_eq!(watched.acted_at, None, "the open request is worked on at once");
        }
    }
}
