//! TikTok's gateway: addresses, the envelope of every response, and calls that parse it.

use weir_sdk::Repeat;
use weir_sdk::http::{self, Response};
use weir_sdk::json::Fields;
use weir_sdk::types::Failure;

use crate::errors;

/// The API's origin.
pub const ORIGIN: &str = "https://business-api.tiktok.com";
/// The prefix of every path. Paths end in a slash; without it the gateway finds no route.
pub const BASE: &str = "/open_api/v1.3";

/// Send a message to a conversation.
pub const SEND: &str = "/business/message/send/";
/// Upload an image.
pub const UPLOAD: &str = "/business/message/media/upload/";
/// Download an image or a video from a message.
pub const DOWNLOAD: &str = "/business/message/media/download/";
/// Check the capability of a Business Account for a conversation.
pub const CAPABILITIES: &str = "/business/message/capabilities/get/";
/// Get a list of conversations.
pub const CONVERSATIONS: &str = "/business/message/conversation/list/";
/// Get a list of messages.
pub const MESSAGES: &str = "/business/message/content/list/";
/// Get profile data of a TikTok account.
pub const ACCOUNT: &str = "/business/get/";
/// Get the permissions of a token.
pub const TOKEN_INFO: &str = "/tt_user/token_info/get/";
/// Get the webhook configuration of an app.
pub const WEBHOOK_LIST: &str = "/business/webhook/list/";
/// Create or update the webhook configuration of an app.
pub const WEBHOOK_UPDATE: &str = "/business/webhook/update/";
/// Automatic messages, each call below this.
pub const AUTO_MESSAGE: &str = "/business/message/auto_message";
/// Comment-to-Message, each call below this.
pub const DIRECT_REPLY: &str = "/business/message/direct_reply";
/// The one event category that this connector subscribes to.
pub const DIRECT_MESSAGE: &str = "DIRECT_MESSAGE";

/// A POST to a path of the API.
#[must_use]
pub fn post(path: &str) -> http::Draft {
    http::post(&url(path))
}

/// A GET of a path of the API.
#[must_use]
pub fn get(path: &str) -> http::Draft {
    http::get(&url(path))
}

/// The URL of a path of the API.
#[must_use]
pub fn url(path: &str) -> String {
    format!("{ORIGIN}{BASE}{path}")
}

/// Makes a call that may be repeated, and returns the `data` of its response.
///
/// # Errors
/// The meaning of TikTok's code, or of a missing response, for a call that may be repeated.
pub fn ask(call: http::Draft) -> Result<Fields, Failure> {
    data(call, Repeat::Safe).map(|answer| answer.data)
}

/// A successful response.
pub struct Answer {
    /// Its `data`; empty if TikTok returns none, or `null`.
    pub data: Fields,
    /// The id that TikTok's support needs.
    pub request_id: Option<String>,
}

/// Makes a call and parses the envelope of its response.
///
/// # Errors
/// The meaning of TikTok's code, or of a missing or unreadable response, for a call that may or may not be repeated.
pub fn data(call: http::Draft, repeat: Repeat) -> Result<Answer, Failure> {
    let response = call.fetch().map_err(|error| Failure::without_answer(&error, repeat))?;
    read(&response, repeat)
}

/// The verdict follows from the envelope's `code`; refused calls return HTTP 200. Only for a response without an
/// envelope (a gateway's page, half a body) does the HTTP status decide.
fn read(response: &Response, repeat: Repeat) -> Result<Answer, Failure> {
    let envelope = response
        .json()
        .and_then(|mut envelope| envelope.number("code").map(|code| (code, envelope)));
    let Some((code, mut envelope)) = envelope else {
        return Err(errors::unreadable(response.status, repeat));
    };
    let request_id = envelope.filled_text("request_id");
    if code == 0 {
        return Ok(Answer {
            data: envelope.fields("data").unwrap_or_default(),
            request_id,
        });
    }
    let message = envelope.text("message").unwrap_or_default();
    Err(errors::refused(code, message, request_id, repeat))
}
