//! What all stores share: the rules of a change ([`rules`]), a store in memory ([`MemoryStore`]) and the contract suite
//! that every store passes (`contract`, behind the feature of that name).
//!
//! The trait itself is [`god_core::store::Store`]. This crate opens no file, reads no clock and starts no thread.

#[cfg(feature = "contract")]
pub mod contract;
mod memory;
pub mod rules;

pub use memory::MemoryStore;
