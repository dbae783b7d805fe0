//! What a call is given, what it leaves behind, and what the runtime needs of its host.

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

// ---- what a call is given --------------------------------------------------------------------------------------------

/// What a connector is told of the channel that it is called for.
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

/// What a connector is told of a conversation, and tells of one that it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationFacts {
    /// The platform's id of the thread.
    pub platform_id: String,
    /// The platform's id of the contact, when known.
    pub contact_id: Option<String>,
    /// Whether the business has written in it.
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

/// A channel's state: key to value. At most [`weir_domain::limits::STATE_BYTES`].
pub type State = BTreeMap<String, Vec<u8>>;

/// What a call with network runs with. Bound to one channel by the host: nothing a connector returns can reach another one.
pub struct CallContext {
    /// The channel in the host's record, for what is refused; none while the account is being connected.
    pub channel_id: Option<ChannelId>,
    /// The channel, as the connector sees it.
    pub channel: ChannelFacts,
    /// What the host sets in requests; never seen by the connector.
    pub secrets: Secrets,
    /// What the operator said yes to.
    pub grants: Arc<Grants>,
    /// Where the operator mapped origins to.
    pub origins: Arc<OriginMap>,
    /// The channel's state as it stands; what the call writes comes back in [`Called::writes`].
    pub state: State,
    /// The platform's rates for this channel and its app.
    pub pacer: Arc<dyn Pacer>,
    /// Learns from the dates of the platform's answers.
    pub dates: Arc<dyn AnswerDates>,
}

// ---- what a call leaves behind ---------------------------------------------------------------------------------------

/// What a call with network came to, and what it did on its way.
#[derive(Debug)]
#[must_use]
pub struct Called<T> {
    /// What the connector answered, or how the call ended.
    pub result: Result<T, CallError>,
    /// The requests that it tried to make, in order.
    pub requests: Vec<RequestRecord>,
    /// What to commit to the channel's state; empty if the call did not return.
    pub writes: StateWrites,
}

/// Writes to a channel's state, by key; none deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateWrites(pub BTreeMap<String, Option<Vec<u8>>>);

/// One request that a connector tried to make.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// The route that covers it; none if it was refused before one was found.
    pub route: Option<String>,
    /// What such a request does.
    pub class: Option<RouteClass>,
    /// The method.
    pub method: String,
    /// The URL as the connector wrote it, without its query: that may hold what a person wrote.
    pub url: String,
    /// How it ended.
    pub outcome: RequestOutcome,
    /// From the judge's yes to the last byte, the wait for the platform's rate included.
    pub elapsed: Duration,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The host said no; nothing left. In words, and the rule's name.
    Refused {
        /// Which rule: `no_route`, `not_granted`.
        rule: &'static str,
        /// The rule and its facts, in words.
        detail: String,
    },
    /// The platform's rate left no turn within reach; nothing left.
    NoTurn {
        /// How long the wait would have been.
        wait: Duration,
    },
    /// No connection was made.
    Unreachable(String),
    /// It left, and no whole answer came.
    NoAnswer(String),
    /// The answer was larger than is passed on.
    TooLarge,
    /// An answer came.
    Answered(u16),
    /// The call ended before it did.
    Abandoned,
}

// ---- what the runtime needs of its host -----------------------------------------------------------------------------

/// The host's side of every call.
#[derive(Clone)]
pub struct Host {
    /// The one way out.
    pub egress: Egress,
    /// Stored attachments, by id.
    pub bodies: Arc<dyn Bodies>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Observes calls.
    pub observer: Arc<dyn CallObserver>,
}

/// The host's clock; the connector's too.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Learns how far the platform's clock is from ours. Called from the middle of calls: must not block.
pub trait AnswerDates: Send + Sync {
    /// The platform dated its answer (the header `Date`) to a request that was begun at `sent_at` and whose answer was whole at
    /// `received_at`.
    fn answered(&self, date: &str, sent_at: Timestamp, received_at: Timestamp);
}

/// The platform's rates.
#[async_trait]
pub trait Pacer: Send + Sync {
    /// Waits for the turn of a request of this class. Gives what is asked once more when it leaves, which may be later; none if no
    /// rate counts it.
    ///
    /// # Errors
    /// If that is further away than [`weir_domain::limits::RATE_WAIT`]; the turn is then not taken.
    async fn turn(&self, class: RouteClass) -> Result<Option<Box<dyn Departure>>, TooLong>;
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

/// The transcript of a call.
#[derive(Debug)]
pub struct RecordedTranscript<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it was asked.
    pub kind: CallKind,
    /// When the call began.
    pub at: Timestamp,
    /// The channel; none in a call without one.
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
    /// What it was asked.
    pub kind: CallKind,
    /// `ok`, or the error's name: [`CallError::name`].
    pub outcome: &'static str,
    /// From the first instruction to the end, waiting for the network included; not the wait for a slot.
    pub elapsed: Duration,
    /// Ticks of [`weir_domain::limits::EPOCH_TICK`] in which it ran.
    pub ticks: u32,
    /// The most memory that its instance held, in bytes.
    pub peak_memory: usize,
    /// Log lines over the bound, dropped.
    pub lines_dropped: u32,
    /// Whether the connector crashed: it trapped, or exceeded its processor time or memory.
    pub crashed: bool,
    /// Where its honeytoken was seen: `a log line`, `a request`.
    pub honeytoken: Option<&'static str>,
}

/// A refusal, for the record.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it was asked.
    pub kind: CallKind,
    /// The channel; none in a call without one.
    pub channel_id: Option<ChannelId>,
    /// What it tried.
    pub act: Act<'a>,
    /// Which rule said no: `no_route`, `address`.
    pub rule: &'static str,
    /// The rule and its facts, in words.
    pub detail: &'a str,
}

/// What a connector tried.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// A request to the network.
    Request {
        /// The method, as the connector wrote it.
        method: &'a str,
        /// The URL as the connector wrote it, without its query.
        url: &'a str,
    },
    /// A look at its state, or a write to it.
    State {
        /// The key, as the connector wrote it.
        key: &'a str,
    },
}

/// A line that a connector wrote.
#[derive(Debug)]
pub struct LogLine<'a> {
    /// The connector's name.
    pub connector: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it was asked.
    pub kind: CallKind,
    /// How loud.
    pub level: LogLevel,
    /// Without control characters, at most [`weir_domain::limits::LOG_LINE_BYTES`].
    pub text: &'a str,
}

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For who looks for a fault.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is amiss.
    Warn,
    /// Something failed.
    Error,
}

impl LogLine<'_> {
    /// Writes it to the host's log, in the connector's name.
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
