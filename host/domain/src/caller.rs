//! Authentication and authorization of the API's callers.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use utoipa::ToSchema;

use crate::id::{ChannelId, KeyId, Mint};
use crate::message::Origin;
use crate::time::Timestamp;

/// What an API key may do. `read` covers reading; each other scope names what it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub enum Scope {
    /// Full access, including keys.
    #[serde(rename = "admin")]
    Admin,
    /// Reads of everything but secrets.
    #[serde(rename = "read")]
    Read,
    /// Sends, cancels, marks read, uploads.
    #[serde(rename = "messages:write")]
    MessagesWrite,
    /// Connects, changes and deletes channels; contacts.
    #[serde(rename = "channels:write")]
    ChannelsWrite,
    /// Endpoints and dead letters.
    #[serde(rename = "events:write")]
    EventsWrite,
    /// Apps; in the operator's workspace connectors too.
    #[serde(rename = "connectors:write")]
    ConnectorsWrite,
    /// Loosening a policy that an operator tightened.
    #[serde(rename = "policy:loosen")]
    PolicyLoosen,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Admin,
        Self::Read,
        Self::MessagesWrite,
        Self::ChannelsWrite,
        Self::EventsWrite,
        Self::ConnectorsWrite,
        Self::PolicyLoosen,
    ];

    /// Whether a key that is bound to channels may have it: its actions are within a channel.
    pub fn is_within_channels(self) -> bool {
        match self {
            Self::Read | Self::MessagesWrite | Self::ChannelsWrite | Self::PolicyLoosen => true,
            Self::Admin | Self::EventsWrite | Self::ConnectorsWrite => false,
        }
    }

    /// The name, as in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Read => "read",
            Self::MessagesWrite => "messages:write",
            Self::ChannelsWrite => "channels:write",
            Self::EventsWrite => "events:write",
            Self::ConnectorsWrite => "connectors:write",
            Self::PolicyLoosen => "policy:loosen",
        }
    }
}

/// The workspace that always exists. The operator of the host uses it: connectors, transcripts, other workspaces and
/// origins on this machine are for its keys only.
pub const OPERATORS_WORKSPACE: &str = "default";

/// A key as stored: only its digest, never the key. A fast digest is sufficient for a random key of 256 bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// The workspace that it acts for.
    pub workspace_id: String,
    /// Its name.
    pub name: String,
    /// The first characters, by which it is found and recognized.
    pub prefix: String,
    /// The SHA-256 of the whole key.
    pub digest: [u8; 32],
    /// Its scopes.
    pub scopes: BTreeSet<Scope>,
    /// The channels that it is bound to; the whole workspace if empty.
    pub channels: BTreeSet<ChannelId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Characters of a key by which it is found: long enough to be unique, short enough to be shown.
pub const KEY_PREFIX_CHARS: usize = 16;

/// A new key's text: `weir_` and 256 random bits. Shown once.
pub fn new_key(mint: &Mint) -> String {
    let mut bytes = [0; 32];
    mint.fill(&mut bytes);
    format!("weir_{}", hex::encode(bytes))
}

/// The digest under which a key is stored.
pub fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The prefix by which a key is found; `None` if the text is too short for a key.
pub fn prefix(key: &str) -> Option<&str> {
    key.get(..KEY_PREFIX_CHARS)
}

/// A browser session as stored: only its digest, never the session's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The SHA-256 of the text in the browser's cookie.
    pub digest: [u8; 32],
    /// The key that it was started with, which it never outlives.
    pub key: Key,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// A new session's text: 256 random bits, for a cookie.
pub fn new_session(mint: &Mint) -> String {
    let mut bytes = [0; 32];
    mint.fill(&mut bytes);
    hex::encode(bytes)
}

/// The token that Weir's page sends with its session, so that another site's page, whose requests include the cookie
/// but which cannot read the responses, can change nothing.
pub fn csrf_token(session: &str) -> String {
    hex::encode(digest(&format!("weir csrf token of {session}")))
}

/// The credentials of a request with a session.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The session's text.
    pub session: &'a str,
    /// The [`csrf_token`], if sent.
    pub csrf_token: Option<&'a str>,
    /// Whether the request may change data.
    pub changes: bool,
}

/// A caller whose key was verified. Constructed only by [`authenticate`] and [`resume`].
#[derive(Clone, Debug)]
pub struct Caller {
    workspace_id: String,
    key: KeyId,
    key_name: String,
    scopes: BTreeSet<Scope>,
    channels: BTreeSet<ChannelId>,
    origin: Origin,
    ends_at: Option<Timestamp>,
}

impl Caller {
    /// The workspace that they act for.
    pub fn workspace_id(&self) -> &str {
        &self.workspace_id
    }

    /// Their key.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The origin of their messages: the API, or the console.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// When their key or session expires.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.ends_at
    }

    /// Their scopes.
    pub fn scopes(&self) -> &BTreeSet<Scope> {
        &self.scopes
    }

    /// The name of their key.
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// The channels that their key is bound to; the whole workspace if empty.
    pub fn channels(&self) -> &BTreeSet<ChannelId> {
        &self.channels
    }

    /// Whether they have `scope`, for an action in a channel that they [see](Self::sees).
    ///
    /// # Errors
    /// The missing scope.
    pub fn may(&self, scope: Scope) -> Result<(), Denied> {
        if self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin) {
            Ok(())
        } else {
            Err(Denied::Scope { scope: scope.as_str() })
        }
    }

    /// Whether they have `scope`, for an action on their whole workspace.
    ///
    /// # Errors
    /// The scope is missing, or the key is bound to channels.
    pub fn may_in_workspace(&self, scope: Scope) -> Result<(), Denied> {
        self.may(scope)?;
        if self.channels.is_empty() {
            Ok(())
        } else {
            Err(Denied::Bound)
        }
    }

    /// Whether they have `scope`, for an action on the host and every workspace.
    ///
    /// # Errors
    /// They may not do it in their workspace, or that is not the [operator's](OPERATORS_WORKSPACE).
    pub fn may_on_host(&self, scope: Scope) -> Result<(), Denied> {
        self.may_in_workspace(scope)?;
        if self.workspace_id == OPERATORS_WORKSPACE {
            Ok(())
        } else {
            Err(Denied::NotOperator)
        }
    }

    /// The workspace of a request, which may name another than theirs if they may do this on the host.
    ///
    /// # Errors
    /// It names another, and they may not.
    pub fn workspace_of(&self, named: Option<&str>, scope: Scope) -> Result<String, Denied> {
        match named {
            Some(other) if other != self.workspace_id => self.may_on_host(scope).map(|()| other.to_owned()),
            _ => self.may_in_workspace(scope).map(|()| self.workspace_id.clone()),
        }
    }

    /// Whether their key covers an object of their workspace. `channel` is the object's channel; an object without one
    /// belongs to the workspace.
    pub fn sees(&self, channel: Option<ChannelId>) -> bool {
        self.channels.is_empty() || channel.is_some_and(|channel| self.channels.contains(&channel))
    }

    /// The channels to read for a request of `wanted`, or of all that they see; the whole workspace if empty. `None` if
    /// they do not see the wanted one.
    pub fn narrowed(&self, wanted: Option<ChannelId>) -> Option<BTreeSet<ChannelId>> {
        match wanted {
            Some(channel) => self.sees(wanted).then(|| [channel].into()),
            None => Some(self.channels.clone()),
        }
    }
}

/// Why a caller is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No key, or an unknown one.
    #[error("the API key is missing or unknown; send it as Authorization: Bearer <key>")]
    Unknown,
    /// The key has expired or was revoked.
    #[error("the API key has expired or was revoked; make a new one")]
    Ended,
    /// The session has expired or was ended.
    #[error("the session has ended; sign in again")]
    SignedOut,
    /// The request did not come from a page of Weir.
    #[error("the request has a session but not its token; send X-CSRF-Token as returned by GET /v1/session")]
    CrossSite,
    /// The key is bound to channels.
    #[error("the API key is bound to channels, and this concerns the whole workspace; use a key that is bound to none")]
    Bound,
    /// The key is not the operator's.
    #[error(
        "this concerns the whole host; use a key of the workspace {OPERATORS_WORKSPACE:?}, which is its operator's"
    )]
    NotOperator,
    /// The key lacks a scope.
    #[error("the API key lacks the scope {scope}")]
    Scope {
        /// The missing scope.
        scope: &'static str,
    },
}

/// The caller with this key. `found` is the stored key with the same prefix; the comparison takes constant time.
///
/// # Errors
/// The key does not exist, or has ended.
pub fn authenticate(shown: &str, found: Option<&Key>, now: Timestamp) -> Result<Caller, Denied> {
    let key = found.ok_or(Denied::Unknown)?;
    if !bool::from(digest(shown).ct_eq(&key.digest)) {
        return Err(Denied::Unknown);
    }
    caller(key, Origin::Api, now)
}

/// The caller with this session. `found` is the stored session with the same digest.
///
/// # Errors
/// The session does not exist or has expired, its key has ended, or a change lacks the session's token.
pub fn resume(shown: Shown<'_>, found: Option<&Session>, now: Timestamp) -> Result<Caller, Denied> {
    let session = found.ok_or(Denied::SignedOut)?;
    if !bool::from(digest(shown.session).ct_eq(&session.digest)) || now >= session.expires_at {
        return Err(Denied::SignedOut);
    }
    let token = csrf_token(shown.session);
    let is_ours = |given: &str| bool::from(given.as_bytes().ct_eq(token.as_bytes()));
    if shown.changes && !shown.csrf_token.is_some_and(is_ours) {
        return Err(Denied::CrossSite);
    }
    let caller = caller(&session.key, Origin::Console, now)?;
    let end = session.expires_at;
    Ok(Caller {
        ends_at: Some(caller.ends_at.map_or(end, |of_key| of_key.min(end))),
        ..caller
    })
}

fn caller(key: &Key, origin: Origin, now: Timestamp) -> Result<Caller, Denied> {
    if key.revoked_at.is_some() || key.expires_at.is_some_and(|end| now >= end) {
        return Err(Denied::Ended);
    }
    Ok(Caller {
        workspace_id: key.workspace_id.clone(),
        key: key.id,
        key_name: key.name.clone(),
        scopes: key.scopes.clone(),
        channels: key.channels.clone(),
        origin,
        ends_at: key.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key {
            id: Mint::from_seed([1; 32]).id(Timestamp::from_millis(0)),
            workspace_id: "default".into(),
            name: "test".into(),
            prefix: prefix(text).expect("long enough").into(),
            digest: digest(text),
            scopes: [Scope::Read].into(),
            channels: BTreeSet::new(),
            created_at: Timestamp::from_millis(0),
            expires_at: Some(Timestamp::from_millis(1_000)),
            revoked_at: None,
        }
    }

    #[test]
    fn a_key_opens_the_door_until_it_ends_and_only_for_its_scopes() {
        let text = new_key(&Mint::from_seed([2; 32]));
        let found = key(&text);
        let caller = authenticate(&text, Some(&found), Timestamp::from_millis(999)).expect("the right key");
        assert_eq!(caller.may(Scope::Read), Ok(()));
        assert_eq!(caller.may(Scope::Admin), Err(Denied::Scope { scope: "admin" }));
        assert_eq!(
            authenticate(&text, Some(&found), Timestamp::from_millis(1_000)).err(),
            Some(Denied::Ended)
        );
    }

    #[test]
    fn a_key_reaches_its_channels_its_workspace_or_the_host() {
        let mint = Mint::from_seed([4; 32]);
        let (mine, other): (ChannelId, ChannelId) =
            (mint.id(Timestamp::from_millis(0)), mint.id(Timestamp::from_millis(1)));
        let of = |workspace: &str, scopes: &[Scope], channels: &[ChannelId]| Caller {
            workspace_id: workspace.to_owned(),
            key: mint.id(Timestamp::from_millis(0)),
            key_name: "key".to_owned(),
            scopes: scopes.iter().copied().collect(),
            channels: channels.iter().copied().collect(),
            origin: Origin::Api,
            ends_at: None,
        };
        let lacks = Err(Denied::Scope {
            scope: "connectors:write",
        });
        let write = Scope::ConnectorsWrite;
        for (caller, channel, workspace, host) in [
            (of("default", &[Scope::Admin], &[]), Ok(()), Ok(()), Ok(())),
            (of("default", &[write], &[]), Ok(()), Ok(()), Ok(())),
            (of("default", &[Scope::Read], &[]), lacks, lacks, lacks),
            (
                of("default", &[write], &[mine]),
                Ok(()),
                Err(Denied::Bound),
                Err(Denied::Bound),
            ),
            (
                of("acme", &[Scope::Admin], &[]),
                Ok(()),
                Ok(()),
                Err(Denied::NotOperator),
            ),
            (of("acme", &[write], &[]), Ok(()), Ok(()), Err(Denied::NotOperator)),
            (of("acme", &[Scope::Read], &[]), lacks, lacks, lacks),
        ] {
            let judged = (
                caller.may(write),
                caller.may_in_workspace(write),
                caller.may_on_host(write),
            );
            assert_eq!(judged, (channel, workspace, host), "{caller:?}");
            assert_eq!(caller.workspace_of(None, write).map(drop), workspace, "{caller:?}");
            assert_eq!(
                caller.workspace_of(Some(caller.workspace_id()), write).map(drop),
                workspace
            );
            assert_eq!(caller.workspace_of(Some("other"), write).map(drop), host, "{caller:?}");
        }
        let (all, one) = (of("acme", &[], &[]), of("acme", &[], &[mine]));
        for (caller, channel, sees) in [
            (&all, Some(mine), true),
            (&all, None, true),
            (&one, Some(mine), true),
            (&one, Some(other), false),
            (&one, None, false),
        ] {
            assert_eq!(caller.sees(channel), sees, "{channel:?}");
        }
        assert_eq!(all.narrowed(None), Some(BTreeSet::new()));
        assert_eq!(all.narrowed(Some(other)), Some([other].into()));
        assert_eq!(one.narrowed(None), Some([mine].into()));
        assert_eq!(one.narrowed(Some(mine)), Some([mine].into()));
        assert_eq!(one.narrowed(Some(other)), None, "never all of them");
    }

    #[test]
    fn session_ends_with_its_key_and_needs_its_token() {
        let at = Timestamp::from_millis;
        let text = new_session(&Mint::from_seed([3; 32]));
        let mut session = Session {
            digest: digest(&text),
            key: key(&new_key(&Mint::from_seed([2; 32]))),
            expires_at: at(500),
        };
        let shown = Shown {
            session: &text,
            csrf_token: None,
            changes: false,
        };
        let token = csrf_token(&text);
        let change = |csrf_token| Shown {
            csrf_token,
            changes: true,
            ..shown
        };
        let caller = resume(shown, Some(&session), at(499)).expect("signed in");
        assert_eq!((caller.origin(), caller.may(Scope::Read)), (Origin::Console, Ok(())));
        assert_eq!(caller.ends_at(), Some(at(500)), "the session ends before its key");
        assert!(resume(change(Some(&token)), Some(&session), at(499)).is_ok());
        let denied = |shown, session: &Session, ms| resume(shown, Some(session), at(ms)).err();
        assert_eq!(denied(change(None), &session, 0), Some(Denied::CrossSite));
        assert_eq!(denied(change(Some("")), &session, 0), Some(Denied::CrossSite));
        assert_eq!(denied(change(Some(&text)), &session, 0), Some(Denied::CrossSite));
        assert_eq!(denied(shown, &session, 500), Some(Denied::SignedOut));
        assert_eq!(resume(shown, None, at(0)).err(), Some(Denied::SignedOut));
        session.expires_at = at(5_000);
        assert_eq!(denied(shown, &session, 1_000), Some(Denied::Ended));
        session.digest[0] ^= 1;
        assert_eq!(denied(shown, &session, 0), Some(Denied::SignedOut));
    }

    #[test]
    fn a_key_with_the_right_prefix_and_a_wrong_end_is_unknown() {
        let text = new_key(&Mint::from_seed([2; 32]));
        let mut wrong = text.clone();
        wrong.replace_range(text.len() - 1.., if text.ends_with('0') { "1" } else { "0" });
        assert_eq!(
            authenticate(&wrong, Some(&key(&text)), Timestamp::from_millis(0)).err(),
            Some(Denied::Unknown)
        );
        assert_eq!(
            authenticate(&text, None, Timestamp::from_millis(0)).err(),
            Some(Denied::Unknown)
        );
    }
}
