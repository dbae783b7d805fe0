//! Bringing an account in: OAuth as the manifest declares it, from the link that a person opens to a channel that works.

use std::collections::BTreeMap;

use serde::Serialize;
use url::Url;
use utoipa::ToSchema;
use weir_domain::caller::Caller;
use weir_domain::channel::Channel;
use weir_domain::credential::Secret;
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::manifest::EntryKind;
use weir_store::{ConnectSession, StoreError};

use crate::host::Host;
use crate::outbound::{ActError, ConnectorError};

/// An account to be connected.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// The app to connect through.
    pub app: String,
    /// The operator's name for the channel.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// Where the browser goes in the end; an http or https URL.
    pub redirect_url: Option<Url>,
    /// What a person entered, for a connector without OAuth; `access_token` is the credential.
    pub fields: BTreeMap<String, Secret>,
}

/// Why connecting could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No such app in this workspace.
    #[error("there is no such app")]
    NoSuchApp,
    /// No such session, or none that still waits.
    #[error("there is no such connect session, or it has ended; begin a new one")]
    NoSuchSession,
    /// No such channel in this workspace.
    #[error("there is no such channel")]
    NoSuchChannel,
    /// The request lacks something, or names something that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The account may not be connected, or the platform says no.
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
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The answer to a browser that opens a connect link.
#[derive(Clone, Debug)]
pub struct OpenedConnect {
    /// Where it goes: the platform's consent page.
    pub authorize: Url,
    /// The value of `set-cookie`.
    pub cookie: String,
}

/// The end of connecting, as the browser is shown it.
#[derive(Clone, Debug)]
pub struct ConnectEndPage {
    /// The channel, or why there is none.
    pub outcome: Result<Channel, ConnectFailure>,
    /// Where the browser goes, if the session names a place; with `status`, `session` and `channel_id` or `code` in its query.
    pub redirect_url: Option<Url>,
    /// The value of `set-cookie` that takes the session's cookie back.
    pub cookie: String,
}

/// Why an account was not connected.
#[derive(Clone, Debug)]
pub struct ConnectFailure {
    /// The stable code.
    pub code: String,
    /// A sentence for a person.
    pub detail: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Finding {
    /// `webhook_subscription`, `token`, `permissions`, `silence`, …
    pub subject: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was seen.
    pub evidence: String,
    /// What to do, if anything.
    pub remedy: String,
}

/// A link that opens a chat or a profile.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EntryPointLink {
    /// What opens.
    pub kind: EntryKind,
    /// The link.
    pub url: String,
    /// Whether it can carry a prefilled message.
    pub carries_message: bool,
    /// Whether it can carry the operator's own value.
    pub carries_ref: bool,
}

impl Host {
    /// Begins connecting. Gives the session, and the link that a person opens. For a connector without OAuth the channel is
    /// there at once, and the session has succeeded.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn begin_connect(&self, caller: &Caller, new: NewSession) -> Result<(ConnectSession, Url), ConnectError> {
        let _ = (caller, new);
        Err(ConnectError::NoSuchApp)
    }

    /// Begins authorising a channel again.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn reauthorize(
        &self,
        caller: &Caller,
        channel: ChannelId,
        redirect_url: Option<Url>,
    ) -> Result<(ConnectSession, Url), ConnectError> {
        let _ = (caller, channel, redirect_url);
        Err(ConnectError::NoSuchChannel)
    }

    /// A browser opened a connect link: where it goes, and the cookie that binds it to the session.
    ///
    /// # Errors
    /// The session has ended, or there is none.
    pub async fn open_connect(&self, id: ConnectSessionId) -> Result<OpenedConnect, ConnectError> {
        let _ = id;
        Err(ConnectError::NoSuchSession)
    }

    /// The platform sent the browser back. `cookie` is the request's whole `cookie` header.
    pub async fn finish_connect(&self, query: BTreeMap<String, String>, cookie: Option<&str>) -> ConnectEndPage {
        let _ = (query, cookie);
        ConnectEndPage {
            outcome: Err(ConnectFailure {
                code: "not_found".to_owned(),
                detail: String::new(),
            }),
            redirect_url: None,
            cookie: String::new(),
        }
    }

    /// Renews a channel's credential now.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn refresh_now(&self, channel: ChannelId) -> Result<(), ActError> {
        let _ = channel;
        Err(ActError::NotFound)
    }

    /// Deletes a channel; its token is revoked at the platform, best effort. None if there is none in this workspace.
    ///
    /// # Errors
    /// The record.
    pub async fn delete_channel(&self, caller: &Caller, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
        let _ = (caller, channel);
        Ok(None)
    }

    /// Looks at a channel from all sides.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn diagnose(&self, channel: ChannelId) -> Result<Vec<Finding>, ActError> {
        let _ = channel;
        Err(ActError::NotFound)
    }

    /// Links that open the channel's chat or profile; none while its handle is not known.
    pub fn entry_points(&self, channel: &Channel) -> Vec<EntryPointLink> {
        let _ = channel;
        Vec::new()
    }

    /// A link with a message or a value of the operator's in it.
    ///
    /// # Errors
    /// In words: the link does not exist or cannot carry this.
    pub fn entry_point(
        &self,
        channel: &Channel,
        kind: EntryKind,
        message: Option<&str>,
        reference: Option<&str>,
    ) -> Result<String, String> {
        let _ = (channel, kind, message, reference);
        Err("there is no such link".to_owned())
    }
}
