//! The old interface.

use crate::wire::{self, Entry};
use crate::{Error, Server, TTL, shown};
use reqwest::{StatusCode, Url};

/// Writes keys that live for a while.
pub(crate) async fn put(server: &Server, entries: &[Entry]) -> Result<(), Error> {
    const DOING: &str = "a sign of life is written";
    for Entry { key, value } in entries {
        let mut url = key_url(server, key, DOING)?;
        url.query_pairs_mut().append_pair("value", value).append_pair("ttl", &TTL.as_secs().to_string());
        server.text(server.http.put(url), DOING).await?;
    }
    Ok(())
}

/// Removes keys, if they are there.
pub(crate) async fn remove(server: &Server, keys: &[String]) -> Result<(), Error> {
    const DOING: &str = "a process leaves";
    for key in keys {
        let (status, text) = server.answer(server.http.delete(key_url(server, key, DOING)?), DOING).await?;
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            return Err(Error::Refused { doing: DOING, status, text: shown(&text) });
        }
    }
    Ok(())
}

/// All keys below a folder; none when the folder was never made.
pub(crate) async fn list(server: &Server, folder: &str) -> Result<Vec<Entry>, Error> {
    const DOING: &str = "processes are listed";
    let mut url = key_url(server, folder.trim_end_matches('/'), DOING)?;
    url.query_pairs_mut().append_pair("recursive", "true");
    let (status, text) = server.answer(server.http.get(url), DOING).await?;
    let garbled = || Error::Garbled { doing: DOING, what: shown(&text) };
    // "Key not found" is JSON; a server without this interface says 404 in plain text.
    let is_absent = status == StatusCode::NOT_FOUND && text.trim_start().starts_with('{');
    match status {
        _ if is_absent => Ok(Vec::new()),
        _ if status.is_success() => wire::v2_entries(&text).ok_or_else(garbled),
        _ => Err(Error::Refused { doing: DOING, status, text: shown(&text) }),
    }
}

/// Each part of a key is a part of the path, whatever characters it has.
fn key_url(server: &Server, key: &str, doing: &'static str) -> Result<Url, Error> {
    let mut url = server.url("v2/keys", doing)?;
    if let Ok(mut path) = url.path_segments_mut() {
        path.extend(key.split('/').filter(|part| !part.is_empty()));
    }
    Ok(url)
}
