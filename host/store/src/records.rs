//! The rows that are not rules: plain data, as the methods of [`crate::Store`] take and give them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weir_domain::channel::{Channel, PolicyOverride};
use weir_domain::conversation::Conversation;
use weir_domain::credential::Secret;
use weir_domain::event::{Event, EventType};
use weir_domain::id::{
    ChannelId, ConnectSessionId, ContactId, ConversationId, DeadLetterId, DeliveryId, EndpointId, EventId, MediaId,
    MessageId, RefusalId,
};
use weir_domain::inbound::RemoteMedia;
use weir_domain::manifest::Manifest;
use weir_domain::message::{Content, Draft, MediaStatus, Message, MessageError, Origin, Referral};
use weir_domain::policy::OriginMap;
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

/// One page of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// How many at most.
    pub limit: u32,
    /// Where to go on: a cursor that a list gave. One that cannot be read begins anew.
    pub cursor: Option<String>,
}

/// What a list gives.
#[derive(Clone, Debug)]
pub struct Listed<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to go on; none at the end.
    pub next: Option<String>,
}

/// Our registration with a platform's developer portal.
#[derive(Clone, Debug)]
pub struct App {
    /// Its name, in the webhook's URL.
    pub name: String,
    /// The tenant that owns it.
    pub workspace_id: String,
    /// The connector that speaks for it.
    pub connector: String,
    /// What the operator set.
    pub settings: serde_json::Value,
    /// By the names of the manifest; the newest first, older ones while they are rotated out.
    pub secrets: BTreeMap<String, Vec<Secret>>,
    /// Platform origins mapped to others.
    pub origins: OriginMap,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last put.
    pub updated_at: Timestamp,
}

/// A version to be staged.
#[derive(Clone, Debug)]
pub struct NewVersion {
    /// What it says of itself.
    pub manifest: Manifest,
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// How many bytes.
    pub size: u64,
    /// Who signed it.
    pub signature: Signature,
    /// Whether the release counter may go back.
    pub allow_downgrade: bool,
}

/// A version of a connector.
#[derive(Clone, Debug)]
pub struct Version {
    /// What it says of itself.
    pub manifest: Manifest,
    /// `sha256:…` of its bytes.
    pub digest: String,
    /// How many bytes.
    pub size: u64,
    /// Who signed it.
    pub signature: Signature,
    /// Where it stands.
    pub stage: VersionStage,
    /// When it was staged.
    pub staged_at: Timestamp,
    /// When its stage last changed.
    pub changed_at: Timestamp,
}

/// Where a version stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionStage {
    /// Installed, serves nobody.
    Staged,
    /// Serves a share of the channels.
    Canary,
    /// Serves.
    Active,
    /// Finishes what it began.
    Draining,
    /// Served once.
    Retired,
    /// Set aside for its failures.
    Quarantined,
}

/// Who signed a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// `trusted`, `unsigned`.
    pub status: String,
    /// The key's name.
    pub key: Option<String>,
}

/// One connecting of an account.
#[derive(Clone, Debug)]
pub struct ConnectSession {
    /// Its id.
    pub id: ConnectSessionId,
    /// The tenant that will own the channel.
    pub workspace_id: String,
    /// The app it goes through.
    pub app: String,
    /// The channel to be authorised again; none for a new one.
    pub channel_id: Option<ChannelId>,
    /// The operator's name for the channel.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// Where the browser goes in the end.
    pub redirect_url: Option<String>,
    /// What binds the callback to this session.
    pub state: Secret,
    /// What binds it to the browser that began it.
    pub browser: Secret,
    /// For PKCE.
    pub verifier: Secret,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub end: ConnectEnd,
}

/// Where a connect session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum ConnectEnd {
    /// Waiting for the person.
    Pending,
    /// The callback came; the host is at work.
    Taken,
    /// The channel is there.
    Succeeded {
        /// Which.
        channel_id: ChannelId,
    },
    /// It is not.
    Failed {
        /// A stable code.
        code: String,
        /// A sentence for a person.
        detail: String,
    },
    /// Nobody came in time.
    Expired,
}

/// An account to be connected.
#[derive(Clone, Debug)]
pub struct NewChannel {
    /// The tenant that owns it.
    pub workspace_id: String,
    /// The app.
    pub app: String,
    /// The connector.
    pub connector: String,
    /// The messaging network.
    pub platform: String,
    /// The platform's id of the account.
    pub platform_id: String,
    /// The operator's name for it; the account's own if none is given.
    pub name: Option<String>,
    /// The operator's labels.
    pub labels: BTreeMap<String, String>,
    /// The handle.
    pub username: Option<String>,
    /// The name that people see.
    pub display_name: Option<String>,
    /// A picture.
    pub avatar_url: Option<String>,
    /// ISO 3166-1 alpha-2.
    pub country: Option<String>,
    /// Scopes that the person granted.
    pub scopes: Vec<String>,
    /// When a person must authorise it again at the latest.
    pub reauthorize_by: Option<Timestamp>,
}

/// What an operator may change of a channel; none leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct ChannelPatch {
    /// Its name.
    pub name: Option<String>,
    /// Its labels, all of them.
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether it is held.
    pub paused: Option<bool>,
    /// What is tightened.
    pub policy: Option<PolicyOverride>,
}

/// A write to a channel's state; none deletes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateWrite {
    /// The key.
    pub key: String,
    /// Its new value.
    pub value: Option<Vec<u8>>,
}

/// Where inbound facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The platform's history, read by the reconciler.
    History,
}

/// What became of the events of one webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// New.
    pub stored: u32,
    /// Seen before.
    pub duplicates: u32,
    /// For an account that the app does not know.
    pub unknown_channel: u32,
    /// For a deleted channel.
    pub deleted_channel: u32,
    /// That the connector did not know; the caller keeps the webhook as a dead letter.
    pub unknown_events: u32,
    /// Attachments that are to be fetched.
    pub media: u32,
}

/// A verified webhook that could not be translated.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The app it came to.
    pub app: String,
    /// The connector's version that failed.
    pub version: String,
    /// Why, for a person.
    pub reason: String,
    /// When it came.
    pub received_at: Timestamp,
    /// The webhook; the body is empty in lists.
    pub webhook: RawWebhook,
}

/// A message to be accepted.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The tenant that asks.
    pub workspace_id: String,
    /// Where it goes.
    pub conversation_id: ConversationId,
    /// What it carries; of an attachment only the id counts, the rest is read from the record.
    pub content: Content,
    /// The message to quote.
    pub reply_to: Option<MessageId>,
    /// The caller's own reference.
    pub client_ref: Option<String>,
    /// Which surface made it.
    pub origin: Origin,
    /// The caller's idempotency key, and the fingerprint of the request.
    pub idempotency: Option<(String, String)>,
}

/// What became of a message to be accepted.
#[derive(Clone, Debug)]
pub enum Enqueued {
    /// It is in the outbox.
    New(Message),
    /// The same request came before; this was its answer.
    Replayed(Message),
}

/// A worker's claim on one message. Lost when it runs out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseToken {
    /// The message.
    pub message: MessageId,
    /// Who holds it.
    pub owner: String,
    /// Rises with each lease: a late writer is known by it.
    pub epoch: i64,
}

/// A message to be sent now.
#[derive(Clone, Debug)]
pub struct MessageLease {
    /// The claim.
    pub token: LeaseToken,
    /// The message.
    pub message: Message,
    /// What is to be judged again and sent.
    pub draft: Draft,
    /// Where it goes.
    pub conversation: Conversation,
    /// Through what.
    pub channel: Channel,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// When the message is of no more use.
    pub expires_at: Option<Timestamp>,
}

/// One request that left, or was refused, under a try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The route; empty if none fitted.
    pub route: String,
    /// The method.
    pub method: String,
    /// The URL without its query.
    pub url: String,
    /// When it was made.
    pub at: Timestamp,
    /// The answer's status.
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// One try of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it was written down, before anything left.
    pub started_at: Timestamp,
    /// When it was settled; none while it is open.
    pub ended_at: Option<Timestamp>,
    /// `open`, `sent`, `retry`, `held`, `uncertain`, `failed`.
    pub outcome: String,
    /// Why it failed.
    pub error: Option<MessageError>,
    /// What left.
    pub requests: Vec<RequestRecord>,
}

/// A message that may or may not have been sent.
#[derive(Clone, Debug)]
pub struct UncertainMessage {
    /// The message.
    pub message: Message,
    /// Where it was to go.
    pub conversation: Conversation,
    /// Through what.
    pub channel: Channel,
    /// When its last try began.
    pub dispatched_at: Timestamp,
}

/// What settles an uncertain message.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// It is there.
    Found {
        /// The platform's id of it.
        platform_id: String,
        /// The platform's time of it.
        at: Timestamp,
    },
    /// The history, complete and late enough, does not have it: it is queued again.
    Absent,
    /// A person gives it up.
    GivenUp,
}

/// How many messages of a channel wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Queued or being sent.
    pub depth: u64,
    /// Since when the oldest one waits.
    pub oldest_at: Option<Timestamp>,
}

/// Stored bytes. The bytes themselves are in the media store, under the id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// The id.
    pub id: MediaId,
    /// The tenant that owns them.
    pub workspace_id: String,
    /// As sniffed; none until they are here.
    pub mime_type: Option<String>,
    /// In bytes.
    pub size: Option<u64>,
    /// As a person named it.
    pub filename: Option<String>,
    /// Whether they are here.
    pub status: MediaStatus,
    /// When the row was made.
    pub created_at: Timestamp,
}

/// An attachment to be fetched.
#[derive(Clone, Debug)]
pub struct MediaFetch {
    /// Where the bytes go.
    pub id: MediaId,
    /// The message that names them.
    pub message_id: MessageId,
    /// The platform's id of the message.
    pub message_platform_id: String,
    /// Where it stands.
    pub conversation: Conversation,
    /// Through what it came.
    pub channel: Channel,
    /// How the platform names them.
    pub remote: RemoteMedia,
    /// What kind of content they are, as in [`weir_domain::message::ContentKind`]; `fallback` for bytes behind fallback content.
    pub kind: String,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// Which events a reader wants; an empty list is all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFilter {
    /// Of these types.
    pub types: BTreeSet<String>,
    /// Of these channels.
    pub channels: BTreeSet<ChannelId>,
}

impl EventFilter {
    /// Whether an event is wanted.
    pub fn wants(&self, kind: EventType, channel: Option<ChannelId>) -> bool {
        (self.types.is_empty() || self.types.contains(kind.as_str()))
            && (self.channels.is_empty() || channel.is_some_and(|channel| self.channels.contains(&channel)))
    }
}

/// Where an operator wants events.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// The tenant it belongs to.
    pub workspace_id: String,
    /// Where.
    pub url: String,
    /// What it is for.
    pub description: String,
    /// Which events.
    pub filter: EventFilter,
    /// Whether events of one conversation keep their order.
    pub ordered: bool,
    /// Whether it gets any.
    pub enabled: bool,
    /// Why not, if the host switched it off.
    pub disabled_reason: Option<String>,
    /// `whsec_…`, the newest first; the second works until `old_secret_until`. Encrypted at rest.
    pub secrets: Vec<Secret>,
    /// When the old secret stops working.
    pub old_secret_until: Option<Timestamp>,
    /// Since when nothing went through.
    pub failing_since: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What changes of an endpoint; none leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct EndpointPatch {
    /// Where.
    pub url: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Which events.
    pub filter: Option<EventFilter>,
    /// Whether order is kept.
    pub ordered: Option<bool>,
    /// Whether it gets any; enabling clears the reason.
    pub enabled: Option<bool>,
    /// Why the host switches it off.
    pub disabled_reason: Option<String>,
    /// New secrets, and until when the second works.
    pub secrets: Option<(Vec<Secret>, Option<Timestamp>)>,
}

/// The handing-over of one event to one endpoint.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// Where.
    pub endpoint_id: EndpointId,
    /// What.
    pub event_id: EventId,
    /// Of which type.
    pub event_type: EventType,
    /// `pending`, `delivered`, `failed`.
    pub status: String,
    /// Tries so far.
    pub attempts: u32,
    /// When it is tried again.
    pub due_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A delivery to be made now.
#[derive(Clone, Debug)]
pub struct DeliveryLease {
    /// Which.
    pub delivery: DeliveryId,
    /// Who holds the claim.
    pub owner: String,
    /// Rises with each lease.
    pub epoch: i64,
    /// Where.
    pub endpoint: Endpoint,
    /// What.
    pub event: Event,
    /// Which try this is, from 1.
    pub attempt: u32,
}

/// One try of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryAttempt {
    /// From 1.
    pub number: u32,
    /// When.
    pub at: Timestamp,
    /// The answer's status.
    pub status: Option<u16>,
    /// The beginning of the answer.
    pub answer: Option<String>,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// Why there was no answer.
    pub error: Option<String>,
}

/// What happens next with a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryNext {
    /// The endpoint took it.
    Delivered,
    /// Again then.
    RetryAt(Timestamp),
    /// Given up.
    Failed,
    /// Given up, and the endpoint is switched off: it said 410, or failed for days.
    Disable {
        /// Why.
        reason: String,
    },
}

/// How a contact came, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferralRecord {
    /// The account it came to.
    pub channel_id: ChannelId,
    /// The thread it opened or stands in.
    pub conversation_id: ConversationId,
    /// Who came.
    pub contact_id: ContactId,
    /// How.
    pub referral: Referral,
}

/// A no that was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusalRecord {
    /// Its id.
    pub id: RefusalId,
    /// The tenant it was said to.
    pub workspace_id: String,
    /// The channel it is about.
    pub channel_id: Option<ChannelId>,
    /// The conversation it is about.
    pub conversation_id: Option<ConversationId>,
    /// The message it is about.
    pub message_id: Option<MessageId>,
    /// What was asked: `send`, `request`, `state`, `grant`, `webhook`.
    pub about: String,
    /// The rule that decided.
    pub rule: String,
    /// Both sides of it, in a sentence.
    pub detail: String,
    /// The facts, for a program.
    pub facts: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

/// A change that somebody made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// The tenant.
    pub workspace_id: String,
    /// The key, or `host`.
    pub actor: String,
    /// `app.put`, `connector.promote`, `key.create`, …
    pub action: String,
    /// What was changed.
    pub subject: String,
    /// How, without secrets.
    pub detail: serde_json::Value,
}

/// An answer kept under an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// Of the request.
    pub fingerprint: String,
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// Depths and ages of the queues.
#[derive(Clone, Debug, Default)]
pub struct Depths {
    /// Messages that wait.
    pub outbox: u64,
    /// Since when the oldest one waits.
    pub outbox_oldest_at: Option<Timestamp>,
    /// Messages in doubt.
    pub uncertain: u64,
    /// Deliveries that wait.
    pub deliveries: u64,
    /// Since when the oldest one waits.
    pub deliveries_oldest_at: Option<Timestamp>,
    /// Attachments to be fetched.
    pub media: u64,
    /// Dead letters.
    pub dead_letters: u64,
}
