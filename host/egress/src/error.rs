//! Why a request failed, and whether the platform can have seen it.

use weir_domain::policy::address::AddressRefusal;

use crate::body::BodyError;
use crate::dial::DialError;

/// Why a request failed. No message contains a secret, a query or a path.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The host refused it. Nothing left.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No connection was made, or nothing was written to it.
    #[error("not reachable: {reason}")]
    Unreachable {
        /// What went wrong.
        reason: String,
    },
    /// The request left, at least in part, and no complete response arrived.
    #[error("no answer: {reason}")]
    NoAnswer {
        /// What went wrong.
        reason: String,
    },
    /// The response is larger than the limit.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The stored media of the request's body is not available. Nothing left.
    #[error("the request's body is not available: {0}")]
    Body(#[source] BodyError),
    /// The response cannot be written to its destination.
    #[error("the response cannot be stored: {0}")]
    Sink(#[source] std::io::Error),
}

/// Refusals of this crate, after the policy permitted the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No address of the host may be dialed; this is the first.
    #[error(transparent)]
    Address(#[from] AddressRefusal),
    /// It would leave this machine unencrypted.
    #[error("plain http is allowed only to this machine, or where the operator permits it")]
    PlainText,
    /// The URL cannot be a request target.
    #[error("the URL cannot be written as a request target")]
    NotAUri,
    /// The route needs a secret that the app does not have.
    #[error("the app has no secret {name:?}")]
    NoSecret {
        /// The secret's name.
        name: String,
    },
    /// The secret cannot be set at the declared place.
    #[error("the secret {name:?} cannot be set: {reason}")]
    Place {
        /// The secret's name.
        name: String,
        /// What is wrong with the place.
        reason: &'static str,
    },
    /// Only the operator's programs may read streams.
    #[error("this request may not be read as a stream")]
    NotAStream,
}

impl Refused {
    /// The rule's name, for metrics and refusals.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::PlainText => "plain_text",
            Self::NotAUri => "url",
            Self::NoSecret { .. } | Self::Place { .. } => "secret",
            Self::NotAStream => "stream",
        }
    }
}

impl EgressError {
    /// Whether the other side can have seen the request and acted on it. `false` is certain; `true` is not.
    pub fn may_have_been_seen(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unreachable { .. } | Self::Body(_) => false,
            Self::NoAnswer { .. } | Self::TooLarge { .. } | Self::Sink(_) => true,
        }
    }

    /// Dialing failed, so nothing left.
    pub(crate) fn of_dial(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Self {
        let error: &(dyn std::error::Error + 'static) = error;
        let causes = || std::iter::successors(Some(error), |cause| cause.source());
        match causes().find_map(|cause| cause.downcast_ref::<DialError>()) {
            Some(DialError::Refused(refusal)) => Self::Refused(refusal.clone().into()),
            Some(DialError::Failed(reason)) => Self::Unreachable { reason: reason.clone() },
            None => {
                let reason = causes().last().map(ToString::to_string).unwrap_or_default();
                Self::Unreachable { reason }
            }
        }
    }
}
