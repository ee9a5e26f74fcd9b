//! API keys and key material: how a key is made from random bytes, what is stored of it, how one is checked.
//!
//! Pure: randomness comes in as an argument. The key itself is never kept; a key cannot be computed from its record, and
//! without the server's secret not even a guess can be tried against one.

use crate::units::Timestamp;
use crate::user::KeyRecord;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq as _;

/// What derived key material is for; each purpose has its own, so that one can never stand in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Hashes of API keys.
    ApiKeys,
    /// Signatures of API tokens.
    ApiTokens,
    /// Names under which web sessions are stored.
    Sessions,
    /// What a page proves to be ours with.
    Forgery,
}

/// Secret bytes derived from the server's secret for one purpose. `Debug` shows nothing of them.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// Derives the material for one purpose from the server's secret.
    #[must_use]
    pub fn derive(master: &[u8], purpose: Purpose) -> Secret {
        let label: &[u8] = match purpose {
            Purpose::ApiKeys => b"god api keys 1",
            Purpose::ApiTokens => b"god api tokens 1",
            Purpose::Sessions => b"god sessions 1",
            Purpose::Forgery => b"god forgery 1",
        };
        Secret(mac(master, label))
    }

    /// The bytes, for the library that signs with them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A short name of the material, to tell it from another one of the same purpose. Nothing can be learned from it.
    #[must_use]
    pub fn name(&self) -> String {
        URL_SAFE_NO_PAD.encode(&mac(&self.0, b"name")[..6])
    }

    /// A text that nobody can make without the material, of the same length for every `text`.
    #[must_use]
    pub fn seal(&self, text: &str) -> String {
        URL_SAFE_NO_PAD.encode(mac(&self.0, text.as_bytes()))
    }

    /// Whether `seal` is the one of `text`. Takes the same time whatever it is.
    #[must_use]
    pub fn is_sealed(&self, text: &str, seal: &str) -> bool {
        same(&self.seal(text), seal)
    }
}

/// Whether two texts are the same. Takes the same time wherever they differ.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Whether a text has the form of the keys that [`make`] makes. Keys of earlier servers are shorter.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    key.len() == PREFIX + 1 + 43 && key.starts_with("god_") && key.as_bytes().get(PREFIX) == Some(&b'_')
}

/// Whether a key of our form begins like one of these.
#[must_use]
pub fn is_known_prefix(key: &str, records: &[KeyRecord]) -> bool {
    is_ours(key)
        && key.get(..PREFIX).is_some_and(|prefix| records.iter().any(|record| record.prefix == prefix))
}

/// Bytes of the first part of a key of ours, which its record shows.
const PREFIX: usize = 12;

/// A new API key: the text that its owner sees once, and the record to store.
#[must_use]
pub fn make(secret: &Secret, random: &[u8; 38], now: Timestamp) -> (String, KeyRecord) {
    let (name, bits) = random.split_at(6);
    let prefix = format!("god_{}", URL_SAFE_NO_PAD.encode(name));
    let text = format!("{prefix}_{}", URL_SAFE_NO_PAD.encode(bits));
    let record = KeyRecord { prefix, ..record(secret, &text, now) };
    (text, record)
}

/// The record of a key that exists already, such as one of an earlier server; of any length.
#[must_use]
pub fn record(secret: &Secret, key: &str, now: Timestamp) -> KeyRecord {
    // An old key is short: showing more of it would make it guessable.
    let prefix = key.chars().take(2).collect();
    KeyRecord { prefix, hash: hash(secret, key), created: now }
}

/// Whether a key is one of those recorded. Takes the same time whichever it is and whether it is one.
#[must_use]
pub fn verify(secret: &Secret, key: &str, records: &[KeyRecord]) -> bool {
    let hash = hash(secret, key);
    let found = records
        .iter()
        .fold(subtle::Choice::from(0), |found, record| found | record.hash.as_bytes().ct_eq(hash.as_bytes()));
    bool::from(found) && !key.is_empty()
}

/// The records with the one of this key, which was hashed with `old`, hashed with `new`; `None` when it is none of them.
#[must_use]
pub fn rehashed(old: &Secret, new: &Secret, key: &str, records: &[KeyRecord]) -> Option<Vec<KeyRecord>> {
    let at = hash(old, key);
    let position = records.iter().position(|record| same(&record.hash, &at))?;
    let mut records = records.to_vec();
    records[position].hash = hash(new, key);
    Some(records)
}

fn hash(secret: &Secret, key: &str) -> String {
    STANDARD.encode(mac(secret.as_bytes(), key.as_bytes()))
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::derive(b"a server's secret", Purpose::ApiKeys)
    }

    #[test]
    fn a_key_verifies_only_with_its_text_and_its_secret() {
        let (text, record) = make(&secret(), &[7; 38], Timestamp(1));
        assert_eq!(text.len(), 4 + 8 + 1 + 43);
        assert!(text.starts_with(&format!("{}_", record.prefix)));
        assert!(!record.hash.contains(&text[13..]));
        let records = [super::record(&secret(), "OTHERKEY12", Timestamp(0)), record];
        assert!(verify(&secret(), &text, &records));
        assert!(verify(&secret(), "OTHERKEY12", &records));
        for wrong in ["", "OTHERKEY13", "OTHERKEY1", &text[..55], &text.to_uppercase(), &records[1].hash] {
            assert!(!verify(&secret(), wrong, &records), "{wrong}");
        }
        assert!(!verify(&Secret::derive(b"another secret", Purpose::ApiKeys), &text, &records));
        assert!(!verify(&secret(), &text, &[]));
    }

    #[test]
    fn a_change_of_the_secret_can_be_followed() {
        let (old, new) = (secret(), Secret::derive(b"another secret", Purpose::ApiKeys));
        let (text, first) = make(&old, &[7; 38], Timestamp(1));
        let (other, second) = make(&old, &[8; 38], Timestamp(2));
        let records = rehashed(&old, &new, &text, &[second, first.clone()]).expect("it is one");
        assert!(
            verify(&new, &text, &records) && !verify(&old, &text, &records) && verify(&old, &other, &records)
        );
        assert_eq!((&records[1].prefix, records[1].created), (&first.prefix, first.created));
        assert_eq!(rehashed(&old, &new, "x", &records), None);
    }

    #[test]
    fn forms_of_keys() {
        let (text, record) = make(&secret(), &[7; 38], Timestamp(1));
        assert!(is_ours(&text) && is_known_prefix(&text, std::slice::from_ref(&record)));
        let (other, _) = make(&secret(), &[8; 38], Timestamp(1));
        assert!(is_ours(&other) && !is_known_prefix(&other, &[record]));
        for text in ["", "A1B2C3D4E5", &text[1..], &format!("{text}x"), &text.replace("god_", "dog_")] {
            assert!(!is_ours(text), "{text}");
        }
    }

    #[test]
    fn a5_a_comparison_takes_as_long_wherever_texts_differ() {
        use std::time::{Duration, Instant};
        // The fastest of many runs of many comparisons: other work on the machine only adds.
        let good = "x".repeat(4096);
        let (mut early, mut late) = (good.clone(), good.clone());
        early.replace_range(..1, "y");
        late.replace_range(4095.., "y");
        let mut fastest = [Duration::MAX; 2];
        for _ in 0..60 {
            for (best, other) in fastest.iter_mut().zip([&early, &late]) {
                let begun = Instant::now();
                for _ in 0..50 {
                    assert!(!same(std::hint::black_box(&good), std::hint::black_box(other)));
                }
                *best = (*best).min(begun.elapsed());
            }
        }
        let ratio = fastest[0].as_secs_f64() / fastest[1].as_secs_f64();
        assert!((0.5..2.0).contains(&ratio), "{fastest:?}");
    }

    #[test]
    fn purposes_do_not_share_material_and_nothing_is_shown() {
        let token = Secret::derive(b"a server's secret", Purpose::ApiTokens);
        assert_ne!(token.as_bytes(), secret().as_bytes());
        assert_eq!(format!("{token:?}"), "Secret(***)");
    }
}
