//! TikTok's refusals: a code and a message inside an HTTP 200 response.
//!
//! Codes are those of TikTok's own SDK (class `NumericErrorCodes`) and of its Business Messaging
//! error table; texts are TikTok's where they are known.

use std::borrow::Cow;

/// TikTok's refusal of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// TikTok's code, never 0.
    pub code: i64,
    /// The message that accompanies the code.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// Any code with any text.
    pub fn new(code: i64, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// 40001: the app, the account or the token's scopes do not allow this.
    pub fn forbidden(why: &'static str) -> Self {
        Self::new(40001, why)
    }

    /// 40002 with TikTok's own message: `Param x is invalid.`
    pub fn invalid(param: &str) -> Self {
        Self::new(40002, format!("Param {param} is invalid."))
    }

    /// 40002: a required parameter is missing.
    pub fn missing(param: &str) -> Self {
        Self::new(40002, format!("Param {param} is required."))
    }

    /// 40002 with an explanation.
    pub fn parameter(why: impl Into<Cow<'static, str>>) -> Self {
        Self::new(40002, why)
    }

    /// 40007: no such object.
    pub fn not_exist(what: &str) -> Self {
        Self::new(40007, format!("{what} does not exist."))
    }

    /// 40064: window closed, quota used or conversation cold; TikTok has one code and one text for all.
    pub fn messaging_rules() -> Self {
        Self::new(40064, "You are sending messages too fast. Take a rest.")
    }

    /// 40064 with the text seen when a region does not allow images.
    pub fn media_strategy() -> Self {
        Self::new(40064, "Due to Media send strategy")
    }

    /// 40064 with the text seen when the recipient's account is flagged.
    pub fn risk_control() -> Self {
        Self::new(40064, "Due to risk control strategy.")
    }

    /// 40100: over the app's queries per second.
    pub fn too_frequent() -> Self {
        Self::new(40100, "App reaches the QPS limit.")
    }

    /// 40101: app id and secret do not match.
    pub fn bad_app() -> Self {
        Self::new(40101, "The app id or secret is incorrect.")
    }

    /// 40103: the refresh token's year has ended.
    pub fn refresh_expired() -> Self {
        Self::new(40103, "Refresh token is expired.")
    }

    /// 40104: no `Access-Token` header.
    pub fn no_token() -> Self {
        Self::new(40104, "Access token is empty.")
    }

    /// 40105: wrong, expired or revoked.
    pub fn bad_token() -> Self {
        Self::new(40105, "Access token is incorrect or has been revoked.")
    }

    /// 40107: unknown, rotated away or revoked.
    pub fn bad_refresh() -> Self {
        Self::new(40107, "Refresh token is invalid.")
    }

    /// 40108: not the grant type of this endpoint.
    pub fn bad_grant_type() -> Self {
        Self::new(40108, "Grant type is invalid.")
    }

    /// 40110: the code is unknown, used or expired.
    pub fn bad_code() -> Self {
        Self::new(40110, "Auth code is incorrect, used or expired.")
    }

    /// 40906: the file is empty.
    pub fn file_empty() -> Self {
        Self::new(40906, "The file is empty.")
    }

    /// 40907: over 3 MB.
    pub fn file_too_large() -> Self {
        Self::new(40907, "The file is too large.")
    }

    /// 40908: neither JPG nor PNG.
    pub fn file_type() -> Self {
        Self::new(40908, "The file type is not supported.")
    }
}
