//! Whether a directory can hold the database: on a disk of this host, and writable.

use crate::open::OpenError;
use rustix::fs::{Access, FileType, Mode};
use std::io;
use std::path::{Path, PathBuf};

/// File systems that other hosts write to as well, by the number that `statfs` gives. SQLite's log lives in memory
/// that only processes of one host share, and the locks of some of these do not hold.
const NETWORK: [(u32, &str); 18] = [
    (0x0000_6969, "nfs"),
    (0x0000_517B, "smb"),
    (0xFE53_4D42, "smb2"),
    (0xFF53_4D42, "cifs"),
    (0x0BD0_0BD0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x0102_1997, "9p"),
    (0x00C3_6400, "ceph"),
    (0x5346_414F, "afs"),
    (0x6B41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0000_564C, "ncp"),
    (0x7461_636F, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0x1983_0326, "beegfs"),
    (0x1983_0810, "fhgfs"),
    (0xAAD7_AAEA, "panfs"),
    (0x2030_3528, "orangefs"),
];

const FUSE: u32 = 0x6573_5546;

/// What lies below FUSE is told by the name in the mount table; these keep their data on this host.
const LOCAL_FUSE: [&str; 7] = [
    "fuseblk",
    "fuse.ext4",
    "fuse.ntfs-3g",
    "fuse.bindfs",
    "fuse.fuse-overlayfs",
    "fuse.mergerfs",
    "fuse.zfs",
];

/// Finds out that `path` can be a database, and returns it with its directory resolved.
pub(crate) fn check(path: &Path) -> Result<PathBuf, OpenError> {
    let dir = match path.parent() {
        Some(dir) if dir.as_os_str().is_empty() => Path::new("."),
        Some(dir) => dir,
        None => return Err(OpenError::NoFile { path: path.to_owned() }),
    };
    let name = path.file_name().ok_or_else(|| OpenError::NoFile { path: path.to_owned() })?;
    let unusable = |err: io::Error| OpenError::Directory { dir: dir.to_owned(), source: err };
    let dir = dir.canonicalize().map_err(unusable)?;
    let kind = rustix::fs::statfs(&dir).map_err(|err| unusable(err.into()))?.f_type;
    // The type's width differs between machines; the numbers themselves fit 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
    let kind = kind as u32;
    let mount = (kind == FUSE).then(|| mount_kind(&dir)).flatten();
    if let Some(kind) = network_kind(kind, mount.as_deref()) {
        return Err(OpenError::Network { dir, kind });
    }
    rustix::fs::access(&dir, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|err| unusable(err.into()))?;
    Ok(dir.join(name))
}

/// Makes an empty file that only its owner can read, if there is none. The file is not opened.
pub(crate) fn make_file(path: &Path) -> io::Result<()> {
    match rustix::fs::mknodat(rustix::fs::CWD, path, FileType::RegularFile, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// The network file system's name, if it is one.
fn network_kind(statfs: u32, mount: Option<&str>) -> Option<String> {
    if statfs == FUSE {
        // Unknown is refused too: there are too many kinds to name, and most of them are remote.
        return match mount {
            Some(kind) if LOCAL_FUSE.contains(&kind) => None,
            Some(kind) => Some(kind.to_owned()),
            None => Some("fuse".to_owned()),
        };
    }
    NETWORK.iter().find(|(number, _)| *number == statfs).map(|(_, name)| (*name).to_owned())
}

/// The kind of the mount that holds a directory.
fn mount_kind(dir: &Path) -> Option<String> {
    kind_in(&std::fs::read_to_string("/proc/self/mountinfo").ok()?, dir)
}

/// The kind of the deepest mount above `dir`; of several on one point the last one is seen.
fn kind_in(mountinfo: &str, dir: &Path) -> Option<String> {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (mount, rest) = line.split_once(" - ")?;
            let point = PathBuf::from(unescaped(mount.split(' ').nth(4)?));
            let kind = rest.split(' ').next()?;
            dir.starts_with(&point).then(|| (point.components().count(), kind.to_owned()))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind)
}

/// The mount table writes blanks and the like as `\040`.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known() {
        for (number, mount, want) in [
            (0x6969, None, Some("nfs")),
            (0xFF53_4D42, None, Some("cifs")),
            (0xFE53_4D42, None, Some("smb2")),
            (0x0BD0_0BD0, None, Some("lustre")),
            (0x4750_4653, None, Some("gpfs")),
            (0x0102_1997, None, Some("9p")),
            (0x00C3_6400, None, Some("ceph")),
            (0x5346_414F, None, Some("afs")),
            (FUSE, Some("fuse.sshfs"), Some("fuse.sshfs")),
            (FUSE, Some("fuse.glusterfs"), Some("fuse.glusterfs")),
            (FUSE, None, Some("fuse")),
            (FUSE, Some("fuseblk"), None),
            (0xEF53, None, None),
            (0x0102_1994, None, None),
            (0x9123_683E, None, None),
            (0x5846_5342, None, None),
            (0x794C_7630, None, None),
            (0x2FC1_2FC1, None, None),
        ] {
            assert_eq!(network_kind(number, mount).as_deref(), want, "{number:x} {mount:?}");
        }
    }

    #[test]
    fn the_deepest_mount_counts() {
        let table = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                     30 21 0:50 / /data\\040x rw,nosuid shared:1 - fuse.sshfs host:/x rw\n\
                     31 30 0:51 / /data\\040x/local rw - fuseblk /dev/sdb1 rw\n";
        for (dir, want) in [
            ("/home/x", "ext4"),
            ("/data x", "fuse.sshfs"),
            ("/data x/a/b", "fuse.sshfs"),
            ("/data x/local/b", "fuseblk"),
            ("/data xy", "ext4"),
        ] {
            assert_eq!(kind_in(table, Path::new(dir)).as_deref(), Some(want), "{dir}");
        }
    }
}
