//! Known mistakes of schedulers of this kind. Without the feature `flaws` every question here is a constant `false`.

/// A mistake that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// M1: the lease is never checked again once taken.
    LeaseNeverChecked,
    /// M3: the job is launched before the claim is durable.
    LaunchBeforeClaim,
    /// M5: a running task whose handling fails once drops out of sight.
    ForgetRunningOnError,
    /// M6: a request is taken off before it is carried out, and tried once.
    KillTriedOnce,
    /// M11: the kill of an array does not reach its children.
    ArrayKillMissesChildren,
    /// M12: an executor that can not be asked counts as the end of the run.
    UnknownMeansOver,
    /// M13: the run is removed before its result is stored.
    CleanBeforeRecord,
    /// M14: a port pool that is empty is filled again though all ports are in use.
    PortsRefilled,
    /// M21: an array ends when its counter says so, not when its children are over.
    ArrayEndsEarly,
    /// M23: an error of the store ends the scheduler.
    ErrorEndsScheduler,
    /// M25: resume is taken for suspend.
    ResumeIsSuspend,
    /// M29: a task is dropped from sight once its kill was asked.
    DroppedBeforeDead,
    /// Not of the old system: starting attempts of a dead leader are put back without asking the latch.
    RequeueWithoutLatch,
    /// Not of the old system: unknown runs are never looked for.
    NoOrphanSearch,
    /// Not of the old system: an answer that comes while the lead is lost keeps its place among the executor's calls.
    PlaceNotGivenBack,
}

impl Flaw {
    /// All of them with the name used on the simulator's command line.
    pub const ALL: [(&'static str, Flaw); 15] = [
        ("M1", Flaw::LeaseNeverChecked),
        ("M3", Flaw::LaunchBeforeClaim),
        ("M5", Flaw::ForgetRunningOnError),
        ("M6", Flaw::KillTriedOnce),
        ("M11", Flaw::ArrayKillMissesChildren),
        ("M12", Flaw::UnknownMeansOver),
        ("M13", Flaw::CleanBeforeRecord),
        ("M14", Flaw::PortsRefilled),
        ("M21", Flaw::ArrayEndsEarly),
        ("M23", Flaw::ErrorEndsScheduler),
        ("M25", Flaw::ResumeIsSuspend),
        ("M29", Flaw::DroppedBeforeDead),
        ("X1", Flaw::RequeueWithoutLatch),
        ("X2", Flaw::NoOrphanSearch),
        ("X3", Flaw::PlaceNotGivenBack),
    ];
}

#[cfg(feature = "flaws")]
mod switch {
    use super::Flaw;
    use std::cell::Cell;

    thread_local! {
        static ON: Cell<Option<Flaw>> = const { Cell::new(None) };
    }

    /// Switches one mistake on (or all off) for this thread.
    pub fn set(flaw: Option<Flaw>) {
        ON.with(|on| on.set(flaw));
    }

    /// Whether this mistake is on.
    #[must_use]
    pub fn on(flaw: Flaw) -> bool {
        ON.with(|on| on.get() == Some(flaw))
    }
}

#[cfg(not(feature = "flaws"))]
mod switch {
    use super::Flaw;

    /// Whether this mistake is on: never in this build.
    #[must_use]
    pub const fn on(_flaw: Flaw) -> bool {
        false
    }
}

pub use switch::*;
