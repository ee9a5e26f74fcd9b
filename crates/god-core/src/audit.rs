//! Who did what to what: the trail of administrative acts.

use crate::units::Timestamp;
use serde::{Deserialize, Serialize};

/// One act. It holds no secret: whoever makes it leaves keys and passwords out of `before` and `after`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// The login that acted.
    pub who: String,
    /// Where the request came from: an address, or the name of a program.
    pub from: String,
    /// What was done, such as `user.change`.
    pub action: String,
    /// To what: a login, a project, a task's number.
    pub object: String,
    /// What there was, `None` when it was made by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<serde_json::Value>,
    /// What there is now, `None` when it was removed by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
}
