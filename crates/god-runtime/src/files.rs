//! Reading beneath a job's directory, which the job may fill with links, pipes and whatever else
//! it likes, also while we look. Only regular files are read; nothing is ever written here.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Instant;

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::handle;

/// Why a file of a job was not opened or listed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path is not one we would ever open.
    #[error("path {path:?} is refused: {why}")]
    BadPath {
        /// The path as asked.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nothing is there.
    #[error("there is no {path:?} in the job's directory")]
    NotFound {
        /// The path as asked.
        path: String,
    },
    /// A link, another file system, or somebody else's file.
    #[error("{path:?} is refused: {why}")]
    NotAllowed {
        /// The path as asked.
        path: String,
        /// What it is.
        why: &'static str,
    },
    /// It is there, and is neither a regular file nor, for a listing, a directory.
    #[error("{path:?} is not a {wanted}")]
    WrongKind {
        /// The path as asked.
        path: String,
        /// What was wanted.
        wanted: &'static str,
    },
    /// The system failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// The kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; never followed.
    Link,
    /// A pipe, socket or device.
    Other,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// Kind.
    pub kind: Kind,
    /// Size in bytes; 0 unless it is a regular file.
    pub size: u64,
    /// Last change of the content, seconds since 1970.
    pub modified: i64,
}

/// The entries of a directory, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<Entry>,
    /// False when there were more than asked for.
    pub complete: bool,
}

/// How far a walk may go.
#[derive(Debug, Clone, Copy)]
pub struct WalkLimits {
    /// Entries looked at, at most.
    pub entries: u64,
    /// Directories inside each other, at most 1000.
    pub depth: usize,
    /// Point in time at which the walk stops.
    pub until: Option<Instant>,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self { entries: 1_000_000, depth: 128, until: None }
    }
}

/// What a walk found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Allocated bytes (holes of sparse files do not count).
    pub bytes: u64,
    /// Entries seen.
    pub entries: u64,
    /// False when a limit was reached or a part could not be read: the true size is larger.
    pub complete: bool,
}

/// The directory of one job, held by handle.
#[derive(Debug)]
pub struct JobFiles {
    root: OwnedFd,
    path: PathBuf,
    owner: u32,
}

impl JobFiles {
    /// Opens a job's directory. Its parents must be writable by the daemon alone.
    ///
    /// # Errors
    /// `NotFound` when it does not exist, `NotAllowed` when the last component is a link, else `Io`.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let shown = || path.display().to_string();
        let root = handle::open_dir(path).map_err(|source| match Errno::from_io_error(&source) {
            Some(Errno::NOENT) => FileError::NotFound { path: shown() },
            Some(Errno::LOOP | Errno::NOTDIR) => {
                FileError::NotAllowed { path: shown(), why: "it is not a directory" }
            }
            _ => FileError::Io { what: "open", path: path.to_owned(), source },
        })?;
        let stat = rustix::fs::fstat(&root).map_err(|err| FileError::Io {
            what: "look at",
            path: path.to_owned(),
            source: err.into(),
        })?;
        Ok(Self { root, path: path.to_owned(), owner: stat.st_uid })
    }

    /// Opens a regular file for reading. Reading it never blocks.
    ///
    /// # Errors
    /// `BadPath` for absolute paths, `..` and NUL; `NotAllowed` when a link or a mount point is in
    /// the way, or the file is a further name of somebody else's file; `WrongKind` for anything but
    /// a regular file.
    pub fn open_file(&self, relative: &str) -> Result<File, FileError> {
        let file = self.open_checked(relative, OFlags::RDONLY)?;
        let stat = rustix::fs::fstat(&file).map_err(|err| self.io("look at", relative, err))?;
        if !handle::is_regular(&stat) {
            return Err(FileError::WrongKind { path: relative.to_owned(), wanted: "regular file" });
        }
        // A second name for a file of another user, made where the kernel does not protect links.
        if stat.st_nlink > 1 && stat.st_uid != self.owner {
            return Err(FileError::NotAllowed {
                path: relative.to_owned(),
                why: "it is a link to a file of somebody else",
            });
        }
        Ok(File::from(file))
    }

    /// Lists a directory (`""` is the job's own), at most `limit` entries.
    ///
    /// # Errors
    /// As [`Self::open_file`], with `WrongKind` for anything but a directory.
    pub fn list(&self, relative: &str, limit: usize) -> Result<Listing, FileError> {
        let relative = if relative.is_empty() { "." } else { relative };
        let dir = self.open_checked(relative, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut listing = Listing { entries: Vec::new(), complete: true };
        let reader = rustix::fs::Dir::read_from(&dir).map_err(|err| self.io("read", relative, err))?;
        for entry in reader {
            let entry = entry.map_err(|err| self.io("read", relative, err))?;
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            if listing.entries.len() == limit {
                listing.complete = false;
                break;
            }
            // Gone between the two calls: not worth a word.
            let Ok(stat) = rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let kind = match handle::kind(&stat) {
                FileType::RegularFile => Kind::File,
                FileType::Directory => Kind::Directory,
                FileType::Symlink => Kind::Link,
                _ => Kind::Other,
            };
            listing.entries.push(Entry {
                name: name.to_string_lossy().into_owned(),
                kind,
                size: if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 },
                modified: stat.st_mtime,
            });
        }
        listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// Adds up what the directory occupies. Never fails: what cannot be read makes the answer
    /// incomplete.
    pub fn usage(&self, limits: WalkLimits) -> Usage {
        let mut usage = Usage { complete: true, ..Usage::default() };
        let mut open = Vec::new();
        match rustix::fs::Dir::read_from(&self.root) {
            Ok(dir) => open.push(dir),
            Err(_) => usage.complete = false,
        }
        while let Some(dir) = open.last_mut() {
            let Some(entry) = dir.read() else {
                open.pop();
                continue;
            };
            let Ok(entry) = entry else {
                usage.complete = false;
                open.pop();
                continue;
            };
            let name = entry.file_name().to_owned();
            if name.as_bytes() == b"." || name.as_bytes() == b".." {
                continue;
            }
            let late = usage.entries.is_multiple_of(256)
                && limits.until.is_some_and(|until| Instant::now() >= until);
            if usage.entries >= limits.entries || late {
                usage.complete = false;
                break;
            }
            usage.entries += 1;
            let Ok(parent) = dir.fd() else {
                usage.complete = false;
                continue;
            };
            let Ok(stat) = rustix::fs::statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            usage.bytes =
                usage.bytes.saturating_add(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512));
            if !handle::is_dir(&stat) {
                continue;
            }
            let child = if open.len() > limits.depth.min(1000) {
                None
            } else {
                let parent = open.last().and_then(|dir| dir.fd().ok());
                parent.and_then(|parent| {
                    let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.as_bytes());
                    handle::open_beneath(parent, Path::new(path), OFlags::RDONLY | OFlags::DIRECTORY).ok()
                })
            };
            match child.map(rustix::fs::Dir::new) {
                Some(Ok(child)) => open.push(child),
                _ => usage.complete = false,
            }
        }
        usage
    }

    fn open_checked(&self, relative: &str, flags: OFlags) -> Result<OwnedFd, FileError> {
        check_path(relative)?;
        let path = relative.to_owned();
        handle::open_beneath(self.root.as_fd(), Path::new(relative), flags).map_err(|err| match err {
            Errno::NOENT => FileError::NotFound { path },
            Errno::LOOP => FileError::NotAllowed { path, why: "a symbolic link is in the way" },
            Errno::XDEV => {
                FileError::NotAllowed { path, why: "it leaves the job's directory or its file system" }
            }
            // A socket, or a device without a driver.
            Errno::NXIO | Errno::NODEV => FileError::WrongKind { path, wanted: "regular file" },
            Errno::NOTDIR => FileError::WrongKind { path, wanted: "directory" },
            Errno::NAMETOOLONG => FileError::BadPath { path, why: "it is too long" },
            err => self.io("open", relative, err),
        })
    }

    fn io(&self, what: &'static str, relative: &str, err: Errno) -> FileError {
        FileError::Io { what, path: self.path.join(relative), source: err.into() }
    }
}

/// Refuses what no caller may mean. The kernel refuses it a second time while it walks.
fn check_path(relative: &str) -> Result<(), FileError> {
    let bad = |why| Err(FileError::BadPath { path: relative.to_owned(), why });
    if relative.is_empty() {
        return bad("it is empty");
    }
    if relative.contains('\0') {
        return bad("it holds a NUL byte");
    }
    for component in Path::new(relative).components() {
        match component {
            Component::RootDir | Component::Prefix(_) => return bad("it is absolute"),
            Component::ParentDir => return bad("it holds '..'"),
            Component::CurDir | Component::Normal(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    fn job() -> (tempfile::TempDir, JobFiles) {
        let outer = tempfile::tempdir().unwrap();
        std::fs::write(outer.path().join("secret"), "secret").unwrap();
        let dir = outer.path().join("task");
        std::fs::create_dir_all(dir.join("sub/deeper")).unwrap();
        std::fs::write(dir.join("god.log"), "hello").unwrap();
        std::fs::write(dir.join("%2e%2e"), "literal").unwrap();
        std::fs::write(dir.join("sub/data"), vec![1; 100_000]).unwrap();
        symlink("../secret", dir.join("link")).unwrap();
        symlink("..", dir.join("up")).unwrap();
        symlink("/etc", dir.join("sub/etc")).unwrap();
        symlink("nowhere", dir.join("dangling")).unwrap();
        symlink("god.log", dir.join("harmless")).unwrap();
        assert!(Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap().success());
        let files = JobFiles::open(&dir).unwrap();
        (outer, files)
    }

    #[test]
    fn regular_files_are_read() {
        let (_keep, files) = job();
        for (path, content) in
            [("god.log", "hello"), ("./god.log", "hello"), ("sub//../x", ""), ("%2e%2e", "literal")]
        {
            let mut text = String::new();
            match files.open_file(path) {
                Ok(mut file) => {
                    file.read_to_string(&mut text).unwrap();
                    assert_eq!(text, content, "{path}");
                }
                Err(FileError::BadPath { .. }) => assert_eq!(path, "sub//../x"),
                Err(err) => panic!("{path}: {err}"),
            }
        }
    }

    #[test]
    fn nothing_outside_is_reachable() {
        let (_keep, files) = job();
        let mut corpus: Vec<String> = Vec::new();
        for way in
            ["..", "../", "./..", "sub/..", "sub/../..", "/", "//", "up", "up/.", "sub/etc", "sub/../up"]
        {
            for target in
                ["", "secret", "/secret", "../secret", "passwd", "/etc/passwd", "../../../../etc/passwd"]
            {
                corpus.push(format!("{way}/{target}"));
                corpus.push(format!("{way}{target}"));
            }
        }
        corpus.extend(
            [
                "link",
                "harmless",
                "dangling",
                "fifo",
                "sub",
                "",
                ".",
                "god.log\0",
                "a\0/../..",
                "god.log/",
                "god.log/x",
            ]
            .map(String::from),
        );
        corpus.extend(
            ["%2e%2e/secret", "%2e%2e%2fsecret", "..%2fsecret", "..;/secret", "..\\secret"].map(String::from),
        );
        corpus.push(format!("{}secret", "../".repeat(3000)));
        corpus.push("x/".repeat(3000));
        for path in &corpus {
            assert!(files.open_file(path).is_err(), "{path:?} was opened");
        }
        assert!(corpus.len() > 150);
    }

    #[test]
    fn refusals_say_why() {
        let (_keep, files) = job();
        assert!(matches!(files.open_file("link"), Err(FileError::NotAllowed { .. })));
        assert!(matches!(files.open_file("up/secret"), Err(FileError::NotAllowed { .. })));
        assert!(matches!(files.open_file("../secret"), Err(FileError::BadPath { .. })));
        assert!(matches!(files.open_file("fifo"), Err(FileError::WrongKind { .. })));
        assert!(matches!(files.open_file("sub"), Err(FileError::WrongKind { .. })));
        assert!(matches!(files.open_file("missing"), Err(FileError::NotFound { .. })));
        assert!(matches!(files.list("god.log", 9), Err(FileError::WrongKind { .. })));
        assert!(matches!(files.list("up", 9), Err(FileError::WrongKind { .. })));
    }

    #[test]
    fn a_link_in_place_of_the_directory_is_refused() {
        let (keep, _files) = job();
        symlink("task", keep.path().join("other")).unwrap();
        assert!(matches!(JobFiles::open(&keep.path().join("other")), Err(FileError::NotAllowed { .. })));
        assert!(matches!(JobFiles::open(&keep.path().join("none")), Err(FileError::NotFound { .. })));
    }

    #[test]
    fn listing_names_kinds_and_sizes() {
        let (_keep, files) = job();
        let listing = files.list("", 100).unwrap();
        assert!(listing.complete);
        let find = |name: &str| listing.entries.iter().find(|e| e.name == name).unwrap();
        assert_eq!((find("god.log").kind, find("god.log").size), (Kind::File, 5));
        assert_eq!(find("sub").kind, Kind::Directory);
        assert_eq!(find("link").kind, Kind::Link);
        assert_eq!(find("fifo").kind, Kind::Other);
        let cut = files.list("", 2).unwrap();
        assert_eq!((cut.entries.len(), cut.complete), (2, false));
        assert_eq!(files.list("sub", 100).unwrap().entries.len(), 3);
    }

    #[test]
    fn usage_counts_blocks_and_stops_at_limits() {
        let (keep, files) = job();
        let all = files.usage(WalkLimits::default());
        assert!(all.complete);
        assert_eq!(all.entries, 11);
        assert!((100_000..1_000_000).contains(&all.bytes), "{all:?}");
        let few = files.usage(WalkLimits { entries: 3, ..WalkLimits::default() });
        assert_eq!((few.entries, few.complete), (3, false));
        let late = files.usage(WalkLimits { until: Some(Instant::now()), ..WalkLimits::default() });
        assert!(!late.complete);
        let mut deep = keep.path().join("task");
        for _ in 0..20 {
            deep.push("d");
            std::fs::create_dir(&deep).unwrap();
        }
        assert!(!files.usage(WalkLimits { depth: 5, ..WalkLimits::default() }).complete);
        let sparse = std::fs::File::create(keep.path().join("task/sparse")).unwrap();
        sparse.set_len(1 << 40).unwrap();
        assert!(files.usage(WalkLimits::default()).bytes < 1 << 30);
    }
}
