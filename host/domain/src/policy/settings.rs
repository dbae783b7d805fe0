//! What the operator sets for all channels of an app, where the platform's published rules leave a choice or have moved since
//! the connector's release. It may loosen: whoever may put an app answers for it. Narrower rules for one channel are its
//! [`crate::channel::PolicyOverride`].
//!
//! The settings stand in the app's document beside the connector's own.

use std::num::NonZeroU32;

use serde::Deserialize;

use crate::manifest::EntryKind;
use crate::message::{ContentKind, Origin};

/// What an app's settings say to the host's own rules. Whatever is left out is as the connector declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AppSettings {
    /// Kinds of content that are off by default: `shared_post`.
    pub allow: Vec<ContentKind>,
    /// Countries that the platform has opened since its list was published (ISO 3166-1 alpha-2).
    pub allow_countries: Vec<String>,
    /// Whose messages count against the budget besides the host's own: `app`, `web`, `automation`.
    pub budget_counts: Option<Vec<Origin>>,
    /// Another message budget than the published one.
    pub budget_limit: Option<u32>,
    /// Whether the budget holds only until the contact first answers the business; then the window alone holds. TikTok's own pages
    /// can be read either way.
    pub budget_until_reply: bool,
    /// The rate that the platform grants this app, where that is not the manifest's: by tier or by contract, so only the
    /// operator knows.
    pub queries_per_second: Option<NonZeroU32>,
    /// Another size of the largest picture, in bytes: 3 MB may be read as 3,000,000 or 3,145,728.
    pub image_max_bytes: Option<u64>,
    /// Whether a text with a link is refused rather than warned of.
    pub refuse_links: bool,
    /// Whether links that open the chat are offered; those to the profile always are.
    pub chat_link: Option<bool>,
    /// What a QR code opens when its request does not say.
    pub qr_target: Option<EntryKind>,
}
