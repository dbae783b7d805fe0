//! Secrets of the host: named, never printed, never passed to a connector.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::manifest::ACCESS_TOKEN;
use crate::time::Timestamp;

/// A secret text. Its `Debug` shows nothing; search for [`Secret::expose`] to find its uses.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the places that need it: a request, a MAC, a cipher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets that a call's requests may need, by the names that routes use: the app's, and the channel's access
/// token.
#[derive(Clone, Debug, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The app's secrets only.
    pub fn of_app(secrets: BTreeMap<String, Secret>) -> Self {
        Self(secrets)
    }

    /// Adds the channel's access token.
    #[must_use]
    pub fn with_access_token(mut self, token: Secret) -> Self {
        self.0.insert(ACCESS_TOKEN.to_owned(), token);
        self
    }

    /// The secret of this name.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// All of them, to be redacted from data that a connector can read.
    pub fn values(&self) -> impl Iterator<Item = &Secret> {
        self.0.values()
    }
}

/// Why a text cannot be a platform's secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MisshapenSecret {
    /// With an empty key, anyone could sign.
    #[error("the secret is empty")]
    Empty,
    /// Usually a line break, copied with it or read from a file.
    #[error("the secret begins or ends with white space; enter it without")]
    Surrounded,
    /// It is not allowed in a header.
    #[error("the secret contains a line break or another control character; enter it without")]
    Control,
}

impl Secret {
    /// Validates a secret as a person entered it. Platforms issue none with surrounding white space, so it was added by
    /// copying, and would make every use fail for an unclear reason.
    ///
    /// # Errors
    /// See [`MisshapenSecret`].
    pub fn check(&self) -> Result<(), MisshapenSecret> {
        let text = self.expose();
        if text.trim().is_empty() {
            Err(MisshapenSecret::Empty)
        } else if text.trim() != text {
            Err(MisshapenSecret::Surrounded)
        } else if text.contains(char::is_control) {
            Err(MisshapenSecret::Control)
        } else {
            Ok(())
        }
    }
}

/// A channel's tokens from the platform. Stored encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Sent with each request.
    pub access_token: Secret,
    /// Renews it.
    pub refresh_token: Option<Secret>,
    /// When the access token expires.
    pub expires_at: Option<Timestamp>,
    /// When the refresh token expires.
    pub refresh_expires_at: Option<Timestamp>,
    /// When it was last renewed.
    pub renewed_at: Timestamp,
}

/// A response of a platform's token endpoint, unchanged: members that it leaves out are `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// The tokens.
    pub credential: Credential,
    /// The scopes that the person granted, if the platform reports them.
    pub scopes: Option<Vec<String>>,
    /// The platform's id of the account, if the answer has it.
    pub platform_id: Option<String>,
}

/// A response for another account than the requested one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the platform returned a token of the account {answered}, not of {requested}; it was not used")]
pub struct OtherAccount {
    /// The account of the response.
    pub answered: String,
    /// The requested account.
    pub requested: String,
}

impl Tokens {
    /// Whether these are the tokens of `account`, if the response names one.
    ///
    /// # Errors
    /// They are another account's.
    pub fn check_account(&self, account: &str) -> Result<(), OtherAccount> {
        match self.platform_id.as_deref() {
            Some(answered) if answered != account => Err(OtherAccount {
                answered: answered.to_owned(),
                requested: account.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// The response to a renewal of `old`, which belongs to `account`. Platforms that do not rotate the refresh token
    /// leave it out, and some send it empty: the old one stays. A response without a lifetime gets the old one's.
    ///
    /// # Errors
    /// It is another account's.
    pub fn renew(self, old: &Credential, account: &str) -> Result<Credential, OtherAccount> {
        self.check_account(account)?;
        let new = self.credential;
        let same_life = || Some(new.renewed_at.after(old.expires_at?.since(old.renewed_at)));
        Ok(Credential {
            expires_at: new.expires_at.or_else(same_life),
            refresh_token: new.refresh_token.or_else(|| old.refresh_token.clone()),
            refresh_expires_at: new.refresh_expires_at.or(old.refresh_expires_at),
            access_token: new.access_token,
            renewed_at: new.renewed_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn credential(access: &str, refresh: Option<&str>, life: Option<u64>, at: i64) -> Credential {
        let renewed_at = Timestamp::from_millis(at);
        Credential {
            access_token: Secret::new(access),
            refresh_token: refresh.map(Secret::new),
            expires_at: life.map(|seconds| renewed_at.after(Duration::from_secs(seconds))),
            refresh_expires_at: None,
            renewed_at,
        }
    }

    fn answer(credential: Credential, account: Option<&str>) -> Tokens {
        Tokens {
            credential,
            scopes: None,
            platform_id: account.map(str::to_owned),
        }
    }

    #[test]
    fn what_an_answer_leaves_out_stays() {
        let mut old = credential("old", Some("works"), Some(86_400), 0);
        old.refresh_expires_at = Some(Timestamp::from_millis(9_000_000));
        let renewed = answer(credential("new", None, None, 5_000), Some("me"))
            .renew(&old, "me")
            .expect("the same account");
        assert_eq!(renewed.access_token, Secret::new("new"));
        assert_eq!(renewed.refresh_token, old.refresh_token);
        assert_eq!(renewed.refresh_expires_at, old.refresh_expires_at);
        assert_eq!(renewed.expires_at, Some(Timestamp::from_millis(86_405_000)));
    }

    #[test]
    fn a_rotated_token_takes_the_old_ones_place() {
        let old = credential("old", Some("old"), Some(60), 0);
        let new = credential("new", Some("rotated"), Some(120), 1_000);
        assert_eq!(answer(new.clone(), None).renew(&old, "me"), Ok(new));
    }

    #[test]
    fn another_accounts_token_is_refused() {
        let old = credential("old", Some("works"), None, 0);
        let refused = answer(credential("theirs", None, None, 0), Some("you")).renew(&old, "me");
        assert_eq!(refused.map_err(|other| other.answered), Err("you".to_owned()));
    }

    #[test]
    fn a_secret_with_blanks_around_it_is_refused() {
        for (text, wrong) in [
            ("", MisshapenSecret::Empty),
            (" \n", MisshapenSecret::Empty),
            ("secret\n", MisshapenSecret::Surrounded),
            ("secret\r\n", MisshapenSecret::Surrounded),
            (" secret", MisshapenSecret::Surrounded),
            ("secret\u{a0}", MisshapenSecret::Surrounded),
            ("se\ncret", MisshapenSecret::Control),
            ("se\u{0}cret", MisshapenSecret::Control),
        ] {
            assert_eq!(Secret::new(text).check(), Err(wrong), "{text:?}");
        }
        assert_eq!(Secret::new("two words").check(), Ok(()));
    }
}
