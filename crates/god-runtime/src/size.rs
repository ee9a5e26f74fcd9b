//! How large a tree is whose content a job made: by handle, on one file system, following no link, and no longer than a
//! bound allows.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, OFlags};
use rustix::io::Errno;

use crate::handle;

/// Directories held open inside each other; what is deeper is not counted.
const MAX_DEPTH: usize = 100;
/// Files with several names that are told apart; beyond that each name counts.
const MAX_LINKED: usize = 100_000;

/// Bytes in the directory `top`, of at most `entries` entries. What vanishes meanwhile, or may not be
/// looked at, is left out; a file with several names counts once.
///
/// # Errors
/// The directory itself can not be read.
pub(crate) fn tree_size(top: OwnedFd, entries: u64) -> io::Result<u64> {
    let (mut bytes, mut left, mut linked) = (0u64, entries, HashSet::new());
    let device = rustix::fs::fstat(&top)?.st_dev;
    let mut open = vec![Dir::new(top)?];
    loop {
        let depth = open.len();
        let Some(dir) = open.last_mut() else { break };
        let Some(entry) = dir.read() else {
            open.pop();
            continue;
        };
        let Ok(entry) = entry else {
            open.pop();
            continue;
        };
        let name: CString = entry.file_name().to_owned();
        if name.as_bytes() == b"." || name.as_bytes() == b".." {
            continue;
        }
        if left == 0 {
            break;
        }
        left -= 1;
        let here = dir.fd()?;
        let Ok(stat) = rustix::fs::statat(here, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        if stat.st_dev != device {
            continue;
        }
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            if depth < MAX_DEPTH
                && let Ok(child) = enter(here, &name)
            {
                open.push(child);
            }
            continue;
        }
        let several = stat.st_nlink > 1 && linked.len() < MAX_LINKED;
        if several && !linked.insert(stat.st_ino) {
            continue;
        }
        bytes = bytes.saturating_add(occupied(&stat));
    }
    Ok(bytes)
}

fn enter(here: BorrowedFd<'_>, name: &CString) -> Result<Dir, Errno> {
    let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.as_bytes());
    Dir::new(handle::open_beneath(here, Path::new(path), OFlags::RDONLY | OFlags::DIRECTORY)?)
}

/// A file with holes counts what it occupies; one whose content needs no block of its own counts its length.
fn occupied(stat: &rustix::fs::Stat) -> u64 {
    let length = u64::try_from(stat.st_size).unwrap_or(0);
    let blocks = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    if blocks == 0 { length.min(4096) } else { length.min(blocks) }
}

/// As [`tree_size`], for a directory by its path; 0 when it does not exist.
pub(crate) fn size_at(path: &Path, entries: u64) -> io::Result<u64> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = match handle::open_dir(parent) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match handle::open_beneath(parent.as_fd(), Path::new(name), flags) {
        Err(Errno::NOENT) => Ok(0),
        Err(err) => Err(err.into()),
        Ok(top) => tree_size(top, entries),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{FileExt, symlink};

    use super::*;

    fn size(path: &Path) -> u64 {
        size_at(path, 1_000_000).unwrap()
    }

    #[test]
    fn what_is_below_counts_and_what_is_elsewhere_does_not() {
        let keep = tempfile::tempdir().unwrap();
        let tree = keep.path().join("tree");
        fs::create_dir_all(tree.join("a/b")).unwrap();
        fs::write(keep.path().join("large"), vec![1; 100_000]).unwrap();
        assert_eq!(size(&tree), 0);
        fs::write(tree.join("one"), vec![1; 10]).unwrap();
        fs::write(tree.join("a/b/two"), vec![1; 20_000]).unwrap();
        symlink(keep.path().join("large"), tree.join("link")).unwrap();
        symlink(keep.path(), tree.join("a/up")).unwrap();
        fs::hard_link(tree.join("a/b/two"), tree.join("a/again")).unwrap();
        let links = 2 * keep.path().as_os_str().len() as u64 + 6;
        let found = size(&tree);
        assert!((20_010..=20_010 + links).contains(&found), "{found}");
    }

    #[test]
    fn holes_are_free() {
        let keep = tempfile::tempdir().unwrap();
        let tree = keep.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let file = fs::File::create(tree.join("holes")).unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(b"x", 1 << 30).unwrap();
        file.sync_all().unwrap();
        assert!(size(&tree) < 1 << 20, "{}", size(&tree));
    }

    #[test]
    fn the_look_is_bounded_and_nothing_there_is_nothing() {
        let keep = tempfile::tempdir().unwrap();
        let tree = keep.path().join("tree");
        fs::create_dir(&tree).unwrap();
        for n in 0..50 {
            fs::write(tree.join(n.to_string()), "0123456789").unwrap();
        }
        assert_eq!(size(&tree), 500);
        assert_eq!(size_at(&tree, 7).unwrap(), 70);
        assert_eq!(size(&keep.path().join("none")), 0);
        assert_eq!(size(&keep.path().join("none/none")), 0);
        symlink(&tree, keep.path().join("link")).unwrap();
        assert!(size_at(&keep.path().join("link"), 9).is_err(), "a link is no directory");
    }
}
