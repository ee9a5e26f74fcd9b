//! Placeholder replaced in the same change.
fn main() {}
