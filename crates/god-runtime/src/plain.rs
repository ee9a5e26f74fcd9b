//! Writing small files into directories a job can write: whatever it put in their place is neither
//! followed, nor waited for, nor written through.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::handle;

/// Writes a file whole: makes it, or empties the regular file that is there. For a process that
/// has (for files) the rights of the directory's owner.
///
/// # Errors
/// `InvalidInput` when something else than a regular file is in its place, else those of the
/// system. Never blocks on a pipe.
pub fn write_plain_file(dir: impl AsFd, name: &str, text: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = open_new(dir.as_fd(), name, flags, Mode::from_raw_mode(0o640)).map_err(plain_words)?;
    let stat = rustix::fs::fstat(&file)?;
    if !handle::is_regular(&stat) {
        return Err(plain_words(Errno::NXIO));
    }
    // Some file systems write a file that was emptied out at once; a new one needs no emptying.
    if stat.st_size > 0 {
        file.set_len(0)?;
    }
    (&file).write_all(text)
}

/// Writes a file beside and moves it into place, so that readers see all of it or nothing.
///
/// # Errors
/// Those of the system; the old content is then unchanged.
pub fn replace_file(dir: impl AsFd, name: &str, text: &[u8]) -> io::Result<()> {
    let dir = dir.as_fd();
    let draft = format!(".{name}.new");
    match rustix::fs::unlinkat(dir, draft.as_str(), rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(err) => return Err(err.into()),
    }
    let mut file =
        open_new(dir, &draft, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o640))?;
    file.write_all(text)?;
    Ok(rustix::fs::renameat(dir, draft.as_str(), dir, name)?)
}

fn open_new(dir: BorrowedFd<'_>, name: &str, flags: OFlags, mode: Mode) -> Result<File, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(dir, name, flags, mode, resolve) {
        // Engines with an old system call filter do not let openat2 through.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(dir, name, flags, mode),
        other => other,
    }
    .map(File::from)
}

fn plain_words(err: Errno) -> io::Error {
    match err {
        Errno::NXIO | Errno::LOOP | Errno::ISDIR | Errno::XDEV => {
            io::Error::new(io::ErrorKind::InvalidInput, "something else than a regular file is in its place")
        }
        err => err.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn check(spoil: impl FnOnce(&std::path::Path)) {
        let keep = tempfile::tempdir().unwrap();
        std::fs::write(keep.path().join("victim"), "precious").unwrap();
        let dir = keep.path().join("job");
        std::fs::create_dir(&dir).unwrap();
        spoil(&dir.join("god.info"));
        let handle = handle::open_dir(&dir).unwrap();
        let err = write_plain_file(&handle, "god.info", b"1\n2\n").unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::InvalidInput, "{err}");
        assert_eq!(std::fs::read_to_string(keep.path().join("victim")).unwrap(), "precious");
    }

    #[test]
    fn nothing_hostile_is_written_through() {
        check(|path| symlink("../victim", path).unwrap());
        check(|path| symlink("../nowhere", path).unwrap());
        check(|path| std::fs::create_dir(path).unwrap());
        check(|path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success()));
    }

    #[test]
    fn plain_files_are_replaced() {
        let keep = tempfile::tempdir().unwrap();
        let handle = handle::open_dir(keep.path()).unwrap();
        for text in ["long first text", "short"] {
            write_plain_file(&handle, "a", text.as_bytes()).unwrap();
            replace_file(&handle, "b", text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(keep.path().join("a")).unwrap(), text);
            assert_eq!(std::fs::read_to_string(keep.path().join("b")).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(keep.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_draft_in_the_way_is_replaced_not_followed() {
        let keep = tempfile::tempdir().unwrap();
        std::fs::write(keep.path().join("victim"), "precious").unwrap();
        symlink("victim", keep.path().join(".exit.json.new")).unwrap();
        let handle = handle::open_dir(keep.path()).unwrap();
        replace_file(&handle, "exit.json", b"{}").unwrap();
        assert_eq!(std::fs::read_to_string(keep.path().join("victim")).unwrap(), "precious");
    }
}
