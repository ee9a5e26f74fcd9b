//! Files that hold secrets: written for the owner alone, whole or not at all, never through a name that somebody else
//! may have prepared.

use crate::failure::Failure;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Puts a file in place with mode 0600, making its directory (0700) when it is missing.
///
/// # Errors
/// [`Failure::File`]; what was there before is untouched then.
pub fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::File { doing: "cannot write", path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = Temporary(dir.join(format!(".{name}.{}", random_hex().map_err(failed)?)));
    let mut file = temporary.create(0o600).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary.0, path).map_err(failed)
}

/// A file under a name of ours that goes away unless it has been renamed.
#[derive(Debug)]
pub struct Temporary(pub PathBuf);

impl Temporary {
    /// Makes the file, which must not exist.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(&self, mode: u32) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&self.0)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already when it was renamed.
        drop(fs::remove_file(&self.0));
    }
}

/// 128 random bits as text.
///
/// # Errors
/// The system gives no random bytes.
pub fn random_hex() -> io::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The text of a file and whether others may read it; `None` when there is no such file.
///
/// # Errors
/// [`Failure::File`].
pub fn read(path: &Path) -> Result<Option<(String, bool)>, Failure> {
    let failed = |source| Failure::File { doing: "cannot read", path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(failed(err)),
    };
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    Ok(Some((text, mode & 0o077 != 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_there_and_leaves_no_other_file() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("deep/er/login.json");
        write(&path, "one").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("opened up");
        assert_eq!(read(&path).expect("read"), Some(("one".into(), true)));
        write(&path, "two").expect("written again");
        assert_eq!(read(&path).expect("read"), Some(("two".into(), false)));
        let dir = path.parent().expect("has a directory");
        assert_eq!(fs::read_dir(dir).expect("listed").count(), 1);
        assert_eq!(fs::metadata(dir).expect("there").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_planted_link_is_replaced_not_followed() {
        let home = tempfile::tempdir().expect("a directory");
        let victim = home.path().join("victim");
        fs::write(&victim, "mine").expect("written");
        let path = home.path().join("login.json");
        std::os::unix::fs::symlink(&victim, &path).expect("linked");
        write(&path, "secret").expect("written");
        assert_eq!(fs::read_to_string(&victim).expect("read"), "mine");
        assert_eq!(read(&path).expect("read"), Some(("secret".into(), false)));
    }

    #[test]
    fn what_is_not_there_is_none() {
        assert_eq!(read(Path::new("/nonexistent/login.json")).expect("no fault"), None);
    }
}
