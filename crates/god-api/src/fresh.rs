//! Values from the store that may be a second old: read once for many requests.

use god_core::store::StoreError;
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const AGE: Duration = Duration::from_secs(1);
const REMEMBERED: usize = 10_000;

/// One value for each key, at most a second old.
pub(crate) struct Fresh<K, T> {
    values: Mutex<HashMap<K, (Instant, T)>>,
}

impl<K, T> fmt::Debug for Fresh<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").finish_non_exhaustive()
    }
}

impl<K, T> Default for Fresh<K, T> {
    fn default() -> Self {
        Fresh { values: Mutex::default() }
    }
}

impl<K: Eq + Hash + Clone, T: Clone> Fresh<K, T> {
    /// The value; loaded when there is none or it is too old.
    pub(crate) async fn get<F>(&self, key: &K, load: impl FnOnce() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        // Its age counts from before the read.
        let now = Instant::now();
        if let Some((at, value)) = self.values().get(key)
            && now.duration_since(*at) < AGE
        {
            return Ok(value.clone());
        }
        let value = load().await?;
        let mut values = self.values();
        if values.len() >= REMEMBERED {
            values.retain(|_, (at, _)| now.duration_since(*at) < AGE);
            if values.len() >= REMEMBERED {
                values.clear();
            }
        }
        values.insert(key.clone(), (now, value.clone()));
        Ok(value)
    }

    /// Forgets a value that was just changed.
    pub(crate) fn forget(&self, key: &K) {
        self.values().remove(key);
    }

    fn values(&self) -> MutexGuard<'_, HashMap<K, (Instant, T)>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test(start_paused = true)]
    async fn a_value_is_read_once_a_second() {
        let (fresh, reads) = (Fresh::<u8, u32>::default(), Cell::new(0));
        let read = || async {
            reads.set(reads.get() + 1);
            Ok(reads.get())
        };
        assert_eq!(fresh.get(&1, read).await.expect("loads"), 1);
        assert_eq!(fresh.get(&1, read).await.expect("known"), 1);
        assert_eq!(fresh.get(&2, read).await.expect("another key"), 2);
        tokio::time::advance(AGE).await;
        assert_eq!(fresh.get(&1, read).await.expect("too old"), 3);
        fresh.forget(&1);
        assert_eq!(fresh.get(&1, read).await.expect("forgotten"), 4);
    }
}
