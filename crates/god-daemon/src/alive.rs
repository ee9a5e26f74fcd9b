//! Signs of life: in the store, and at the registry if there is one.
//!
//! They are given beside the work, so a long pass is no sign of death. Only a loop that has not turned for minutes gets
//! none any more.

use god_core::Holder;
use god_core::status::{Process, StatusPlugin};
use god_core::store::Store;
use god_engine::processes::{self, SIGN_EVERY};
use god_engine::signal::Signal;
use god_engine::{Clock, chain};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// A loop that has not turned for so long stands still; the longest pass is far shorter.
const STUCK_AFTER: Duration = Duration::from_secs(180);
/// How long the registry may take.
const ANSWER: Duration = Duration::from_secs(15);

/// One kind of work of this process.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) process: Process,
    /// Rung once a turn, if its loop turns.
    pub(crate) beat: Option<Arc<Signal>>,
}

/// Where signs of life go.
#[derive(Debug, Clone)]
pub(crate) struct Signs {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Option<Arc<dyn StatusPlugin>>,
    pub(crate) holder: Holder,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Signs {
    /// Gives a sign for each part three times a minute, for ever.
    pub(crate) async fn keep(self, parts: Vec<Part>) {
        let mut turned: Vec<(u64, Instant)> =
            parts.iter().map(|part| (rings(part), Instant::now())).collect();
        let mut silent: BTreeSet<&'static str> = BTreeSet::new();
        loop {
            let mut alive = Vec::new();
            for (part, (seen, at)) in parts.iter().zip(&mut turned) {
                let now = rings(part);
                if now != *seen {
                    (*seen, *at) = (now, Instant::now());
                }
                if part.beat.is_none() || at.elapsed() < STUCK_AFTER {
                    alive.push(part.process.clone());
                } else {
                    warn!(name = part.process.name, "a loop stands still and gets no sign of life");
                }
            }
            let (store, registry) = tokio::join!(self.in_store(&alive), self.at_registry(&alive));
            for (whom, told) in [("the store", store), ("the registry", registry)] {
                match told {
                    Ok(()) if silent.remove(whom) => info!(whom, "signs of life are taken again"),
                    Ok(()) => {}
                    // Said once, and not three times a minute.
                    Err(err) if silent.insert(whom) => warn!(whom, err, "signs of life are not taken"),
                    Err(_) => {}
                }
            }
            tokio::time::sleep(SIGN_EVERY).await;
        }
    }

    /// Takes the signs back: the process ends as it should.
    pub(crate) async fn withdraw(&self, parts: &[Part]) {
        let ended: Vec<Process> = parts.iter().map(|part| part.process.clone()).collect();
        let at_registry = async {
            let Some(registry) = &self.registry else { return };
            let leave = ended.iter().map(|process| registry.leave(process));
            for left in futures::future::join_all(leave).await {
                if let Err(err) = left {
                    warn!(err = chain(&*err), "the registry was not told of the end");
                }
            }
        };
        let (in_store, ()) = tokio::join!(processes::withdraw(&*self.store, &ended), at_registry);
        if let Err(err) = in_store {
            warn!(err = %chain(&err), "signs of life were not taken back");
        }
    }

    async fn in_store(&self, alive: &[Process]) -> Result<(), String> {
        let signed = processes::sign(&*self.store, alive, &self.holder, self.clock.now()).await;
        signed.map_err(|err| chain(&err))
    }

    async fn at_registry(&self, alive: &[Process]) -> Result<(), String> {
        let Some(registry) = &self.registry else { return Ok(()) };
        let told = futures::future::join_all(alive.iter().map(|process| registry.keep_alive(process)));
        let told =
            timeout(ANSWER, told).await.map_err(|_| format!("no answer within {} s", ANSWER.as_secs()))?;
        told.into_iter().collect::<Result<Vec<()>, _>>().map(drop).map_err(|err| chain(&*err))
    }
}

fn rings(part: &Part) -> u64 {
    part.beat.as_ref().map_or(0, |beat| beat.rings())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClock;
    use async_trait::async_trait;
    use god_core::BoxError;
    use god_core::status::ProcessStatus;
    use god_store::MemoryStore;
    use std::sync::Mutex;

    /// A registry that notes what it is told.
    #[derive(Debug, Default)]
    struct Notes(Mutex<Vec<String>>);

    #[async_trait]
    impl StatusPlugin for Notes {
        fn name(&self) -> &'static str {
            "notes"
        }
        async fn keep_alive(&self, process: &Process) -> Result<(), BoxError> {
            self.0.lock().unwrap().push(format!("+{}", process.name));
            Ok(())
        }
        async fn leave(&self, process: &Process) -> Result<(), BoxError> {
            self.0.lock().unwrap().push(format!("-{}", process.name));
            Ok(())
        }
        async fn processes(&self) -> Result<Vec<ProcessStatus>, BoxError> {
            Ok(Vec::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_gets_no_sign_and_a_long_pass_does() {
        let beat = Arc::new(Signal::default());
        let process = |kind: &str| Process { kind: kind.into(), name: format!("{kind}-h"), host: "h".into() };
        let parts = vec![
            Part { process: process("scheduler"), beat: Some(Arc::clone(&beat)) },
            Part { process: process("web"), beat: None },
        ];
        let (store, notes) = (Arc::new(MemoryStore::new()), Arc::new(Notes::default()));
        let signs = Signs {
            store: store.clone(),
            registry: Some(notes.clone()),
            holder: Holder::new("p"),
            clock: Arc::new(RealClock::default()),
        };
        let said = || std::mem::take(&mut *notes.0.lock().unwrap());
        let script = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(said(), ["+scheduler-h", "+web-h"], "at once");
            // A pass of two minutes.
            tokio::time::sleep(Duration::from_secs(120)).await;
            assert_eq!(said().iter().filter(|sign| *sign == "+scheduler-h").count(), 6);
            beat.ring();
            tokio::time::sleep(Duration::from_secs(170)).await;
            assert!(said().contains(&"+scheduler-h".to_owned()));
            tokio::time::sleep(Duration::from_secs(60)).await;
            said();
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(said(), ["+web-h", "+web-h", "+web-h"]);
            beat.ring();
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!(said(), ["+scheduler-h", "+web-h"]);
        };
        tokio::select! {
            biased;
            () = script => {}
            () = signs.clone().keep(parts.clone()) => unreachable!("it never ends"),
        }
        assert_eq!(store.pinned("alive/").await.unwrap().len(), 2);
        signs.withdraw(&parts).await;
        assert_eq!(said(), ["-scheduler-h", "-web-h"]);
        assert!(store.pinned("alive/").await.unwrap().is_empty());
    }
}
