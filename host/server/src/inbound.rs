//! From a webhook to stored facts: one straight line.

use weir_domain::id::DeadLetterId;
use weir_domain::signature::{Forged, RawWebhook};
use weir_store::{Recorded, StoreError};

use crate::host::Host;
use crate::outbound::ConnectorError;

/// What became of a webhook. Each is answered 200.
#[derive(Debug)]
pub enum Hook {
    /// It is in the record.
    Accepted(Recorded),
    /// It was verified and could not be translated; it waits for a mended connector.
    DeadLettered(DeadLetterId),
    /// It was a question; this is the answer's body, as plain text.
    Challenge(String),
}

/// Why a webhook is not answered 200.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// 404.
    #[error("there is no such app")]
    NoSuchApp,
    /// 401; the words are for the log.
    #[error(transparent)]
    Forged(#[from] Forged),
    /// 403.
    #[error("the challenge does not carry the app's secret")]
    ChallengeFailed,
    /// 503 with `Retry-After`: nothing was stored.
    #[error(transparent)]
    Unavailable(#[from] StoreError),
    /// 503 with `Retry-After`: too much at once, or no version serves. Nothing was stored.
    #[error("the webhook cannot be taken now: {0}")]
    Busy(String),
}

/// Why a dead letter could not be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is none.
    #[error("there is no such dead letter")]
    NotFound,
    /// Its app is gone.
    #[error("the app {0:?} of this dead letter is gone")]
    NoSuchApp(String),
    /// The serving version cannot translate it either.
    #[error("the connector still cannot translate it: {0}")]
    Connector(ConnectorError),
    /// The serving version does not know some of its events.
    #[error("the connector still does not know {unknown_events} of its events")]
    StillUnknown {
        /// How many.
        unknown_events: u32,
    },
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Host {
    /// Takes one webhook for `app`. Returns after the commit, never before.
    ///
    /// # Errors
    /// See [`HookError`]; on each the platform sends it again or is not the platform.
    pub async fn receive(&self, app: &str, raw: RawWebhook) -> Result<Hook, HookError> {
        let _ = (app, raw);
        Err(HookError::NoSuchApp)
    }

    /// Translates a dead letter by the version that serves now, and drops it once all of it is recorded.
    ///
    /// # Errors
    /// See [`ReplayError`]; the letter is kept.
    pub async fn replay_dead_letter(&self, id: DeadLetterId) -> Result<Recorded, ReplayError> {
        let _ = id;
        Err(ReplayError::NotFound)
    }
}
