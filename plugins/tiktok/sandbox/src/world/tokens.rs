//! Valid codes and tokens, and the scopes of each app for each account.

use std::collections::{HashMap, VecDeque};

use crate::clock::Timestamp;
use crate::limits;

#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) client_key: String,
    pub(super) account: String,
    pub(super) scopes: Vec<String>,
    pub(super) expires: Timestamp,
}

#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) access: Access,
    pub(super) redirect_uri: String,
}

/// One app's authorization by one account.
#[derive(Debug, Default)]
pub(super) struct Holding {
    pub(super) access: VecDeque<String>,
    pub(super) refresh: VecDeque<String>,
}

/// Every valid code and token.
#[derive(Default)]
pub struct Grants {
    pub(super) codes: HashMap<String, Code>,
    pub(super) access: HashMap<String, Access>,
    pub(super) refresh: HashMap<String, Access>,
    pub(super) holdings: HashMap<String, HashMap<String, Holding>>,
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants")
            .field("access", &self.access.len())
            .finish_non_exhaustive()
    }
}

impl Grants {
    /// The apps with a token of the account.
    pub(super) fn apps_of(&self, account: &str) -> Vec<String> {
        let mut apps: Vec<_> = self
            .holdings
            .get(account)
            .into_iter()
            .flatten()
            .map(|(client_key, _)| client_key.clone())
            .collect();
        apps.sort();
        apps
    }

    /// Whether the app may receive the account's messages: a valid refresh token with the read scope.
    pub(super) fn is_subscribed(&self, client_key: &str, account: &str, now: Timestamp) -> bool {
        self.holdings
            .get(account)
            .and_then(|apps| apps.get(client_key))
            .and_then(|holding| holding.refresh.back())
            .and_then(|token| self.refresh.get(token))
            .is_some_and(|grant| grant.expires > now && grant.scopes.iter().any(|scope| scope == "message.list.read"))
    }

    pub(super) fn add(&mut self, access_token: String, access: Access, refresh_token: String, refresh: Access) {
        let holding = self
            .holdings
            .entry(access.account.clone())
            .or_default()
            .entry(access.client_key.clone())
            .or_default();
        remember(&mut holding.access, &mut self.access, access_token, access);
        remember(&mut holding.refresh, &mut self.refresh, refresh_token, refresh);
    }

    pub(super) fn revoke(&mut self, client_key: &str, account: &str) -> bool {
        let Some(holding) = self.holdings.get_mut(account).and_then(|apps| apps.remove(client_key)) else {
            return false;
        };
        for token in holding.access {
            self.access.remove(&token);
        }
        for token in holding.refresh {
            self.refresh.remove(&token);
        }
        true
    }
}

fn remember(order: &mut VecDeque<String>, tokens: &mut HashMap<String, Access>, token: String, access: Access) {
    if tokens.insert(token.clone(), access).is_none() {
        order.push_back(token);
    }
    // Only valid ones count: a rotated token was removed from the map already.
    order.retain(|token| tokens.contains_key(token));
    while order.len() > limits::TOKENS {
        if let Some(oldest) = order.pop_front() {
            tokens.remove(&oldest);
        }
    }
}
