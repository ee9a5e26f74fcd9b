//! A bounded memory of things by task: two halves, of which the older one is forgotten when the younger one is full. What
//! is asked for again moves to the younger half.

use god_core::TaskId;
use std::collections::HashMap;

/// Entries of one half.
const ENTRIES: usize = 2048;
/// Bytes of one half, as far as the weights tell: scripts may be large, and whoever writes them may be hostile.
const BYTES: usize = 16 << 20;

/// The two halves.
#[derive(Debug)]
pub(crate) struct Halves<V> {
    young: Half<V>,
    old: Half<V>,
}

#[derive(Debug)]
struct Half<V> {
    entries: HashMap<TaskId, (usize, V)>,
    bytes: usize,
}

impl<V> Default for Half<V> {
    fn default() -> Self {
        Half { entries: HashMap::new(), bytes: 0 }
    }
}

impl<V> Default for Halves<V> {
    fn default() -> Self {
        Halves { young: Half::default(), old: Half::default() }
    }
}

impl<V> Halves<V> {
    /// Remembers a thing that weighs so many bytes.
    pub(crate) fn put(&mut self, id: TaskId, weight: usize, value: V) {
        let is_full = self.young.entries.len() >= ENTRIES || self.young.bytes.saturating_add(weight) > BYTES;
        if is_full && !self.young.entries.is_empty() {
            self.old = std::mem::take(&mut self.young);
        }
        let before = self.young.entries.insert(id, (weight, value));
        let gone = before.map_or(0, |(weight, _)| weight);
        self.young.bytes = self.young.bytes.saturating_sub(gone).saturating_add(weight);
    }

    /// What is remembered of a task.
    pub(crate) fn get(&mut self, id: TaskId) -> Option<&V> {
        if !self.young.entries.contains_key(&id) {
            let (weight, value) = self.old.entries.remove(&id)?;
            self.put(id, weight, value);
        }
        self.young.entries.get(&id).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(halves: &mut Halves<u64>, ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
        ids.into_iter().filter(|id| halves.get(TaskId(*id)) == Some(id)).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_and_what_is_asked_for_stays() {
        let mut halves = Halves::default();
        let n = ENTRIES as u64;
        (1..=n + 1).for_each(|id| halves.put(TaskId(id), 1, id));
        assert_eq!(known(&mut halves, [1, n, n + 1]), [1, n, n + 1]);
        (n + 2..=2 * n).for_each(|id| halves.put(TaskId(id), 1, id));
        assert_eq!(known(&mut halves, [1, 2, 2 * n]), [1, 2 * n], "1 was asked for in time");
    }

    #[test]
    fn large_things_are_few() {
        let mut halves = Halves::default();
        for id in 1..=1000 {
            halves.put(TaskId(id), 1 << 20, id);
        }
        let left = known(&mut halves, (1..=1000).rev());
        assert!(!left.is_empty() && left.len() <= 2 * (BYTES >> 20), "{} MiB are kept", left.len());
        // One that is larger than all is remembered alone.
        halves.put(TaskId(5000), 2 * BYTES, 5000);
        assert_eq!(known(&mut halves, [5000]), [5000]);
        // The same one again weighs once.
        let mut halves = Halves::default();
        (0..100).for_each(|_| halves.put(TaskId(1), 1 << 20, 1));
        halves.put(TaskId(2), 1 << 20, 2);
        assert_eq!((halves.young.entries.len(), halves.young.bytes), (2, 2 << 20));
    }
}
