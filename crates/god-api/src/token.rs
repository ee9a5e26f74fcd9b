//! API tokens: opaque to clients, signed, and good only while the user's keys are those they were made with.
//!
//! Each names the secret it was signed with. While the server's secret is being changed two are good: the new one signs,
//! the one before it is still accepted.

use god_core::keys::Secret;
use god_core::{Seconds, Timestamp, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
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
/// Clocks of two of our hosts may differ by this many seconds.
const SKEW: i64 = 60;

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    iss: String,
    aud: String,
    /// Seconds since 1970.
    iat: i64,
    /// Seconds since 1970; not good before.
    nbf: i64,
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
    begins: i64,
    expires: i64,
}

/// A secret that tokens are checked with, and its name.
struct Checking {
    name: String,
    key: DecodingKey,
}

/// Makes and checks tokens.
pub(crate) struct Tokens {
    signing: EncodingKey,
    /// The one that signs comes first.
    checking: Vec<Checking>,
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
    /// Tokens signed with `secret`; those signed with `previous` are accepted, too.
    pub(crate) fn new(secret: &Secret, previous: Option<&Secret>, life: Seconds) -> Tokens {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_audience(&[AUDIENCE]);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["sub", "iss", "aud", "exp", "nbf"]);
        // Judged in `verify`, against the clock that is handed in, each time a token is shown.
        rules.validate_exp = false;
        let checking = |secret: &Secret| Checking {
            name: secret.name(),
            key: DecodingKey::from_secret(secret.as_bytes()),
        };
        Tokens {
            signing: EncodingKey::from_secret(secret.as_bytes()),
            checking: std::iter::once(secret).chain(previous).map(checking).collect(),
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
            nbf: iat,
            exp: iat.saturating_add(i64::try_from(self.life.0).unwrap_or(i64::MAX)),
            kv: key_version,
        };
        let name = self.checking.first().map(|checking| checking.name.clone());
        encode(&Header { kid: name, ..Header::new(Algorithm::HS256) }, &claims, &self.signing).ok()
    }

    /// What a token says, if it is one of ours and not too old.
    pub(crate) fn verify(&self, token: &str, now: Timestamp) -> Option<Verified> {
        let seconds = now.0.div_euclid(1000);
        let in_time = |verified: &Verified| (verified.begins - SKEW..verified.expires).contains(&seconds);
        if token.len() > LONGEST {
            return None;
        }
        let known = self.good.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned();
        if let Some(known) = known {
            return Some(known).filter(in_time);
        }
        let header = decode_header(token).ok()?;
        let named = header.kid.as_ref().filter(|_| is_plain(&header))?;
        let checking = self.checking.iter().find(|checking| checking.name == *named)?;
        let claims = decode::<Claims>(token, &checking.key, &self.rules).ok()?.claims;
        let user = UserId::parse(&claims.sub).ok()?;
        let verified = Verified {
            user,
            key_version: claims.kv,
            begins: claims.nbf.max(claims.iat),
            expires: claims.exp,
        };
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

/// Whether a header says no more than ours do: nothing that names a key elsewhere, or asks for more than we know.
fn is_plain(header: &Header) -> bool {
    *header == Header { kid: header.kid.clone(), ..Header::new(Algorithm::HS256) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
    use god_core::keys::Purpose;
    use serde_json::{Value, json};

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn secret(text: &str) -> Secret {
        Secret::derive(text.as_bytes(), Purpose::ApiTokens)
    }

    fn tokens(text: &str) -> Tokens {
        Tokens::new(&secret(text), None, Seconds(100))
    }

    /// Signs whatever header and claims, with HMAC of that many bits.
    fn signed(header: &Value, claims: &Value, key: &[u8], algorithm: Algorithm) -> String {
        let text = format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()));
        let key = EncodingKey::from_secret(key);
        let seal = jsonwebtoken::crypto::sign(text.as_bytes(), &key, algorithm).expect("signs");
        format!("{text}.{seal}")
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
        assert!(tokens.verify(&token, Timestamp(NOW.0 - 60_000)).is_some(), "clocks differ a little");
        assert!(tokens.verify(&token, Timestamp(NOW.0 - 61_000)).is_none(), "remembered, but of the future");
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')));
    }

    #[test]
    fn a6_two_secrets_are_good_while_one_replaces_the_other() {
        let (old, new) = (secret("old"), secret("new"));
        let before = Tokens::new(&old, None, Seconds(100));
        let during = Tokens::new(&new, Some(&old), Seconds(100));
        let after = Tokens::new(&new, None, Seconds(100));
        let bob = UserId::new("bob");
        let first = before.issue(&bob, 0, NOW).expect("signs");
        let second = during.issue(&bob, 0, NOW).expect("signs");
        let good = |tokens: &Tokens, token: &str| tokens.verify(token, NOW).is_some();
        assert!(good(&during, &first) && good(&during, &second));
        assert!(!good(&after, &first) && good(&after, &second));
        assert!(!good(&before, &second));
    }

    #[test]
    fn a6_bad_tokens_are_refused() {
        use Algorithm::{HS256, HS384, HS512};
        let tokens = tokens("s");
        let own = secret("s");
        let key = own.as_bytes();
        let good_header = json!({"typ": "JWT", "alg": "HS256", "kid": own.name()});
        let good = json!({
            "sub": "bob", "iss": ISSUER, "aud": AUDIENCE, "iat": 1, "nbf": 1, "exp": 9_999_999_999i64, "kv": 0,
        });
        let changed = |base: &Value, name: &str, value: Value| {
            let mut changed = base.clone();
            match value {
                Value::Null => drop(changed.as_object_mut().expect("an object").remove(name)),
                value => changed[name] = value,
            }
            changed
        };
        let with = |name: &str, value: Value| signed(&good_header, &changed(&good, name, value), key, HS256);
        let headed = |name: &str, value: Value, algorithm: Algorithm| {
            signed(&changed(&good_header, name, value), &good, key, algorithm)
        };
        let token = signed(&good_header, &good, key, HS256);
        assert!(tokens.verify(&token, NOW).is_some(), "the base of the table is good");
        let parts: Vec<&str> = token.split('.').collect();
        let other = secret("other");
        let mut bad: Vec<(&str, String)> = vec![
            ("another key", signed(&good_header, &good, other.as_bytes(), HS256)),
            ("key of another purpose", {
                let keys = Secret::derive(b"s", Purpose::ApiKeys);
                signed(&good_header, &good, keys.as_bytes(), HS256)
            }),
            ("the secret itself", signed(&good_header, &good, b"s", HS256)),
            ("an empty key", signed(&good_header, &good, b"", HS256)),
            ("HS384", headed("alg", json!("HS384"), HS384)),
            ("HS512", headed("alg", json!("HS512"), HS512)),
            ("signed otherwise than it says", signed(&good_header, &good, key, HS512)),
            ("RS256", headed("alg", json!("RS256"), HS256)),
            ("ES256", headed("alg", json!("ES256"), HS256)),
            ("PS256", headed("alg", json!("PS256"), HS256)),
            ("EdDSA", headed("alg", json!("EdDSA"), HS256)),
            ("small letters", headed("alg", json!("hs256"), HS256)),
            ("no algorithm", headed("alg", Value::Null, HS256)),
            ("a list of algorithms", headed("alg", json!(["HS256", "none"]), HS256)),
            ("no name of the key", headed("kid", Value::Null, HS256)),
            ("another name of the key", headed("kid", json!(other.name()), HS256)),
            ("a path as name of the key", headed("kid", json!("../../dev/null"), HS256)),
            ("an empty name of the key", headed("kid", json!(""), HS256)),
            ("a number as name of the key", headed("kid", json!(0), HS256)),
            ("another type", headed("typ", json!("at+jwt"), HS256)),
            ("an address of keys", headed("jku", json!("https://evil.example/keys"), HS256)),
            ("an address of a certificate", headed("x5u", json!("https://evil.example/cert"), HS256)),
            ("a key of its own", headed("jwk", json!({"kty": "oct", "k": "AAAA"}), HS256)),
            ("a certificate of its own", headed("x5c", json!(["AAAA"]), HS256)),
            ("something critical", headed("crit", json!(["exp"]), HS256)),
            ("another content", headed("cty", json!("JWT"), HS256)),
            ("too old", with("exp", json!(1))),
            ("end now", with("exp", json!(1_700_000_000))),
            ("end as text", with("exp", json!("9999999999"))),
            ("a negative end", with("exp", json!(-1))),
            ("no end", with("exp", Value::Null)),
            ("not yet", with("nbf", json!(1_700_000_061))),
            ("made in the future", with("iat", json!(1_700_000_061))),
            ("no beginning", with("nbf", Value::Null)),
            ("other audience", with("aud", json!("urn:godocker/auth-api"))),
            ("no audience", with("aud", Value::Null)),
            ("other issuer", with("iss", json!("x"))),
            ("no issuer", with("iss", Value::Null)),
            ("no subject", with("sub", Value::Null)),
            ("odd subject", with("sub", json!("../bob"))),
            ("empty subject", with("sub", json!(""))),
            ("subject is no text", with("sub", json!(7))),
            ("no key version", with("kv", Value::Null)),
            ("negative key version", with("kv", json!(-1))),
            ("large key version", with("kv", json!(4_294_967_296i64))),
            ("empty", String::new()),
            ("dots", "..".to_owned()),
            ("words", "not a token".to_owned()),
            ("long", "x".repeat(5000)),
            ("no signature", format!("{}.{}.", parts[0], parts[1])),
            ("two parts", format!("{}.{}", parts[0], parts[1])),
            ("four parts", format!("{token}.x")),
            ("changed", format!("{}.{}x.{}", parts[0], parts[1], parts[2])),
            ("signature of the header", format!("{}.{}.{}", parts[0], parts[0], parts[2])),
            ("a space before", format!(" {token}")),
            ("a space behind", format!("{token} ")),
            ("a line", format!("{token}\n")),
            ("padded", format!("{token}=")),
        ];
        for name in ["none", "None", "NONE", "nOnE", ""] {
            let header = B64.encode(json!({"typ": "JWT", "alg": name, "kid": own.name()}).to_string());
            bad.push(("none", format!("{header}.{}.", parts[1])));
            bad.push(("none, signed", format!("{header}.{}.{}", parts[1], parts[2])));
        }
        let flipped = if parts[2].starts_with('A') { "B" } else { "A" };
        bad.push((
            "one letter of the signature",
            format!("{}.{}.{flipped}{}", parts[0], parts[1], &parts[2][1..]),
        ));
        assert!(bad.len() >= 40, "{}", bad.len());
        for (what, token) in bad {
            assert_eq!(tokens.verify(&token, NOW), None, "{what}");
        }
    }
}
