//! The audit trail: who changed what, from where. A change that was answered as done leaves exactly one record.
//!
//! Records are durable before the answer, with one exception: submits of one user from one address within a moment share
//! one record, written soon after, because the stored tasks themselves say who submitted them and when.

use crate::app::App;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use god_core::audit::AuditRecord;
use god_core::store::Store;
use god_core::{TaskId, Timestamp, UserId};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Submits within this share a record.
const GATHER: Duration = Duration::from_millis(200);
/// Submits in one record.
const IN_ONE: usize = 10_000;
/// A record that can not be written is tried again this often, then it is only in the log.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// What a handler tells of its change, for the record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trail(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
enum Noted {
    /// The record names the path.
    #[default]
    Nothing,
    /// There was nothing to do, and nothing is recorded.
    Unchanged,
    /// What was changed.
    Object { object: String, before: Option<Value>, after: Option<Value> },
    /// A task was submitted.
    Submitted(TaskId),
}

impl Trail {
    /// Says what was changed: `before` is `None` when it is new, `after` when it is gone. No secrets in either.
    pub(crate) fn note(&self, object: impl Into<String>, before: Option<Value>, after: Option<Value>) {
        self.set(Noted::Object { object: object.into(), before, after });
    }

    /// Says that a task was submitted.
    pub(crate) fn submitted(&self, id: TaskId) {
        self.set(Noted::Submitted(id));
    }

    /// Says that nothing was changed.
    pub(crate) fn unchanged(&self) {
        self.set(Noted::Unchanged);
    }

    fn set(&self, noted: Noted) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = noted;
    }

    fn take(&self) -> Noted {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl FromRequestParts<App> for Trail {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Trail>().cloned().unwrap_or_default())
    }
}

/// Writes records.
#[derive(Debug)]
pub(crate) struct Audit {
    store: Arc<dyn Store>,
    gathered: Arc<Mutex<Gathered>>,
}

#[derive(Debug, Default)]
struct Gathered {
    submits: HashMap<(String, String, &'static str), (Timestamp, Vec<TaskId>)>,
    is_flushing: bool,
}

impl Audit {
    pub(crate) fn new(store: Arc<dyn Store>) -> Audit {
        Audit { store, gathered: Arc::default() }
    }

    /// Records a change that was made. A failure is in the log, with the record.
    pub(crate) async fn write(
        &self,
        at: Timestamp,
        who: String,
        from: String,
        action: &'static str,
        path: &str,
        trail: Trail,
    ) {
        let (object, before, after) = match trail.take() {
            Noted::Unchanged => return,
            Noted::Submitted(id) => return self.gather(at, (who, from, action), id),
            Noted::Nothing => (path.to_owned(), None, None),
            Noted::Object { object, before, after } => (object, before, after),
        };
        let record = AuditRecord { at, who, from, action: action.to_owned(), object, before, after };
        write(&*self.store, &[record]).await;
    }

    /// Records an act that is no request of its own, such as a login.
    pub(crate) async fn act(
        &self,
        at: Timestamp,
        who: &UserId,
        from: &str,
        action: &'static str,
        object: &str,
        (before, after): (Option<Value>, Option<Value>),
    ) {
        let trail = Trail::default();
        trail.note(object, before, after);
        self.write(at, who.to_string(), from.to_owned(), action, object, trail).await;
    }

    fn gather(&self, at: Timestamp, by: (String, String, &'static str), id: TaskId) {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.submits.entry(by).or_insert_with(|| (at, Vec::new())).1.push(id);
        if !gathered.is_flushing {
            gathered.is_flushing = true;
            let (store, gathered) = (Arc::clone(&self.store), Arc::clone(&self.gathered));
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                flush(&*store, &gathered).await;
            });
        }
    }

    /// Writes what is still gathered: at the end of the process.
    pub(crate) async fn flush(&self) {
        flush(&*self.store, &self.gathered).await;
    }
}

async fn flush(store: &dyn Store, gathered: &Mutex<Gathered>) {
    let submits = {
        let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
        gathered.is_flushing = false;
        std::mem::take(&mut gathered.submits)
    };
    let mut records = Vec::new();
    for ((who, from, action), (at, mut ids)) in submits {
        ids.sort_unstable();
        for some in ids.chunks(IN_ONE) {
            records.push(AuditRecord {
                at,
                who: who.clone(),
                from: from.clone(),
                action: action.to_owned(),
                object: ranges(some),
                before: None,
                after: Some(json!({"tasks": some.len()})),
            });
        }
    }
    if !records.is_empty() {
        write(store, &records).await;
    }
}

/// Ascending ids, those in a row as `first-last`.
pub(crate) fn ranges(ids: &[TaskId]) -> String {
    let mut text = String::new();
    let mut rest = ids;
    while let Some(first) = rest.first() {
        let n = rest.iter().enumerate().take_while(|(i, id)| id.0 == first.0 + *i as u64).count();
        let comma = if text.is_empty() { "" } else { "," };
        let (written, n) = if n > 1 {
            (write!(text, "{comma}{first}-{}", rest[n - 1]), n)
        } else {
            (write!(text, "{comma}{first}"), 1)
        };
        written.expect("writing to a String cannot fail");
        rest = &rest[n..];
    }
    text
}

async fn write(store: &dyn Store, records: &[AuditRecord]) {
    for n in 1..=TRIES {
        match store.audit(records).await {
            Ok(()) => return,
            Err(err) if n == TRIES => {
                tracing::error!(err = %god_engine::chain(&err), ?records, "changes could not be recorded");
            }
            Err(_) => tokio::time::sleep(PAUSE * n).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_a_row_are_written_short() {
        let text = |ids: &[u64]| ranges(&ids.iter().map(|id| TaskId(*id)).collect::<Vec<_>>());
        assert_eq!(text(&[7]), "7");
        assert_eq!(text(&[7, 8]), "7-8");
        assert_eq!(text(&[1, 2, 3, 9, 11, 12]), "1-3,9,11-12");
        assert_eq!(text(&[5, 5, 6]), "5,5-6");
    }
}
