//! What a script orders the fake executor to do: lines that begin with `#FAKE`, with words `key=value`.
//! Pure text; the page `docs/executors/fake.md` lists the same words.

use god_core::executor::Cause;

/// What went wrong, on order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fail {
    /// The start is put off: nothing was started, the same task may be accepted later.
    Start,
    /// The start is refused for good.
    Refuse,
    /// The start takes effect, but its answer is lost.
    Unknown,
    /// The node loses the run when it should end.
    Lost,
    /// The run ends for want of memory.
    Memory,
}

/// What a script does about the polite signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerm {
    /// It dies of it.
    Die,
    /// It ends with this exit code.
    Exit(i32),
    /// Nothing.
    Ignore,
}

/// The whole order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Milliseconds that the run lasts; `None` when nothing is said.
    pub duration_ms: Option<u64>,
    /// Milliseconds between the acceptance and the start.
    pub start_delay_ms: u64,
    /// How it ends.
    pub end: Cause,
    /// What goes wrong.
    pub fail: Option<Fail>,
    /// Only attempts up to this one go wrong; `None` is all.
    pub fail_attempts: Option<u32>,
    /// What it does about the polite signal.
    pub term: OnTerm,
    /// Exit code with which it ends when it is warned of its time limit; `None` takes no notice.
    pub warn: Option<i32>,
}

impl Default for Order {
    /// Ends at once with exit code 0.
    fn default() -> Order {
        Order {
            duration_ms: None,
            start_delay_ms: 0,
            end: Cause::Code(0),
            fail: None,
            fail_attempts: None,
            term: OnTerm::Die,
            warn: None,
        }
    }
}

/// A `#FAKE` word that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "#FAKE {word:?} is not understood: accepted are duration=T, start_delay=T (T as 200ms, 3s, 2m, 1h), exit=0..255, \
     signal=1..64, fail=start|refuse|unknown|lost|memory, fail_attempts=N, term=die|ignore|0..255, warn=0..255"
)]
pub struct BadOrder {
    word: String,
}

impl Order {
    /// Reads the order of a script; later words win. A script without `#FAKE` lines ends at once with 0.
    ///
    /// # Errors
    /// [`BadOrder`] with the first word that means nothing.
    pub fn parse(script: &str) -> Result<Order, BadOrder> {
        let mut order = Order::default();
        for line in script.lines() {
            let Some(words) = line.trim_start().strip_prefix("#FAKE") else { continue };
            if !words.is_empty() && !words.starts_with(char::is_whitespace) {
                continue;
            }
            for word in words.split_whitespace() {
                order.obey(word).ok_or_else(|| BadOrder { word: word.chars().take(60).collect() })?;
            }
        }
        Ok(order)
    }

    fn obey(&mut self, word: &str) -> Option<()> {
        let (key, value) = word.split_once('=')?;
        match key {
            "duration" => self.duration_ms = Some(millis(value)?),
            "start_delay" => self.start_delay_ms = millis(value)?,
            "exit" => self.end = Cause::Code(code(value)?),
            "signal" => {
                self.end = Cause::Signal(value.parse().ok().filter(|signal| (1..=64).contains(signal))?);
            }
            "fail" => {
                self.fail = Some(match value {
                    "start" => Fail::Start,
                    "refuse" => Fail::Refuse,
                    "unknown" => Fail::Unknown,
                    "lost" => Fail::Lost,
                    "memory" => Fail::Memory,
                    _ => return None,
                });
            }
            "fail_attempts" => self.fail_attempts = Some(value.parse().ok()?),
            "term" => {
                self.term = match value {
                    "die" => OnTerm::Die,
                    "ignore" => OnTerm::Ignore,
                    _ => OnTerm::Exit(code(value)?),
                };
            }
            "warn" => self.warn = Some(code(value)?),
            _ => return None,
        }
        Some(())
    }

    /// What goes wrong in this attempt.
    #[must_use]
    pub fn fault(&self, attempt: u32) -> Option<Fail> {
        self.fail.filter(|_| self.fail_attempts.is_none_or(|last| attempt <= last))
    }
}

fn code(value: &str) -> Option<i32> {
    value.parse().ok().filter(|code| (0..=255).contains(code))
}

/// A span of time; at most a hundred years.
fn millis(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let factor = match &value[digits.len()..] {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    number.checked_mul(factor).filter(|millis| *millis <= 100 * 366 * 86_400_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(script: &str, expected: Order) {
        assert_eq!(Order::parse(script), Ok(expected), "{script:?}");
    }

    #[test]
    fn orders_are_read() {
        check("", Order::default());
        check("#!/bin/sh\nexit 3\n#FAKED exit=1\n#FAKE", Order::default());
        check(
            "#FAKE duration=200ms exit=3\n  #FAKE start_delay=2m term=ignore warn=5 fail=lost fail_attempts=2",
            Order {
                duration_ms: Some(200),
                start_delay_ms: 120_000,
                end: Cause::Code(3),
                fail: Some(Fail::Lost),
                fail_attempts: Some(2),
                term: OnTerm::Ignore,
                warn: Some(5),
            },
        );
        check(
            "#FAKE exit=3 signal=9 duration=3 term=7",
            Order {
                duration_ms: Some(3000),
                end: Cause::Signal(9),
                term: OnTerm::Exit(7),
                ..Order::default()
            },
        );
    }

    #[test]
    fn nonsense_is_refused_with_its_word() {
        for bad in [
            "exit",
            "exit=",
            "exit=256",
            "exit=-1",
            "signal=0",
            "signal=65",
            "fail=maybe",
            "duration=1w",
            "duration=-1s",
            "duration=+1s",
            "duration=1.5s",
            "duration=99999999999999h",
            "duration=ms",
            "term=x",
            "colour=red",
            "fail_attempts=x",
            "=",
            "duration=٣s",
        ] {
            let err = Order::parse(&format!("#FAKE {bad}")).expect_err(bad);
            assert!(err.to_string().contains(bad), "{err}");
        }
    }

    #[test]
    fn faults_may_stop_after_some_attempts() {
        let order = Order::parse("#FAKE fail=lost fail_attempts=2").unwrap();
        assert_eq!([1, 2, 3].map(|attempt| order.fault(attempt)), [Some(Fail::Lost), Some(Fail::Lost), None]);
    }
}
