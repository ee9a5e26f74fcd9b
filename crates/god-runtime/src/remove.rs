//! Removing a tree whose content a job made: by handle, on one file system, following no link,
//! however deep it is.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::handle;

/// Directories held open inside each other; deeper ones are moved up first.
const MAX_OPEN: usize = 100;
/// How often the tree is read again because somebody still writes into it.
const MAX_ROUNDS: usize = 50;
/// How often it is read again because it is deep: enough for a path of ten million components.
const MAX_DEEP_ROUNDS: usize = 100_000;

/// Removes `name` below `parent` with everything in it. `Ok` when it does not exist.
///
/// # Errors
/// `EXDEV` as soon as a mount point is met; what was removed before stays removed. `ENOTEMPTY` when
/// somebody keeps filling the tree.
pub(crate) fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let mut rounds = 0;
    for _ in 0..MAX_DEEP_ROUNDS {
        match remove_entry(parent, name)? {
            Entry::Gone => return Ok(()),
            Entry::Directory => {}
        }
        let top = match open_for_removal(parent, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if !empty(top)? {
            rounds += 1;
        }
        if rounds == MAX_ROUNDS {
            break;
        }
    }
    Err(Errno::NOTEMPTY.into())
}

enum Entry {
    Gone,
    /// A directory that is not empty, or could not be removed for another reason.
    Directory,
}

/// Removes a file, link, pipe or empty directory.
fn remove_entry(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<Entry> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(Entry::Gone),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(err) => return Err(err.into()),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(Entry::Gone),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(Entry::Directory),
        // A mount point: refused, never emptied.
        Err(Errno::BUSY) => Err(Errno::XDEV.into()),
        Err(err) => Err(err.into()),
    }
}

/// Opens a directory to empty it. Where we are its owner without rights on it, takes the rights.
fn open_for_removal(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name.to_bytes());
    let path = Path::new(path);
    let open = || handle::open_beneath(parent, path, OFlags::RDONLY | OFlags::DIRECTORY);
    let dir = match open() {
        Err(Errno::ACCESS) => {
            let shut = handle::open_beneath(parent, path, OFlags::PATH | OFlags::DIRECTORY)?;
            give_rights(&shut)?;
            open()?
        }
        other => other?,
    };
    if !rustix::process::geteuid().is_root() {
        give_rights(&dir)?;
    }
    Ok(dir)
}

fn give_rights(dir: &OwnedFd) -> Result<(), Errno> {
    use std::os::fd::AsRawFd;
    // An O_PATH descriptor takes no fchmod; its entry in /proc leads to the same inode.
    rustix::fs::chmod(format!("/proc/self/fd/{}", dir.as_raw_fd()), Mode::RWXU)
}

/// Empties a directory and all below it. Entries that appear meanwhile may stay. True when parts
/// were so deep that they were moved up and wait for the next call.
fn empty(top: OwnedFd) -> io::Result<bool> {
    let mut open: Vec<(Dir, Option<CString>)> = vec![(Dir::read_from(&top)?, None)];
    let mut moved = None;
    while let Some((dir, _)) = open.last_mut() {
        let Some(entry) = dir.read() else {
            let (_, name) = open.pop().expect("the loop's condition saw it");
            if let (Some((parent, _)), Some(name)) = (open.last(), name) {
                // Not empty means that somebody wrote into it: the caller's next round sees it.
                remove_entry(parent.fd()?, &name)?;
            }
            continue;
        };
        let name = entry?.file_name().to_owned();
        if name.as_bytes() == b"." || name.as_bytes() == b".." {
            continue;
        }
        let here = open.last().expect("the loop's condition saw it").0.fd()?;
        match remove_entry(here, &name)? {
            Entry::Gone => continue,
            Entry::Directory => {}
        }
        if open.len() >= MAX_OPEN {
            moved = Some(move_up(here, &name, top.as_fd(), moved.unwrap_or(0))?);
            continue;
        }
        match open_for_removal(here, &name) {
            Ok(child) => open.push((Dir::new(child)?, Some(name))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(moved.is_some())
}

/// Moves a directory up to the top of the tree under a new name, the first free one from `number`
/// on. Returns the number to go on with.
fn move_up(here: BorrowedFd<'_>, name: &CStr, top: BorrowedFd<'_>, number: u64) -> io::Result<u64> {
    for number in number.. {
        match rustix::fs::renameat(here, name, top, format!(".god-deep-{number}").as_str()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(number + 1),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            Err(err) => return Err(err.into()),
        }
    }
    Err(Errno::NOSPC.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn remove(dir: &Path, name: &str) -> io::Result<()> {
        let parent = handle::open_dir(dir)?;
        remove_tree(parent.as_fd(), &CString::new(name).unwrap())
    }

    #[test]
    fn links_lead_nowhere() {
        let keep = tempfile::tempdir().unwrap();
        let victim = keep.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::write(victim.join("precious"), "x").unwrap();
        let tree = keep.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        symlink(&victim, tree.join("link")).unwrap();
        symlink("../../victim", tree.join("a/link")).unwrap();
        std::fs::set_permissions(tree.join("a"), PermissionsExt::from_mode(0o000)).unwrap();
        remove(keep.path(), "tree").unwrap();
        assert!(!tree.exists());
        assert!(victim.join("precious").exists());
        symlink(&victim, &tree).unwrap();
        remove(keep.path(), "tree").unwrap();
        assert!(victim.join("precious").exists() && !tree.is_symlink());
        remove(keep.path(), "tree").unwrap();
    }

    #[test]
    fn depth_does_not_matter() {
        let keep = tempfile::tempdir().unwrap();
        std::fs::create_dir(keep.path().join("tree")).unwrap();
        let mut here = handle::open_dir(&keep.path().join("tree")).unwrap();
        for _ in 0..1500 {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = handle::open_child_dir(&here, "d").unwrap();
        }
        drop(here);
        remove(keep.path(), "tree").unwrap();
        assert!(!keep.path().join("tree").exists());
    }

    #[test]
    fn mount_points_are_refused() {
        let keep = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(keep.path().join("tree/mnt")).unwrap();
        let script = "mount -t tmpfs none \"$0/tree/mnt\" && touch \"$0/tree/mnt/kept\"";
        let ready = std::process::Command::new("sh").args(["-c", script]).arg(keep.path()).output().unwrap();
        if !ready.status.success() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "mounting is needed");
            println!("SKIP mounting a file system needs root");
            return;
        }
        let result = remove(keep.path(), "tree");
        let kept = keep.path().join("tree/mnt/kept").exists();
        assert!(
            std::process::Command::new("umount")
                .arg(keep.path().join("tree/mnt"))
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EXDEV));
        assert!(kept);
    }
}
