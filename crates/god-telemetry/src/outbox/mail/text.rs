//! The words of a mail.

use god_core::notice::Mail;
use god_core::state::Outcome;
use god_core::{TaskId, Timestamp};

/// Longest name and longest reason shown, in characters.
const LONGEST: (usize, usize) = (200, 1000);

/// The text of a mail; lines end as lines of the language do.
pub(super) fn of(id: TaskId, mail: &Mail, failed: &[(TaskId, Outcome)]) -> String {
    let status = match mail.secondary.as_str() {
        "" => mail.primary.clone(),
        secondary => format!("{}/{secondary}", mail.primary),
    };
    let mut lines =
        vec![format!("Task {id} ({}) switched to status {status}.", plain(&mail.name, LONGEST.0))];
    let mut facts = Vec::new();
    if !mail.reason.is_empty() {
        facts.push(format!("Reason: {}", plain(&mail.reason, LONGEST.1)));
    }
    if let Some(code) = mail.exit_code.filter(|_| mail.array.is_none()) {
        facts.push(format!("Exit code: {code}"));
    }
    facts.push(format!("Submitted: {}", time(mail.submitted)));
    if let Some(started) = mail.started {
        facts.push(format!("Started: {}", time(started)));
    }
    if let (true, Some(at)) = (mail.moment == "end", mail.at) {
        let ran = mail.started.map(|started| format!(" (ran {})", span(at.millis_since(started))));
        facts.push(format!("Ended: {}{}", time(at), ran.unwrap_or_default()));
    }
    lines.push(String::new());
    lines.extend(facts);
    if let Some(array) = mail.array {
        lines.push(String::new());
        if mail.moment == "end" {
            let good = array.over.saturating_sub(array.failed);
            lines.push(format!(
                "Array of {} tasks: {} ended, {good} succeeded, {} did not.",
                array.count, array.over, array.failed
            ));
        } else {
            lines.push(format!("Array of {} tasks.", array.count));
        }
        lines.extend(failed.iter().map(|(id, end)| format!("  Task {id}: {}", plain(&end.to_string(), 200))));
        let more = array.failed.saturating_sub(failed.len() as u64);
        if !failed.is_empty() && more > 0 {
            lines.push(format!("  … and {more} more"));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A text of somebody else in one line: nothing in it looks like a line of ours.
fn plain(text: &str, longest: usize) -> String {
    let mut plain: String = text.chars().take(longest).map(|c| if is_odd(c) { ' ' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        plain.push('…');
    }
    plain
}

/// Controls, and characters that end lines or turn the direction of what follows.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn time(at: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => "at a time that cannot be written".to_owned(),
    }
}

fn span(millis: u64) -> String {
    let seconds = millis / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use god_core::UserId;
    use god_core::notice::Digest;

    fn mail() -> Mail {
        Mail {
            user: UserId::new("bob"),
            address: None,
            name: "näme".into(),
            moment: "end".into(),
            primary: "over".into(),
            secondary: String::new(),
            reason: String::new(),
            exit_code: Some(3),
            array: None,
            submitted: Timestamp(1_700_000_000_000),
            started: Some(Timestamp(1_700_000_010_000)),
            at: Some(Timestamp(1_700_000_075_500)),
        }
    }

    #[test]
    fn an_end() {
        let expected = "Task 7 (näme) switched to status over.\n\nExit code: 3\n\
                        Submitted: 2023-11-14 22:13:20 UTC\nStarted: 2023-11-14 22:13:30 UTC\n\
                        Ended: 2023-11-14 22:14:35 UTC (ran 1 min 5 s)\n";
        assert_eq!(of(TaskId(7), &mail(), &[]), expected);
    }

    #[test]
    fn texts_of_users_are_one_line_of_a_bounded_length() {
        let name = format!("x\r\n.\r\nExit code: 0\u{2028}\u{202e}{}", "y".repeat(500));
        let mail = Mail { name, reason: "a\nb".into(), secondary: "killed".into(), ..mail() };
        let text = of(TaskId(7), &mail, &[]);
        let first = text.lines().next().expect("a line");
        assert!(first.starts_with("Task 7 (x  .  Exit code: 0  yyy"), "{first}");
        assert!(first.ends_with("y…) switched to status over/killed."), "{first}");
        assert_eq!(
            first.chars().count(),
            "Task 7 (".len() + 200 + "…) switched to status over/killed.".chars().count()
        );
        assert!(text.contains("\nReason: a b\n"), "{text}");
        assert_eq!(text.matches("\nExit code:").count(), 1);
    }

    #[test]
    fn an_array_is_summed_up() {
        let array = Some(Digest { count: 100, over: 50, failed: 23 });
        let ended = Mail { array, ..mail() };
        let failed = [(TaskId(9), Outcome::Exited(4)), (TaskId(11), Outcome::Lost("node\nx".into()))];
        let text = of(TaskId(7), &ended, &failed);
        let expected = "\nArray of 100 tasks: 50 ended, 27 succeeded, 23 did not.\n  \
                        Task 9: ended with exit code 4\n  Task 11: lost: node x\n  … and 21 more\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(!text.contains("Exit code"), "{text}");
        let begun = Mail { moment: "start".into(), primary: "running".into(), ..ended };
        assert!(of(TaskId(7), &begun, &[]).ends_with("\nArray of 100 tasks.\n"));
    }

    #[test]
    fn spans_for_people() {
        for (millis, expected) in [
            (0, "0.0 s"),
            (1_550, "1.5 s"),
            (59_999, "59 s"),
            (61_000, "1 min 1 s"),
            (7_260_000, "2 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(millis), expected);
        }
    }
}
