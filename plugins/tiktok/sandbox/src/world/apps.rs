//! Developer apps: their scopes, redirect addresses and rates.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::subscription::Category;
use crate::clock::Timestamp;
use crate::limits;

/// A request to create or replace an app.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppOrder {
    /// The app's id, a decimal string.
    pub client_key: String,
    /// Its secret.
    pub client_secret: String,
    /// Its name on the consent page.
    #[serde(default)]
    pub name: Option<String>,
    /// Exact addresses it may redirect to; none: any loopback address.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The scopes it was approved for.
    pub scopes: Vec<String>,
    /// Queries per second; null lifts the limit.
    #[serde(default = "ten_per_second")]
    pub qps: Option<u32>,
}

#[expect(clippy::unnecessary_wraps, reason = "serde requires the field's own type")]
fn ten_per_second() -> Option<u32> {
    Some(limits::QUERIES_PER_SECOND)
}

/// A developer's app.
pub struct App {
    pub(super) client_key: String,
    pub(super) secret: String,
    pub(super) name: String,
    pub(super) redirect_uris: Vec<String>,
    pub(super) scopes: Vec<String>,
    pub(super) rate: Rate,
    pub(super) subscriptions: HashMap<Category, String>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("client_key", &self.client_key)
            .finish_non_exhaustive()
    }
}

impl App {
    /// The app as ordered, with no subscription.
    pub(super) fn new(order: AppOrder, now: Timestamp) -> Self {
        Self {
            name: order.name.unwrap_or_else(|| order.client_key.clone()),
            client_key: order.client_key,
            secret: order.client_secret,
            redirect_uris: order.redirect_uris,
            scopes: order.scopes,
            rate: Rate::new(order.qps, now),
            subscriptions: HashMap::new(),
        }
    }

    /// Sets its queries per second.
    pub(super) fn limit_to(&mut self, qps: Option<u32>) {
        self.rate.qps = qps;
    }

    pub(super) fn show(&self) -> Value {
        json!({
            "client_key": self.client_key,
            "name": self.name,
            "redirect_uris": self.redirect_uris,
            "scopes": self.scopes,
            "qps": self.rate.qps,
            "subscriptions": self.subscriptions.iter()
                .map(|(category, url)| (category.name().to_owned(), url.clone().into()))
                .collect::<serde_json::Map<_, _>>(),
        })
    }

    pub(super) fn redirects_to(&self, uri: &str) -> bool {
        if self.redirect_uris.is_empty() {
            return is_loopback_http(uri);
        }
        self.redirect_uris.iter().any(|known| known == uri)
    }
}

/// Whether this is an `http` address on this machine.
pub(super) fn is_loopback_http(address: &str) -> bool {
    let Ok(url) = url::Url::parse(address) else {
        return false;
    };
    url.scheme() == "http"
        && match url.host() {
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

/// A token bucket of one second's worth, on the virtual clock.
#[derive(Debug)]
pub(super) struct Rate {
    qps: Option<u32>,
    /// Thousandths of a call that are available now.
    level: i64,
    at: Timestamp,
}

impl Rate {
    pub(super) fn new(qps: Option<u32>, now: Timestamp) -> Self {
        Self {
            qps,
            level: qps.map_or(0, |qps| i64::from(qps) * 1000),
            at: now,
        }
    }

    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let Some(qps) = self.qps.map(i64::from) else {
            return true;
        };
        let passed = (now.ms() - self.at.ms()).clamp(0, 1000);
        self.level = (self.level + passed * qps).min(qps * 1000);
        self.at = now;
        if self.level < 1000 {
            return false;
        }
        self.level -= 1000;
        true
    }
}
