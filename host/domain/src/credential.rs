//! Secrets in the host's hands: named, never printed, never given to a connector.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::ACCESS_TOKEN;
use crate::time::Timestamp;

/// A secret text. Its `Debug` shows nothing; [`Secret::expose`] is where to look for its uses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the place where it must be: a request that leaves, a MAC, a cipher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets that a call's requests may need, by the names that routes use: the app's, and the channel's access token.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The app's secrets alone.
    pub fn of_app(secrets: BTreeMap<String, Secret>) -> Self {
        Self(secrets)
    }

    /// With the channel's access token beside them.
    #[must_use]
    pub fn with_access_token(mut self, token: Secret) -> Self {
        self.0.insert(ACCESS_TOKEN.to_owned(), token);
        self
    }

    /// The secret of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// All of them, to be scrubbed out of what a connector gets to read.
    pub fn values(&self) -> impl Iterator<Item = &Secret> {
        self.0.values()
    }
}

/// What the platform gave a channel to act with. Kept encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Goes with each request.
    pub access_token: Secret,
    /// Renews it.
    pub refresh_token: Option<Secret>,
    /// When the access token dies.
    pub expires_at: Option<Timestamp>,
    /// When the refresh token dies.
    pub refresh_expires_at: Option<Timestamp>,
    /// When it was last renewed.
    pub renewed_at: Timestamp,
}
