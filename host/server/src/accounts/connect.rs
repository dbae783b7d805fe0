//! Connecting an account: OAuth as the manifest declares it, from the link that a person opens to a working channel.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use subtle::ConstantTimeEq;
use url::Url;
use weir_domain::caller::Caller;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::{Secret, Tokens};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::limits;
use weir_domain::manifest::Authorization;
use weir_domain::policy::region;
use weir_store::{ConnectEnd, ConnectSession, StoreError, kill_point};

use crate::accounts::Accounts;
use crate::accounts::oauth::{self, Values};
use crate::accounts::renewal::RenewalLock;
use crate::connectors::serving::Serving;
use crate::core::cookie;
use crate::core::persist::persist;

pub(super) mod at_work;
mod bring_in;
mod failure;
mod fields;

use bring_in::{For, oauth_of};
pub use failure::{ConnectError, ConnectFailure};
use failure::{NotConnected, denied, unserved};
use fields::entered;

/// An account to be connected.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// The app to connect through.
    pub app: String,
    /// The operator's name for the channel.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// The country where the account is registered, if known: ISO 3166-1 alpha-2. Most platforms do not report it.
    pub country: Option<String>,
    /// The final destination of the browser; an http or https URL.
    pub redirect_url: Option<Url>,
    /// The values that a person entered, for a connector without OAuth; `access_token` is the credential.
    pub fields: BTreeMap<String, Secret>,
}

/// The response to a browser that opens a connect link.
#[derive(Clone, Debug)]
pub struct OpenedConnect {
    /// The redirect target: the platform's consent page.
    pub authorize: Url,
    /// The value of `set-cookie`.
    pub cookie: String,
}

/// The state of connecting, as the browser is shown it.
#[derive(Clone, Debug)]
pub enum ConnectPage {
    /// The session has ended.
    Ended {
        /// The channel, or the reason of the failure.
        outcome: Result<Box<Channel>, ConnectFailure>,
        /// The browser's destination, if the session has one; with `status`, `session` and `channel_id` or `code` in
        /// its query.
        redirect_url: Option<Url>,
    },
    /// The person consented, and the result is not known yet: the same address shows it later.
    AtWork,
    /// A browser's prefetch; it does not consume the code.
    Untouched,
}

/// The redirect URI, to which the platform returns the browser.
pub const CALLBACK_PATH: &str = "/oauth/callback";

impl Accounts {
    /// Starts connecting. Returns the session, and the link for a person to open. For a connector without OAuth the
    /// channel is created immediately, and the session has succeeded.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn begin_connect(&self, caller: &Caller, new: NewSession) -> Result<(ConnectSession, Url), ConnectError> {
        let serving = self.served(caller, &new.app).await?;
        check_redirect(new.redirect_url.as_ref())?;
        // The operator's settings are validated before a person is sent to the platform.
        region::admit(serving.policies.untightened(), new.country.as_deref())
            .map_err(|refusal| ConnectFailure::refused(&refusal).into_error())?;
        let mut session = self.new_session(caller.workspace_id(), &new.app, new.redirect_url.as_ref());
        session.name = new.name;
        session.labels = new.labels;
        session.country = new.country;
        match &serving.policies.manifest().authorization {
            Authorization::Oauth(_) => {
                if !new.fields.is_empty() {
                    let words = "this connector authorizes by OAuth: leave out fields, and open the link";
                    return Err(ConnectError::Invalid(words.to_owned()));
                }
            }
            Authorization::Fields { fields } => {
                let credential = entered(fields, &new.fields, session.created_at)?;
                let tokens = Tokens {
                    credential,
                    scopes: None,
                    platform_id: None,
                };
                let channel = self
                    .bring_in(&serving, None, &For::of(&session), tokens, None)
                    .await
                    .map_err(NotConnected::into_error)?;
                session.end = ConnectEnd::Succeeded { channel_id: channel.id };
            }
        }
        self.core.store.insert_connect_session(session.clone()).await?;
        let link = self.link(session.id)?;
        Ok((session, link))
    }

    /// Starts a new authorization of a channel.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn reauthorize(
        &self,
        caller: &Caller,
        channel: ChannelId,
        redirect_url: Option<Url>,
    ) -> Result<(ConnectSession, Url), ConnectError> {
        let found = self.core.store.channel(caller.workspace_id(), channel).await?;
        let channel = found
            .filter(|_| caller.sees(Some(channel)))
            .filter(|channel| channel.status != ChannelStatus::Deleted)
            .ok_or(ConnectError::NoSuchChannel)?;
        let serving = self.served(caller, &channel.app).await?;
        if !matches!(serving.policies.manifest().authorization, Authorization::Oauth(_)) {
            let words = "this connector has no OAuth: connect the account again with new fields";
            return Err(ConnectError::Invalid(words.to_owned()));
        }
        check_redirect(redirect_url.as_ref())?;
        let mut session = self.new_session(caller.workspace_id(), &channel.app, redirect_url.as_ref());
        session.channel_id = Some(channel.id);
        self.core.store.insert_connect_session(session.clone()).await?;
        let link = self.link(session.id)?;
        Ok((session, link))
    }

    /// A browser opened a connect link: returns the redirect target, and the cookie that binds the browser to the
    /// session.
    ///
    /// # Errors
    /// The session has expired or does not exist.
    pub async fn open_connect(&self, id: ConnectSessionId) -> Result<OpenedConnect, ConnectError> {
        let session = self.core.store.connect_session_of_any(id, self.core.now()).await?;
        let session = session
            .filter(|session| session.end == ConnectEnd::Pending)
            .ok_or(ConnectError::NoSuchSession)?;
        let serving = self.connectors.serving(&session.app).await.map_err(unserved)?;
        let Authorization::Oauth(oauth) = &serving.policies.manifest().authorization else {
            return Err(ConnectError::NoSuchSession);
        };
        let redirect_uri = self.redirect_uri();
        let values = Values {
            redirect_uri: &redirect_uri,
            state: Some(&session.state),
            verifier: Some(&session.verifier),
            ..Values::default()
        };
        let authorize =
            oauth::authorize_url(&serving, oauth, values).map_err(|error| ConnectError::Invalid(error.to_string()))?;
        Ok(OpenedConnect {
            authorize,
            cookie: cookie::connect(id).set(
                &self.core.config,
                session.browser.expose(),
                limits::CONNECT_SESSION.as_secs(),
            ),
        })
    }

    /// Handles the platform's redirect. `header` is the request's whole `cookie` header; `spends` is false for a
    /// browser's prefetch. The code is used once; a repeated request shows the result of the first. `slot` is held
    /// until the work ends, whether or not the caller waits.
    pub async fn finish_connect(
        self: &Arc<Self>,
        query: BTreeMap<String, String>,
        header: Option<String>,
        spends: bool,
        slot: impl Send + 'static,
    ) -> ConnectPage {
        let accounts = Arc::clone(self);
        // Claiming a session and processing it belong together, even if the browser disconnects.
        self.core
            .detached((), async move {
                let page = accounts.called_back(query, header.as_deref(), spends, slot).await;
                page.unwrap_or_else(ConnectPage::failed)
            })
            .await
    }

    async fn called_back(
        self: &Arc<Self>,
        query: BTreeMap<String, String>,
        header: Option<&str>,
        spends: bool,
        slot: impl Send + 'static,
    ) -> Result<ConnectPage, ConnectFailure> {
        let store = &self.core.store;
        let state = query.get("state").map_or("", String::as_str);
        let unknown = || {
            let words = "The link has expired or is not valid. Start connecting again.";
            ConnectFailure::new("connect_session_not_found", words)
        };
        let session = store
            .connect_session_of(state, self.core.now())
            .await?
            .ok_or_else(unknown)?;
        if session.end == ConnectEnd::Pending {
            if !spends {
                return Ok(ConnectPage::Untouched);
            }
            // A different browser consumes nothing: a person who copied the link, or a scanner that follows links,
            // cannot end another person's session.
            self.check_browser(&session, header)?;
            if let Some(at_work) = self.connecting.begin(session.id)
                && let Some(session) = store
                    .take_connect_session(state, &self.core.node.id(), self.core.now())
                    .await?
            {
                kill_point("connect.taken");
                return Ok(self.take_up(session, query, (slot, at_work)).await);
            }
        }
        // A request is processing the session, or has.
        let _ = tokio::time::timeout(limits::CONNECT_WAIT, self.connecting.ended(session.id)).await;
        let session = store
            .connect_session_of_any(session.id, self.core.now())
            .await?
            .ok_or_else(unknown)?;
        self.shown(&session).await
    }

    fn check_browser(&self, session: &ConnectSession, header: Option<&str>) -> Result<(), ConnectFailure> {
        let cookie = cookie::connect(session.id);
        let shown = header
            .and_then(|header| cookie.value(&self.core.config, header))
            .unwrap_or_default();
        if bool::from(shown.as_bytes().ct_eq(session.browser.expose().as_bytes())) {
            Ok(())
        } else {
            Err(ConnectFailure::new(
                "other_browser",
                "The link was opened in another browser. Open it again in this one, or finish in that one.",
            ))
        }
    }

    /// Completes a session that was claimed; waits for at most the time that a person would wait.
    async fn take_up(
        self: &Arc<Self>,
        session: ConnectSession,
        query: BTreeMap<String, String>,
        held: impl Send + 'static,
    ) -> ConnectPage {
        let accounts = Arc::clone(self);
        let work = self.core.detached(held, async move {
            let outcome = accounts.complete(&session, &query).await;
            accounts.end_session(&session, outcome).await
        });
        tokio::time::timeout(limits::CONNECT_WAIT, work)
            .await
            .unwrap_or(ConnectPage::AtWork)
    }

    /// Completes sessions for which no browser waits: those interrupted by the end of the process or a database
    /// failure.
    pub(crate) async fn connect_round(self: &Arc<Self>) -> Result<(), StoreError> {
        let node = self.core.node.id();
        for session in self.core.store.taken_connect_sessions(&node, self.core.now()).await? {
            let Some(at_work) = self.connecting.begin(session.id) else {
                continue;
            };
            let accounts = Arc::clone(self);
            let finished = self.core.detached(at_work, async move {
                let outcome = match session.tokens.clone() {
                    Some(tokens) => accounts.resume(&session, tokens).await,
                    // It is unknown whether the code was consumed, and a second exchange of one code may revoke the
                    // tokens of the first.
                    None => Err(NotConnected::Failed(ConnectFailure::new(
                        "connect_interrupted",
                        "Weir stopped before the account was connected. Start connecting again.",
                    ))),
                };
                accounts.end_session(&session, outcome).await
            });
            finished.await;
        }
        Ok(())
    }

    /// Stores why a session failed; a success is stored with its channel. If the database fails, this is retried later.
    async fn end_session(&self, session: &ConnectSession, outcome: Result<Channel, NotConnected>) -> ConnectPage {
        let outcome = match outcome {
            Ok(channel) => Ok(channel),
            Err(NotConnected::Later(error)) => {
                tracing::warn!(session.id = %session.id, "{} is completed once the database accepts it: {error}", session.id);
                return ConnectPage::AtWork;
            }
            Err(NotConnected::Failed(failure)) => {
                let ConnectFailure { code, detail } = failure.clone();
                tracing::info!(session.id = %session.id, "Connecting an account failed ({code}): {detail}");
                let end = ConnectEnd::Failed { code, detail };
                let written = persist(|| self.core.store.finish_connect_session(session.id, end.clone())).await;
                if let Err(error) = written {
                    tracing::error!(session.id = %session.id, "The result of {} was not stored: {error}", session.id);
                }
                Err(failure)
            }
        };
        ConnectPage::of(session, outcome)
    }

    /// The state of a session that was claimed.
    async fn shown(&self, session: &ConnectSession) -> Result<ConnectPage, ConnectFailure> {
        let outcome = match &session.end {
            ConnectEnd::Pending | ConnectEnd::Taken => return Ok(ConnectPage::AtWork),
            ConnectEnd::Succeeded { channel_id } => {
                let channel = self.core.store.channel(&session.workspace_id, *channel_id).await?;
                channel.ok_or_else(|| ConnectFailure::new("not_found", "The channel was deleted."))
            }
            ConnectEnd::Failed { code, detail } => Err(ConnectFailure::new(code, detail)),
            ConnectEnd::Expired => Err(ConnectFailure::new(
                "connect_session_over",
                "The link has expired. Start connecting again.",
            )),
        };
        Ok(ConnectPage::of(session, outcome))
    }

    async fn complete(
        &self,
        session: &ConnectSession,
        query: &BTreeMap<String, String>,
    ) -> Result<Channel, NotConnected> {
        if let Some(error) = query.get("error") {
            return Err(denied(error, query.get("error_description").map(String::as_str)).into());
        }
        let code = query
            .get("code")
            .filter(|code| !code.is_empty())
            .ok_or_else(|| ConnectFailure::new("no_code", "The platform sent no code. Start connecting again."))?;
        let serving = self
            .connectors
            .serving(&session.app)
            .await
            .map_err(ConnectFailure::from)?;
        let oauth = oauth_of(&serving)?;
        let bound = self.bound(session).await?;
        // No renewal of the channel runs at the same time as the exchange: each could invalidate the other's tokens.
        let lock = self.lock_for(bound.as_ref()).await;
        let (redirect_uri, code) = (self.redirect_uri(), Secret::new(code));
        let values = Values {
            redirect_uri: &redirect_uri,
            code: Some(&code),
            verifier: Some(&session.verifier),
            ..Values::default()
        };
        let tokens = oauth::call(
            &self.core.egress,
            &serving,
            oauth,
            &oauth.token,
            values,
            self.core.now(),
        )
        .await;
        let tokens = tokens.map_err(ConnectFailure::from)?;
        kill_point("connect.answered");
        self.credentials.keep_first_tokens(session.id, &tokens).await;
        kill_point("connect.kept");
        self.admit_tokens(&serving, session, bound, tokens, lock).await
    }

    /// Continues with the tokens that the platform returned for a session's code.
    async fn resume(&self, session: &ConnectSession, tokens: Tokens) -> Result<Channel, NotConnected> {
        let serving = self
            .connectors
            .serving(&session.app)
            .await
            .map_err(ConnectFailure::from)?;
        let bound = self.bound(session).await?;
        let lock = self.lock_for(bound.as_ref()).await;
        self.admit_tokens(&serving, session, bound, tokens, lock).await
    }

    /// The channel that a session authorizes again.
    async fn bound(&self, session: &ConnectSession) -> Result<Option<Channel>, NotConnected> {
        let Some(id) = session.channel_id else { return Ok(None) };
        let bound = self
            .core
            .store
            .channel(&session.workspace_id, id)
            .await
            .map_err(NotConnected::Later)?;
        let bound = bound.filter(|bound| bound.status != ChannelStatus::Deleted);
        let gone = || {
            ConnectFailure::new(
                "channel_deleted",
                "The channel was deleted in the meantime. Connect the account again.",
            )
        };
        Ok(Some(bound.ok_or_else(gone)?))
    }

    async fn lock_for(&self, channel: Option<&Channel>) -> Option<RenewalLock<'_>> {
        match channel {
            Some(channel) => Some(self.renewer.locks.take(&channel.app, &channel.platform_id).await),
            None => None,
        }
    }

    async fn served(&self, caller: &Caller, app: &str) -> Result<Serving, ConnectError> {
        let serving = self.connectors.serving(app).await.map_err(unserved)?;
        if serving.app.app.workspace_id != caller.workspace_id() {
            return Err(ConnectError::NoSuchApp);
        }
        Ok(serving)
    }

    fn new_session(&self, workspace: &str, app: &str, redirect_url: Option<&Url>) -> ConnectSession {
        let now = self.core.now();
        ConnectSession {
            id: self.core.mint.id(now),
            workspace_id: workspace.to_owned(),
            app: app.to_owned(),
            channel_id: None,
            name: None,
            labels: BTreeMap::new(),
            country: None,
            redirect_url: redirect_url.map(Url::to_string),
            state: self.random(),
            browser: self.random(),
            verifier: self.random(),
            created_at: now,
            expires_at: now.after(limits::CONNECT_SESSION),
            end: ConnectEnd::Pending,
            tokens: None,
        }
    }

    /// 256 random bits in 43 characters, which is also the form of a PKCE verifier (RFC 7636, 4.1).
    fn random(&self) -> Secret {
        let mut bytes = [0; 32];
        self.core.mint.fill(&mut bytes);
        Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
    }

    fn link(&self, id: ConnectSessionId) -> Result<Url, ConnectError> {
        let link = self.core.config.public(&format!("/connect/{id}"));
        link.parse()
            .map_err(|error| ConnectError::Invalid(format!("public_url is not a valid base for links: {error}")))
    }

    fn redirect_uri(&self) -> String {
        self.core.config.public(CALLBACK_PATH)
    }
}

impl ConnectPage {
    fn failed(failure: ConnectFailure) -> Self {
        Self::Ended {
            outcome: Err(failure),
            redirect_url: None,
        }
    }

    fn of(session: &ConnectSession, outcome: Result<Channel, ConnectFailure>) -> Self {
        Self::Ended {
            redirect_url: redirect(session, &outcome),
            outcome: outcome.map(Box::new),
        }
    }
}

fn check_redirect(url: Option<&Url>) -> Result<(), ConnectError> {
    match url {
        Some(url) if !matches!(url.scheme(), "http" | "https") => Err(ConnectError::Invalid(
            "redirect_url must be an http or https URL".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn redirect(session: &ConnectSession, outcome: &Result<Channel, ConnectFailure>) -> Option<Url> {
    let mut url: Url = session.redirect_url.as_deref()?.parse().ok()?;
    let mut query = url.query_pairs_mut();
    query.append_pair("session", &session.id.to_string());
    match outcome {
        Ok(channel) => query
            .append_pair("status", "succeeded")
            .append_pair("channel_id", &channel.id.to_string()),
        Err(failure) => query.append_pair("status", "failed").append_pair("code", &failure.code),
    };
    drop(query);
    Some(url)
}
