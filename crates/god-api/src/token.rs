//! API tokens: opaque to clients, signed, and good only while the user's keys are those they were made with.

use god_core::keys::Secret;
use god_core::{Seconds, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

const AUDIENCE: &str = "urn:godocker/api";
const ISSUER: &str = "godocker";
/// Longer ones are none of ours.
const LONGEST: usize = 1024;
/// Signatures remembered as good.
const REMEMBERED: usize = 20_000;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: String,
    /// Seconds since 1970.
    iat: i64,
    /// Seconds since 1970.
    exp: i64,
    /// Version of the user's keys.
    kv: u32,
}

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Whose it is.
    pub(crate) user: UserId,
    /// The version of the user's keys it was made with.
    pub(crate) key_version: u32,
    expires: i64,
}

/// Makes and checks tokens.
pub(crate) struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    rules: Validation,
    life: Seconds,
    good: RwLock<HashMap<Box<str>, Verified>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("life", &self.life).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(crate) fn new(secret: &Secret, life: Seconds) -> Tokens {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["sub", "iss", "aud", "exp"]);
        // Judged in `verify`, against the clock that is handed in, each time a token is shown.
        rules.validate_exp = false;
        Tokens {
            signing: EncodingKey::from_secret(secret.as_bytes()),
            checking: DecodingKey::from_secret(secret.as_bytes()),
            rules,
            life,
            good: RwLock::default(),
        }
    }

    /// A token for a user; `None` when the signing library fails.
    pub(crate) fn issue(&self, user: &UserId, key_version: u32, now: Timestamp) -> Option<String> {
        let iat = now.0.div_euclid(1000);
        let claims = Claims {
            sub: user.as_str().to_owned(),
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat,
            exp: iat.saturating_add(i64::try_from(self.life.0).unwrap_or(i64::MAX)),
            kv: key_version,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing).ok()
    }

    /// What a token says, if it is one of ours and not too old.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Verified> {
        let in_time = |verified: &Verified| now.0.div_euclid(1000) < verified.expires;
        if token.len() > LONGEST {
            return None;
        }
        let known = self.good.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        if let Some(known) = known {
            return Some(known).filter(in_time);
        }
        let claims = decode::<Claims>(token, &self.checking, &self.rules).ok()?.claims;
        let user = UserId::parse(&claims.sub).ok()?;
        let verified = Verified { user, key_version: claims.kv, expires: claims.exp };
        if !in_time(&verified) {
            return None;
        }
        let mut good = self.good.write().unwrap_or_else(PoisonError::into_inner);
        if good.len() >= REMEMBERED {
            good.clear();
        }
        good.insert(token.into(), verified.clone());
        Some(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::keys::Purpose;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn tokens(secret: &str) -> Tokens {
        Tokens::new(&Secret::derive(secret.as_bytes(), Purpose::ApiTokens), Seconds(100))
    }

    fn signed(header: Header, claims: &Value, key: &[u8]) -> String {
        encode(&header, claims, &EncodingKey::from_secret(key)).expect("signs")
    }

    #[test]
    fn a_good_token_is_good_until_its_end() {
        let tokens = tokens("s");
        let token = tokens.issue(&UserId::new("bob"), 3, NOW).expect("signs");
        for _ in 0..2 {
            let got = tokens.verify(&token, NOW).expect("good");
            assert_eq!((got.user.as_str(), got.key_version), ("bob", 3));
        }
        assert!(tokens.verify(&token, Timestamp(NOW.0 + 99_000)).is_some());
        assert!(tokens.verify(&token, Timestamp(NOW.0 + 100_000)).is_none(), "remembered, but too old");
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')));
    }

    #[test]
    fn bad_tokens_are_refused() {
        let tokens = tokens("s");
        let key = Secret::derive(b"s", Purpose::ApiTokens);
        let key = key.as_bytes();
        let good =
            json!({"sub": "bob", "iss": ISSUER, "aud": AUDIENCE, "iat": 1, "exp": 9_999_999_999i64, "kv": 0});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            match value {
                Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
                value => claims[name] = value,
            }
            claims
        };
        let hs = || Header::new(Algorithm::HS256);
        assert!(tokens.verify(&signed(hs(), &good, key), NOW).is_some(), "the base of the table is good");
        let mut bad: Vec<(&str, String)> = vec![
            ("another key", signed(hs(), &good, b"other")),
            (
                "key of another purpose",
                signed(hs(), &good, Secret::derive(b"s", Purpose::ApiKeys).as_bytes()),
            ),
            ("the secret itself", signed(hs(), &good, b"s")),
            ("HS384", signed(Header::new(Algorithm::HS384), &good, key)),
            ("HS512", signed(Header::new(Algorithm::HS512), &good, key)),
            ("too old", signed(hs(), &with("exp", json!(1)), key)),
            ("end now", signed(hs(), &with("exp", json!(1_700_000_000)), key)),
            ("end as text", signed(hs(), &with("exp", json!("9999999999")), key)),
            ("no end", signed(hs(), &with("exp", Value::Null), key)),
            ("other audience", signed(hs(), &with("aud", json!("urn:godocker/auth-api")), key)),
            ("no audience", signed(hs(), &with("aud", Value::Null), key)),
            ("other issuer", signed(hs(), &with("iss", json!("x")), key)),
            ("no issuer", signed(hs(), &with("iss", Value::Null), key)),
            ("no subject", signed(hs(), &with("sub", Value::Null), key)),
            ("odd subject", signed(hs(), &with("sub", json!("../bob")), key)),
            ("subject is no text", signed(hs(), &with("sub", json!(7)), key)),
            ("no key version", signed(hs(), &with("kv", Value::Null), key)),
            ("negative key version", signed(hs(), &with("kv", json!(-1)), key)),
            ("empty", String::new()),
            ("dots", "..".to_owned()),
            ("words", "not a token".to_owned()),
            ("long", "x".repeat(5000)),
        ];
        let token = signed(hs(), &good, key);
        let parts: Vec<&str> = token.split('.').collect();
        // {"alg":"none"}, and the same in other spellings.
        for head in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0", "e30"] {
            bad.push(("none", format!("{head}.{}.", parts[1])));
            bad.push(("none signed", format!("{head}.{}.{}", parts[1], parts[2])));
        }
        bad.push(("no signature", format!("{}.{}.", parts[0], parts[1])));
        bad.push(("two parts", format!("{}.{}", parts[0], parts[1])));
        bad.push(("four parts", format!("{token}.x")));
        bad.push(("changed", format!("{}.{}x.{}", parts[0], parts[1], parts[2])));
        bad.push(("space", format!(" {token}")));
        for (what, token) in bad {
            assert_eq!(tokens.verify(&token, NOW), None, "{what}");
        }
    }
}
