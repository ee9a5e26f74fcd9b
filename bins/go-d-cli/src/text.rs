//! Text of others made safe to show: a job's name, a reason, a file name, a log may hold anything, and a terminal obeys
//! what it is shown. Nothing here is applied to what goes into a pipe or a file as it stands.

/// Where the reader of escape sequences is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    /// After ESC.
    Escape,
    /// In a control sequence: parameters until a final byte.
    Control,
    /// In a string for the terminal (a title, a colour table) until BEL or the string terminator.
    Words,
}

/// Takes a text apart: what is shown, and what the terminal would obey.
#[derive(Debug, Clone)]
struct Sieve {
    place: Place,
}

impl Sieve {
    fn new() -> Sieve {
        Sieve { place: Place::Text }
    }

    /// Whether this character is text. Control characters that are no part of a sequence count as text here.
    fn is_text(&mut self, c: char) -> bool {
        let (next, text) = match (self.place, c) {
            // A line end closes whatever was open: an unfinished sequence must not hide the rest of a log.
            (_, '\n') => (Place::Text, true),
            // Inside a string for the terminal as well: there it begins the terminator, or whatever else ends it.
            (_, '\u{1b}') => (Place::Escape, false),
            // Cancel and substitute end a sequence in every terminal.
            (Place::Escape | Place::Control | Place::Words, '\u{18}' | '\u{1a}') => (Place::Text, false),
            (Place::Text, '\u{9b}') => (Place::Control, false),
            (Place::Text, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => (Place::Words, false),
            (Place::Text, _) => (Place::Text, true),
            (Place::Escape, '[') => (Place::Control, false),
            (Place::Escape, ']' | 'P' | 'X' | '^' | '_') => (Place::Words, false),
            // Intermediates: more is to come, such as the letter that names a character set.
            (Place::Escape, ' '..='/') => (Place::Escape, false),
            (Place::Escape, _) => (Place::Text, false),
            (Place::Control, '@'..='~') => (Place::Text, false),
            (Place::Control, ' '..='?') => (Place::Control, false),
            // Not a sequence after all; what follows is text.
            (Place::Control, _) => (Place::Text, true),
            (Place::Words, '\u{7}' | '\u{9c}') => (Place::Text, false),
            (Place::Words, _) => (Place::Words, false),
        };
        self.place = next;
        text
    }
}

/// Characters that reorder or hide what stands around them.
fn is_deceiving(c: char) -> bool {
    matches!(c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'
        | '\u{2066}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a terminal shows this character and does nothing else.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !is_deceiving(c)
}

/// One line without anything a terminal would obey: escape sequences, control characters and characters that turn the
/// direction of writing are gone; line ends and tabs become blanks.
pub fn line(text: &str) -> String {
    let mut sieve = Sieve::new();
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if !sieve.is_text(c) {
            continue;
        }
        match c {
            '\n' | '\t' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => shown.push(' '),
            c if is_plain(c) => shown.push(c),
            _ => {}
        }
    }
    shown
}

/// As [`line`], cut to `most` characters with a mark where something is missing.
pub fn short(text: &str, most: usize) -> String {
    let text = line(text);
    match text.char_indices().nth(most) {
        None => text,
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// A log on its way to a terminal, in pieces as they come. Line ends, tabs and carriage returns stay, for logs with
/// progress bars are to be read too.
#[derive(Debug)]
pub struct LogFilter {
    sieve: Sieve,
    /// Bytes of a character that is not complete yet, at most three.
    open: Vec<u8>,
}

impl LogFilter {
    /// At the begin of a log.
    pub fn new() -> LogFilter {
        LogFilter { sieve: Sieve::new(), open: Vec::new() }
    }

    /// The part of these bytes that may be shown.
    pub fn pass(&mut self, bytes: &[u8]) -> String {
        let mut bytes = [std::mem::take(&mut self.open).as_slice(), bytes].concat();
        self.open = bytes.split_off(complete(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            let keep = matches!(c, '\n' | '\t' | '\r') || is_plain(c);
            if self.sieve.is_text(c) && keep {
                shown.push(c);
            }
        }
        shown
    }
}

/// Length of the bytes without a character at their end that has begun and is not complete.
fn complete(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let length = match bytes[at] {
            0x80..0xc0 => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > back { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_nothing_a_terminal_obeys() {
        for (text, want) in [
            ("plain é 日本 👍", "plain é 日本 👍"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b]0;owned\x07title", "title"),
            ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bPq#0\x1b\\six", "six"),
            ("\u{9b}2Jclear\u{9d}0;t\u{9c}ed", "cleared"),
            ("a\rb\nc\td", "a b c d"),
            ("bell\x07back\x08null\0del\x7f", "bellbacknulldel"),
            ("evil\u{202e}txt.exe\u{2066}x\u{2069}", "eviltxt.exex"),
            ("\x1b(Bset\x1bcreset", "setreset"),
            ("\x1b[31", ""),
            ("open \x1b]0;never\nnext", "open  next"),
            ("\x1b[3\u{18}1m", "1m"),
            ("zero\u{200b}width\u{feff}", "zerowidth"),
        ] {
            assert_eq!(line(text), want, "{text:?}");
        }
    }

    #[test]
    fn every_single_character_that_controls_is_gone() {
        for c in (0..0x20u32).chain(0x7f..0xa0).filter_map(char::from_u32) {
            let shown = line(&format!("a{c}"));
            assert!(shown.chars().all(|c| !c.is_control()), "{c:?} gave {shown:?}");
            assert!(shown.starts_with('a'));
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(short("ééééé", 3), "ééé…");
        assert_eq!(short("abc", 3), "abc");
    }

    #[test]
    fn logs_come_out_the_same_however_they_are_cut() {
        let log = "10%\r20%\r\x1b[1;32m日本\x1b[0m\tok\x07\n\x1b]0;t\x07é\u{9b}5mx\n".as_bytes();
        let whole = LogFilter::new().pass(log);
        assert_eq!(whole, "10%\r20%\r日本\tok\néx\n");
        for size in 1..log.len() {
            let mut filter = LogFilter::new();
            let pieces: String = log.chunks(size).map(|piece| filter.pass(piece)).collect();
            assert_eq!(pieces, whole, "in pieces of {size}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_a_log() {
        let mut filter = LogFilter::new();
        assert_eq!(filter.pass(b"a\xff\x9b31mb\n"), "a\u{fffd}\u{fffd}31mb\n");
        assert_eq!(filter.pass(b"\xe6\x97"), "");
        assert_eq!(filter.pass(b"\xa5\n"), "日\n");
    }
}
