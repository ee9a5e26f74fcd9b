//! Where `go-d-init` is, the first process of every job.

use std::path::{Path, PathBuf};

/// The variable that names the program, before any other place is looked at.
pub const VARIABLE: &str = "GODOCKER_INIT";

const NAME: &str = "go-d-init";
const PT_INTERP: u32 = 3;

/// Why there is no `go-d-init`.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is nowhere.
    #[error(
        "go-d-init is not there; looked at {}; build it with `cargo xtask init-static`, or name it in {VARIABLE}",
        shown(.0)
    )]
    Missing(Vec<PathBuf>),
    /// It would not run in a container.
    #[error(
        "{} needs libraries that containers do not have; build a static one with `cargo xtask init-static`, \
         or name it in {VARIABLE}",
        shown(.0)
    )]
    Dynamic(Vec<PathBuf>),
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Finds the program: what the variable names and nothing else, or the one beside this program, or the static one of
/// the build tree. With `in_containers` only a static one will do.
///
/// # Errors
/// None was found; or, for containers, none that is static.
pub fn find(in_containers: bool) -> Result<PathBuf, InitError> {
    let named = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = std::env::current_exe().ok();
    choose(candidates(named, own.as_deref()), in_containers)
}

fn candidates(named: Option<PathBuf>, own: Option<&Path>) -> Vec<PathBuf> {
    if let Some(named) = named {
        return vec![named];
    }
    let Some(dir) = own.and_then(Path::parent) else { return Vec::new() };
    let mut places = vec![dir.join(NAME)];
    places.extend(dir.parent().map(|target| target.join("init").join(NAME)));
    places
}

fn choose(candidates: Vec<PathBuf>, in_containers: bool) -> Result<PathBuf, InitError> {
    let there: Vec<PathBuf> = candidates.iter().filter(|path| path.is_file()).cloned().collect();
    let found = there.iter().find(|path| !in_containers || is_static(path));
    match found {
        Some(path) => Ok(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
        None if there.is_empty() => Err(InitError::Missing(candidates)),
        None => Err(InitError::Dynamic(there)),
    }
}

/// Whether the file is a program of this kind of machine that needs no loader.
fn is_static(path: &Path) -> bool {
    std::fs::read(path).ok().and_then(|elf| needs_loader(&elf)) == Some(false)
}

/// Whether a 64-bit little-endian ELF program names a loader; `None` for anything else.
fn needs_loader(elf: &[u8]) -> Option<bool> {
    fn field<const N: usize>(elf: &[u8], at: usize) -> Option<[u8; N]> {
        elf.get(at..)?.first_chunk().copied()
    }
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = usize::try_from(u64::from_le_bytes(field(elf, 32)?)).ok()?;
    let size = usize::from(u16::from_le_bytes(field(elf, 54)?));
    let n_entries = usize::from(u16::from_le_bytes(field(elf, 56)?));
    for entry in 0..n_entries {
        let kind = u32::from_le_bytes(field(elf, table.checked_add(entry * size)?)?);
        if kind == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A program header table with one entry of this kind.
    fn elf(kind: u8) -> Vec<u8> {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, kind);
        elf
    }

    #[test]
    fn programs_with_and_without_a_loader_are_told_apart() {
        assert_eq!(needs_loader(&elf(1)), Some(false));
        assert_eq!(needs_loader(&elf(3)), Some(true));
        assert_eq!(needs_loader(&elf(1)[..66]), None);
        assert_eq!(needs_loader(b"#!/bin/sh\n"), None);
        assert!(!is_static(&std::env::current_exe().unwrap()));
    }

    #[test]
    fn the_first_that_will_do_is_taken() {
        let tree = tempfile::tempdir().unwrap();
        let (debug, init) = (tree.path().join("debug"), tree.path().join("init"));
        fs::create_dir(&debug).unwrap();
        fs::create_dir(&init).unwrap();
        let own = debug.join("go-d");
        let places = || candidates(None, Some(&own));

        let error = choose(places(), false).unwrap_err().to_string();
        assert!(error.contains("debug/go-d-init") && error.contains("cargo xtask init-static"), "{error}");
        fs::write(debug.join(NAME), elf(3)).unwrap();
        assert_eq!(choose(places(), false).unwrap(), debug.join(NAME));
        let error = choose(places(), true).unwrap_err().to_string();
        assert!(error.contains("needs libraries"), "{error}");
        fs::write(init.join(NAME), elf(1)).unwrap();
        assert_eq!(choose(places(), false).unwrap(), debug.join(NAME));
        assert_eq!(choose(places(), true).unwrap(), init.join(NAME));

        // What is named counts alone, right or wrong.
        let named = candidates(Some(debug.join(NAME)), Some(&own));
        choose(named, true).unwrap_err();
    }
}
