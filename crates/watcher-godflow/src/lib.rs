//! The watcher `godflow`: a flow server is told when a task that asked for it is over.
//!
//! It has no say in starts or runs. Naming it in the configuration makes the suite store such a notice with the end of the
//! task ([`god_core::notice::Rules::flow`]), so that no crash loses it; the sender of notices makes the call.

use god_core::watcher::WatcherPlugin;

/// The name in the configuration.
pub const NAME: &str = "godflow";

/// Lets everything pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Godflow;

impl WatcherPlugin for Godflow {
    fn name(&self) -> &'static str {
        NAME
    }
}
