//! Sizes and times as people write them in the configuration.
//!
//! One function for each grammar; both are used by every crate that reads such a text.

use thiserror::Error;

/// Why a size or a time text was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UnitError {
    /// Not a size.
    #[error(
        "`{0}` is not a size; accepted: bytes (`500`) or a whole number with k, m, g or t (powers of 1000)"
    )]
    BadSize(String),
    /// Not a span of time.
    #[error("`{0}` is not a time; accepted: seconds (`3600`) or a whole number with d, h, m (minutes) or s")]
    BadTime(String),
    /// A number that does not fit in 64 bits once the unit is applied.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Bytes of a size text: digits, then one of k, m, g, t in any case (powers of 1000), or digits alone for bytes.
///
/// # Errors
/// [`UnitError::BadSize`] for any other text, [`UnitError::TooLarge`] past 64 bits.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    let (digits, unit) = split_unit(text).ok_or_else(|| UnitError::BadSize(text.to_owned()))?;
    let factor = match unit.map(|letter| letter.to_ascii_lowercase()) {
        None => 1,
        Some('k') => 1_000,
        Some('m') => 1_000_000,
        Some('g') => 1_000_000_000,
        Some('t') => 1_000_000_000_000,
        Some(_) => return Err(UnitError::BadSize(text.to_owned())),
    };
    multiply(digits, factor, text)
}

/// Seconds of a time text: digits followed by d, h, m (minutes) or s, or digits alone for seconds.
///
/// # Errors
/// [`UnitError::BadTime`] for any other text, [`UnitError::TooLarge`] past 64 bits.
pub fn parse_lifespan(text: &str) -> Result<u64, UnitError> {
    let (digits, unit) = split_unit(text).ok_or_else(|| UnitError::BadTime(text.to_owned()))?;
    let factor = match unit {
        None | Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        Some(_) => return Err(UnitError::BadTime(text.to_owned())),
    };
    multiply(digits, factor, text)
}

/// Digits and the one letter after them; `None` when the text has another form.
fn split_unit(text: &str) -> Option<(&str, Option<char>)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let mut letters = rest.chars();
    let unit = letters.next();
    (!digits.is_empty() && letters.next().is_none()).then_some((digits, unit))
}

fn multiply(digits: &str, factor: u64, text: &str) -> Result<u64, UnitError> {
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(|| UnitError::TooLarge(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10", 10),
            ("10k", 10_000),
            ("10K", 10_000),
            ("20M", 20_000_000),
            ("30g", 30_000_000_000),
            ("30T", 30_000_000_000_000),
            (" 5k ", 5_000),
            ("0", 0),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["giga", "10s", "", "k", "-1", "1.5g", "10kk", "1 k", "10µ", "١k"] {
            assert_eq!(parse_size(text), Err(UnitError::BadSize(text.to_owned())), "{text}");
        }
        for text in ["99999999999999999999", "18446744073709551615k"] {
            assert_eq!(parse_size(text), Err(UnitError::TooLarge(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn times() {
        for (text, seconds) in
            [("7d", 604_800), ("2h", 7_200), ("90m", 5_400), ("45s", 45), ("3600", 3_600), ("0", 0)]
        {
            assert_eq!(parse_lifespan(text), Ok(seconds), "{text}");
        }
        for text in ["d", "", "7w", "7D", "1d2h", "01:30:00", "-5", "1.5h"] {
            assert_eq!(parse_lifespan(text), Err(UnitError::BadTime(text.to_owned())), "{text}");
        }
        assert!(matches!(parse_lifespan("999999999999999999d"), Err(UnitError::TooLarge(_))));
    }
}
