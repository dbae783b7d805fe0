//! What stands against letting a version serve.

use weir_domain::grant::{Asked, Grants};
use weir_store::{StoreError, Version};

/// Why a version was not promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// There is no such version.
    #[error("there is no version {version} of {connector}")]
    NotFound {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// The operator has not said yes to all that it asks for.
    #[error(
        "{connector} {version} asks for {} that nobody decided about; PUT the grants, or fewer, and promote again",
        names(missing)
    )]
    Missing {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// What is undecided.
        missing: Vec<Asked>,
    },
    /// It serves already, or still.
    #[error("{connector} {version} serves; promote another version first, or roll it back")]
    Serves {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// A canary is compared with an active version.
    #[error("no version of {connector} is active; a canary runs beside an active version, so promote one first")]
    NothingActive {
        /// The connector.
        connector: String,
    },
    /// There is nothing to go back to.
    #[error("no version of {connector} served before {version}")]
    NothingBefore {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// The version to go back to was quarantined.
    #[error("{connector} {version} served before and is quarantined; promote it, or another version, by its number")]
    BeforeQuarantined {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
    },
    /// Accounts' states are its own.
    #[error(
        "{connector} {version} owns the states of {accounts} accounts, which only it can serve; promote a version that takes \
         them over, or delete those channels, and retire it then"
    )]
    Owns {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// How many.
        accounts: u64,
    },
    /// It crashed too often while it took the states of accounts over.
    #[error("{connector} {version} was quarantined while it took states over: {reason}; what served before goes on")]
    Quarantined {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// Why.
        reason: String,
    },
    /// Its versions change already, by another node.
    #[error("another node is changing the versions of {connector}; see what came of that, and repeat the request")]
    Changing {
        /// The connector.
        connector: String,
    },
    /// It would serve accounts that others could not serve.
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
    /// Its bytes are gone, or are not the ones that were staged.
    #[error("the version cannot be loaded: {0}")]
    Load(String),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whether the operator has decided about all that a version asks for.
pub(crate) fn check_grants(version: &Version, grants: &Grants) -> Result<(), PromoteError> {
    let missing = grants.missing_for(&version.manifest);
    if missing.is_empty() {
        return Ok(());
    }
    Err(PromoteError::Missing {
        connector: version.manifest.name.clone(),
        version: version.manifest.version.clone(),
        missing: Asked::all(missing, grants),
    })
}

/// The names of a few grants, for one line.
fn names(asked: &[Asked]) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = asked
        .iter()
        .take(SHOWN)
        .map(|asked| asked.grant.route.as_str())
        .collect();
    let more = asked.len().saturating_sub(SHOWN);
    let names = names.join(", ");
    if more > 0 {
        format!("{names} and {more} more")
    } else {
        names
    }
}
