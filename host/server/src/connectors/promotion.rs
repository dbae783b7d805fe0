//! Obstacles to promoting a version.

use weir_domain::grant::{Grants, WantedGrant};
use weir_store::{StoreError, Version};

/// Why a version was not promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The version does not exist.
    #[error("there is no version {version} of {connector}")]
    NotFound {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// The operator has not decided about all requested grants.
    #[error(
        "{connector} {version} requests {}, which is undecided; PUT the grants, or fewer, and promote again",
        names(missing)
    )]
    Missing {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// The undecided grants.
        missing: Vec<WantedGrant>,
    },
    /// It already serves, or still does.
    #[error("{connector} {version} serves; promote another version first, or roll it back")]
    Serves {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// A canary needs an active version.
    #[error("no version of {connector} is active; a canary needs an active version, so promote one first")]
    NothingActive {
        /// The connector.
        connector: String,
    },
    /// There is no previous version.
    #[error("no version of {connector} served before {version}")]
    NothingBefore {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// The previous version was quarantined.
    #[error("{connector} {version} served before and is quarantined; promote it, or another version, by its number")]
    BeforeQuarantined {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// It owns accounts' states.
    #[error(
        "{connector} {version} owns the states of {accounts} accounts, which only it can serve; promote a version that takes \
         them over, or delete those channels, then retire it"
    )]
    Owns {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// The number of accounts.
        accounts: u64,
    },
    /// It crashed too often while it took over the states of accounts.
    #[error(
        "{connector} {version} was quarantined while it took states over: {reason}; the previous version remains active"
    )]
    Quarantined {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// The reason.
        reason: String,
    },
    /// Another node is changing its versions.
    #[error("another node is changing the versions of {connector}; check its result, and repeat the request")]
    Changing {
        /// The connector.
        connector: String,
    },
    /// It would serve accounts that some nodes could not serve.
    #[error(
        "{} did not load {connector} {version} in time, and all nodes must have it before it serves; see their logs, or stop them",
        nodes.join(", ")
    )]
    NotEverywhere {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// The nodes.
        nodes: Vec<String>,
    },
    /// Its bytes are missing, or differ from the staged ones.
    #[error("the version cannot be loaded: {0}")]
    Load(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the operator has decided about all grants that a version requests.
pub(crate) fn check_grants(version: &Version, grants: &Grants) -> Result<(), PromoteError> {
    let missing = grants.missing_for(&version.manifest);
    if missing.is_empty() {
        return Ok(());
    }
    Err(PromoteError::Missing {
        connector: version.manifest.name.clone(),
        version: version.manifest.version.clone(),
        missing: WantedGrant::all(missing, grants),
    })
}

/// The names of a few grants, for one line.
fn names(requested: &[WantedGrant]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = requested
        .iter()
        .take(SHOWN)
        .map(|requested| requested.grant.route.as_str())
        .collect();
    let more = requested.len().saturating_sub(SHOWN);
    let names = names.join(", ");
    if more > 0 {
        format!("{names} and {more} more")
    } else {
        names
    }
}
