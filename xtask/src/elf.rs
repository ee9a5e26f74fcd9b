//! One question about a program file: can it run where there is no dynamic loader?

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

const PT_INTERP: u32 = 3;

/// Whether a 64-bit little-endian ELF program names no interpreter, so that it runs in an empty root file system.
///
/// # Errors
/// The file cannot be read, or is not such a program.
pub fn is_static(program: &Path) -> Result<bool> {
    let bytes = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    has_interpreter(&bytes).map(|has| !has).with_context(|| program.display().to_string())
}

fn has_interpreter(elf: &[u8]) -> Result<bool> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        bail!("not a 64-bit little-endian ELF file");
    }
    let table = u64::from_le_bytes(field(elf, 32)?);
    let size = u64::from(u16::from_le_bytes(field(elf, 54)?));
    let n_entries = u64::from(u16::from_le_bytes(field(elf, 56)?));
    for entry in 0..n_entries {
        let at = usize::try_from(table.saturating_add(entry * size)).context("offset out of range")?;
        if u32::from_le_bytes(field(elf, at)?) == PT_INTERP {
            return Ok(true);
        }
    }
    Ok(false)
}

fn field<const N: usize>(elf: &[u8], at: usize) -> Result<[u8; N]> {
    let bytes = elf.get(at..).and_then(|rest| rest.first_chunk()).context("the file ends early")?;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_test_needs_a_loader() {
        assert!(!is_static(&std::env::current_exe().expect("our path")).expect("an ELF file"));
    }

    #[test]
    fn a_program_without_the_entry_is_static() {
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf[64] = 1;
        assert!(!has_interpreter(&elf).expect("a program header table"));
        elf[64] = 3;
        assert!(has_interpreter(&elf).expect("a program header table"));
        has_interpreter(&elf[..66]).expect_err("cut in the table");
        has_interpreter(b"#!/bin/sh\n").expect_err("a script");
    }
}
