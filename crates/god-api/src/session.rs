//! Sessions of browsers. The cookie holds a random text; what is stored under a hash of it says who that is, until when,
//! and with which keys of the user it was begun. So a session can be ended, outlives the web server, and is known to every
//! web server of the site. Nothing that is stored can be sent as a cookie.

use crate::app::Inner;
use crate::error::ApiError;
use crate::fresh::Fresh;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use god_core::UserId;
use god_core::keys::{Purpose, Secret, same};
use god_core::store::StoreError;
use god_core::user::User;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Name of the cookie, and over TLS, where browsers give it to nobody else.
const COOKIES: [&str; 2] = ["god_session", "__Host-god_session"];
/// Sessions that are over are looked for this often.
const SWEEP: Duration = Duration::from_secs(600);
/// Where they are stored.
const PREFIX: &str = "session/";

/// The text in the cookie. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionId(Box<str>);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(***)")
    }
}

/// What is stored of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Whose it is.
    pub(crate) user: UserId,
    /// Version of the user's keys it was begun with.
    pub(crate) kv: u32,
    /// Its end, in seconds since 1970.
    pub(crate) ends: i64,
}

impl SessionId {
    /// A new one, that nobody can guess.
    pub(crate) fn random() -> Result<SessionId, ApiError> {
        Ok(SessionId(random_text()?.into()))
    }

    /// What a page of ours proves itself with when it asks for a change: a cookie alone is sent by pages of others, too.
    pub(crate) fn proof(&self) -> String {
        Secret::derive(self.0.as_bytes(), Purpose::Forgery).seal("page")
    }

    /// Whether this is the proof.
    pub(crate) fn is_proof(&self, shown: &str) -> bool {
        same(&self.proof(), shown)
    }

    /// The name under which the session is stored.
    fn key(&self) -> String {
        format!("{PREFIX}{}", Secret::derive(self.0.as_bytes(), Purpose::Sessions).seal("session"))
    }

    /// The cookie of a request. Two of the same name were not both set by us.
    pub(crate) fn of(headers: &HeaderMap, is_https: bool) -> Option<SessionId> {
        let name = COOKIES[usize::from(is_https)];
        let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut found = texts
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| value);
        let value = found.next().filter(|value| value.len() == 43)?;
        let is_plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        (found.next().is_none() && is_plain).then(|| SessionId(value.into()))
    }

    /// The header that gives it to a browser, for so many seconds.
    pub(crate) fn cookie(&self, is_https: bool, life: u64) -> Result<HeaderValue, ApiError> {
        set_cookie(COOKIES[usize::from(is_https)], &self.0, "/", is_https, life)
    }

    /// The header that takes it back.
    pub(crate) fn no_cookie(is_https: bool) -> Result<HeaderValue, ApiError> {
        set_cookie(COOKIES[usize::from(is_https)], "", "/", is_https, 0)
    }
}

/// A header that sets a cookie which scripts and other sites do not get; 0 seconds remove it.
pub(crate) fn set_cookie(
    name: &str,
    value: &str,
    path: &str,
    is_https: bool,
    life: u64,
) -> Result<HeaderValue, ApiError> {
    let secure = if is_https { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path={path}; HttpOnly; SameSite=Lax; Max-Age={life}{secure}");
    HeaderValue::from_str(&text).map_err(|_| ApiError::Failed("a cookie can not be written"))
}

/// 256 random bits as text.
pub(crate) fn random_text() -> Result<String, ApiError> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|err| {
        tracing::error!(%err, "the system gives no random numbers");
        ApiError::Failed("the server has no random numbers")
    })?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// Sessions as this process knows them, at most a second old.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    known: Fresh<String, Option<Session>>,
    swept: Mutex<Option<Instant>>,
}

impl Inner {
    /// Begins a session.
    pub(crate) async fn begin_session(&self, user: &User) -> Result<(SessionId, Session), ApiError> {
        self.sweep_sessions().await?;
        let id = SessionId::random()?;
        let life = i64::try_from(self.config.doors.session_life.0).unwrap_or(i64::MAX);
        let ends = self.seconds().saturating_add(life);
        let session = Session { user: user.id.clone(), kv: user.key_version, ends };
        self.keep_session(&id, Some(&session)).await?;
        Ok((id, session))
    }

    /// A session that is not over.
    pub(crate) async fn session(&self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        let key = id.key();
        let load = || async {
            let found = self.store.pinned(&key).await?;
            let found = found.into_iter().find(|(name, _)| *name == key);
            Ok(found.and_then(|(_, text)| serde_json::from_str::<Session>(&text).ok()))
        };
        let session = self.sessions.known.get(&key, load).await?;
        Ok(session.filter(|session| self.seconds() < session.ends))
    }

    /// Ends a session, or writes it anew.
    pub(crate) async fn keep_session(
        &self,
        id: &SessionId,
        session: Option<&Session>,
    ) -> Result<(), ApiError> {
        let text = session.map(serde_json::to_string).transpose();
        let text = text.map_err(|_| ApiError::Failed("a session can not be written"))?;
        self.store.pin(vec![(id.key(), text)]).await?;
        self.sessions.known.forget(&id.key());
        Ok(())
    }

    /// Removes sessions that are over, now and then.
    async fn sweep_sessions(&self) -> Result<(), StoreError> {
        {
            let mut swept = self.sessions.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.is_some_and(|at| at.elapsed() < SWEEP) {
                return Ok(());
            }
            *swept = Some(Instant::now());
        }
        let now = self.seconds();
        let is_over =
            |text: &str| serde_json::from_str::<Session>(text).is_ok_and(|session| session.ends <= now);
        let all = self.store.pinned(PREFIX).await?;
        let over: Vec<_> =
            all.into_iter().filter(|(_, text)| is_over(text)).map(|(key, _)| (key, None)).collect();
        if over.is_empty() { Ok(()) } else { self.store.pin(over).await }
    }

    /// The time in seconds since 1970.
    pub(crate) fn seconds(&self) -> i64 {
        self.now().0.div_euclid(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cookies: &[&str], is_https: bool) -> Option<SessionId> {
        let mut headers = HeaderMap::new();
        for cookie in cookies {
            headers.append(header::COOKIE, cookie.parse().expect("a value"));
        }
        SessionId::of(&headers, is_https)
    }

    #[test]
    fn a8_a_cookie_is_taken_only_as_it_was_given() {
        let id = SessionId::random().expect("random");
        let text = &id.0;
        assert_eq!(of(&[&format!("a=b; god_session={text}; c=d")], false), Some(id.clone()));
        assert_eq!(of(&["a=b", &format!("__Host-god_session={text}")], true), Some(id.clone()));
        for (cookies, is_https) in [
            (vec![format!("god_session={text}")], true),
            (vec![format!("__Host-god_session={text}")], false),
            (vec![format!("god_session={text}; god_session={text}")], false),
            (vec![format!("god_session={text}"), format!("god_session={text}")], false),
            (vec![format!("god_session={text}x")], false),
            (vec![format!("god_session=\"{text}\"")], false),
            (vec![format!("God_session={text}")], false),
            (vec!["god_session=".to_owned()], false),
            (vec![format!("god_session={}", "%".repeat(43))], false),
        ] {
            let cookies: Vec<&str> = cookies.iter().map(String::as_str).collect();
            assert_eq!(of(&cookies, is_https), None, "{cookies:?} {is_https}");
        }
    }

    #[test]
    fn a8_cookies_are_for_browsers_alone() {
        let id = SessionId::random().expect("random");
        let plain = id.cookie(false, 60).expect("a header");
        let plain = plain.to_str().expect("ASCII");
        assert!(plain.starts_with("god_session="));
        assert!(plain.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=60"));
        let secure = id.cookie(true, 60).expect("a header");
        let secure = secure.to_str().expect("ASCII");
        assert!(secure.starts_with("__Host-god_session=") && secure.ends_with("; Max-Age=60; Secure"));
    }

    #[test]
    fn a8_what_is_stored_or_shown_is_no_cookie() {
        let (id, other) = (SessionId::random().expect("random"), SessionId::random().expect("random"));
        assert_ne!(id, other);
        for text in [id.key(), id.proof(), format!("{id:?}")] {
            assert!(!text.contains(&*id.0));
        }
        assert!(id.is_proof(&id.proof()) && !id.is_proof(&other.proof()) && !id.is_proof(""));
        assert_ne!(id.key().trim_start_matches(PREFIX), id.proof());
    }
}
