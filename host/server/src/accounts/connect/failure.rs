//! Why an account could not be connected, for the operator's program and for the person at the browser.

use weir_domain::policy::Refusal;
use weir_runtime::CallError;
use weir_store::StoreError;

use crate::accounts::oauth::TokenError;
use crate::connectors::serving::{ConnectorError, NotServed};

/// Why connecting could not start or continue.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// This workspace has no such app.
    #[error("app not found")]
    NoSuchApp,
    /// The session does not exist, or is no longer pending.
    #[error("connect session not found or ended; start a new one")]
    NoSuchSession,
    /// This workspace has no such channel.
    #[error("channel not found")]
    NoSuchChannel,
    /// The request lacks a value, or has an invalid one.
    #[error("{0}")]
    Invalid(String),
    /// The account may not be connected, or the platform refused.
    #[error("{detail}")]
    Refused {
        /// The stable code: `personal_account_not_supported`, `ungranted_scopes`, `region_not_eligible`.
        code: String,
        /// A sentence for a person.
        detail: String,
    },
    /// The connector.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not connected.
#[derive(Clone, Debug)]
pub struct ConnectFailure {
    /// The stable code.
    pub code: String,
    /// A sentence for a person.
    pub detail: String,
}

impl ConnectFailure {
    pub(super) fn new(code: &str, detail: &str) -> Self {
        Self {
            code: code.to_owned(),
            detail: detail.to_owned(),
        }
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::new(refusal.code(), &refusal.to_string())
    }

    pub(super) fn into_error(self) -> ConnectError {
        ConnectError::Refused {
            code: self.code,
            detail: self.detail,
        }
    }
}

/// Why an account is not connected, or not yet.
#[derive(Debug)]
pub(super) enum NotConnected {
    /// It failed permanently.
    Failed(ConnectFailure),
    /// The database accepts no writes now; the platform's tokens are kept in memory.
    Later(StoreError),
}

impl NotConnected {
    pub(super) fn into_error(self) -> ConnectError {
        match self {
            Self::Failed(failure) => failure.into_error(),
            Self::Later(error) => error.into(),
        }
    }
}

impl From<ConnectFailure> for NotConnected {
    fn from(failure: ConnectFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<StoreError> for ConnectFailure {
    fn from(error: StoreError) -> Self {
        tracing::error!("Connecting failed in the database: {error}");
        Self::new(
            "store_unavailable",
            "Weir cannot write to its database, and nothing has changed. Reload this page in a moment.",
        )
    }
}

impl From<NotServed> for ConnectFailure {
    fn from(error: NotServed) -> Self {
        match error {
            NotServed::Store(error) => error.into(),
            error => Self::new("connector_not_serving", &error.to_string()),
        }
    }
}

impl From<TokenError> for ConnectFailure {
    fn from(error: TokenError) -> Self {
        Self::new("token_exchange_failed", &error.to_string())
    }
}

impl From<CallError> for ConnectFailure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed { error, .. } => Self::new(&error.code, &error.detail),
            error => Self::new("connector_failed", &error.to_string()),
        }
    }
}

pub(super) fn unserved(error: NotServed) -> ConnectError {
    match error {
        NotServed::NoSuchApp(_) => ConnectError::NoSuchApp,
        error => ConnectorError::unserved(error).map_or_else(ConnectError::from, ConnectError::from),
    }
}

/// The platform sent the browser back without a code.
pub(super) fn denied(error: &str, description: Option<&str>) -> ConnectFailure {
    if error == "access_denied" {
        return ConnectFailure::new(
            "access_denied",
            "The account's owner did not consent. Start connecting again when they agree.",
        );
    }
    // The platform's text, bounded in length; the page escapes it.
    let words: String = description.unwrap_or(error).chars().take(300).collect();
    ConnectFailure::new("platform_refused", &format!("The platform refused: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_of_the_person_has_its_own_code() {
        assert_eq!(denied("access_denied", None).code, "access_denied");
        assert_eq!(denied("server_error", Some("later")).code, "platform_refused");
    }
}
