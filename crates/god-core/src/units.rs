//! Units. A number with a unit is one of these types; text becomes a unit where it enters, and "no limit" is `None`.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Whole CPU cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Cores(pub u32);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Bytes of a `ram` number of the task model. The engines always took it as GiB (`<n>g` of Docker, `<n>Gi`).
    #[must_use]
    pub fn from_ram(ram: u32) -> Bytes {
        Bytes(u64::from(ram) << 30)
    }
}

impl fmt::Display for Bytes {
    /// With one decimal and a binary unit: `1.5 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
        let mut value = self.0 as f64;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        if unit == 0 || value.fract() == 0.0 {
            write!(f, "{value:.0} {}", UNITS[unit])
        } else {
            write!(f, "{value:.1} {}", UNITS[unit])
        }
    }
}

/// A span of time in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// Reads a life span: an integer followed by `d`, `h`, `m` or `s`; a bare integer is seconds.
    ///
    /// # Errors
    /// [`BadSpan`] for anything else, zero, and spans beyond a hundred years.
    pub fn parse(text: &str) -> Result<Seconds, BadSpan> {
        let bad = || BadSpan { text: text.chars().take(40).collect() };
        let text_ = text.trim();
        let (number, factor) = match text_.bytes().last() {
            Some(b'd') => (&text_[..text_.len() - 1], 86_400),
            Some(b'h') => (&text_[..text_.len() - 1], 3_600),
            Some(b'm') => (&text_[..text_.len() - 1], 60),
            Some(b's') => (&text_[..text_.len() - 1], 1),
            _ => (text_, 1),
        };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let seconds = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)?;
        if seconds == 0 || seconds > 100 * 366 * 86_400 { Err(bad()) } else { Ok(Seconds(seconds)) }
    }
}

/// A text that is no life span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no duration: accepted are 90, 90s, 15m, 12h, 7d")]
pub struct BadSpan {
    text: String,
}

/// A point in time: milliseconds since 1970-01-01 UTC. For display and accounting; deadlines use monotonic clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds since 1970 as the wire format carries them.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// From seconds since 1970; a number that is not finite or absurd gives `None`.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Option<Timestamp> {
        (seconds.is_finite() && seconds.abs() < 1e12).then(|| Timestamp((seconds * 1000.0).round() as i64))
    }

    /// Milliseconds from `earlier` to this; never negative, so that a clock that was set back adds nothing.
    #[must_use]
    pub fn millis_since(self, earlier: Timestamp) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }

    /// The UTC day.
    #[must_use]
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(86_400_000) as i32)
    }
}

/// A UTC day: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Day(pub i32);

impl fmt::Display for Day {
    /// `Y_M_D` without zero padding, the form of the usage answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = jiff::Timestamp::from_second(i64::from(self.0) * 86_400)
            .map(|t| t.to_zoned(jiff::tz::TimeZone::UTC).date());
        match date {
            Ok(d) => write!(f, "{}_{}_{}", d.year(), d.month(), d.day()),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("15m", 900), ("12h", 43_200), ("7d", 604_800), (" 5 ", 5)]
        {
            assert_eq!(Seconds::parse(text), Ok(Seconds(seconds)), "{text}");
        }
        for bad in ["", "d", "-1", "1w", "1.5h", "0", "1d2h", "99999999999999999999d", "99999999d", "١"] {
            assert!(Seconds::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn days_are_written_without_padding() {
        assert_eq!(Timestamp(1_709_164_800_000).day().to_string(), "2024_2_29");
        assert_eq!(Timestamp(-1).day().to_string(), "1969_12_31");
    }

    #[test]
    fn a_clock_set_back_adds_nothing() {
        assert_eq!(Timestamp(5).millis_since(Timestamp(9)), 0);
        assert_eq!(Timestamp::from_seconds(f64::NAN), None);
    }

    #[test]
    fn bytes_for_people() {
        assert_eq!(Bytes(512).to_string(), "512 B");
        assert_eq!(Bytes::from_ram(2).to_string(), "2 GiB");
        assert_eq!(Bytes(1536 << 20).to_string(), "1.5 GiB");
    }
}
