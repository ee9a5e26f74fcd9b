//! Groups of this host's own database, which may list users of the directory.

use nix::unistd::{Gid, getgrouplist};
use std::ffi::CString;
use std::io;

/// Numbers of the groups that list a login, beside its primary one. The database may be slow: not on a thread that
/// serves requests.
pub(crate) async fn of_host(login: &str, primary: u32) -> io::Result<Vec<u32>> {
    let login = CString::new(login).map_err(io::Error::other)?;
    let asked = tokio::task::spawn_blocking(move || getgrouplist(&login, Gid::from_raw(primary)));
    let groups = asked.await.map_err(io::Error::other)??;
    Ok(groups.into_iter().map(Gid::as_raw).filter(|group| *group != primary).collect())
}
