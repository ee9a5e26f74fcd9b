//! Making and checking argon2 strings, outside of the threads that serve requests.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// Bytes of a password that are looked at, at most; longer ones are wrong.
const LONGEST: usize = 1024;

/// Why a password could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The library or the system's random numbers failed.
    #[error("cannot hash a password: {0}")]
    Hash(String),
    /// The work was given up.
    #[error("the work on a password was given up")]
    GivenUp,
}

/// Works on two passwords at once; others wait for their turn.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    decoy: Arc<OnceLock<String>>,
}

impl Default for Passwords {
    fn default() -> Self {
        Passwords { turns: Arc::new(Semaphore::new(2)), decoy: Arc::default() }
    }
}

impl Passwords {
    /// The string to store for a password.
    pub(crate) async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.in_turn(move || hash(&password)).await?
    }

    /// Whether a password is the stored one. Nothing stored takes as long as a wrong password and is never right.
    pub(crate) async fn check(
        &self,
        password: String,
        stored: Option<String>,
    ) -> Result<bool, PasswordError> {
        let decoy = Arc::clone(&self.decoy);
        self.in_turn(move || {
            let known = stored.is_some();
            let against = match stored {
                Some(stored) => stored,
                None => match decoy.get() {
                    Some(decoy) => decoy.clone(),
                    None => {
                        let made = hash("nobody's password")?;
                        decoy.get_or_init(|| made).clone()
                    }
                },
            };
            Ok(matches(&password, &against) && known)
        })
        .await?
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| PasswordError::GivenUp)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        done.await.map_err(|_| PasswordError::GivenUp)
    }
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let made: Result<PasswordHash, _> = Argon2::default().hash_password(password.as_bytes());
    made.map(|hash| hash.to_string()).map_err(|e| PasswordError::Hash(e.to_string()))
}

fn matches(password: &str, stored: &str) -> bool {
    // Too long or empty passwords are hashed all the same, as something that can not match.
    let fits = !password.is_empty() && password.len() <= LONGEST;
    let tried = if fits { password } else { "x" };
    let right = PasswordHash::new(stored)
        .is_ok_and(|stored| Argon2::default().verify_password(tried.as_bytes(), &stored).is_ok());
    right && fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn only_the_right_password_is_right() {
        let passwords = Passwords::default();
        let stored = passwords.hash("correct horse".to_owned()).await.expect("hashes");
        assert!(stored.starts_with("$argon2id$"), "{stored}");
        let check = |text: &str, stored: Option<String>| passwords.check(text.to_owned(), stored);
        assert!(check("correct horse", Some(stored.clone())).await.expect("checks"));
        for wrong in ["", "correct hors", "Correct horse", "x", &"correct horse".repeat(200)] {
            assert!(!check(wrong, Some(stored.clone())).await.expect("checks"), "{wrong}");
        }
        assert!(!check("correct horse", None).await.expect("checks"));
        assert!(!check("nobody's password", None).await.expect("checks"), "the decoy is nobody's");
        assert!(!check("correct horse", Some("not a hash".to_owned())).await.expect("checks"));
        // An empty password never matches, not even its own hash.
        let empty = passwords.hash(String::new()).await.expect("hashes");
        assert!(!check("", Some(empty)).await.expect("checks"));
    }

    #[tokio::test]
    async fn nobody_takes_as_long_as_a_wrong_password() {
        let passwords = Passwords::default();
        let stored = passwords.hash("secret".to_owned()).await.expect("hashes");
        passwords.check("warm".to_owned(), None).await.expect("checks");
        // The fastest of several runs: other work on the machine only adds.
        let fastest = |stored: Option<String>| {
            let passwords = passwords.clone();
            async move {
                let mut best = Duration::MAX;
                for _ in 0..7 {
                    let begin = Instant::now();
                    passwords.check("wrong".to_owned(), stored.clone()).await.expect("checks");
                    best = best.min(begin.elapsed());
                }
                best
            }
        };
        let (known, unknown) = (fastest(Some(stored)).await, fastest(None).await);
        let ratio = known.as_secs_f64() / unknown.as_secs_f64();
        assert!((0.3..3.0).contains(&ratio), "known {known:?}, unknown {unknown:?}");
    }
}
