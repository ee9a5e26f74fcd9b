//! What the tests of several crates share. For tests only: everything here panics when a promise is broken, and no
//! program of ours is built with it.

pub mod build;
pub mod executor_contract;
pub mod server;
pub mod slapd;
pub mod smtp;
mod wait;

pub use wait::until;

/// Address of a real service that tests need, from the environment variable `variable`. Without it the test is
/// skipped aloud, or fails where `CI` is `true`.
///
/// # Panics
/// The variable is not set and `CI` is `true`.
#[must_use]
pub fn service(variable: &str) -> Option<String> {
    match std::env::var(variable) {
        Ok(address) if !address.is_empty() => Some(address),
        _ => {
            skip(&format!("{variable} is not set"));
            None
        }
    }
}

/// Says aloud that a test, or a part of it, is not run.
///
/// # Panics
/// Where `CI` is `true`: nothing may be missing there.
pub fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "a test is skipped and CI=true: {why}");
    println!("SKIP {why}");
}
