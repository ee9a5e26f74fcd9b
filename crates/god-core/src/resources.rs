//! Arithmetic of capacity: what a run occupies, what a node has.

use crate::ids::{ExecutorName, NodeName};
use crate::units::{Bytes, Cores};
use serde::{Deserialize, Serialize};

/// An amount of what nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Amount {
    /// Cores.
    pub cores: Cores,
    /// Memory.
    pub memory: Bytes,
    /// GPUs.
    #[serde(default)]
    pub gpus: u32,
}

impl Amount {
    /// Whether this fits into what is free, in every dimension.
    #[must_use]
    pub fn fits(self, free: Amount) -> bool {
        self.cores <= free.cores && self.memory <= free.memory && self.gpus <= free.gpus
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Amount) -> Amount {
        Amount {
            cores: Cores(self.cores.0.saturating_add(other.cores.0)),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
            gpus: self.gpus.saturating_add(other.gpus),
        }
    }

    /// What is left, zero in a dimension where more is used than there is.
    #[must_use]
    pub fn minus(self, used: Amount) -> Amount {
        Amount {
            cores: Cores(self.cores.0.saturating_sub(used.cores.0)),
            memory: Bytes(self.memory.0.saturating_sub(used.memory.0)),
            gpus: self.gpus.saturating_sub(used.gpus),
        }
    }
}

/// A place where an executor runs tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, shown to users as the host.
    pub name: NodeName,
    /// The executor that publishes it.
    pub executor: ExecutorName,
    /// All that tasks of ours may use there.
    pub total: Amount,
    /// Labels `name==value` it satisfies.
    #[serde(default)]
    pub labels: Vec<String>,
    /// How many tasks beyond its room it is able to hold and start by itself the moment room appears.
    #[serde(default)]
    pub queue: u32,
    /// How many tasks it accepts at the same time, when the engine sets such a limit.
    #[serde(default)]
    pub max_tasks: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(cores: u32, memory: u64) -> Amount {
        Amount { cores: Cores(cores), memory: Bytes(memory), gpus: 0 }
    }

    #[test]
    fn room_is_judged_in_every_dimension() {
        assert!(amount(2, 10).fits(amount(2, 10)));
        assert!(!amount(3, 1).fits(amount(2, 10)));
        assert!(!amount(1, 11).fits(amount(2, 10)));
        assert!(!Amount { gpus: 1, ..amount(1, 1) }.fits(amount(2, 10)));
    }

    #[test]
    fn an_overfull_node_has_nothing_left() {
        assert_eq!(amount(2, 10).minus(amount(3, 4)), amount(0, 6));
    }
}
