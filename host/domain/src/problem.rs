//! Who is at fault for a failure: the same value on a message, in a problem document and in a log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who is at fault for a failure, and so who can fix it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The calling program or person.
    Caller,
    /// The messaging platform.
    Platform,
    /// Weir, a connector, or the machine.
    Host,
}
