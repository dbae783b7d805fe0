//! Bringing an account in: OAuth as the manifest declares it, from the link that a person opens to a channel that works.

use std::collections::BTreeMap;

use base64::Engine;
use subtle::ConstantTimeEq;
use url::Url;
use weir_domain::caller::Caller;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::Secret;
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::limits;
use weir_domain::manifest::{Authorization, Oauth};
use weir_domain::policy::region;
use weir_runtime::Profile;
use weir_runtime::context::{CallContext, Called, ChannelFacts, State};
use weir_store::{ConnectEnd, ConnectSession, NewChannel, StoreError};

use crate::calls::{Serving, state_writes};
use crate::cookie;
use crate::host::Host;
use crate::oauth::{self, Tokens, Values};

mod failure;
mod fields;
mod set_up;

pub use failure::{ConnectError, ConnectFailure};
use failure::{denied, unserved};
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
    /// Where the account is registered, if the operator knows: ISO 3166-1 alpha-2. Most platforms do not tell.
    pub country: Option<String>,
    /// Where the browser goes in the end; an http or https URL.
    pub redirect_url: Option<Url>,
    /// What a person entered, for a connector without OAuth; `access_token` is the credential.
    pub fields: BTreeMap<String, Secret>,
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

/// Where the platform sends the browser back to.
pub const CALLBACK_PATH: &str = "/oauth/callback";

/// Who brings an account in, and for whom.
struct For<'a> {
    workspace_id: &'a str,
    name: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    country: Option<&'a str>,
    /// The channel to be authorised again; none for whatever account it is.
    channel: Option<ChannelId>,
}

impl Host {
    /// Begins connecting. Gives the session, and the link that a person opens. For a connector without OAuth the channel is
    /// there at once, and the session has succeeded.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn begin_connect(&self, caller: &Caller, new: NewSession) -> Result<(ConnectSession, Url), ConnectError> {
        let serving = self.served(caller, &new.app).await?;
        check_redirect(new.redirect_url.as_ref())?;
        // What the operator knows is judged before anybody is sent to the platform.
        region::admit(serving.book.untightened(), new.country.as_deref())
            .map_err(|refusal| ConnectFailure::refused(&refusal).into_error())?;
        let mut session = self.new_session(caller.workspace_id(), &new.app, new.redirect_url.as_ref());
        session.name = new.name;
        session.labels = new.labels;
        session.country = new.country;
        match &serving.book.manifest().authorization {
            Authorization::Oauth(_) => {
                if !new.fields.is_empty() {
                    let words = "this connector authorises by OAuth: leave out fields, and open the link";
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
                    .bring_in(&serving, None, &For::of(&session), tokens)
                    .await
                    .map_err(ConnectFailure::into_error)?;
                session.end = ConnectEnd::Succeeded { channel_id: channel.id };
            }
        }
        self.0.store.insert_connect_session(session.clone()).await?;
        let link = self.link(session.id)?;
        Ok((session, link))
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
        let found = self.0.store.channel(channel).await?;
        let channel = found
            .filter(|channel| channel.workspace_id == caller.workspace_id())
            .filter(|channel| channel.status != ChannelStatus::Deleted)
            .ok_or(ConnectError::NoSuchChannel)?;
        let serving = self.served(caller, &channel.app).await?;
        if !matches!(serving.book.manifest().authorization, Authorization::Oauth(_)) {
            let words = "this connector has no OAuth: connect the account again with new fields";
            return Err(ConnectError::Invalid(words.to_owned()));
        }
        check_redirect(redirect_url.as_ref())?;
        let mut session = self.new_session(caller.workspace_id(), &channel.app, redirect_url.as_ref());
        session.channel_id = Some(channel.id);
        self.0.store.insert_connect_session(session.clone()).await?;
        let link = self.link(session.id)?;
        Ok((session, link))
    }

    /// A browser opened a connect link: where it goes, and the cookie that binds it to the session.
    ///
    /// # Errors
    /// The session has ended, or there is none.
    pub async fn open_connect(&self, id: ConnectSessionId) -> Result<OpenedConnect, ConnectError> {
        let session = self.0.store.connect_session(id, self.now()).await?;
        let session = session
            .filter(|session| session.end == ConnectEnd::Pending)
            .ok_or(ConnectError::NoSuchSession)?;
        let serving = self.serving(&session.app).await.map_err(unserved)?;
        let Authorization::Oauth(oauth) = &serving.book.manifest().authorization else {
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
            cookie: cookie::CONNECT.set(
                self.config(),
                session.browser.expose(),
                limits::CONNECT_SESSION.as_secs(),
            ),
        })
    }

    /// The platform sent the browser back. `header` is the request's whole `cookie` header.
    pub async fn finish_connect(&self, query: BTreeMap<String, String>, header: Option<&str>) -> ConnectEndPage {
        let state = query.get("state").map_or("", String::as_str);
        // Taking it spends it: of two callbacks with one state, one goes on.
        let taken = self.0.store.take_connect_session(state, self.now()).await;
        let (outcome, redirect_url) = match taken {
            Ok(Some(session)) => {
                let outcome = self.complete(&session, &query, header).await;
                let end = match &outcome {
                    Ok(channel) => ConnectEnd::Succeeded { channel_id: channel.id },
                    Err(ConnectFailure { code, detail }) => ConnectEnd::Failed {
                        code: code.clone(),
                        detail: detail.clone(),
                    },
                };
                if let Err(error) = self.0.store.finish_connect_session(session.id, end).await {
                    tracing::error!(session.id = %session.id, "How {} ended was not written: {error}", session.id);
                }
                let redirect_url = redirect(&session, &outcome);
                (outcome, redirect_url)
            }
            Ok(None) => (
                Err(ConnectFailure::new(
                    "connect_session_not_found",
                    "This link has been used, has ended, or was never ours. Begin connecting again.",
                )),
                None,
            ),
            Err(error) => (Err(error.into()), None),
        };
        if let Err(ConnectFailure { code, detail }) = &outcome {
            tracing::info!("An account was not connected ({code}): {detail}");
        }
        ConnectEndPage {
            outcome,
            redirect_url,
            cookie: cookie::CONNECT.set(self.config(), "", 0),
        }
    }

    async fn complete(
        &self,
        session: &ConnectSession,
        query: &BTreeMap<String, String>,
        header: Option<&str>,
    ) -> Result<Channel, ConnectFailure> {
        let shown = header
            .and_then(|header| cookie::CONNECT.value(self.config(), header))
            .unwrap_or_default();
        if !bool::from(shown.as_bytes().ct_eq(session.browser.expose().as_bytes())) {
            return Err(ConnectFailure::new(
                "other_browser",
                "The link was opened in another browser. Begin connecting again and stay in one browser.",
            ));
        }
        if let Some(error) = query.get("error") {
            return Err(denied(error, query.get("error_description").map(String::as_str)));
        }
        let code = query
            .get("code")
            .filter(|code| !code.is_empty())
            .ok_or_else(|| ConnectFailure::new("no_code", "The platform sent no code. Begin connecting again."))?;
        let serving = self.serving(&session.app).await?;
        let Authorization::Oauth(oauth) = &serving.book.manifest().authorization else {
            return Err(ConnectFailure::new(
                "no_oauth",
                "The connector that serves now has no OAuth.",
            ));
        };
        let (redirect_uri, code) = (self.redirect_uri(), Secret::new(code));
        let values = Values {
            redirect_uri: &redirect_uri,
            code: Some(&code),
            verifier: Some(&session.verifier),
            ..Values::default()
        };
        let tokens = oauth::call(&self.0.egress, &serving, oauth, &oauth.token, values, self.now()).await?;
        let missing = oauth::ungranted(oauth, tokens.scopes.as_deref()).join(", ");
        if !missing.is_empty() {
            self.revoke(&serving, oauth, &tokens.credential.access_token).await;
            return Err(ConnectFailure::new(
                "ungranted_scopes",
                &format!("These permissions were not granted: {missing}. Connect again and leave all of them ticked."),
            ));
        }
        self.bring_in(&serving, Some(oauth), &For::of(session), tokens).await
    }

    /// Makes a channel of an account whose credential is here; or says why not, and leaves nothing.
    async fn bring_in(
        &self,
        serving: &Serving,
        oauth: Option<&Oauth>,
        whose: &For<'_>,
        tokens: Tokens,
    ) -> Result<Channel, ConnectFailure> {
        let token = tokens.credential.access_token.clone();
        let called = self.ask_who(serving, &tokens).await;
        let profile = called.result?;
        let country = profile.country.as_deref().or(whose.country);
        if let Err(failure) = admit(serving, &profile.account_kind, country) {
            if let Some(oauth) = oauth {
                self.revoke(serving, oauth, &token).await;
            }
            return Err(failure);
        }
        if let Some(id) = whose.channel {
            let bound = self.0.store.channel(id).await?;
            if bound.is_none_or(|bound| bound.platform_id != profile.platform_id) {
                // Not revoked: it may be the live credential of another channel.
                let who = profile.username.as_deref().unwrap_or(&profile.platform_id);
                let words = format!(
                    "The account that consented is {who}, not the one of this channel. Log in with the right one."
                );
                return Err(ConnectFailure::new("other_account", &words));
            }
        }
        let manifest = serving.book.manifest();
        let new = NewChannel {
            workspace_id: whose.workspace_id.to_owned(),
            app: serving.app.app.name.clone(),
            connector: manifest.name.clone(),
            platform: manifest.platform.clone(),
            platform_id: profile.platform_id,
            name: whose.name.map(str::to_owned),
            labels: whose.labels.clone(),
            username: profile.username,
            display_name: profile.display_name,
            avatar_url: profile.avatar_url,
            country: profile.country.or_else(|| whose.country.map(str::to_owned)),
            scopes: tokens.scopes.unwrap_or_default(),
            reauthorize_by: tokens.credential.refresh_expires_at,
        };
        let (channel, is_new) = self.0.store.connect_channel(new, tokens.credential, self.now()).await?;
        let writes = state_writes(called.writes, &manifest.version);
        if !writes.is_empty() {
            self.0.store.commit_state(channel.id, writes).await?;
        }
        tracing::info!(channel.id = %channel.id, is_new, "Connected the channel {}", channel.id);
        self.told();
        self.wake_senders();
        Ok(self.set_up(channel).await)
    }

    async fn ask_who(&self, serving: &Serving, tokens: &Tokens) -> Called<Profile> {
        let app = &serving.app.app;
        let context = CallContext {
            channel_id: None,
            channel: ChannelFacts {
                platform_id: tokens.platform_id.clone().unwrap_or_default(),
                username: None,
                country: None,
                settings: app.settings.clone(),
                callback_url: self.callback_url(&app.name),
            },
            secrets: serving
                .secrets()
                .with_access_token(tokens.credential.access_token.clone()),
            grants: serving.grants.clone(),
            origins: serving.app.origins.clone(),
            state: State::new(),
            pacer: std::sync::Arc::new(self.0.pacers.of(&app.name, &serving.book, None)),
            dates: serving.app.clock.clone(),
        };
        serving.connector.who_am_i(context).await
    }

    /// Ends a token at the platform, best effort: what fails here ends by itself.
    async fn revoke(&self, serving: &Serving, oauth: &Oauth, token: &Secret) {
        if let Err(error) = oauth::revoke(&self.0.egress, serving, oauth, token).await {
            tracing::warn!("A token was not revoked at the platform: {error}");
        }
    }

    /// Deletes a channel; its token is revoked at the platform, best effort. None if there is none in this workspace.
    ///
    /// # Errors
    /// The record.
    pub async fn delete_channel(&self, caller: &Caller, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
        let found = self.0.store.channel(channel).await?;
        let Some(found) = found.filter(|found| found.workspace_id == caller.workspace_id()) else {
            return Ok(None);
        };
        let credential = self.0.store.credential(found.id).await?;
        // The record first: from here on nothing is sent, whatever the platform answers.
        let deleted = self.0.store.delete_channel(found.id, self.now()).await?;
        self.told();
        if let (Some(credential), Ok(serving)) = (credential, self.serving(&found.app).await)
            && let Authorization::Oauth(oauth) = &serving.book.manifest().authorization
        {
            self.revoke(&serving, oauth, &credential.access_token).await;
        }
        Ok(deleted)
    }

    async fn served(&self, caller: &Caller, app: &str) -> Result<Serving, ConnectError> {
        let serving = self.serving(app).await.map_err(unserved)?;
        if serving.app.app.workspace_id != caller.workspace_id() {
            return Err(ConnectError::NoSuchApp);
        }
        Ok(serving)
    }

    fn new_session(&self, workspace: &str, app: &str, redirect_url: Option<&Url>) -> ConnectSession {
        let now = self.now();
        ConnectSession {
            id: self.0.mint.id(now),
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
        }
    }

    /// 256 random bits in 43 characters, which is also what a PKCE verifier wants (RFC 7636, 4.1).
    fn random(&self) -> Secret {
        let mut bytes = [0; 32];
        self.0.mint.fill(&mut bytes);
        Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
    }

    fn link(&self, id: ConnectSessionId) -> Result<Url, ConnectError> {
        let link = self.0.config.public(&format!("/connect/{id}"));
        link.parse()
            .map_err(|error| ConnectError::Invalid(format!("public_url makes no link: {error}")))
    }

    fn redirect_uri(&self) -> String {
        self.0.config.public(CALLBACK_PATH)
    }
}

impl<'a> For<'a> {
    fn of(session: &'a ConnectSession) -> Self {
        Self {
            workspace_id: &session.workspace_id,
            name: session.name.as_deref(),
            labels: &session.labels,
            country: session.country.as_deref(),
            channel: session.channel_id,
        }
    }
}

/// Whether this account may be connected.
fn admit(serving: &Serving, kind: &str, country: Option<&str>) -> Result<(), ConnectFailure> {
    let manifest = serving.book.manifest();
    let kinds = &manifest.account_kinds;
    // Unknown means that the platform did not say: then its own answers decide.
    if kind != "unknown" && !kinds.is_empty() && !kinds.iter().any(|admitted| admitted == kind) {
        let steps = manifest.prerequisites.join(" ");
        return Err(ConnectFailure::new(
            &format!("{kind}_account_not_supported"),
            &format!(
                "A {kind} account cannot be connected; it must be: {}. {steps}",
                kinds.join(", ")
            ),
        ));
    }
    region::admit(serving.book.untightened(), country).map_err(|refusal| ConnectFailure::refused(&refusal))
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
