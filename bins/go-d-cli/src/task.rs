//! A task as the server describes it, read with care: a field that is missing or of an odd type is empty, never a
//! reason to stop.

use crate::output::Cell;
use god_core::units::Seconds;
use jiff::tz::TimeZone;
use serde_json::Value;

/// One task document.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a>(pub &'a Value);

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Code(i64),
    /// Without one, for this reason.
    NoCode(String),
}

impl End {
    /// The exit code for us. What a shell could not pass on becomes something that is not 0.
    pub fn passed_on(code: i64) -> u8 {
        match u8::try_from(code & 0xff) {
            Ok(0) | Err(_) if code != 0 => 1,
            Ok(byte) => byte,
            Err(_) => 1,
        }
    }
}

impl<'a> Task<'a> {
    /// The value at a path such as `/meta/name`; null when there is none.
    pub fn at(self, path: &str) -> &'a Value {
        self.0.pointer(path).unwrap_or(&Value::Null)
    }

    /// A text or number at a path, as text; empty for anything else.
    pub fn text(self, path: &str) -> String {
        scalar(self.at(path))
    }

    /// Its id; 0 when the document has none.
    pub fn id(self) -> u64 {
        self.at("/id").as_u64().unwrap_or(0)
    }

    /// Whether it is over for good.
    pub fn is_over(self) -> bool {
        matches!(self.at("/status/primary").as_str(), Some("over" | "archived"))
    }

    /// How it ended, or would have if it were over.
    pub fn end(self) -> End {
        match self.at("/status/exitcode").as_i64() {
            Some(code) => End::Code(code),
            None => {
                let words = [self.text("/status/reason"), self.text("/status/secondary")];
                let reason = words.into_iter().find(|word| !word.is_empty());
                End::NoCode(crate::text::short(
                    &reason.unwrap_or_else(|| "no reason is known".to_owned()),
                    500,
                ))
            }
        }
    }

    /// State in one word, with what else is to be said in brackets.
    pub fn state(self) -> String {
        let (primary, secondary) = (self.text("/status/primary"), self.text("/status/secondary"));
        if secondary.is_empty() { primary } else { format!("{primary} ({secondary})") }
    }

    /// A point in time: local for people, UTC for scripts.
    pub fn time(self, path: &str) -> Cell {
        self.time_in(path, &TimeZone::system())
    }

    fn time_in(self, path: &str, zone: &TimeZone) -> Cell {
        time_in(self.at(path), zone)
    }

    /// How long it ran, or has been running at `now`, in seconds since 1970.
    pub fn duration(self, now: f64) -> Cell {
        let number = |path| self.at(path).as_f64().filter(|n| n.is_finite());
        let running = number("/status/date_running");
        let so_far = || running.filter(|_| !self.is_over()).map(|since| now - since);
        match number("/status/duration").or_else(so_far) {
            Some(seconds) => {
                let whole = Seconds(seconds.max(0.0) as u64);
                Cell::each(span(whole), whole.0.to_string())
            }
            None => Cell::default(),
        }
    }

    /// A list of texts or numbers at a path, with a comma between two.
    pub fn list(self, path: &str) -> String {
        let entries = self.at(path).as_array().map(Vec::as_slice).unwrap_or_default();
        entries.iter().map(scalar).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(",")
    }
}

/// Seconds since 1970 as a point in time: local for people, UTC for scripts; empty for anything else.
pub fn local_and_utc(seconds: &Value) -> Cell {
    time_in(seconds, &TimeZone::system())
}

fn time_in(seconds: &Value, zone: &TimeZone) -> Cell {
    let millis = seconds.as_f64().filter(|s| s.is_finite()).map(|s| (s * 1000.0) as i64);
    let Some(time) = millis.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) else {
        return Cell::default();
    };
    let local = time.to_zoned(zone.clone());
    Cell::each(
        local.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

/// A text, number or flag as text; empty for null and for what has parts.
pub fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(n) => n.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

/// `5s`, `3m05s`, `2h03m`, `4d02h`: two units are enough to read.
pub fn span(span: Seconds) -> String {
    let n = span.0;
    match n {
        0..60 => format!("{n}s"),
        60..3_600 => format!("{}m{:02}s", n / 60, n % 60),
        3_600..86_400 => format!("{}h{:02}m", n / 3_600, n % 3_600 / 60),
        _ => format!("{}d{:02}h", n / 86_400, n % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn exit_codes_never_turn_into_success() {
        for (code, want) in [(0, 0), (7, 7), (137, 137), (255, 255), (256, 1), (512, 1), (-1, 255), (257, 1)]
        {
            assert_eq!(End::passed_on(code), want, "{code}");
        }
    }

    #[test]
    fn ends() {
        let end = |status: Value| Task(&json!({ "status": status })).end();
        assert_eq!(end(json!({"exitcode": 137, "reason": "x"})), End::Code(137));
        assert_eq!(
            end(json!({"exitcode": null, "reason": "node\x1b[1m lost"})),
            End::NoCode("node lost".into())
        );
        assert_eq!(end(json!({"reason": "", "secondary": "killed"})), End::NoCode("killed".into()));
        assert_eq!(end(json!(null)), End::NoCode("no reason is known".into()));
    }

    #[test]
    fn times_and_spans() {
        let task = json!({"date": 1466000000.25, "status": {"date_running": 100.0, "primary": "running"}});
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let time = Task(&task).time_in("/date", &zone);
        assert_eq!(time, Cell::each("2016-06-15 16:13:20", "2016-06-15T14:13:20Z"));
        assert_eq!(Task(&task).time("/nothing"), Cell::default());
        assert_eq!(Task(&task).duration(165.9), Cell::each("1m05s", "65"));
        assert_eq!(Task(&task).duration(50.0), Cell::each("0s", "0"));
        let over = json!({"status": {"primary": "over", "date_running": 1.0, "duration": 90061.5}});
        assert_eq!(Task(&over).duration(1e9), Cell::each("1d01h", "90061"));
        let odd = json!({"date": "yesterday", "status": 5, "meta": {"tags": ["a", 1, null, []]}});
        assert_eq!(Task(&odd).time("/date"), Cell::default());
        assert_eq!(Task(&odd).duration(5.0), Cell::default());
        assert_eq!(Task(&odd).list("/meta/tags"), "a,1");
    }

    #[test]
    fn states() {
        let state = |status: Value| Task(&json!({ "status": status })).state();
        assert_eq!(state(json!({"primary": "running", "secondary": null})), "running");
        assert_eq!(
            state(json!({"primary": "running", "secondary": "kill requested"})),
            "running (kill requested)"
        );
        assert_eq!(state(json!({"primary": "over", "secondary": ""})), "over");
    }
}
