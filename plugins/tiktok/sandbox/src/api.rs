//! The table of TikTok's API: every call with its method, path and implementation.

use serde::Serialize;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::params::Params;
use crate::refusal::Refusal;
use crate::world::World;
use crate::world::outbox::DeliveryId;

/// The path prefix of every call.
pub const PREFIX: &str = "/open_api/v1.3";

/// The method of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Parameters in the query.
    Get,
    /// Parameters in a JSON body.
    Post,
    /// Either: TikTok's page documents POST, its examples use GET.
    Both,
}

macro_rules! api {
    ($($(#[$doc:meta])* $variant:ident $name:literal $method:ident $path:literal => $world:ident;)*) => {
        /// One call of the API, other than the upload of a file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Api { $($(#[$doc])* $variant,)* }

        impl Api {
            /// Every call.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in faults and in the call log.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The path after [`PREFIX`].
            pub fn path(self) -> &'static str {
                match self { $(Self::$variant => $path),* }
            }

            /// Its method.
            pub fn method(self) -> Method {
                match self { $(Self::$variant => Method::$method),* }
            }

            /// Executes it: returns the response's `data`, or the refusal.
            ///
            /// # Errors
            /// TikTok's refusal of this call.
            pub fn perform(self, world: &mut World, call: &mut Call<'_>) -> Result<Value, Refusal> {
                match self { $(Self::$variant => world.$world(call)),* }
            }
        }
    };
}

api! {
    /// Token exchange.
    Token "token" Post "/tt_user/oauth2/token/" => exchange_code;
    /// Refresh.
    Refresh "refresh" Post "/tt_user/oauth2/refresh_token/" => refresh;
    /// Revoke.
    Revoke "revoke" Post "/tt_user/oauth2/revoke/" => revoke;
    /// Token info.
    TokenInfo "token_info" Post "/tt_user/token_info/get/" => token_info;
    /// The account's profile.
    Profile "profile" Get "/business/get/" => profile;
    /// Conversations.
    ConversationList "conversation_list" Get "/business/message/conversation/list/" => conversation_list;
    /// Messages of a conversation.
    ContentList "content_list" Get "/business/message/content/list/" => content_list;
    /// Whether images work in a conversation.
    Capabilities "capabilities" Get "/business/message/capabilities/get/" => capabilities;
    /// A message, a typing indicator or a read receipt.
    Send "send" Post "/business/message/send/" => send;
    /// The URL of a received file.
    Download "download" Post "/business/message/media/download/" => download;
    /// Create or replace a webhook subscription.
    WebhookUpdate "webhook_update" Post "/business/webhook/update/" => webhook_update;
    /// Read a webhook subscription.
    WebhookList "webhook_list" Get "/business/webhook/list/" => webhook_list;
    /// Delete a webhook subscription.
    WebhookDelete "webhook_delete" Post "/business/webhook/delete/" => webhook_delete;
    /// Create an automatic message.
    AutoCreate "auto_message_create" Post "/business/message/auto_message/create/" => auto_create;
    /// Change an automatic message.
    AutoUpdate "auto_message_update" Post "/business/message/auto_message/update/" => auto_update;
    /// Switch a type of automatic message on or off.
    AutoStatus "auto_message_status" Post "/business/message/auto_message/status/update/" => auto_status;
    /// Read automatic messages.
    AutoGet "auto_message_get" Both "/business/message/auto_message/get/" => auto_get;
    /// Delete an automatic message.
    AutoDelete "auto_message_delete" Post "/business/message/auto_message/delete/" => auto_delete;
    /// Order the chat prompts.
    AutoSort "auto_message_sort" Post "/business/message/auto_message/sort/" => auto_sort;
    /// Switch Comment-to-Message on or off.
    DirectReplyUpdate "direct_reply_update" Post "/business/message/direct_reply/update/" => direct_reply_update;
    /// Whether Comment-to-Message is on.
    DirectReplyGet "direct_reply_get" Get "/business/message/direct_reply/get/" => direct_reply_get;
}

/// The upload's name and path; it is the one call that is not JSON.
pub const UPLOAD: (&str, &str) = ("upload", "/business/message/media/upload/");
/// The name of the download of a file's bytes in the log and in faults.
pub const MEDIA: &str = "media";

/// One call while it is served: its time, token, input, and log entry.
#[derive(Debug)]
pub struct Call<'a> {
    /// The virtual time at which it is evaluated.
    pub now: Timestamp,
    /// The `Access-Token` header.
    pub token: Option<&'a str>,
    /// The request.
    pub params: &'a Params,
    /// The log entry.
    pub trace: Trace,
}

impl<'a> Call<'a> {
    /// A call at `now`.
    pub fn new(now: Timestamp, token: Option<&'a str>, params: &'a Params) -> Self {
        Self {
            now,
            token,
            params,
            trace: Trace::default(),
        }
    }
}

/// The recorded facts of a call besides its response. Contains no secret and no text of a message.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Trace {
    /// The app that called.
    pub client_key: Option<String>,
    /// The account it called for.
    pub account: Option<String>,
    /// The conversation of the call.
    pub conversation: Option<String>,
    /// The message it created.
    pub message_id: Option<String>,
    /// The kind of message that it created.
    pub message_type: Option<&'static str>,
    /// Echoes for which the response must wait.
    #[serde(skip)]
    pub early_echoes: Vec<DeliveryId>,
}

/// One line of the call log.
#[derive(Debug, Clone, Serialize)]
pub struct CallRecord {
    /// The call's name.
    pub api: &'static str,
    /// When it was evaluated, in virtual milliseconds.
    pub time_ms: i64,
    /// TikTok's code in the response; null if the response had no envelope.
    pub code: Option<i64>,
    /// The HTTP status; null when the connection was closed without a response.
    pub status: Option<u16>,
    /// The fault that was injected.
    pub fault: Option<String>,
    /// Further facts.
    #[serde(flatten)]
    pub trace: Trace,
}
