//! Specifications that were read or written lately, so that the children of an array share one and nobody parses the
//! same text ten thousand times. Bounded; what is missing is read again.

use god_core::{TaskId, TaskSpec};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Entries of one half. A half that is full becomes the old one, and the old one is forgotten.
const HALF: usize = 2048;

/// The cache. An entry is good for one version of the specification, told by its hash.
#[derive(Debug, Default)]
pub(crate) struct Specs {
    halves: Mutex<Halves>,
}

type Half = HashMap<TaskId, (i64, Arc<TaskSpec>)>;

#[derive(Debug, Default)]
struct Halves {
    young: Half,
    old: Half,
}

impl Specs {
    fn halves(&self) -> MutexGuard<'_, Halves> {
        // A cache has no state that could be half changed.
        self.halves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: TaskId, hash: i64) -> Option<Arc<TaskSpec>> {
        let mut halves = self.halves();
        let (known, spec) = match halves.young.get(&id) {
            Some(entry) => entry.clone(),
            None => {
                let entry = halves.old.remove(&id)?;
                halves.insert(id, entry.clone());
                entry
            }
        };
        (known == hash).then_some(spec)
    }

    pub(crate) fn put(&self, id: TaskId, hash: i64, spec: Arc<TaskSpec>) {
        self.halves().insert(id, (hash, spec));
    }
}

impl Halves {
    fn insert(&mut self, id: TaskId, entry: (i64, Arc<TaskSpec>)) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, entry);
    }
}

/// Hash of the part of a specification that may change. The same in every process and release: it is stored.
pub(crate) fn fields_hash(spec: &TaskSpec) -> i64 {
    // FNV-1a; each text is followed by a byte that text does not contain.
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    let mut feed = |text: &str| {
        for byte in text.bytes().chain([0xFF]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    };
    for (name, value) in &spec.fields {
        feed(name);
        feed(value);
    }
    hash.cast_signed()
}
