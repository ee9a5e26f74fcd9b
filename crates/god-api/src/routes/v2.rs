//! The typed interface, `/api/2`.

pub(super) mod bulk;
mod filter;
pub(super) mod site;
pub(super) mod tasks;
