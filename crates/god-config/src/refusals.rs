//! What is allowed by the grammar and must still stop a daemon from starting.

use crate::config::Config;
use crate::fault::{Fault, Place};
use crate::secret::Secret;

/// Shortest secret that is accepted, in characters.
const SHORTEST_SECRET: usize = 16;

/// Words of sample files. A text that contains one of them, whatever stands between its letters, is no secret.
const SAMPLE_WORDS: &[&str] =
    &["changeme", "example", "sample", "secretpassphrase", "password", "passphrase"];

impl Config {
    /// Reasons not to start a daemon with this configuration: secrets that are known or short, and a file that
    /// holds secrets and lets others read it, or that others can write.
    ///
    /// The caller decides what to do about them: with the authentication plugin `fake` nothing is protected
    /// anyway, and a warning is enough.
    pub fn refusals(&self) -> Vec<Fault> {
        const LONG: &str =
            "accepted: 16 random characters or more, such as the output of `openssl rand -hex 32`";
        let file = self.file.as_ref();
        let place = Place::new(file.map_or("environment", |file| &file.name));
        let auth = &self.auth;
        let mut faults = Vec::new();
        for (key, secret) in [
            ("secret_passphrase", Some(&auth.secret_passphrase)),
            ("secret_passphrase_previous", auth.secret_passphrase_previous.as_ref()),
            ("proxy_secret", auth.proxies.remote_user_secret.as_ref()),
            ("shared_secret_passphrase", auth.shared_secret_passphrase.as_ref()),
            ("prometheus_key", self.monitoring.prometheus_key.as_ref()),
        ] {
            if let Some(weakness) = secret.and_then(weakness) {
                faults.push(place.fault(key, weakness, LONG));
            }
        }
        if let Some((file, mode)) = file.and_then(|file| Some((file, file.mode?))) {
            if file.holds_secrets && mode & 0o004 != 0 {
                faults.push(place.fault(
                    "",
                    format!("the file holds secrets and everybody can read it (mode {mode:04o})"),
                    "accepted: mode 0640 or less",
                ));
            }
            if mode & 0o002 != 0 {
                faults.push(place.fault(
                    "",
                    format!("everybody can write the file (mode {mode:04o})"),
                    "accepted: mode 0640 or less",
                ));
            }
        }
        faults
    }
}

/// Why a text is not good enough as a secret.
fn weakness(secret: &Secret) -> Option<String> {
    let n_chars = secret.n_chars();
    if n_chars < SHORTEST_SECRET {
        return Some(format!("the text has {n_chars} characters only"));
    }
    let letters: String =
        secret.reveal().chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if SAMPLE_WORDS.iter().any(|word| letters.contains(word)) {
        return Some("the text comes from a sample, or looks like one".to_owned());
    }
    let mut different: Vec<char> = secret.reveal().chars().collect();
    different.sort_unstable();
    different.dedup();
    (different.len() < 6).then(|| "the text repeats a few characters".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_secrets_are_told_from_good_ones() {
        for text in [
            "",
            "short",
            "fifteen chars..",
            "Change-Me: 32 random characters",
            "my secret passphrase 12",
            "aaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(weakness(&Secret::new(text)).is_some(), "{text}");
        }
        for text in ["9f86d081884c7d65", "kG7#qL!z0Pw@eR4v", "d4735e3a265e16eee03f59718b9b5d03"] {
            assert_eq!(weakness(&Secret::new(text)), None, "{text}");
        }
    }
}
