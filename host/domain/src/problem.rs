//! Whose fault something is: the same word on a message, in a problem document and in a log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whose fault a failure is, and so who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The program or person that asked.
    Caller,
    /// The messaging platform.
    Platform,
    /// Weir, a connector, or the machine.
    Host,
}
