//! A small world for tests: one app, one account, people who write, and a clock that is a number.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use weir_domain::channel::Channel;
use weir_domain::claim::Claim;
use weir_domain::conversation::Conversation;
use weir_domain::credential::{Credential, Secret};
use weir_domain::delivery::Next;
use weir_domain::event::{Event, EventFilter, EventType};
use weir_domain::id::{ChannelId, ConversationId, Id, Mint};
use weir_domain::inbound::{Fact, InboundEvent, InboundMessage, Person, ReceiptStatus, ReceiptTarget};
use weir_domain::manifest::{Authorization, ContentRule, Knowledge, Manifest, Policy, Statuses, Support};
use weir_domain::message::{Content, ContentKind, Direction, Message, MessageError, Origin};
use weir_domain::policy::{OriginMap, PolicySet};
use weir_domain::problem::Fault;
use weir_domain::time::Timestamp;

use super::{Factory, Made};
use crate::{
    App, ConversationFilter, EnqueueError, Enqueued, MessageLease, NewChannel, NewMessage, Page, Recorded, Resolution,
    Room, Source, Store,
};

/// Messages until the contact writes again, in this world.
pub(crate) const BUDGET: u32 = 3;
/// The window of this world, in seconds.
pub(crate) const WINDOW: i64 = 48 * 3600;
pub(crate) const DEFAULT: &str = "default";
pub(crate) const ACCOUNT: &str = "account";

/// The conversations of one channel.
pub(crate) fn of(channel: ChannelId) -> ConversationFilter {
    ConversationFilter {
        channels: [channel].into(),
        name: None,
    }
}

/// This many seconds after the start.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((1_700_000_000 + seconds) * 1_000)
}

pub(crate) struct World {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) app: App,
    pub(crate) policy_set: PolicySet,
    pub(crate) channel: Channel,
    pub(crate) mint: Mint,
    _keep: Box<dyn Any + Send>,
}

pub(crate) fn content_rule(kind: ContentKind) -> ContentRule {
    ContentRule {
        kind,
        inbound: Support::Full,
        outbound: Support::Full,
        max_chars: 0,
        max_bytes: 0,
        mime_types: Vec::new(),
        notes: Vec::new(),
        probed: false,
    }
}

pub(crate) fn manifest(version: &str, release: u32) -> Manifest {
    Manifest {
        name: "example".into(),
        version: version.into(),
        release,
        platform: "example".into(),
        description: "An example".into(),
        maturity: "beta".into(),
        homepage: None,
        authorization: Authorization::Fields { fields: Vec::new() },
        app_settings: Vec::new(),
        webhook: None,
        routes: Vec::new(),
        policies: vec![
            Policy::Window {
                length_ms: WINDOW.unsigned_abs() * 1_000,
            },
            Policy::Budget {
                limit: BUDGET,
                counts: vec!["app".into()],
            },
            Policy::Initiation { allowed: false },
        ],
        contents: vec![content_rule(ContentKind::Text), content_rule(ContentKind::Image)],
        statuses: Statuses {
            sent: Knowledge::Native,
            delivered: Knowledge::None,
            read: Knowledge::Native,
            failed: Knowledge::Native,
        },
        entry_points: Vec::new(),
        account_kinds: Vec::new(),
        prerequisites: Vec::new(),
        pricing: "free".into(),
        provides: Vec::new(),
    }
}

pub(crate) fn app(name: &str) -> App {
    App {
        name: name.into(),
        workspace_id: DEFAULT.into(),
        connector: "example".into(),
        settings: serde_json::json!({}),
        secrets: [("client_secret".to_owned(), vec![Secret::new("app-secret")])].into(),
        old_secrets_until: None,
        origins: OriginMap::default(),
        created_at: at(0),
        updated_at: at(0),
    }
}

pub(crate) fn account(platform_id: &str) -> NewChannel {
    NewChannel {
        workspace_id: DEFAULT.into(),
        app: "example".into(),
        connector: "example".into(),
        platform: "example".into(),
        platform_id: platform_id.into(),
        name: None,
        labels: BTreeMap::new(),
        username: Some("shop".into()),
        display_name: Some("The Shop".into()),
        avatar_url: None,
        country: None,
        scopes: vec!["message".into()],
        reauthorize_by: None,
        state: Vec::new(),
        session: None,
        set_up_at: None,
    }
}

pub(crate) fn credential(token: &str) -> Credential {
    Credential {
        access_token: Secret::new(token),
        refresh_token: Some(Secret::new(format!("refresh-{token}"))),
        expires_at: Some(at(86_400)),
        refresh_expires_at: None,
        renewed_at: at(0),
    }
}

pub(crate) fn jane() -> Person {
    Person {
        platform_id: "jane".into(),
        username: Some("jane_doe".into()),
        display_name: Some("Jane".into()),
        avatar_url: Some("https://example.com/jane.png?signature=1".into()),
    }
}

pub(crate) fn error(code: &str) -> MessageError {
    MessageError {
        code: code.into(),
        detail: "no".into(),
        fault: Fault::Platform,
        retryable: false,
        platform: None,
    }
}

pub(crate) fn sent(platform_id: &str, seconds: i64) -> Next {
    Next::Sent {
        platform_id: platform_id.into(),
        at: at(seconds),
    }
}

pub(crate) fn failed() -> Next {
    Next::Failed {
        error: error("refused"),
    }
}

pub(crate) fn uncertain_outcome() -> Next {
    Next::Uncertain {
        error: error("outcome_unknown"),
    }
}

/// A message in a thread; the person's thread is `thread` unless a test needs more of them. The platform's history was
/// read, for a message that cannot be older than that.
pub(crate) fn history_read(since: i64) -> Resolution {
    Resolution::HistoryRead {
        possible_since: at(since),
        likely_since: at(since),
    }
}

pub(crate) fn thread_message(
    thread: &str,
    platform_id: &str,
    direction: Direction,
    origin: Origin,
    text: &str,
    seconds: i64,
) -> InboundMessage {
    InboundMessage {
        platform_id: platform_id.into(),
        part: 0,
        conversation: thread.into(),
        contact: Person {
            platform_id: if thread == "thread" {
                "jane".into()
            } else {
                format!("person-{thread}")
            },
            ..jane()
        },
        direction,
        origin,
        sent_at: at(seconds),
        content: Content::Text { text: text.into() },
        reply_to: None,
        referral: None,
        answers: None,
        platform_data: None,
    }
}

pub(crate) fn event(key: &str, fact: Fact) -> InboundEvent {
    InboundEvent {
        channel_platform_id: ACCOUNT.into(),
        key: key.into(),
        fact,
    }
}

pub(crate) fn message(inbound_message: InboundMessage) -> InboundEvent {
    // The platform id is the key, as in most connectors.
    let key = match inbound_message.part {
        0 => inbound_message.platform_id.clone(),
        part => format!("{}-{part}", inbound_message.platform_id),
    };
    event(&key, Fact::Message(Box::new(inbound_message)))
}

/// The contact writes.
pub(crate) fn contact_writes(platform_id: &str, seconds: i64) -> InboundEvent {
    contact_writes_in("thread", platform_id, seconds)
}

pub(crate) fn contact_writes_in(thread: &str, platform_id: &str, seconds: i64) -> InboundEvent {
    message(thread_message(
        thread,
        platform_id,
        Direction::Inbound,
        Origin::Contact,
        "hi",
        seconds,
    ))
}

/// The platform shows a message of the business.
pub(crate) fn echo(platform_id: &str, origin: Origin, text: &str, seconds: i64) -> InboundEvent {
    message(thread_message(
        "thread",
        platform_id,
        Direction::Outbound,
        origin,
        text,
        seconds,
    ))
}

pub(crate) fn read_up_to(key: &str, seconds: i64) -> InboundEvent {
    let fact = Fact::Receipt {
        conversation: "thread".into(),
        status: ReceiptStatus::Read,
        target: ReceiptTarget::UpTo(at(seconds)),
        at: at(seconds),
        error: None,
    };
    event(key, fact)
}

pub(crate) fn receipt(key: &str, platform_id: &str, status: ReceiptStatus) -> InboundEvent {
    let fact = Fact::Receipt {
        conversation: "thread".into(),
        status,
        target: ReceiptTarget::Messages(vec![platform_id.into()]),
        at: at(0),
        error: None,
    };
    event(key, fact)
}

pub(crate) fn page() -> Page {
    Page {
        limit: 100,
        cursor: None,
    }
}

impl World {
    pub(crate) async fn begin(factory: Factory) -> Self {
        let Made { store, keep } = factory();
        let app = app("example");
        store.put_app(app.clone()).await.unwrap();
        let (channel, _) = store
            .connect_channel(account(ACCOUNT), credential("token"), at(0))
            .await
            .unwrap();
        Self {
            store,
            app,
            policy_set: PolicySet::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({})),
            channel,
            mint: Mint::from_seed([9; 32]),
            _keep: keep,
        }
    }

    pub(crate) fn id<I: Id>(&self) -> I {
        self.mint.id(at(0))
    }

    pub(crate) async fn receive(&self, events: Vec<InboundEvent>, seconds: i64) -> Recorded {
        self.receive_from(events, Source::Webhook, seconds).await
    }

    /// Applies webhooks to another app of the same connector.
    pub(crate) async fn receive_as(&self, app: &str, events: Vec<InboundEvent>, seconds: i64) -> Recorded {
        let app = App {
            name: app.to_owned(),
            ..self.app.clone()
        };
        self.store
            .record_inbound(&app, events, Source::Webhook, &self.policy_set, at(seconds))
            .await
            .unwrap()
    }

    pub(crate) async fn receive_from(&self, events: Vec<InboundEvent>, source: Source, seconds: i64) -> Recorded {
        self.store
            .record_inbound(&self.app, events, source, &self.policy_set, at(seconds))
            .await
            .unwrap()
    }

    pub(crate) async fn conversation(&self, thread: &str) -> Conversation {
        let all = self
            .store
            .conversations(DEFAULT, ConversationFilter::default(), page())
            .await
            .unwrap();
        all.rows.into_iter().find(|found| found.platform_id == thread).unwrap()
    }

    /// The messages of a thread, oldest first.
    pub(crate) async fn messages(&self, thread: &str) -> Vec<Message> {
        let id = self.conversation(thread).await.id;
        let mut rows = self.store.messages(DEFAULT, id, page()).await.unwrap().rows;
        rows.reverse();
        rows
    }

    pub(crate) async fn message(&self, known: &Message) -> Message {
        self.store.message(DEFAULT, known.id).await.unwrap().unwrap()
    }

    /// A claim by the world's first API key.
    pub(crate) fn claim(key: &str, fingerprint: &str) -> Claim {
        Claim {
            workspace_id: DEFAULT.into(),
            api_key: Mint::from_seed([77; 32]).id(at(0)),
            key: key.into(),
            fingerprint: fingerprint.into(),
        }
    }

    pub(crate) fn draft(&self, conversation: ConversationId, text: &str) -> NewMessage {
        NewMessage {
            workspace_id: DEFAULT.into(),
            conversation_id: conversation,
            content: Content::Text { text: text.into() },
            then: Vec::new(),
            reply_to: None,
            client_ref: None,
            origin: Origin::Api,
            claim: None,
        }
    }

    pub(crate) async fn accept(&self, new: NewMessage, seconds: i64) -> Result<Message, EnqueueError> {
        match self.store.enqueue(new, &self.policy_set, at(seconds)).await? {
            Enqueued::New(mut messages) | Enqueued::Replayed(mut messages) => Ok(messages.remove(0)),
        }
    }

    pub(crate) async fn send_in(&self, thread: &str, text: &str, seconds: i64) -> Result<Message, EnqueueError> {
        let id = self.conversation(thread).await.id;
        self.accept(self.draft(id, text), seconds).await
    }

    pub(crate) async fn send(&self, text: &str, seconds: i64) -> Result<Message, EnqueueError> {
        self.send_in("thread", text, seconds).await
    }

    pub(crate) async fn lease(&self, limit: u32, seconds: i64) -> Vec<MessageLease> {
        let room = Room::of_all(limit);
        self.store.lease_messages("worker", room, at(seconds)).await.unwrap()
    }

    pub(crate) async fn settle(&self, lease: &MessageLease, next: Next, seconds: i64) -> bool {
        self.store
            .settle_message(&lease.token, next, Vec::new(), Vec::new(), at(seconds))
            .await
            .unwrap()
    }

    /// The rules of this world's app.
    pub(crate) fn policy_sets(&self) -> BTreeMap<String, PolicySet> {
        [(self.app.name.clone(), self.policy_set.clone())].into()
    }

    /// Appends the window events due until then; returns the number of conversations processed.
    pub(crate) async fn notify_window_events(&self, seconds: i64) -> u32 {
        self.store
            .notify_window_events(self.policy_sets(), 100, at(seconds))
            .await
            .unwrap()
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        let all = self.store.events(DEFAULT, 0, &EventFilter::default(), 10_000).await;
        all.unwrap().rows
    }

    pub(crate) async fn kinds(&self) -> Vec<EventType> {
        self.events().await.into_iter().map(|event| event.kind).collect()
    }

    pub(crate) async fn events_of(&self, kind: EventType) -> Vec<Event> {
        self.events()
            .await
            .into_iter()
            .filter(|event| event.kind == kind)
            .collect()
    }

    /// The used shares of the thread's budget.
    pub(crate) async fn used(&self) -> u32 {
        self.conversation("thread").await.budget_used
    }
}
