//! Unmounts what a killed daemon left mounted below its folder.

use crate::repo::run;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unmounts everything below `folder`, innermost first.
///
/// # Errors
/// The mount table cannot be read, or a mount is refused to be taken away.
pub fn unmount_below(folder: &Path) -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
    for mount in below(&table, folder) {
        run(Command::new("umount").arg("--lazy").arg(mount))?;
    }
    Ok(())
}

/// Later lines mount over earlier ones: the last mounted goes first.
fn below(table: &str, folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|mount| mount.starts_with(folder) && mount != folder)
        .collect();
    found.reverse();
    found
}

/// The kernel writes space, tab, newline and backslash in a path as `\` and three octal digits.
fn unescape(field: &str) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    pairs.iter().fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn innermost_first_and_only_below_the_folder() {
        let table = "22 1 0:20 / /proc rw - proc proc rw\n\
                     29 1 8:1 / /state rw - ext4 /dev/a rw\n\
                     30 29 8:1 / /state/exec rw - ext4 /dev/a rw\n\
                     31 30 0:4 net:[1] /state/exec/netns/a\\040b rw - nsfs nsfs rw\n\
                     32 1 8:1 / /state-of-others rw - ext4 /dev/a rw\n";
        let found = below(table, Path::new("/state"));
        assert_eq!(found, [PathBuf::from("/state/exec/netns/a b"), PathBuf::from("/state/exec")]);
    }
}
