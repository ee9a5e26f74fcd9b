//! A template made ready: checked once, with its strings and its directory handle kept for all
//! launches that use it.

use std::cell::OnceCell;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use god_runtime::jobdir::{Owner, make_owned_dir, open_child_dir};
use god_runtime::launch::{Identity, Launch, Output, Template, URIS_FILE, uris_text};
use god_runtime::plain::write_plain_file;
use libc::c_int;

use crate::spawn::{self, Workdir};
use crate::sys;

/// A template, checked and ready.
#[derive(Debug)]
pub struct Prepared {
    /// As it came.
    pub template: Template,
    script: CString,
    args: spawn::Vector,
    shell_args: spawn::Vector,
    env: Vec<(String, CString)>,
    rlimits: Vec<(c_int, libc::rlimit64)>,
    parent: OnceCell<OwnedFd>,
}

/// Where a job will work.
#[derive(Debug)]
pub enum Place {
    /// In `/`.
    Root,
    /// In a directory held by handle; its name cannot lead elsewhere any more.
    Held(OwnedFd),
    /// In a directory whose parents the user can change: only the child goes there, as the user.
    Path(CString),
}

impl Prepared {
    /// Checks a template.
    ///
    /// # Errors
    /// Why it is refused, in words for the user.
    pub fn new(template: Template, min_uid: u32) -> Result<Self, String> {
        template.check().map_err(|err| err.to_string())?;
        check_identity(&template.identity, min_uid)?;
        let script = spawn::c_path(&template.script);
        let (args, shell_args) = spawn::arguments(&script, &template.args);
        let env = template.env.iter().map(|(name, value)| variable(name, value)).collect();
        let rlimits = template.rlimits.iter().map(spawn::rlimit).collect();
        Ok(Self { template, script, args, shell_args, env, rlimits, parent: OnceCell::new() })
    }

    fn owner(&self) -> Owner {
        Owner { uid: self.template.identity.uid, gid: self.template.identity.gid }
    }

    /// Finds or makes the working directory of a launch.
    ///
    /// # Errors
    /// In words for the user.
    pub fn place(&self, launch: &Launch) -> Result<Place, String> {
        let Some(dir) = &self.template.workdir else { return Ok(Place::Root) };
        let (parent, name) = match &launch.leaf {
            Some(leaf) => (dir.as_path(), leaf.as_str()),
            None => match (dir.parent(), dir.file_name().and_then(|name| name.to_str())) {
                (Some(parent), Some(name)) => (parent, name),
                _ => return Ok(Place::Root),
            },
        };
        let path = parent.join(name);
        let shown = path.display();
        if self.parent.get().is_none() {
            let handle =
                open_dir(parent).map_err(|err| format!("cannot open {}: {err}", parent.display()))?;
            if sys::effective_uid() == 0
                && !is_ours_alone(&handle).map_err(|err| format!("{shown}: {err}"))?
            {
                if self.template.create || self.template.info {
                    return Err(format!(
                        "{} must belong to root and be writable by root alone, for a directory to be made in it",
                        parent.display()
                    ));
                }
                return Ok(Place::Path(spawn::c_path(&path)));
            }
            self.parent.get_or_init(|| handle);
        }
        let parent = self.parent.get().expect("set above");
        let opened = if self.template.create {
            make_owned_dir(parent, name, self.owner(), 0o700)
        } else {
            open_child_dir(parent, name)
        };
        opened.map(Place::Held).map_err(|err| format!("cannot use the working directory {shown}: {err}"))
    }

    /// Writes the list of URIs, if there are any.
    ///
    /// # Errors
    /// In words for the user.
    pub fn write_uris(&self, place: &Place) -> Result<(), String> {
        let uris = &self.template.uris;
        let Place::Held(dir) = place else { return Ok(()) };
        if uris.is_empty() {
            return Ok(());
        }
        let Owner { uid, gid } = self.owner();
        as_user(uid, gid, || write_plain_file(dir, URIS_FILE, uris_text(uris).as_bytes()))
            .map_err(|err| format!("cannot write {URIS_FILE}: {err}"))
    }

    /// Starts a launch.
    ///
    /// # Errors
    /// When the script was not entered.
    pub fn spawn(
        &self,
        launch: &Launch,
        place: &Place,
        descriptors: spawn::Descriptors,
        joins: &[i32],
        limits: &[(c_int, libc::rlimit64)],
        stack: &mut spawn::Stack,
    ) -> Result<i32, spawn::SpawnError> {
        let own: Vec<CString> = launch.env.iter().map(|(name, value)| variable(name, value).1).collect();
        let shared = self.env.iter().filter(|(name, _)| !launch.env.iter().any(|(own, _)| own == name));
        let strings = shared.map(|(_, text)| text.as_ptr()).chain(own.iter().map(|text| text.as_ptr()));
        let envp: Vec<_> = strings.chain([std::ptr::null()]).collect();
        let Identity { uid, gid, groups } = &self.template.identity;
        let ids = (sys::effective_uid() == 0).then_some(spawn::Ids { uid: *uid, gid: *gid, groups });
        let workdir = match place {
            Place::Root => Workdir::Path(c"/"),
            Place::Held(dir) => Workdir::Held(dir.as_raw_fd()),
            Place::Path(path) => Workdir::Path(path),
        };
        let rlimits = [limits, &self.rlimits].concat();
        let plan = spawn::Plan {
            script: &self.script,
            argv: &self.args.pointers(),
            shell_argv: &self.shell_args.pointers(),
            envp: &envp,
            ids,
            workdir,
            files: self.template.output == Output::Files,
            descriptors,
            joins,
            rlimits: &rlimits,
            umask: self.template.umask & 0o777,
        };
        spawn::spawn(&plan, stack)
    }
}

fn variable(name: &str, value: &str) -> (String, CString) {
    (name.to_owned(), spawn::c_variable(name.as_bytes(), value.as_bytes()))
}

/// Root may become anybody above the floor, others only stay themselves.
fn check_identity(identity: &Identity, min_uid: u32) -> Result<(), String> {
    let me = (sys::effective_uid(), sys::effective_gid());
    if me.0 != 0 {
        if (identity.uid, identity.gid) == me {
            return Ok(());
        }
        return Err(format!(
            "cannot run as user {} and group {}: without root only user {} and group {} can be used",
            identity.uid, identity.gid, me.0, me.1
        ));
    }
    // The floor is the site's word: only a floor of 0 lets root's own jobs run.
    identity.check(min_uid).map_err(|err| err.to_string())
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    Ok(std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?.into())
}

/// Nobody but root can make, remove or rename entries.
fn is_ours_alone(dir: &OwnedFd) -> io::Result<bool> {
    let meta = std::fs::File::from(dir.try_clone()?).metadata()?;
    Ok(meta.uid() == 0 && meta.mode() & 0o022 == 0)
}

/// Runs `work` with a user's rights on files, and root's again afterwards.
pub fn as_user<T>(uid: u32, gid: u32, work: impl FnOnce() -> T) -> T {
    if sys::effective_uid() != 0 {
        return work();
    }
    // SAFETY: plain integers. The group must change first, while root's rights last.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    let result = work();
    // SAFETY: plain integers.
    unsafe {
        libc::setfsuid(0);
        libc::setfsgid(0);
    }
    result
}
