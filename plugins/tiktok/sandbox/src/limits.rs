//! Every limit of the sandbox, with its reason. TikTok's own limits name their source.

/// Characters of a text message (TikTok API reference, Send a message). TikTok does not define a character, so the
/// sandbox counts UTF-16 units, the strictest reading.
pub const TEXT_CHARACTERS: usize = 6_000;
/// Bytes of an image. TikTok documents "3 MB"; the smaller reading is enforced.
pub const IMAGE_BYTES: usize = 3_000_000;
/// Characters of a card's title.
pub const CARD_TITLE: usize = 40;
/// Characters of a button's title on a button card.
pub const BUTTON_CARD_BUTTON: usize = 20;
/// Characters of a button's title on a link card.
pub const LINK_CARD_BUTTON: usize = 40;
/// Characters of a button's id.
pub const BUTTON_ID: usize = 40;
/// Buttons of a card.
pub const BUTTONS: usize = 3;
/// Messages that content/list returns.
pub const CONTENT_LIST: usize = 20;
/// Conversations that conversation/list knows.
pub const CONVERSATION_LIST: usize = 100;
/// Characters of a link's `ref`.
pub const LINK_REF: usize = 2_083;
/// Calls per second of one app (TikTok API reference, messaging limits).
pub const QUERIES_PER_SECOND: u32 = 10;

/// A request body other than an upload: the largest text in JSON with every character escaped is under 100 kB.
pub const BODY_BYTES: usize = 1024 * 1024;
/// An upload's body: more than TikTok's limit, so that a file over it is refused by code and not by status.
pub const UPLOAD_BYTES: usize = 16 * 1024 * 1024;
/// Texts in an upload's form; TikTok knows two.
pub const FORM_FIELDS: usize = 16;
/// Open connections: more than any driver uses, fewer than a process may have descriptors.
pub const CONNECTIONS: usize = 4_096;
/// A request's head must arrive within this time, so half-open connections do not pile up.
pub const HEAD_TIMEOUT_SECS: u64 = 30;

/// Apps, all of which are searched for every event.
pub const APPS: usize = 64;
/// Business and personal accounts.
pub const ACCOUNTS: usize = 1_000;
/// People, and so chats: enough for load tests, about 100 MB when every chat is used.
pub const PEOPLE: usize = 20_000;
/// Chats over all accounts.
pub const CHATS: usize = 50_000;
/// Messages kept of one chat; the oldest are deleted first.
pub const CHAT_MESSAGES: usize = 2_000;
/// Messages kept over all chats before each chat keeps only its newest twenty; about 200 MB.
pub const ALL_MESSAGES: usize = 400_000;
/// Reactions kept on one message.
pub const REACTIONS: usize = 50;
/// Referrals kept of one chat, of each kind.
pub const REFERRALS: usize = 20;
/// Comments kept of one account.
pub const COMMENTS: usize = 1_000;
/// Valid tokens of one kind for one app and account; the oldest is revoked first.
pub const TOKENS: usize = 16;
/// Auth codes not yet exchanged or expired.
pub const CODES: usize = 10_000;
/// Bytes of all media together; the oldest are deleted first.
pub const MEDIA_BYTES: usize = 256 * 1024 * 1024;
/// Media files; the oldest are deleted first.
pub const MEDIA_FILES: usize = 20_000;
/// Characters of a name set over the control API.
pub const NAME: usize = 64;

/// Webhooks waiting or being retried; if it is full, a new event is dropped, and the log reports it.
pub const OUTBOX: usize = 200_000;
/// Webhook requests in flight.
pub const WEBHOOKS_IN_FLIGHT: usize = 64;
/// How long a receiver may take to respond before the attempt counts as failed (system time).
pub const WEBHOOK_TIMEOUT_SECS: u64 = 10;
/// Retries end this long after the first attempt (TikTok for Developers, Webhooks overview).
pub const RETRY_FOR_MS: i64 = 72 * 60 * 60 * 1000;
/// The delay of the first retry; each later one is twice the previous one.
pub const RETRY_FIRST_MS: i64 = 1_000;
/// How long a reordered webhook waits for a later one.
pub const REORDER_WAIT_MS: i64 = 5_000;
/// How long a send waits for its early echo before it responds anyway (system time).
pub const EARLY_ECHO_WAIT_MS: u64 = 3_000;

/// Entries of the call log and of the webhook log.
pub const LOG: usize = 50_000;
/// Entries in one page of a log.
pub const LOG_PAGE: usize = 5_000;
/// Faults waiting.
pub const FAULTS: usize = 1_000;
/// Longest delay of a fault.
pub const FAULT_DELAY_MS: u64 = 300_000;

/// People of one load.
pub const LOAD_PEOPLE: usize = 5_000;
/// Messages per second of one load.
pub const LOAD_PER_SECOND: u32 = 10_000;
/// Messages of one load.
pub const LOAD_COUNT: u64 = 10_000_000;
/// A load pauses while this many webhooks wait, so a slow receiver slows it instead of filling memory.
pub const LOAD_BACKLOG: usize = 50_000;
