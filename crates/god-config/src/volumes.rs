//! Volumes: which are offered, and what a task's wishes become.
//!
//! Everything here is pure: paths are compared as texts, never opened. Whoever mounts a source must still open it
//! without following links. Path and mount of a request are ignored; only its name and its access count.

use std::path::{Path, PathBuf};

use crate::reader::Section;
use crate::sections::executors::Docker;
use crate::sections::network::required_text;

/// Volumes that users may ask for.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct VolumesConfig {
    /// The volumes, names once each.
    pub volumes: Vec<Volume>,
    /// Drop volumes whose source does not exist on the host that resolves them.
    pub check: bool,
    /// Directories of ours that are never mounted, nor anything in them.
    pub protected: Vec<PathBuf>,
    /// The engine's socket: neither it nor a directory that holds it is ever mounted.
    pub engine_socket: Option<PathBuf>,
}

/// A volume as the configuration or a project describes it. Nothing in it is trusted: see [`resolve_volumes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Name that users ask for.
    pub name: String,
    /// Most that a task may do with it.
    pub access: Access,
    /// Source, `$USERID` standing for the login; `None` only for `home`.
    pub path: Option<String>,
    /// Mount point, `$USERID` standing for the login; `None`: the same as the source.
    pub mount: Option<String>,
}

/// What a task may do with a volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Read.
    #[default]
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

impl Access {
    /// `rw` is read and write; anything else, and nothing, is read.
    pub fn parse(text: Option<&str>) -> Access {
        if text == Some("rw") { Access::ReadWrite } else { Access::ReadOnly }
    }

    /// `ro` or `rw`.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::ReadOnly => "ro",
            Access::ReadWrite => "rw",
        }
    }

    /// Less of the two.
    fn and(self, other: Access) -> Access {
        if self == Access::ReadWrite && other == Access::ReadWrite {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        }
    }
}

/// A volume that a task asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeRequest {
    /// Its name.
    pub name: String,
    /// `rw` or `ro`; anything else counts as `ro`.
    pub acl: Option<String>,
}

/// Whose task it is.
#[derive(Clone, Copy, Debug)]
pub struct VolumeUser<'a> {
    /// Login.
    pub login: &'a str,
    /// Home directory as the server knows it; for guests the guest home. `None`: no home.
    pub home: Option<&'a Path>,
}

/// A volume that may be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvedVolume {
    /// Its name.
    pub name: String,
    /// What the task may do with it.
    pub access: Access,
    /// Source on the host: absolute, without `.`, `..` or doubled `/`.
    pub path: PathBuf,
    /// Mount point in the container, in the same form.
    pub mount: PathBuf,
}

/// A volume that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedVolume {
    /// Its name, as it was asked for.
    pub name: String,
    /// Why.
    pub reason: DropReason,
}

/// Why a volume was left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// The name belongs to the system.
    #[error("the name is reserved")]
    Reserved,
    /// The name is empty.
    #[error("the name is empty")]
    Unnamed,
    /// Asked for more than once; the first wish counts.
    #[error("asked for twice")]
    Twice,
    /// Neither configured nor a volume of the task's project.
    #[error("no such volume is configured")]
    Unknown,
    /// The user has no home directory.
    #[error("the user has no home directory")]
    NoHome,
    /// The login cannot be put into a path.
    #[error("the login `{0}` has characters that are never put into a path")]
    OddLogin(String),
    /// Source or mount point is no plain absolute path.
    #[error("`{0}` is not a plain absolute path")]
    BadPath(String),
    /// Mounting this source would hand over the host.
    #[error("{0} is never mounted")]
    ForbiddenSource(PathBuf),
    /// Mounting there would cover what the system puts into the container.
    #[error("nothing is mounted at {0}")]
    ForbiddenMount(PathBuf),
    /// The mount point covers, or lies in, the one of another volume.
    #[error("the mount point overlaps the one of `{0}`")]
    Overlap(String),
    /// The source does not exist on this host.
    #[error("{0} does not exist on this host")]
    Missing(PathBuf),
}

/// What a task's wishes became, both lists in the order of the wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// To be mounted.
    pub volumes: Vec<ResolvedVolume>,
    /// Left out; worth a line in the log.
    pub dropped: Vec<DroppedVolume>,
}

/// The name of the volume that is the user's home.
const HOME: &str = "home";
/// Where the home is mounted.
const HOME_MOUNT: &str = "/mnt/home";
/// Names that the system uses itself.
const RESERVED_NAMES: &[&str] = &["go-docker", "god-ftp"];
/// Mount points that the system uses itself.
const RESERVED_MOUNTS: &[&str] = &["/mnt/go-docker", "/mnt/god-data", "/tmp-data"];
/// Sources that are never mounted, nor anything in them, nor a directory that holds them.
const FORBIDDEN_SOURCES: &[&str] =
    &["/proc", "/sys", "/etc", "/dev", "/run/docker.sock", "/var/run/docker.sock", "/var/lib/docker"];
/// Kernel file systems of the container: nothing is mounted there or above.
const FORBIDDEN_MOUNTS: &[&str] = &["/proc", "/sys", "/dev"];

/// Turns wishes into mounts, by the rules for volumes in the order in which they are written down.
///
/// `exists` is asked only when the configuration wants sources checked.
pub fn resolve_volumes(
    requested: &[VolumeRequest],
    user: &VolumeUser<'_>,
    project_volumes: &[Volume],
    config: &VolumesConfig,
    root_job: bool,
    exists: &dyn Fn(&Path) -> bool,
) -> Resolution {
    let mut resolution = Resolution::default();
    for request in requested {
        let is_taken = resolution.volumes.iter().any(|volume| volume.name == request.name);
        let resolved = if is_taken {
            Err(DropReason::Twice)
        } else {
            resolve_one(request, user, project_volumes, config)
        };
        let resolved = resolved.and_then(|volume| {
            if let Some(other) = resolution.volumes.iter().find(|other| overlaps(&other.mount, &volume.mount))
            {
                return Err(DropReason::Overlap(other.name.clone()));
            }
            if config.check && !exists(&volume.path) {
                return Err(DropReason::Missing(volume.path));
            }
            Ok(volume)
        });
        match resolved {
            Ok(mut volume) => {
                if root_job {
                    volume.access = Access::ReadOnly;
                }
                resolution.volumes.push(volume);
            }
            Err(reason) => resolution.dropped.push(DroppedVolume { name: request.name.clone(), reason }),
        }
    }
    resolution
}

fn resolve_one(
    request: &VolumeRequest,
    user: &VolumeUser<'_>,
    project_volumes: &[Volume],
    config: &VolumesConfig,
) -> Result<ResolvedVolume, DropReason> {
    let name = request.name.as_str();
    if name.is_empty() {
        return Err(DropReason::Unnamed);
    }
    if RESERVED_NAMES.contains(&name) {
        return Err(DropReason::Reserved);
    }
    let is_named = |volume: &&Volume| volume.name == name;
    let configured = config.volumes.iter().find(is_named);
    // A project cannot redefine a volume of the site, and cannot offer a home.
    let of_project = project_volumes.iter().find(is_named).filter(|_| name != HOME);
    let volume = configured.or(of_project).ok_or(DropReason::Unknown)?;

    let (path, mount) = if name == HOME {
        let home = user.home.filter(|home| !home.as_os_str().is_empty()).ok_or(DropReason::NoHome)?;
        let home = home.to_str().ok_or_else(|| DropReason::BadPath(home.display().to_string()))?;
        (plain_path(home)?, plain_path(HOME_MOUNT)?)
    } else {
        let path_text = volume.path.as_deref().unwrap_or_default();
        let mount_text = volume.mount.as_deref().filter(|mount| !mount.is_empty()).unwrap_or(path_text);
        (plain_path(&expand(path_text, user.login)?)?, plain_path(&expand(mount_text, user.login)?)?)
    };
    config.check_source(&path)?;
    check_mount(&mount, name)?;
    let access = volume.access.and(Access::parse(request.acl.as_deref()));
    Ok(ResolvedVolume { name: name.to_owned(), access, path, mount })
}

/// Replaces `$USERID`. A login that is not plain is never put into a path.
fn expand(text: &str, login: &str) -> Result<String, DropReason> {
    const MARK: &str = "$USERID";
    if !text.contains(MARK) {
        return Ok(text.to_owned());
    }
    let first_is_plain = login.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let rest_is_plain =
        login.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@'));
    if !first_is_plain || !rest_is_plain || login.contains("..") || login.len() > 64 {
        return Err(DropReason::OddLogin(login.to_owned()));
    }
    Ok(text.replace(MARK, login))
}

/// The path without doubled `/`, `.` and a `/` at its end. Refuses relative paths, `..`, and the characters that
/// separate fields in the engines' texts.
fn plain_path(text: &str) -> Result<PathBuf, DropReason> {
    let is_odd = |c: char| c.is_control() || matches!(c, ':' | ',' | '$');
    if !text.starts_with('/') || text.contains(is_odd) || text.split('/').any(|part| part == "..") {
        return Err(DropReason::BadPath(text.to_owned()));
    }
    let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".");
    Ok(parts.fold(PathBuf::from("/"), |path, part| path.join(part)))
}

/// Whether one is the other or lies in it.
fn overlaps(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn check_mount(mount: &Path, name: &str) -> Result<(), DropReason> {
    let is_forbidden = FORBIDDEN_MOUNTS.iter().any(|forbidden| overlaps(mount, Path::new(forbidden)))
        || RESERVED_MOUNTS.iter().any(|reserved| overlaps(mount, Path::new(reserved)))
        || (name != HOME && overlaps(mount, Path::new(HOME_MOUNT)))
        || mount == Path::new("/etc");
    if is_forbidden { Err(DropReason::ForbiddenMount(mount.to_owned())) } else { Ok(()) }
}

impl VolumesConfig {
    fn check_source(&self, path: &Path) -> Result<(), DropReason> {
        let holds_system = FORBIDDEN_SOURCES.iter().any(|forbidden| overlaps(path, Path::new(forbidden)))
            || self.engine_socket.as_ref().is_some_and(|socket| overlaps(path, socket));
        let is_ours = self
            .protected
            .iter()
            .filter(|protected| !protected.as_os_str().is_empty())
            .any(|protected| path.starts_with(protected));
        if holds_system || is_ours { Err(DropReason::ForbiddenSource(path.to_owned())) } else { Ok(()) }
    }

    /// Fills in what must never be mounted.
    pub(crate) fn protecting(data_dir: &Path, docker: &Docker) -> VolumesConfig {
        VolumesConfig {
            protected: vec![data_dir.to_owned()],
            engine_socket: docker.url.socket_path(),
            ..VolumesConfig::default()
        }
    }

    /// Reads the volumes; `self` says what must never be mounted.
    pub(crate) fn read(mut self, root: &mut Section<'_>) -> VolumesConfig {
        for mut item in root.sections("volumes").unwrap_or_default() {
            if let Some(volume) = self.read_volume(&mut item) {
                if self.volumes.iter().any(|other| other.name == volume.name) {
                    item.fault(
                        "name",
                        format!("a volume named `{}` stands above", volume.name),
                        "accepted: each name once",
                    );
                } else {
                    self.volumes.push(volume);
                }
            }
            item.finish();
        }
        if root.flag("plugin_zfs") == Some(true) {
            root.warn("plugin_zfs", "this key has no effect: scratch volumes of ZFS are not offered", "");
        }
        self.check = root.flag("volumes_check").unwrap_or(false);
        self
    }

    fn read_volume(&self, item: &mut Section<'_>) -> Option<Volume> {
        let name = required_text(item, "name");
        let acl = item.text("acl");
        if acl.as_deref().is_some_and(|acl| !matches!(acl, "ro" | "rw")) {
            item.warn("acl", "this is neither ro nor rw: taken as ro", "accepted: ro, rw");
        }
        let access = Access::parse(acl.as_deref());
        let mount = item.text("mount");
        let (name, path) = match name.as_deref() {
            Some(HOME) => (name, item.text("path")),
            _ => (name, required_text(item, "path")),
        };
        let name = name?;
        if RESERVED_NAMES.contains(&name.as_str()) {
            item.fault("name", format!("the name `{name}` is reserved"), "accepted: any other name");
            return None;
        }
        if name == HOME {
            if path.is_some() || mount.is_some() {
                let key = if path.is_some() { "path" } else { "mount" };
                item.warn(key, "ignored: the volume home is the user's own home, mounted at /mnt/home", "");
            }
            return Some(Volume { name, access, path: None, mount: None });
        }
        let path = path?;
        // The same checks as for a task, with a login that is as plain as can be.
        let as_user = |text: &str| plain_path(&text.replace("$USERID", "user"));
        if let Err(reason) = as_user(&path).and_then(|path| self.check_source(&path)) {
            item.fault(
                "path",
                reason.to_string(),
                "accepted: an absolute path that holds no part of the system",
            );
        }
        if let Err(reason) =
            as_user(mount.as_deref().unwrap_or(&path)).and_then(|mount| check_mount(&mount, &name))
        {
            let key = if mount.is_some() { "mount" } else { "path" };
            item.fault(
                key,
                reason.to_string(),
                "accepted: an absolute path outside of what jobs need themselves",
            );
        }
        Some(Volume { name, access, path: Some(path), mount })
    }
}

#[cfg(test)]
mod tests;
