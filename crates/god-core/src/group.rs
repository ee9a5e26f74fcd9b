//! Groups of pending tasks that the scheduler need not tell apart: same user, same project, same shape.

use crate::ids::{NodeName, ProjectId, UserId};
use crate::resources::Amount;
use crate::spec::TaskSpec;
use crate::task::Task;
use crate::units::Seconds;
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
    /// Time limit of one run: what may run beside room that is kept depends on it.
    pub time_limit: Option<Seconds>,
    /// Nodes that lost an earlier run of it, where the site does not use them again for it.
    pub avoid: Vec<NodeName>,
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
                time_limit: spec.limit(),
                avoid: Vec::new(),
            },
        }
    }

    /// The group of a task that may have run before: with the nodes that lost it.
    #[must_use]
    pub fn of_task(task: &Task) -> Group {
        let mut group = Group::of(&task.spec);
        group.shape.avoid.clone_from(&task.failures.nodes);
        group
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
        let Shape { cores, ram, gpus, executor, labels, ports, time_limit, avoid } = &self.shape;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut feed = |bytes: &[u8]| {
            // Each part is followed by a byte that text does not contain.
            for byte in bytes.iter().chain(&[0xFF]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        feed(self.owner.as_str().as_bytes());
        feed(self.project.as_str().as_bytes());
        feed(executor.as_bytes());
        labels.iter().for_each(|label| feed(label.as_bytes()));
        for node in avoid {
            feed(b"!");
            feed(node.as_str().as_bytes());
        }
        for number in [u64::from(*cores), u64::from(*ram), u64::from(*gpus), *ports as u64] {
            feed(&number.to_le_bytes());
        }
        feed(&time_limit.map_or(0, |limit| limit.0).to_le_bytes());
        format!("{hash:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_group_makes_another_key() {
        let shape = Shape {
            cores: 1,
            ram: 1,
            gpus: 0,
            executor: String::new(),
            labels: vec!["a".into(), "b".into()],
            ports: 0,
            time_limit: None,
            avoid: Vec::new(),
        };
        let group =
            Group { owner: UserId::new("bob"), project: ProjectId::new("default"), shape: shape.clone() };
        let with = |shape: Shape| Group { shape, ..group.clone() };
        let others = [
            Group { owner: UserId::new("bo"), project: ProjectId::new("bdefault"), shape: shape.clone() },
            with(Shape { cores: 2, ..shape.clone() }),
            with(Shape { avoid: vec![NodeName::new("n")], ..shape.clone() }),
            with(Shape { ram: 2, ..shape.clone() }),
            with(Shape { gpus: 1, ..shape.clone() }),
            with(Shape { executor: "a".into(), labels: vec!["b".into()], ..shape.clone() }),
            with(Shape { labels: vec!["ab".into()], ..shape.clone() }),
            with(Shape { ports: 1, ..shape.clone() }),
            with(Shape { time_limit: Some(Seconds(60)), ..shape.clone() }),
        ];
        let mut keys: Vec<String> = others.iter().map(Group::key).collect();
        keys.push(group.key());
        keys.sort();
        keys.dedup();
        assert_eq!((keys.len(), keys[0].len()), (10, 16));
    }
}
