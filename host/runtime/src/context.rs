//! The input of a call, its results, and the traits that the host implements for the runtime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use weir_domain::conversation::Conversation;
use weir_domain::credential::Secrets;
use weir_domain::grant::Grants;
use weir_domain::id::ChannelId;
use weir_domain::manifest::RouteClass;
use weir_domain::policy::{CallKind, OriginMap};
use weir_domain::time::Timestamp;
use weir_egress::{Bodies, Departure, Egress};

use crate::error::CallError;
pub use crate::error::TooLong;

// ---- input ---------------------------------------------------------------------------------------------------------

/// The channel of a call, as the connector sees it.
#[derive(Clone, Debug)]
pub struct ChannelFacts {
    /// The platform's id of the account.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// ISO 3166-1 alpha-2, when known.
    pub country: Option<String>,
    /// The app's settings, without secrets.
    pub settings: serde_json::Value,
    /// Where the platform must send its webhooks.
    pub callback_url: String,
}

/// A conversation, as connectors see it and report it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationFacts {
    /// The platform's id of the thread.
    pub platform_id: String,
    /// The platform's id of the contact, when known.
    pub contact_id: Option<String>,
    /// Whether the business has sent a message in it.
    pub answered: bool,
}

impl From<&Conversation> for ConversationFacts {
    fn from(conversation: &Conversation) -> Self {
        Self {
            platform_id: conversation.platform_id.clone(),
            contact_id: Some(conversation.contact.platform_id.clone()),
            answered: conversation.answered,
        }
    }
}

/// A channel's state, by key. At most [`weir_domain::limits::STATE_BYTES`].
pub type State = BTreeMap<String, Vec<u8>>;

/// The context of a call with network. The host binds it to one channel: nothing that a connector returns can reach
/// another.
pub struct CallContext {
    /// The channel's id, for refusals; none while the account is being connected.
    pub channel_id: Option<ChannelId>,
    /// The channel, as the connector sees it.
    pub channel: ChannelFacts,
    /// What the host injects into requests; the connector never sees them.
    pub secrets: Secrets,
    /// What the operator granted.
    pub grants: Arc<Grants>,
    /// Origins that the operator mapped to others.
    pub origins: Arc<OriginMap>,
    /// The channel's state; the call's writes are returned in [`Called::writes`].
    pub state: State,
    /// The platform's rate limits for this channel and its app.
    pub pacer: Arc<dyn Pacer>,
    /// Receives the dates of the platform's responses.
    pub dates: Arc<dyn AnswerDates>,
    /// Whether the host may still act for this call.
    pub fence: Arc<dyn Fence>,
}

// ---- results -------------------------------------------------------------------------------------------------------

/// The result of a call with network, and what it did.
#[derive(Debug)]
#[must_use]
pub struct Called<T> {
    /// What the connector returned, or how the call failed.
    pub result: Result<T, CallError>,
    /// The requests that it tried to make, in order.
    pub requests: Vec<RequestRecord>,
    /// What to commit to the channel's state; empty if the call did not return.
    pub writes: StateWrites,
}

/// Writes to a channel's state, by key; `None` deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateWrites(pub BTreeMap<String, Option<Vec<u8>>>);

/// One request that a connector tried to make.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The manifest's route for it; none if it was refused before one was found.
    pub route: Option<String>,
    /// The route's class.
    pub class: Option<RouteClass>,
    /// The method.
    pub method: String,
    /// The URL as the connector wrote it, without the query, which may hold what a person wrote.
    pub url: String,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// From the permit to the last byte, including the wait for the rate limit.
    pub elapsed: Duration,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The host refused it; nothing left.
    Refused {
        /// The rule: `no_route`, `not_granted`.
        rule: &'static str,
        /// The rule and its facts, as a sentence.
        detail: String,
    },
    /// The rate limit would have delayed it too long; nothing left.
    NoTurn {
        /// The delay.
        wait: Duration,
    },
    /// No connection was made.
    Unreachable(String),
    /// It left, and no complete response arrived.
    NoAnswer(String),
    /// The response was larger than the limit.
    TooLarge,
    /// A response arrived, with this status.
    Answered(u16),
    /// The call ended first.
    Abandoned,
}

// ---- the host ------------------------------------------------------------------------------------------------------

/// What the host provides for every call.
#[derive(Clone)]
pub struct Host {
    /// Sends requests.
    pub egress: Egress,
    /// Opens stored media.
    pub bodies: Arc<dyn Bodies>,
    /// The host's clock.
    pub clock: Arc<dyn Clock>,
    /// Observes calls.
    pub observer: Arc<dyn CallObserver>,
}

/// The clock of the host and its connectors.
pub trait Clock: Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// Estimates the offset of the platform's clock. Called from the middle of calls: must not block.
pub trait AnswerDates: Send + Sync {
    /// A response carried the header `Date`; its request began at `sent_at`, and it was complete at `received_at`.
    fn answered(&self, date: &str, sent_at: Timestamp, received_at: Timestamp);
}

/// Applies the platform's rate limits.
#[async_trait]
pub trait Pacer: Send + Sync {
    /// Waits until a request of this class may be sent. Returns the gate that it passes when it actually leaves, which
    /// may be later; none if no rate limit applies.
    ///
    /// # Errors
    /// The wait would exceed [`weir_domain::limits::RATE_WAIT`]; nothing is reserved then.
    async fn turn(&self, class: RouteClass) -> Result<Option<Box<dyn Departure>>, TooLong>;
}

/// Whether the host may still act for a call: another host may have taken over its work meanwhile.
pub trait Fence: Send + Sync {
    /// Why no request of the call may leave any more; none while they may. Asked just before the first byte of each.
    fn withheld(&self) -> Option<String>;
}

/// The fence of a host whose work no other node takes over.
#[derive(Clone, Copy, Debug)]
pub struct NoFence;

impl Fence for NoFence {
    fn withheld(&self) -> Option<String> {
        None
    }
}

/// Observes calls. Called from the middle of them: must not block.
pub trait CallObserver: Send + Sync {
    /// A call ended.
    fn on_call_end(&self, end: &CallEnd<'_>);
    /// The policy refused something. At most [`weir_domain::limits::REQUESTS_PER_CALL`] for each call.
    fn on_refusal(&self, refused: &Refused<'_>);
    /// A connector wrote a log line, sanitized and bounded. By default it goes to the host's log.
    fn on_log_line(&self, line: &LogLine<'_>) {
        line.trace();
    }
    /// Whether a call of this kind, about to begin, is recorded. By default none is.
    fn recording(&self, kind: CallKind) -> Recording {
        let _ = kind;
        Recording::Off
    }
    /// A call was recorded.
    fn on_transcript(&self, transcript: &RecordedTranscript<'_>) {
        let _ = transcript;
    }
    /// A component is ready to run.
    fn on_loaded(&self, digest: &str, source: CodeSource, elapsed: Duration) {
        let _ = (digest, source, elapsed);
    }
}

/// Which calls are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// None.
    Off,
    /// Only those that crash.
    Crashes,
    /// All.
    All,
}

/// A recorded call.
#[derive(Debug)]
pub struct RecordedTranscript<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The kind of call.
    pub kind: CallKind,
    /// When the call began.
    pub at: Timestamp,
    /// The channel; none in a call without a channel.
    pub channel_id: Option<ChannelId>,
    /// Whether the connector crashed.
    pub crashed: bool,
    /// The transcript, as [`Transcript::read`](crate::Transcript::read) reads it.
    pub json: String,
}

/// Ignores everything.
#[derive(Clone, Copy, Debug)]
pub struct NoObserver;

impl CallObserver for NoObserver {
    fn on_call_end(&self, _: &CallEnd<'_>) {}
    fn on_refusal(&self, _: &Refused<'_>) {}
    fn on_log_line(&self, _: &LogLine<'_>) {}
}

/// The end of a call, for counting.
#[derive(Debug)]
pub struct CallEnd<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The kind of call.
    pub kind: CallKind,
    /// `ok`, or the error's [`name`](CallError::name).
    pub outcome: &'static str,
    /// From the first instruction to the end, including waits for the network, without the wait for a slot.
    pub elapsed: Duration,
    /// Ticks of [`weir_domain::limits::EPOCH_TICK`] in which the connector ran.
    pub ticks: u32,
    /// Peak memory of its instance, in bytes.
    pub peak_memory: usize,
    /// Log lines dropped because there were too many.
    pub lines_dropped: u32,
    /// Whether the connector crashed: it trapped, or exceeded its processor time or memory.
    pub crashed: bool,
    /// Where its honeytoken was seen: `a log line`, `a request`.
    pub honeytoken: Option<&'static str>,
}

/// A refused act.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The kind of call.
    pub kind: CallKind,
    /// The channel; none in a call without a channel.
    pub channel_id: Option<ChannelId>,
    /// What the connector tried.
    pub act: Act<'a>,
    /// The rule that refused it: `no_route`, `address`.
    pub rule: &'static str,
    /// The rule and its facts, as a sentence.
    pub detail: &'a str,
}

/// An act that a connector tried.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// A request to the network.
    Request {
        /// The method, as the connector wrote it.
        method: &'a str,
        /// The URL as the connector wrote it, without its query.
        url: &'a str,
    },
    /// A read of its state, or a write to it.
    State {
        /// The key, as the connector wrote it.
        key: &'a str,
    },
}

/// A log line of a connector.
#[derive(Debug)]
pub struct LogLine<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// Its version.
    pub version: &'a str,
    /// The kind of call.
    pub kind: CallKind,
    /// Its level.
    pub level: LogLevel,
    /// Its text, without control characters, at most [`weir_domain::limits::LOG_LINE_BYTES`].
    pub text: &'a str,
}

/// The level of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Details for debugging.
    Debug,
    /// A normal event.
    Info,
    /// A problem that was handled.
    Warn,
    /// A failure.
    Error,
}

impl LogLine<'_> {
    /// Writes it to the host's log with the target `connector`.
    pub fn trace(&self) {
        let Self {
            connector,
            version,
            text,
            ..
        } = self;
        let call = self.kind.as_str();
        match self.level {
            LogLevel::Debug => tracing::debug!(target: "connector", connector, version, call, "{text}"),
            LogLevel::Info => tracing::info!(target: "connector", connector, version, call, "{text}"),
            LogLevel::Warn => tracing::warn!(target: "connector", connector, version, call, "{text}"),
            LogLevel::Error => tracing::error!(target: "connector", connector, version, call, "{text}"),
        }
    }
}

/// Where a component's machine code comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSource {
    /// Compiled.
    Compiled,
    /// The cache.
    Cached,
    /// Compiled, because this host did not write what the cache holds.
    CacheTampered,
}
