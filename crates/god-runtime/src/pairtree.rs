//! Where an id lives on disk: the "pairtree" that users' paths and existing tools rely on.
//! Pure text; no file is touched.

use std::fmt::Write as _;
use std::path::PathBuf;

/// The directory below `pairtree_root` of an object with this id, one component for each two
/// characters of the encoded id.
///
/// The directories of `12`, `123` and `1234` lie inside each other: never remove an object's
/// directory as a whole, only what is known to be its own.
pub fn pairs(id: &str) -> PathBuf {
    let encoded: Vec<char> = encode(id).chars().collect();
    encoded.chunks(2).map(|pair| pair.iter().collect::<String>()).collect()
}

/// The pairs of a task's id.
pub fn task_pairs(task: u64) -> PathBuf {
    pairs(&task.to_string())
}

/// The id under which the uploaded files of a user are stored.
pub fn user_object(login: &str) -> String {
    format!("user_{login}")
}

/// Replaces the characters that cannot stand in a path component.
fn encode(id: &str) -> String {
    let mut out = String::with_capacity(id.len());
    for c in id.chars() {
        match c {
            '"' | '*' | '+' | ',' | '<' | '=' | '>' | '?' | '\\' | '^' | '|' => escape(&mut out, c),
            '/' => out.push('='),
            ':' => out.push('+'),
            '.' => out.push(','),
            '\x21'..='\x7e' => out.push(c),
            _ => escape(&mut out, c),
        }
    }
    out
}

fn escape(out: &mut String, c: char) {
    write!(out, "^{:02x}", u32::from(c)).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, expected: &str) {
        assert_eq!(pairs(id), PathBuf::from(expected), "{id:?}");
    }

    #[test]
    fn table_of_the_specification() {
        check("7", "7");
        check("60", "60");
        check("123", "12/3");
        check("1234", "12/34");
        check(&user_object("bob"), "us/er/_b/ob");
        assert_eq!(task_pairs(123), PathBuf::from("12/3"));
    }

    #[test]
    fn odd_characters_are_encoded() {
        check("a/b", "a=/b");
        check("a:b", "a+/b");
        check("a.b", "a,/b");
        check("..", ",,");
        check("../..", ",,/=,/,");
        check("a b", "a^/20/b");
        check("a+b", "a^/2b/b");
        check("a\tb", "a^/09/b");
        check("jürg", "j^/fc/rg");
        check("\u{1f600}", "^1/f6/00");
        check("a\x7f", "a^/7f");
    }

    #[test]
    fn no_id_leaves_its_root() {
        for id in ["..", "/", "./", "/etc/passwd", "a/../../b", "\0", "~", "-", "x\n"] {
            for part in pairs(id).components() {
                let part = part.as_os_str().to_str().unwrap();
                assert!(part != ".." && part != "." && !part.contains('/') && !part.contains('\0'), "{id:?}");
                assert!(part.chars().count() <= 2, "{id:?} gives {part:?}");
            }
            assert!(pairs(id).is_relative());
        }
    }
}
