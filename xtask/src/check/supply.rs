//! What the tree takes from others: one TLS provider, known licences, one source.

use super::Outcome;
use crate::repo::{cargo, on_path, output_of, run};
use anyhow::{Result, bail};

/// Two TLS providers in one program panic at the first connection; OpenSSL would have to be installed on every host.
const FORBIDDEN: &[&str] = &["ring", "openssl-sys"];

/// Each forbidden crate that the workspace depends on, with what brings it in.
///
/// # Errors
/// `cargo tree` fails for another reason than that the crate is not there.
pub fn forbidden_crates() -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for name in FORBIDDEN {
        let output = output_of(cargo().args(["tree", "--workspace", "--all-features", "--invert", name]))?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && !complaint.contains("did not match any packages") {
            bail!("cargo tree: {}", complaint.trim());
        }
        let users = String::from_utf8_lossy(&output.stdout);
        if !users.trim().is_empty() {
            faults.push(format!("{name} is in the tree:\n{}", users.trim()));
        }
    }
    Ok(faults)
}

/// `deny.toml`, applied by cargo-deny.
///
/// # Errors
/// cargo-deny finds something; it prints what.
pub fn cargo_deny() -> Result<Outcome> {
    if on_path("cargo-deny").is_none() {
        return Ok(Outcome::Skipped("cargo-deny is not on PATH".to_owned()));
    }
    run(cargo().args([
        "deny",
        "--log-level",
        "warn",
        "--workspace",
        "check",
        "licenses",
        "bans",
        "sources",
    ]))?;
    Ok(Outcome::Judged(Vec::new()))
}
