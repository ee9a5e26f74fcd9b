//! The network plugin: which container network a task joins.

use crate::ids::UserId;
use std::fmt;

/// Translates the network labels of tasks to names that executors know.
pub trait NetworkPlugin: fmt::Debug + Send + Sync {
    /// The configured name.
    fn name(&self) -> &'static str;
    /// Labels that tasks may ask for; the first is the default.
    fn labels(&self) -> Vec<&'static str>;
    /// Name of the network for a label and user; `None` for an unknown label.
    fn network(&self, label: &str, user: &UserId) -> Option<String>;
}
