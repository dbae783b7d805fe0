//! From a platform's token to a channel, or to the reason of the failure.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_domain::caller::Caller;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::{Secret, Tokens};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::limits;
use weir_domain::manifest::{Authorization, Oauth};
use weir_domain::policy::region;
use weir_runtime::Profile;
use weir_runtime::context::{CallContext, Called, ChannelFacts, State};
use weir_store::{ConnectSession, NewChannel, StoreError, kill_point};

use super::failure::{ConnectFailure, NotConnected};
use crate::accounts::Accounts;
use crate::accounts::calls::state_writes;
use crate::accounts::oauth;
use crate::accounts::renewal::RenewalLock;
use crate::connectors::serving::Serving;
use crate::core::persist::persist;

/// The session or request that connects an account.
pub(super) struct For<'a> {
    workspace_id: &'a str,
    name: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    country: Option<&'a str>,
    /// The channel to be authorized again; `None` if any account is allowed.
    channel: Option<ChannelId>,
    /// The session that is completed with the channel; `None` if no session is stored.
    session: Option<ConnectSessionId>,
}

impl<'a> For<'a> {
    pub(super) fn of(session: &'a ConnectSession) -> Self {
        Self {
            workspace_id: &session.workspace_id,
            name: session.name.as_deref(),
            labels: &session.labels,
            country: session.country.as_deref(),
            channel: session.channel_id,
            session: Some(session.id),
        }
    }
}

impl Accounts {
    pub(super) async fn admit_tokens(
        &self,
        serving: &Serving,
        session: &ConnectSession,
        bound: Option<Channel>,
        tokens: Tokens,
        lock: Option<RenewalLock<'_>>,
    ) -> Result<Channel, NotConnected> {
        let oauth = oauth_of(serving)?;
        if let Some(bound) = &bound
            && tokens.check_account(&bound.platform_id).is_err()
        {
            return Err(other_account(tokens.platform_id.as_deref().unwrap_or_default()).into());
        }
        let missing = oauth::ungranted(oauth, tokens.scopes.as_deref()).join(", ");
        if !missing.is_empty() {
            let words = format!(
                "These permissions were not granted: {missing}. Connect again and leave all permissions selected."
            );
            let failure = ConnectFailure::new("ungranted_scopes", &words);
            return Err(self.give_back(serving, oauth, session, &tokens, None, failure).await);
        }
        self.bring_in(serving, Some((oauth, session)), &For::of(session), tokens, lock)
            .await
    }

    /// Revokes an unused token, unless that could end the authorization of a channel: on many platforms the tokens of a
    /// new consent and of earlier ones end together.
    async fn give_back(
        &self,
        serving: &Serving,
        oauth: &Oauth,
        session: &ConnectSession,
        tokens: &Tokens,
        account: Option<&str>,
        failure: ConnectFailure,
    ) -> NotConnected {
        let account = account.or(tokens.platform_id.as_deref());
        let holder = match account {
            _ if session.channel_id.is_some() => true,
            // The token's account is unknown, and the token expires.
            None => {
                tracing::info!(session.id = %session.id, "A token without a known account is not revoked");
                return failure.into();
            }
            Some(account) => match self.core.store.channel_of_account(&session.app, account).await {
                Ok(channel) => channel.is_some_and(|channel| channel.status != ChannelStatus::Deleted),
                Err(error) => return NotConnected::Later(error),
            },
        };
        if !holder {
            self.revoke(serving, oauth, &tokens.credential.access_token).await;
            return failure.into();
        }
        tracing::info!(session.id = %session.id, "The token of a refused consent is not revoked: its account is connected");
        let words = "The account stays connected; its authorization was not revoked.";
        ConnectFailure::new(&failure.code, &format!("{} {words}", failure.detail)).into()
    }

    /// Creates a channel for an account whose credential is here; on an error, returns the reason and leaves nothing
    /// behind. `lock` is the account's renewal lock, if the account is known.
    pub(super) async fn bring_in(
        &self,
        serving: &Serving,
        consent: Option<(&Oauth, &ConnectSession)>,
        whose: &For<'_>,
        tokens: Tokens,
        lock: Option<RenewalLock<'_>>,
    ) -> Result<Channel, NotConnected> {
        let called = self.fetch_profile(serving, &tokens).await;
        let profile = called.result.map_err(ConnectFailure::from)?;
        if tokens.check_account(&profile.platform_id).is_err() {
            return Err(other_account(&profile.platform_id).into());
        }
        let country = profile.country.as_deref().or(whose.country);
        if let Err(failure) = admit(serving, &profile.account_kind, country) {
            return Err(match consent {
                Some((oauth, session)) => {
                    let account = Some(profile.platform_id.as_str());
                    self.give_back(serving, oauth, session, &tokens, account, failure).await
                }
                None => failure.into(),
            });
        }
        if let Some(id) = whose.channel {
            let bound = self
                .core
                .store
                .channel(whose.workspace_id, id)
                .await
                .map_err(NotConnected::Later)?;
            if bound.is_none_or(|bound| bound.platform_id != profile.platform_id) {
                // Not revoked: it may be the current credential of another channel.
                let who = profile.username.as_deref().unwrap_or(&profile.platform_id);
                return Err(other_account(who).into());
            }
        }
        let manifest = serving.policies.manifest();
        let app = &serving.app.app.name;
        // Until the credential is stored, no renewal of the account runs that could overwrite it with the old grant's.
        let lock = match lock {
            Some(lock) => lock,
            None => self.renewer.locks.take(app, &profile.platform_id).await,
        };
        let now = self.core.now();
        let writes = state_writes(called.writes, &manifest.version);
        // Another version may own the state of an account that was connected before: only the owner writes to it.
        let owner = serving.versions.owners.of(app, &profile.platform_id);
        let is_others = owner.is_some_and(|owner| owner != manifest.version);
        let new = NewChannel {
            workspace_id: whose.workspace_id.to_owned(),
            app: app.clone(),
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
            state: if is_others { Vec::new() } else { writes.clone() },
            session: whose.session,
            set_up_at: Some(now.after(limits::SET_UP)),
        };
        let credential = tokens.credential;
        let connected = persist(|| self.core.store.connect_channel(new.clone(), credential.clone(), now)).await;
        let (channel, is_new) = connected.map_err(NotConnected::Later)?;
        kill_point("connect.recorded");
        // A renewal of the old grant that is still to be stored is obsolete.
        self.credentials.forget(channel.id);
        drop(lock);
        tracing::info!(channel.id = %channel.id, is_new, "Connected the channel {}", channel.id);
        self.core.wakes.messages.notify_one();
        if !is_others {
            self.connectors.state_written(&channel, &writes);
        } else if !writes.is_empty() {
            let call = self.call(&channel, |connector, context| Box::pin(connector.who_am_i(context)));
            if let Err(error) = call.await {
                tracing::warn!(channel.id = %channel.id, "The version that owns its state did not read the account: {error}");
            }
        }
        Ok(self.set_up(channel).await)
    }

    async fn fetch_profile(&self, serving: &Serving, tokens: &Tokens) -> Called<Profile> {
        let app = &serving.app.app;
        let context = CallContext {
            channel_id: None,
            channel: ChannelFacts {
                platform_id: tokens.platform_id.clone().unwrap_or_default(),
                username: None,
                country: None,
                settings: app.settings.clone(),
                callback_url: self.connectors.callback_url(&app.name),
            },
            secrets: serving
                .secrets()
                .with_access_token(tokens.credential.access_token.clone()),
            grants: serving.grants.clone(),
            origins: serving.app.origins.clone(),
            state: State::new(),
            pacer: Arc::new(self.connectors.pacers.of(&app.name, &serving.policies, None)),
            dates: serving.app.clock.clone(),
            fence: self.core.node.current(),
        };
        serving.connector.who_am_i(context).await
    }

    /// Revokes a token at the platform, best effort: if this fails, the token expires.
    async fn revoke(&self, serving: &Serving, oauth: &Oauth, token: &Secret) {
        if let Err(error) = oauth::revoke(&self.core.egress, serving, oauth, token).await {
            tracing::warn!("A token was not revoked at the platform: {error}");
        }
    }

    /// Deletes a channel; its token is revoked at the platform, best effort. `None` if this workspace has no such
    /// channel.
    ///
    /// # Errors
    /// The database failed.
    pub async fn delete_channel(&self, caller: &Caller, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
        let workspace = caller.workspace_id();
        let found = self.core.store.channel(workspace, channel).await?;
        let Some(found) = found.filter(|_| caller.sees(Some(channel))) else {
            return Ok(None);
        };
        let credential = self.credentials.of(&found).await?;
        // The database first: from here on nothing is sent, whatever the platform responds.
        let deleted = self
            .core
            .store
            .delete_channel(workspace, found.id, self.core.now())
            .await?;
        // A renewal in progress completes first: its token is the one to revoke.
        let _lock = self.renewer.locks.take(&found.app, &found.platform_id).await;
        let credential = self.credentials.forget(found.id).or(credential);
        if let (Some(credential), Ok(serving)) = (credential, self.connectors.serving(&found.app).await)
            && let Authorization::Oauth(oauth) = &serving.policies.manifest().authorization
        {
            self.revoke(&serving, oauth, &credential.access_token).await;
        }
        Ok(deleted)
    }
}

pub(super) fn oauth_of(serving: &Serving) -> Result<&Oauth, ConnectFailure> {
    match &serving.policies.manifest().authorization {
        Authorization::Oauth(oauth) => Ok(oauth),
        Authorization::Fields { .. } => Err(ConnectFailure::new("no_oauth", "The active connector has no OAuth.")),
    }
}

fn other_account(who: &str) -> ConnectFailure {
    let words = format!("The account that consented is {who}, not the one of this channel. Log in with the right one.");
    ConnectFailure::new("other_account", &words)
}

/// Whether this account may be connected.
fn admit(serving: &Serving, kind: &str, country: Option<&str>) -> Result<(), ConnectFailure> {
    let manifest = serving.policies.manifest();
    let kinds = &manifest.account_kinds;
    // Unknown means that the platform did not report it: then its own responses decide.
    if kind != "unknown" && !kinds.is_empty() && !kinds.iter().any(|admitted| admitted == kind) {
        let steps = manifest.prerequisites.join(" ");
        return Err(ConnectFailure::new(
            &format!("{kind}_account_not_supported"),
            &format!(
                "Accounts of type {kind} cannot be connected; supported: {}. {steps}",
                kinds.join(", ")
            ),
        ));
    }
    region::admit(serving.policies.untightened(), country).map_err(|refusal| ConnectFailure::refused(&refusal))
}
