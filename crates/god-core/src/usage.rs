//! The usage ledger: one record for each attempt that ran, booked with its end.

use crate::executor::AttemptKey;
use crate::ids::{ProjectId, UserId};
use crate::units::{Cores, Day};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one attempt used, from times that we observed. Keyed by attempt, so it is counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The attempt.
    pub key: AttemptKey,
    /// Who is accounted.
    pub owner: UserId,
    /// Which project is accounted.
    pub project: ProjectId,
    /// Day of the end.
    pub day: Day,
    /// Cores asked for.
    pub cores: Cores,
    /// Memory asked for, in the wire format's GB.
    pub ram: u32,
    /// Wall time in milliseconds.
    pub millis: u64,
}

/// Sums of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UsageSum {
    /// The day.
    pub day: Day,
    /// Sum of cores of the attempts that ended.
    pub cores: u64,
    /// Sum of GB of the attempts that ended.
    pub ram: u64,
    /// Sum of wall time in milliseconds, not multiplied by cores.
    pub millis: u64,
}

/// What was used in a window of days, of one user or project.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Used {
    /// Sum of wall time in milliseconds, not multiplied by cores.
    pub millis: u64,
    /// Sum of cores of the attempts that ended.
    pub cores: u64,
    /// Sum of GB of the attempts that ended.
    pub ram: u64,
    /// Bytes in job directories of finished tasks that are not archived, whenever they ended, as far as they were
    /// measured. Kept for users; 0 for projects.
    pub disk: u64,
}

/// What all users and projects used in a window of days. Who used nothing is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// By user.
    pub users: BTreeMap<UserId, Used>,
    /// By project, `default` among them.
    pub projects: BTreeMap<ProjectId, Used>,
}

impl Used {
    /// Adds one day's sums.
    pub fn add(&mut self, sum: &UsageSum) {
        self.millis = self.millis.saturating_add(sum.millis);
        self.cores = self.cores.saturating_add(sum.cores);
        self.ram = self.ram.saturating_add(sum.ram);
    }
}
