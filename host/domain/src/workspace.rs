//! Workspaces: tenants of a host, each with its own channels, keys and endpoints.

use crate::caller::OPERATORS_WORKSPACE;
use crate::time::Timestamp;

/// Longest name: it is used in URLs and tables.
const NAME_CHARS: usize = 63;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Its name, which is its id.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Whether a workspace may have this name: a letter, then lower-case letters, digits and hyphens, 63 at most.
pub fn is_name(text: &str) -> bool {
    text.len() <= NAME_CHARS
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .chars()
            .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-')
}

/// Why a workspace is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InUse {
    /// It is the operator's.
    #[error("the workspace {OPERATORS_WORKSPACE:?} belongs to the operator and cannot be removed")]
    Operators,
    /// It has connected accounts, which only their platforms can end.
    #[error("it has {channels} channels; delete each of them first, which ends its authorization at the platform")]
    HasChannels {
        /// The number of channels that are not deleted.
        channels: u32,
    },
}

/// Whether a workspace with this many channels may be removed with all its contents.
///
/// # Errors
/// It is in use.
pub fn may_remove(id: &str, channels: u32) -> Result<(), InUse> {
    if id == OPERATORS_WORKSPACE {
        Err(InUse::Operators)
    } else if channels > 0 {
        Err(InUse::HasChannels { channels })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_a_url() {
        for (name, right) in [
            ("acme", true),
            ("a-1", true),
            ("", false),
            ("1a", false),
            ("-a", false),
            ("Acme", false),
            ("a/b", false),
            ("a b", false),
            ("ä", false),
        ] {
            assert_eq!(is_name(name), right, "{name:?}");
        }
        assert!(is_name(&"a".repeat(63)) && !is_name(&"a".repeat(64)));
    }

    #[test]
    fn a_workspace_in_use_stays() {
        assert_eq!(may_remove("acme", 0), Ok(()));
        assert_eq!(may_remove("acme", 2), Err(InUse::HasChannels { channels: 2 }));
        assert_eq!(may_remove("default", 0), Err(InUse::Operators));
    }
}
