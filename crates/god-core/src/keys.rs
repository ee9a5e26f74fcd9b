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
        };
        Secret(mac(master, label))
    }

    /// The bytes, for the library that signs with them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

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
    fn purposes_do_not_share_material_and_nothing_is_shown() {
        let token = Secret::derive(b"a server's secret", Purpose::ApiTokens);
        assert_ne!(token.as_bytes(), secret().as_bytes());
        assert_eq!(format!("{token:?}"), "Secret(***)");
    }
}
