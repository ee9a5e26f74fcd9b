//! Groups of pending tasks that the scheduler need not tell apart: same user, same project, same shape.

use crate::ids::{ProjectId, UserId};
use crate::resources::Amount;
use crate::spec::TaskSpec;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What decides where a task fits, apart from who owns it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shape {
    /// Cores.
    pub cores: u32,
    /// Memory in GB.
    pub ram: u32,
    /// GPUs.
    pub gpus: u32,
    /// Placement text, empty for the default executor.
    pub executor: String,
    /// Labels.
    pub labels: Vec<String>,
    /// Number of host ports wanted.
    pub ports: usize,
}

/// A group of pending tasks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Group {
    /// The user.
    pub owner: UserId,
    /// The project.
    pub project: ProjectId,
    /// The shape.
    pub shape: Shape,
}

impl Group {
    /// The group of a task.
    #[must_use]
    pub fn of(spec: &TaskSpec) -> Group {
        Group {
            owner: spec.owner.id.clone(),
            project: spec.owner.project.clone(),
            shape: Shape {
                cores: spec.cores.0,
                ram: spec.ram,
                gpus: spec.gpus,
                executor: spec.executor.clone().unwrap_or_default(),
                labels: spec.labels.clone(),
                ports: spec.ports.len() + usize::from(spec.interactive),
            },
        }
    }
}

impl Shape {
    /// The amount one task of this shape occupies.
    #[must_use]
    pub fn amount(&self) -> Amount {
        Amount {
            cores: crate::units::Cores(self.cores),
            memory: crate::units::Bytes::from_ram(self.ram),
            gpus: self.gpus,
        }
    }

    /// Name of the executor asked for, without the plugin's own part; `None` for the default one.
    #[must_use]
    pub fn executor_name(&self) -> Option<&str> {
        self.executor.split(':').next().filter(|name| !name.is_empty())
    }
}

impl fmt::Display for Shape {
    /// As people read it: `4 cores, 8 GB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} GB", self.cores, if self.cores == 1 { "core" } else { "cores" }, self.ram)?;
        if self.gpus > 0 {
            write!(f, ", {} GPUs", self.gpus)?;
        }
        if !self.labels.is_empty() {
            write!(f, ", {}", self.labels.join(" "))?;
        }
        Ok(())
    }
}

impl Group {
    /// A short text that names the group among processes: FNV-1a (Fowler, Noll, Vo), 64 bits, of its contents.
    #[must_use]
    pub fn key(&self) -> String {
        let text = format!("{}\0{}\0{}\0{}", self.owner, self.project, self.shape, self.shape.executor);
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        format!("{hash:016x}")
    }
}
