//! Asks on the terminal: for a secret without showing it, and whether something is meant.

use crate::failure::{Failure, warn};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

/// Most characters of a secret.
const MOST: usize = 4096;

/// Gives the terminal its modes back.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if let Err(err) = tcsetattr(self.terminal, OptionalActions::Flush, &self.before) {
            warn(&format!("the terminal stays quiet ({err}); `stty sane` mends it"));
        }
    }
}

/// The line typed, without its end.
///
/// # Errors
/// [`Failure::Usage`] when there is no terminal, [`Failure::Interrupted`] after Ctrl-C.
pub fn secret(question: &str) -> Result<String, Failure> {
    let failed = |source: io::Error| Failure::File { doing: "cannot use", path: "/dev/tty".into(), source };
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        Failure::Usage(
            "no terminal to ask for the API key: give it on standard input with --apikey-stdin, or in \
             GODOCKER_APIKEY"
                .to_owned(),
        )
    })?;
    (&terminal).write_all(question.as_bytes()).map_err(failed)?;
    let before = tcgetattr(&terminal).map_err(|err| failed(err.into()))?;
    let mut modes = before.clone();
    // Without signals, so that Ctrl-C can not end us while nothing is shown; without lines, so that it is seen at once.
    modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    modes.special_codes[SpecialCodeIndex::VMIN] = 1;
    modes.special_codes[SpecialCodeIndex::VTIME] = 0;
    let quiet = Quiet { terminal: &terminal, before };
    tcsetattr(&terminal, OptionalActions::Flush, &modes).map_err(|err| failed(err.into()))?;
    let typed = read_line(&terminal).map_err(failed);
    drop(quiet);
    (&terminal).write_all(b"\n").map_err(failed)?;
    typed?.ok_or_else(|| Failure::Interrupted("nothing was saved".to_owned()))
}

/// Goes on when the answer is yes, or when it was given on the command line.
///
/// # Errors
/// [`Failure::Usage`] for any other answer, and when there is no terminal to ask on.
pub fn sure(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let failed = |source: io::Error| Failure::File { doing: "cannot use", path: "/dev/tty".into(), source };
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_| {
        Failure::Usage("this cannot be undone, and there is no terminal to ask on: add --yes".to_owned())
    })?;
    (&terminal).write_all(format!("{} [y/N] ", crate::text::line(question)).as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    io::BufRead::read_line(&mut io::BufReader::new(&terminal), &mut answer).map_err(failed)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Usage("nothing was done".to_owned())),
    }
}

/// `None` after Ctrl-C.
fn read_line(mut from: impl io::Read) -> io::Result<Option<String>> {
    let mut typed = Vec::new();
    let mut byte = [0];
    // One at a time: what is typed behind the end of the line is not for us.
    while from.read(&mut byte)? > 0 {
        match byte[0] {
            b'\r' | b'\n' | 4 => break,
            3 => return Ok(None),
            8 | 127 => {
                typed.pop();
            }
            byte if typed.len() < MOST => typed.push(byte),
            _ => {}
        }
    }
    Ok(Some(String::from_utf8_lossy(&typed).trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editing_and_ends() {
        let read = |typed: &[u8]| read_line(typed).expect("memory can be read");
        assert_eq!(read(b"abc\rrest").as_deref(), Some("abc"));
        assert_eq!(read(b"abx\x7fc\n").as_deref(), Some("abc"));
        assert_eq!(read(b"\x08\x08abc\x04").as_deref(), Some("abc"));
        assert_eq!(read(b" abc ").as_deref(), Some("abc"));
        assert_eq!(read(b"abc\x03").as_deref(), None);
    }
}
