//! Opening things by directory handle, never by a path a job could bend.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};

/// Opens a directory by a path whose parents only the daemon can change; the last component must
/// not be a link.
pub(crate) fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Opens what lies beneath a directory: no link is followed, no file system boundary is crossed,
/// and nothing above the directory is reachable. Never blocks on a FIFO.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    relative: &Path,
    flags: OFlags,
) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    loop {
        match rustix::fs::openat2(root, relative, flags, Mode::empty(), resolve) {
            // The kernel could not prove the walk safe while something was renamed: walk again.
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens a directory that is a direct child.
pub(crate) fn open_child_dir(parent: impl AsFd, name: &str) -> Result<OwnedFd, rustix::io::Errno> {
    open_beneath(parent.as_fd(), Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY)
}

pub(crate) fn is_regular(stat: &Stat) -> bool {
    kind(stat) == rustix::fs::FileType::RegularFile
}

pub(crate) fn is_dir(stat: &Stat) -> bool {
    kind(stat) == rustix::fs::FileType::Directory
}

pub(crate) fn kind(stat: &Stat) -> rustix::fs::FileType {
    rustix::fs::FileType::from_raw_mode(stat.st_mode)
}
