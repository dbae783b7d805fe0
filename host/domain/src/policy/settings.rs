//! The operator's settings for all channels of an app, where the platform's published rules leave a choice or have
//! changed since the connector's release. They may loosen: any key that may change an app is responsible. Narrower
//! rules for one channel are its [`crate::channel::PolicyOverride`].
//!
//! The settings are in the app's document together with the connector's own.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::manifest::EntryKind;
use crate::message::{ContentKind, Origin};

/// An app's settings for the host's own rules. Members that are left out have the connector's value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AppSettings {
    /// Kinds of content that are off by default: `shared_post`.
    pub allow: Vec<ContentKind>,
    /// Countries that the platform has allowed since its list was published (ISO 3166-1 alpha-2).
    pub allow_countries: Vec<String>,
    /// Origins whose messages count against the budget besides the host's own: `app`, `web`, `automation`.
    pub budget_counts: Option<Vec<Origin>>,
    /// A message budget that replaces the published one.
    pub budget_limit: Option<u32>,
    /// Whether the budget applies only until the contact first replies; after that only the window applies. TikTok's
    /// own pages can be read either way.
    pub budget_until_reply: bool,
    /// The rate that the platform grants this app, if it differs from the manifest's: by tier or by contract, so only
    /// the operator knows it.
    pub queries_per_second: Option<NonZeroU32>,
    /// The largest picture in bytes, replacing the published size: 3 MB may be read as 3,000,000 or 3,145,728.
    pub image_max_bytes: Option<u64>,
    /// Whether a text with a link is refused instead of a warning.
    pub refuse_links: bool,
    /// Whether links that open the chat are offered; those to the profile always are.
    pub chat_link: Option<bool>,
    /// The default target of a QR code.
    pub qr_target: Option<EntryKind>,
}
