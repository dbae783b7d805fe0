//! Why there is no answer, and whether the platform can have seen the request.

use weir_domain::policy::address::AddressRefusal;

use crate::body::BodyError;
use crate::dial::DialError;

/// Why there is no answer. No text here names a secret, a query or a path.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The host said no. Nothing left.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No connection was made, or nothing was written to it.
    #[error("not reachable: {reason}")]
    Unreachable {
        /// What went wrong.
        reason: String,
    },
    /// The request left, wholly or in part, and no whole answer came.
    #[error("no answer: {reason}")]
    NoAnswer {
        /// What went wrong.
        reason: String,
    },
    /// The answer is larger than the host passes on.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The bound, in bytes.
        limit: u64,
    },
    /// The stored bytes that the request names cannot be had. Nothing left.
    #[error("the request's body cannot be had: {0}")]
    Body(#[source] BodyError),
    /// The answer cannot be written where it was to go.
    #[error("the answer cannot be kept: {0}")]
    Sink(#[source] std::io::Error),
}

/// What the host refuses at the last door.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Every address of the host is one that may not be dialled; this is the first.
    #[error(transparent)]
    Address(#[from] AddressRefusal),
    /// It would go in the clear to somewhere beyond this machine.
    #[error("plain http may leave only for this machine, or where the operator says so")]
    PlainText,
    /// The URL cannot be written on the wire.
    #[error("the URL cannot be written as a request target")]
    NotAUri,
    /// The route wants a secret that the app does not have.
    #[error("the app has no secret {name:?}")]
    NoSecret {
        /// The secret's name.
        name: String,
    },
    /// The secret's declared place cannot hold it.
    #[error("the secret {name:?} cannot be set: {reason}")]
    Place {
        /// The secret's name.
        name: String,
        /// What is wrong with the place.
        reason: &'static str,
    },
    /// Only the operator's own programs read streams.
    #[error("this request may not be read as a stream")]
    NotAStream,
}

impl Refused {
    /// The rule's name, for metrics and the record.
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
    /// Whether the other side can have seen the request, and acted on it. A no is certain; a yes is not.
    pub fn may_have_been_seen(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Unreachable { .. } | Self::Body(_) => false,
            Self::NoAnswer { .. } | Self::TooLarge { .. } | Self::Sink(_) => true,
        }
    }

    /// No connection came of dialing, so nothing left.
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
