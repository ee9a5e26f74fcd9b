//! What goes to standard output: tables for people, columns for scripts, the server's own JSON for programs.

use crate::args::{Format, Globals};
use crate::failure::Failure;
use crate::text;
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};

/// How this command prints.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// The format in force.
    pub format: Format,
    /// Ids only, or nothing.
    pub quiet: bool,
    /// Columns of the terminal.
    width: Option<u16>,
}

/// One field: how people and how scripts read it. Both are made safe when they are printed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    /// For a table.
    pub shown: String,
    /// For plain columns.
    pub plain: String,
}

impl Cell {
    /// The same for both.
    pub fn same(text: impl Into<String>) -> Cell {
        let shown: String = text.into();
        Cell { plain: shown.clone(), shown }
    }

    /// Each its own.
    pub fn each(shown: impl Into<String>, plain: impl Into<String>) -> Cell {
        Cell { shown: shown.into(), plain: plain.into() }
    }
}

/// A heading, and whether tables have room for its column.
#[derive(Debug, Clone)]
pub struct Column(pub Cow<'static, str>, pub bool);

impl Column {
    /// A column that tables show.
    pub fn shown(heading: &'static str) -> Column {
        Column(Cow::Borrowed(heading), true)
    }
}

impl Printer {
    /// For the options given and the standard output we have.
    pub fn new(globals: &Globals) -> Printer {
        let terminal = io::stdout().is_terminal();
        let format = globals.output.unwrap_or(if terminal { Format::Table } else { Format::Plain });
        let size = terminal.then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten();
        let width = size.map(|size| size.ws_col).filter(|columns| *columns > 0);
        Printer { format, quiet: globals.quiet, width }
    }

    /// Tables whatever standard output is, as the older client printed them.
    pub fn table() -> Printer {
        Printer { format: Format::Table, quiet: false, width: None }
    }

    /// Says nothing.
    pub fn silent() -> Printer {
        Printer { quiet: true, ..Printer::table() }
    }

    /// Whether a program reads it.
    pub fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person reads it.
    pub fn is_table(self) -> bool {
        self.format == Format::Table
    }

    /// Prints a whole value for a program, or its name alone; `false` when it is to be shown to a person or a script.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn one(self, value: &Value, name: &str) -> Result<bool, Failure> {
        if self.is_json() {
            self.json(value)?;
        } else if self.quiet {
            self.line(&text::line(&crate::task::scalar(&value[name])))?;
        }
        Ok(self.is_json() || self.quiet)
    }

    /// One line as it stands; ours, with nothing of the server's in it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn line(&self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(io::stdout().lock(), "{line}")?)
    }

    /// A JSON value, indented.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn json(&self, value: &Value) -> Result<(), Failure> {
        self.line(&json_text(value))
    }

    /// Rows under headings. A table leaves out the columns it has no room for; plain columns are always all there.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn rows(&self, columns: &[Column], rows: &[Vec<Cell>]) -> Result<(), Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.format == Format::Table {
            writeln!(out, "{}", table(columns, rows, self.width))?;
        } else {
            for row in rows {
                writeln!(out, "{}", plain_line(row.iter().map(|cell| cell.plain.as_str())))?;
            }
        }
        Ok(out.flush()?)
    }

    /// Names and values, one pair in a line.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn pairs(&self, pairs: &[(&str, Cell)]) -> Result<(), Failure> {
        let rows: Vec<Vec<Cell>> =
            pairs.iter().map(|(name, cell)| vec![Cell::same(*name), cell.clone()]).collect();
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.format == Format::Table {
            writeln!(out, "{}", table(&[], &rows, self.width))?;
        } else {
            for row in &rows {
                writeln!(out, "{}", plain_line(row.iter().map(|cell| cell.plain.as_str())))?;
            }
        }
        Ok(out.flush()?)
    }
}

/// Indented JSON whose texts hold no character that a terminal obeys: those stand as their escapes, which read the same.
pub fn json_text(value: &Value) -> String {
    let json = serde_json::to_string_pretty(value).expect("a JSON value with text keys can be written");
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        if text::is_plain(c) || c == '\n' {
            safe.push(c);
        } else {
            let mut units = [0; 2];
            safe.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    safe
}

/// Fields with one tab between two; an empty one is a dash, so that every line has the same number of fields.
fn plain_line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.map(text::line).collect();
    let fields = fields.iter().map(|field| if field.is_empty() { "-" } else { field.as_str() });
    fields.collect::<Vec<_>>().join("\t")
}

fn table(columns: &[Column], rows: &[Vec<Cell>], width: Option<u16>) -> String {
    let fits = |at: usize| columns.get(at).is_none_or(|Column(_, fits)| *fits);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let headings: Vec<&str> =
        columns.iter().filter(|column| column.1).map(|column| column.0.as_ref()).collect();
    if !headings.is_empty() {
        table.set_header(headings);
    }
    for row in rows {
        let cells = row.iter().enumerate().filter(|(at, _)| fits(*at));
        table.add_row(cells.map(|(_, cell)| text::line(&cell.shown)).collect::<Vec<_>>());
    }
    // No blank in front of each line, and none behind it.
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 2));
    });
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EVIL: &str = "a\x1b[31mb\r\nc\x07\u{202e}d\te";

    #[test]
    fn tables_are_aligned_and_safe() {
        let columns = [Column::shown("ID"), Column("HIDDEN".into(), false), Column::shown("NAME")];
        let row = |id: &str, name: &str| vec![Cell::same(id), Cell::same("no"), Cell::same(name)];
        let got = table(&columns, &[row("7", EVIL), row("1234", "日本 x")], None);
        assert_eq!(got, "ID    NAME\n7     ab  cd e\n1234  日本 x");
    }

    #[test]
    fn narrow_terminals_wrap_and_lose_nothing() {
        let name = "word ".repeat(20);
        let got = table(&[Column::shown("NAME")], &[vec![Cell::same(name.as_str())]], Some(30));
        assert!(got.lines().all(|line| line.len() <= 30), "{got}");
        assert_eq!(got.matches("word").count(), 20, "{got}");
    }

    #[test]
    fn plain_columns_keep_their_number() {
        assert_eq!(plain_line(["7", "", EVIL].into_iter()), "7\t-\tab  cd e");
    }

    #[test]
    fn json_keeps_its_meaning_and_shows_no_control() {
        let value = json!({"name": format!("{EVIL}\u{9b}é\u{e0041}\u{7f}")});
        let text = json_text(&value);
        assert!(text.chars().all(|c| c == '\n' || text::is_plain(c)), "{text:?}");
        assert!(text.contains('é') && text.contains("\\udb40\\udc41"), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).expect("still JSON"), value);
    }
}
