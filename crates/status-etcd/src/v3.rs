//! Version 3, through the JSON gateway. A process has one lease, on which its keys hang.

use crate::wire::{self, Entry, coded};
use crate::{Error, Server, TTL, shown};
use god_core::status::Process;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::sync::Mutex;

/// The leases of the processes that were told of.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<HashMap<Process, String>>);

impl Leases {
    /// Writes keys that live as long as the process's lease, which is renewed, or granted when there is none.
    pub(crate) async fn put(
        &self,
        server: &Server,
        path: &str,
        process: &Process,
        entries: &[Entry],
    ) -> Result<(), Error> {
        const DOING: &str = "a sign of life is written";
        let mut leases = self.0.lock().await;
        let mut lease = leases.get(process).cloned();
        if let Some(id) = &lease {
            let text = call(server, path, "lease/keepalive", &json!({"ID": id}), DOING).await?;
            let lives_on = wire::v3_lives_on(&text);
            if !lives_on.ok_or_else(|| Error::Garbled { doing: DOING, what: shown(&text) })? {
                lease = None;
            }
        }
        let lease = match lease {
            Some(lease) => lease,
            None => {
                let text = call(server, path, "lease/grant", &json!({"TTL": TTL.as_secs()}), DOING).await?;
                wire::v3_lease(&text).ok_or_else(|| Error::Garbled { doing: DOING, what: shown(&text) })?
            }
        };
        leases.insert(process.clone(), lease.clone());
        for Entry { key, value } in entries {
            let body = json!({"key": coded(key), "value": coded(value), "lease": lease});
            call(server, path, "kv/put", &body, DOING).await?;
        }
        Ok(())
    }

    /// Removes the keys of a process, and its lease.
    pub(crate) async fn remove(
        &self,
        server: &Server,
        path: &str,
        process: &Process,
        keys: &[String],
    ) -> Result<(), Error> {
        const DOING: &str = "a process leaves";
        for key in keys {
            call(server, path, "kv/deleterange", &json!({"key": coded(key)}), DOING).await?;
        }
        if let Some(lease) = self.0.lock().await.remove(process) {
            call(server, path, "lease/revoke", &json!({"ID": lease}), DOING).await?;
        }
        Ok(())
    }
}

/// All keys that begin with this text.
pub(crate) async fn list(server: &Server, path: &str, folder: &str) -> Result<Vec<Entry>, Error> {
    const DOING: &str = "processes are listed";
    let body = json!({"key": coded(folder), "range_end": coded(wire::end_of_range(folder))});
    let text = call(server, path, "kv/range", &body, DOING).await?;
    wire::v3_entries(&text).ok_or_else(|| Error::Garbled { doing: DOING, what: shown(&text) })
}

async fn call(
    server: &Server,
    path: &str,
    method: &str,
    body: &Value,
    doing: &'static str,
) -> Result<String, Error> {
    let url = server.url(&format!("{path}/{method}"), doing)?;
    server.text(server.http.post(url).json(body), doing).await
}
