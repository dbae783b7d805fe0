//! Consent, and the calls that issue and revoke tokens (TikTok API reference, Authorization and Authentication).
//!
//! Undocumented by TikTok and chosen here: after a new consent, older tokens of the same app and account stay valid,
//! and a token keeps its scopes.

use serde::Deserialize;
use serde_json::{Value, json};

use super::apps::{App, AppOrder};
use super::subscription::Category;
use super::tokens::{Access, Code};
use super::{ControlError, World};
use crate::api::Call;
use crate::clock::{DAY_MS, MINUTE_MS, Timestamp};
use crate::limits;
use crate::refusal::Refusal;

const CODE_MS: i64 = 10 * MINUTE_MS;
const ACCESS_MS: i64 = DAY_MS;
const REFRESH_MS: i64 = 365 * DAY_MS;

/// The caller, authenticated by a token.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) account: String,
    pub(super) open_id: String,
    pub(super) scopes: Vec<String>,
}

/// A validated request for consent: the page may be shown.
#[derive(Debug, Clone)]
pub struct Consent {
    /// The requesting app.
    pub client_key: String,
    /// Its name.
    pub app_name: String,
    /// The redirect target.
    pub redirect_uri: String,
    /// Returned unchanged.
    pub state: String,
    /// The requested scopes.
    pub scopes: Vec<String>,
}

/// A request for consent, before validation.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ConsentRequest {
    /// The app's id.
    #[serde(default)]
    pub client_key: String,
    /// Must be `code`.
    #[serde(default)]
    pub response_type: String,
    /// Separated by commas.
    #[serde(default)]
    pub scope: String,
    /// Must be the app's.
    #[serde(default)]
    pub redirect_uri: String,
    /// Returned unchanged.
    #[serde(default)]
    pub state: String,
}

impl World {
    /// Creates an app, or replaces one; subscriptions and tokens of a replaced app are kept.
    ///
    /// # Errors
    /// A key or secret that is empty, no scopes, or too many apps.
    pub fn put_app(&mut self, order: AppOrder, now: Timestamp) -> Result<Value, ControlError> {
        if order.client_key.is_empty() || order.client_secret.is_empty() || order.scopes.is_empty() {
            return Err(ControlError::Invalid(
                "an app has a client_key, a client_secret and scopes".into(),
            ));
        }
        if order.qps == Some(0) {
            return Err(ControlError::Invalid("qps is at least 1, or null".into()));
        }
        if !self.apps.contains_key(&order.client_key) && self.apps.len() >= limits::APPS {
            return Err(ControlError::Conflict(format!(
                "the sandbox allows at most {} apps",
                limits::APPS
            )));
        }
        let client_key = order.client_key.clone();
        let mut app = App::new(order, now);
        if let Some(old) = self.apps.remove(&client_key) {
            app.subscriptions = old.subscriptions;
        }
        let shown = app.show();
        self.apps.insert(client_key, app);
        Ok(shown)
    }

    /// Checks a request for consent.
    ///
    /// # Errors
    /// The text of TikTok's error page. The browser is not redirected: the address cannot be trusted yet.
    pub fn consent(&self, request: &ConsentRequest) -> Result<Consent, &'static str> {
        let app = self
            .apps
            .get(&request.client_key)
            .ok_or("client_key: there is no such app")?;
        if request.response_type != "code" {
            return Err("response_type: only code is supported");
        }
        if !app.redirects_to(&request.redirect_uri) {
            return Err("redirect_uri: it is not the redirect URL of this app");
        }
        let mut scopes: Vec<String> = Vec::new();
        for scope in request
            .scope
            .split(',')
            .map(str::trim)
            .filter(|scope| !scope.is_empty())
        {
            if !app.scopes.iter().any(|approved| approved == scope) {
                return Err("scope: this app was not approved for every requested scope");
            }
            if !scopes.iter().any(|known| known == scope) {
                scopes.push(scope.to_owned());
            }
        }
        if scopes.is_empty() {
            return Err("scope: no scope was requested");
        }
        Ok(Consent {
            client_key: request.client_key.clone(),
            app_name: app.name.clone(),
            redirect_uri: request.redirect_uri.clone(),
            state: request.state.clone(),
            scopes,
        })
    }

    /// The accounts available for login: username, display name, and the description on the page.
    pub fn logins(&self) -> Vec<(String, String, &'static str)> {
        let mut logins: Vec<_> = self
            .accounts
            .values()
            .map(|account| {
                let kind = match (account.business, account.may_message()) {
                    (false, _) => "personal account",
                    (true, false) => "business account in a restricted region",
                    (true, true) => "business account",
                };
                (account.username.clone(), account.display_name.clone(), kind)
            })
            .collect();
        logins.sort();
        logins
    }

    /// Whether this account already granted this app all requested scopes.
    pub fn already_granted(&self, consent: &Consent, account: &str, now: Timestamp) -> bool {
        self.grants
            .holdings
            .get(account)
            .and_then(|apps| apps.get(&consent.client_key))
            .and_then(|holding| holding.refresh.back())
            .and_then(|token| self.grants.refresh.get(token))
            .is_some_and(|grant| grant.expires > now && consent.scopes.iter().all(|scope| grant.scopes.contains(scope)))
    }

    /// A code for the redirect: the account granted `scopes`.
    ///
    /// # Errors
    /// An account that does not exist, or too many unused codes.
    pub fn grant(
        &mut self,
        consent: &Consent,
        account: &str,
        scopes: Vec<String>,
        now: Timestamp,
    ) -> Result<String, ControlError> {
        if !self.accounts.contains_key(account) {
            return Err(ControlError::Unknown(format!("account {account}")));
        }
        self.grants.codes.retain(|_, code| code.access.expires > now);
        if self.grants.codes.len() >= limits::CODES {
            return Err(ControlError::Conflict(
                "too many codes are waiting to be exchanged".into(),
            ));
        }
        let code = self.mint.token("code");
        self.grants.codes.insert(
            code.clone(),
            Code {
                access: Access {
                    client_key: consent.client_key.clone(),
                    account: account.to_owned(),
                    scopes,
                    expires: now.plus_ms(CODE_MS),
                },
                redirect_uri: consent.redirect_uri.clone(),
            },
        );
        Ok(code)
    }

    pub(super) fn app_with_secret(&self, client_key: &str, secret: &str) -> Result<&App, Refusal> {
        self.apps
            .get(client_key)
            .filter(|app| app.secret == secret)
            .ok_or_else(Refusal::bad_app)
    }

    fn client(&self, call: &mut Call<'_>) -> Result<String, Refusal> {
        let client_key = call.params.text("client_id")?;
        self.app_with_secret(client_key, call.params.text("client_secret")?)?;
        call.trace.client_key = Some(client_key.to_owned());
        Ok(client_key.to_owned())
    }

    pub(crate) fn exchange_code(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let client_key = self.client(call)?;
        if call.params.text("grant_type")? != "authorization_code" {
            return Err(Refusal::bad_grant_type());
        }
        let code = call.params.text("auth_code")?;
        let redirect_uri = call.params.text("redirect_uri")?;
        let known = self
            .grants
            .codes
            .get(code)
            .filter(|known| known.access.client_key == client_key && known.access.expires > call.now)
            .ok_or_else(Refusal::bad_code)?;
        if known.redirect_uri != redirect_uri {
            return Err(Refusal::invalid("redirect_uri"));
        }
        let granted = known.access.clone();
        self.grants.codes.remove(code);
        call.trace.account = Some(granted.account.clone());
        Ok(self.issue(&granted, call.now.plus_ms(REFRESH_MS), None, call.now))
    }

    pub(crate) fn refresh(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let client_key = self.client(call)?;
        if call.params.text("grant_type")? != "refresh_token" {
            return Err(Refusal::bad_grant_type());
        }
        let token = call.params.text("refresh_token")?;
        let known = self
            .grants
            .refresh
            .get(token)
            .filter(|known| known.client_key == client_key)
            .ok_or_else(Refusal::bad_refresh)?;
        if known.expires <= call.now {
            return Err(Refusal::refresh_expired());
        }
        let granted = known.clone();
        call.trace.account = Some(granted.account.clone());
        let keep = if self.settings.rotate_refresh_tokens {
            self.grants.refresh.remove(token);
            None
        } else {
            Some(token.to_owned())
        };
        // The year runs from the consent: a refresh does not renew it.
        Ok(self.issue(&granted, granted.expires, keep, call.now))
    }

    fn issue(&mut self, granted: &Access, refresh_expires: Timestamp, keep: Option<String>, now: Timestamp) -> Value {
        let access_token = self.mint.token("act");
        let refresh_token = keep.unwrap_or_else(|| self.mint.token("rft"));
        self.grants.add(
            access_token.clone(),
            Access {
                expires: now.plus_ms(ACCESS_MS),
                ..granted.clone()
            },
            refresh_token.clone(),
            Access {
                expires: refresh_expires,
                ..granted.clone()
            },
        );
        self.revision += 1;
        json!({
            "access_token": access_token,
            "expires_in": ACCESS_MS / 1000,
            "open_id": self.mint.open_id(&granted.client_key, &granted.account),
            "refresh_token": refresh_token,
            "refresh_token_expires_in": (refresh_expires.ms() - now.ms()) / 1000,
            "scope": granted.scopes.join(","),
            "token_type": "Bearer",
        })
    }

    pub(crate) fn revoke(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let client_key = self.client(call)?;
        let known = self
            .grants
            .access
            .get(call.params.text("access_token")?)
            .filter(|known| known.client_key == client_key && known.expires > call.now)
            .ok_or_else(Refusal::bad_token)?;
        let account = known.account.clone();
        call.trace.account = Some(account.clone());
        self.grants.revoke(&client_key, &account);
        self.revision += 1;
        Ok(json!({}))
    }

    pub(crate) fn token_info(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let app_id = call.params.text("app_id")?;
        let known = self
            .grants
            .access
            .get(call.params.text("access_token")?)
            .filter(|known| known.client_key == app_id && known.expires > call.now)
            .ok_or_else(Refusal::bad_token)?;
        call.trace.client_key = Some(app_id.to_owned());
        call.trace.account = Some(known.account.clone());
        Ok(json!({
            "app_id": app_id,
            "scope": known.scopes.join(","),
            "creator_id": self.mint.open_id(app_id, &known.account),
        }))
    }

    /// The owner of the account revokes the app's access in the TikTok app; without an app, every app's.
    ///
    /// # Errors
    /// There is no access to revoke.
    pub fn revoke_in_app(
        &mut self,
        account: &str,
        client_key: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<String>, ControlError> {
        if !self.accounts.contains_key(account) {
            return Err(ControlError::Unknown(format!("account {account}")));
        }
        let apps: Vec<String> = self
            .grants
            .apps_of(account)
            .into_iter()
            .filter(|app| client_key.is_none_or(|wanted| wanted == app))
            .collect();
        if apps.is_empty() {
            return Err(ControlError::Conflict(format!("{account} has authorized no such app")));
        }
        for app in &apps {
            if self.settings.authorization_removed {
                self.notify_authorization_removed(app, account, now);
            }
            self.grants.revoke(app, account);
        }
        self.revision += 1;
        Ok(apps)
    }

    /// The account of a valid access token, for the download of a file.
    pub(super) fn account_of_token(&self, token: &str, now: Timestamp) -> Option<&str> {
        self.grants
            .access
            .get(token)
            .filter(|known| known.expires > now)
            .map(|known| known.account.as_str())
    }

    /// The apps that receive an account's messages, each with its id for the account.
    pub(super) fn subscribers(&self, account: &str, now: Timestamp) -> Vec<(String, String)> {
        if !self
            .accounts
            .get(account)
            .is_some_and(super::people::Account::may_message)
        {
            return Vec::new();
        }
        self.apps
            .values()
            .filter(|app| {
                app.subscriptions.contains_key(&Category::DirectMessage)
                    && self.grants.is_subscribed(&app.client_key, account, now)
            })
            .map(|app| (app.client_key.clone(), self.mint.open_id(&app.client_key, account)))
            .collect()
    }

    /// The check before every `/business/*` call: token, rate, scope (any one of `scopes`), own account.
    pub(super) fn admit(&mut self, call: &mut Call<'_>, scopes: &[&str]) -> Result<Caller, Refusal> {
        let token = call
            .token
            .filter(|token| !token.is_empty())
            .ok_or_else(Refusal::no_token)?;
        let known = self
            .grants
            .access
            .get(token)
            .filter(|known| known.expires > call.now)
            .ok_or_else(Refusal::bad_token)?;
        let app = self.apps.get_mut(&known.client_key).ok_or_else(Refusal::bad_token)?;
        call.trace.client_key = Some(known.client_key.clone());
        call.trace.account = Some(known.account.clone());
        if !app.rate.take(call.now) {
            return Err(Refusal::too_frequent());
        }
        if !scopes.is_empty()
            && !scopes
                .iter()
                .any(|scope| known.scopes.iter().any(|granted| granted == scope))
        {
            return Err(Refusal::forbidden(
                "You don't have permission: the access token lacks the scope.",
            ));
        }
        let open_id = self.mint.open_id(&known.client_key, &known.account);
        if call.params.text("business_id")? != open_id {
            return Err(Refusal::forbidden("You don't have permission to this business_id."));
        }
        Ok(Caller {
            account: known.account.clone(),
            open_id,
            scopes: known.scopes.clone(),
        })
    }

    /// [`World::admit`] for calls about messages, which only some accounts may use.
    pub(super) fn admit_messaging(&mut self, call: &mut Call<'_>, scopes: &[&str]) -> Result<Caller, Refusal> {
        let caller = self.admit(call, scopes)?;
        let account = self.accounts.get(&caller.account).ok_or_else(Refusal::bad_token)?;
        if !account.business {
            return Err(Refusal::forbidden(
                "You don't have permission: this is not a Business Account.",
            ));
        }
        if !account.may_message() {
            return Err(Refusal::forbidden(
                "You don't have permission: direct messages are not available in this account's region.",
            ));
        }
        Ok(caller)
    }
}
