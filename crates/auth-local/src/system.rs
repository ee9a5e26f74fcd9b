//! Accounts of the operating system, for users that are made without numbers of their own.

use nix::unistd::{Group, User, getgrouplist};
use std::ffi::CString;
use std::io;

/// An account as the system's directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemAccount {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Secondary groups.
    pub sgids: Vec<u32>,
    /// Home directory.
    pub home: String,
}

impl SystemAccount {
    /// Looks an account up; `None` when the system knows none of this name. The directory may be slow: not on a thread
    /// that serves requests.
    ///
    /// # Errors
    /// What the system's directory said.
    pub async fn find(login: &str) -> io::Result<Option<SystemAccount>> {
        let login = login.to_owned();
        tokio::task::spawn_blocking(move || find(&login)).await.map_err(io::Error::other)?
    }
}

fn find(login: &str) -> io::Result<Option<SystemAccount>> {
    let Some(user) = User::from_name(login)? else { return Ok(None) };
    let name = CString::new(login).map_err(io::Error::other)?;
    let gid = user.gid.as_raw();
    let groups = getgrouplist(&name, user.gid)?;
    Ok(Some(SystemAccount {
        uid: user.uid.as_raw(),
        gid,
        sgids: groups.into_iter().map(|group| group.as_raw()).filter(|group| *group != gid).collect(),
        home: user.dir.to_string_lossy().into_owned(),
    }))
}

/// The number of a group given by name or number.
pub(crate) fn group(text: &str) -> io::Result<Option<u32>> {
    match text.parse() {
        Ok(gid) => Ok(Some(gid)),
        Err(_) => Ok(Group::from_name(text)?.map(|group| group.gid.as_raw())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn root_is_known_and_nobody_else_is_made_up() {
        let root = SystemAccount::find("root").await.expect("asks").expect("every system has it");
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(SystemAccount::find("no-such-login-here").await.expect("asks"), None);
        assert_eq!(group("root").expect("asks"), Some(0));
        assert_eq!(group("12").expect("asks"), Some(12));
        assert_eq!(group("no-such-group-here").expect("asks"), None);
    }
}
