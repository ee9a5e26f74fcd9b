//! The checked values, one file per topic. Each topic has its defaults in `Default` and reads its own keys.

pub(crate) mod access;
pub(crate) mod base;
pub(crate) mod doors;
pub(crate) mod executors;
pub(crate) mod ldap;
pub(crate) mod log;
pub(crate) mod monitoring;
pub(crate) mod network;
pub(crate) mod scheduling;
pub(crate) mod services;
pub(crate) mod stores;
