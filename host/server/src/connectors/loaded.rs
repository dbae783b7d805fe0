//! A loaded version, ready for calls.

use std::sync::Arc;

use weir_domain::grant::Grants;
use weir_runtime::Connector;

/// A version that serves, and the operator's grants for its connector.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) connector: Connector,
    pub(crate) grants: Arc<Grants>,
}

impl Loaded {
    /// The version's number.
    pub(crate) fn number(&self) -> &str {
        &self.connector.manifest().version
    }

    /// Whether no call runs in it, and none is about to start.
    pub(crate) fn is_idle(&self) -> bool {
        self.connector.held_by() == 0
    }
}
