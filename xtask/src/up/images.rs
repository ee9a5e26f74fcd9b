//! The images of the tests. No registry is asked: each is made from files of this machine.

use super::engine::Engine;
use crate::elf;
use crate::repo::{on_path, root, run, stdout_of};
use anyhow::{Context, Result, bail};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{self, Command};

/// Makes each image that the engine does not have.
///
/// # Errors
/// busybox-static or a C compiler with a static libc is missing, or the engine refuses an image.
pub fn make_missing(engine: &Engine) -> Result<()> {
    let path = "ENV PATH=/bin:/sbin:/usr/bin";
    make(engine, "godtest/busybox:1", &[path, "CMD [\"/bin/sh\"]"], fill_busybox)?;
    make(engine, "godtest/scratch:1", &["ENTRYPOINT []", "CMD [\"/prog\"]"], fill_scratch)
}

fn make(engine: &Engine, image: &str, changes: &[&str], fill: fn(&Path) -> Result<()>) -> Result<()> {
    if engine.has_image(image)? {
        return Ok(());
    }
    let work = Workplace::new()?;
    // The mode of this folder becomes the mode of `/` in the image.
    let rootfs = work.0.join("root");
    make_folder(&rootfs, 0o755)?;
    fill(&rootfs).with_context(|| format!("cannot make {image}"))?;
    let layer = work.0.join("layer.tar");
    run(Command::new("tar").args(["--numeric-owner", "--owner=0", "--group=0", "-cf"]).arg(&layer).args([
        "-C".as_ref(),
        rootfs.as_os_str(),
        ".".as_ref(),
    ]))?;
    engine.import(&layer, image, changes)?;
    eprintln!("up: made {image}");
    Ok(())
}

fn fill_busybox(rootfs: &Path) -> Result<()> {
    let busybox = on_path("busybox").context("busybox is missing: install the package busybox-static")?;
    if !elf::is_static(&busybox)? {
        bail!("{} is not static: install the package busybox-static", busybox.display());
    }
    for folder in ["bin", "sbin", "etc", "root", "proc", "sys", "dev", "home", "var", "usr/bin"] {
        make_folder(&rootfs.join(folder), 0o755)?;
    }
    make_folder(&rootfs.join("tmp"), 0o1777)?;
    fs::copy(&busybox, rootfs.join("bin/busybox"))?;
    for applet in stdout_of(Command::new(&busybox).arg("--list"))?.lines() {
        if applet != "busybox" {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(rootfs.join("etc/group"), "root:x:0:\n")?;
    Ok(())
}

fn fill_scratch(rootfs: &Path) -> Result<()> {
    let source = root().join("docker-files/test-images/scratch/prog.c");
    let program = rootfs.join("prog");
    run(Command::new("cc")
        .args(["-static", "-Os", "-s", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(source))?;
    fs::set_permissions(&program, Permissions::from_mode(0o755))?;
    Ok(())
}

fn make_folder(path: &Path, mode: u32) -> Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok(())
}

/// A private folder, removed with this value.
struct Workplace(PathBuf);

impl Workplace {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("god-image-{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if let Err(err) = fs::remove_dir_all(&self.0) {
            eprintln!("up: cannot remove {}: {err}", self.0.display());
        }
    }
}
