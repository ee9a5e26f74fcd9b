//! Specifications that were read or written lately, so that the children of an array share one and nobody parses the
//! same text ten thousand times. Bounded; what is missing is read again.

use crate::halves::Halves;
use god_core::{TaskId, TaskSpec};
use std::sync::{Arc, Mutex, PoisonError};

/// The cache. An entry is good for one version of the specification, told by its hash.
#[derive(Debug, Default)]
pub(crate) struct Specs(Mutex<Halves<(i64, Arc<TaskSpec>)>>);

impl Specs {
    pub(crate) fn get(&self, id: TaskId, hash: i64) -> Option<Arc<TaskSpec>> {
        // A cache has no state that could be half changed.
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, spec) = halves.get(id)?;
        (*known == hash).then(|| Arc::clone(spec))
    }

    pub(crate) fn put(&self, id: TaskId, hash: i64, spec: Arc<TaskSpec>) {
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        halves.put(id, weight(&spec), (hash, spec));
    }
}

/// About how many bytes a specification takes: what users may make large, and something for the rest.
pub(crate) fn weight(spec: &TaskSpec) -> usize {
    let tags: usize = spec.tags.iter().map(String::len).sum();
    1024 + spec.script.len() + spec.description.len() + tags
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
