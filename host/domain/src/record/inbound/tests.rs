//! Properties of applying webhooks, with a database in memory: for any order, number and grouping of the facts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::channel::PolicyOverride;
use crate::id::{ChannelId, ContactId, Id, MessageId};
use crate::inbound::{InboundMessage, ReceiptStatus, ReceiptTarget};
use crate::manifest::{Authorization, Knowledge, Manifest, Policy, Statuses};
use crate::message::{Content, Message, Status};
use crate::record::change::EarlyReceipt;
use crate::record::queue::{ConversationQueue, QueueState, QueuedMessage};
use crate::record::{MessageUpdate, StoredContact, StoredMessage, Tracked};

const DAY: i64 = 24 * 3_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_735_689_600_000 + seconds * 1_000)
}

fn policy_set() -> PolicySet {
    let manifest = Manifest {
        name: "example".into(),
        version: "1.0.0".into(),
        release: 1,
        platform: "example".into(),
        description: String::new(),
        maturity: "beta".into(),
        homepage: None,
        authorization: Authorization::Fields { fields: Vec::new() },
        app_settings: Vec::new(),
        webhook: None,
        routes: Vec::new(),
        policies: vec![
            Policy::Window {
                length_ms: 2 * DAY.unsigned_abs() * 1_000,
            },
            Policy::Budget {
                limit: 3,
                counts: vec!["app".into()],
            },
            Policy::Initiation { allowed: false },
        ],
        contents: Vec::new(),
        statuses: Statuses {
            sent: Knowledge::Native,
            delivered: Knowledge::Native,
            read: Knowledge::Native,
            failed: Knowledge::Native,
        },
        entry_points: Vec::new(),
        account_kinds: Vec::new(),
        prerequisites: Vec::new(),
        pricing: "free".into(),
        provides: Vec::new(),
    };
    PolicySet::new(Arc::new(manifest), json!({}))
}

fn id<I: Id>(n: u128) -> I {
    I::from_uuid(uuid::Uuid::from_u128(n))
}

fn channel() -> Channel {
    Channel {
        id: id(1),
        workspace_id: "default".into(),
        app: "example".into(),
        connector: "example".into(),
        platform: "example".into(),
        platform_id: "business".into(),
        name: "Business".into(),
        labels: BTreeMap::new(),
        username: None,
        display_name: None,
        avatar_url: None,
        country: None,
        status: ChannelStatus::Connected,
        paused: false,
        policy: PolicyOverride::default(),
        scopes: Vec::new(),
        reauthorize_by: None,
        created_at: at(0),
        updated_at: at(0),
        deleted_at: None,
    }
}

/// A database: the data that a store keeps between two groups.
struct Memory {
    mint: Mint,
    channel: Channel,
    contacts: BTreeMap<ContactId, StoredContact>,
    conversations: BTreeMap<ConversationId, StoredConversation>,
    messages: BTreeMap<MessageId, StoredMessage>,
    facts: BTreeSet<(ChannelId, String)>,
    early: Vec<EarlyReceipt>,
    referrals: BTreeMap<ConversationId, Vec<Referral>>,
    outbox: Vec<QueuedMessage>,
    events: Vec<(EventType, String)>,
}

impl Memory {
    fn begin() -> Self {
        Self {
            mint: Mint::from_seed([7; 32]),
            channel: channel(),
            contacts: BTreeMap::new(),
            conversations: BTreeMap::new(),
            messages: BTreeMap::new(),
            facts: BTreeSet::new(),
            early: Vec::new(),
            referrals: BTreeMap::new(),
            outbox: Vec::new(),
            events: Vec::new(),
        }
    }

    /// A snapshot may have more than is required: here it has everything.
    fn load(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let of_app = snapshot.channels.entry(self.channel.app.clone()).or_default();
        of_app.insert(self.channel.platform_id.clone(), Arc::new(self.channel.clone()));
        for (channel, fact) in &self.facts {
            snapshot.facts.insert(*channel, fact.clone(), ());
        }
        for contact in self.contacts.values() {
            snapshot.add_contact(Tracked::loaded(contact.clone()));
        }
        for stored in self.conversations.values() {
            snapshot.add_conversation(Tracked::loaded(stored.clone()));
        }
        for stored in self.messages.values() {
            snapshot.add_message(Tracked::loaded(stored.clone()));
            let message = &stored.message;
            if message.direction == Direction::Inbound {
                let of_conversation = snapshot.unread.entry(message.conversation_id).or_default();
                of_conversation.push((message.sent_at, message.sequence));
            }
        }
        for receipt in &self.early {
            if receipt.message.is_empty() {
                let up_to = receipt.up_to.unwrap_or_default();
                snapshot
                    .early_marks
                    .insert(receipt.channel, receipt.conversation.clone(), up_to);
            } else {
                let known = snapshot.early_receipts.entry(receipt.channel, &receipt.message);
                known.push(receipt.clone());
            }
        }
        snapshot.referrals = self.referrals.clone();
        for conversation in self.conversations.keys() {
            let queue = self.outbox.iter().filter(|queued| queued.conversation == *conversation);
            let queue: Vec<QueuedMessage> = queue.cloned().collect();
            let waiting = queue.iter().map(|queued| (queued.message, Status::Sending)).collect();
            snapshot.unsettled.insert(*conversation, waiting);
            snapshot.queues.insert(*conversation, ConversationQueue::loaded(queue));
        }
        snapshot
    }

    fn record(&mut self, groups: Vec<Vec<InboundEvent>>) -> Vec<Recorded> {
        let batch = |events| Batch {
            app: "example".into(),
            events,
            source: Source::Webhook,
            policies: policy_set(),
            now: at(100),
        };
        let batches = groups.into_iter().map(batch).collect();
        let (recorded, changes) = record(batches, self.load(), &self.mint);
        for row in changes.contacts {
            self.contacts.insert(row.contact.id, (*row).clone());
        }
        for row in changes.conversations {
            self.conversations.insert(row.conversation.id, (*row).clone());
        }
        for row in changes.messages {
            self.messages.insert(row.message.id, (*row).clone());
        }
        self.facts.extend(changes.facts);
        for (receipt, _) in changes.early_receipts {
            let same = |known: &&mut EarlyReceipt| {
                (&known.message, &known.conversation, known.status)
                    == (&receipt.message, &receipt.conversation, receipt.status)
            };
            match self.early.iter_mut().find(same) {
                Some(known) => known.up_to = known.up_to.max(receipt.up_to),
                None => self.early.push(receipt),
            }
        }
        self.early.retain(|receipt| {
            let taken = (receipt.channel, receipt.message.clone());
            !changes.used_receipts.contains(&taken)
        });
        for new in changes.referrals {
            let known = self.referrals.entry(new.conversation).or_default();
            known.push(new.referral);
        }
        self.outbox
            .retain(|queued| !changes.removed_queued.contains(&queued.place));
        self.events
            .extend(changes.events.into_iter().map(|event| (event.kind, event.data)));
        recorded
    }

    fn only_conversation(&self) -> &StoredConversation {
        assert_eq!(self.conversations.len(), 1);
        self.conversations.values().next().expect("there is one")
    }

    /// The data that a reader sees, by platform ids.
    fn seen(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut thread: Vec<_> = self
            .messages
            .values()
            .map(|stored| {
                let message = &stored.message;
                let referral = message.referral.as_ref().and_then(|referral| referral.ad_id.clone());
                (message.sent_at, message.platform_id.clone(), message.status, referral)
            })
            .collect();
        thread.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        let conversation = &self.only_conversation().conversation;
        let contact = &conversation.contact;
        (
            thread,
            (
                conversation.last_message_at,
                conversation.unread,
                conversation.contact_wrote_at,
            ),
            (conversation.budget_used, conversation.answered, conversation.replied),
            conversation.opened_by,
            (contact.username.clone(), contact.display_name.clone()),
            conversation
                .referral
                .as_ref()
                .and_then(|referral| referral.ad_id.clone()),
        )
    }
}

fn reported(platform_id: &str, direction: Direction, origin: Origin, seconds: i64) -> InboundMessage {
    InboundMessage {
        platform_id: platform_id.into(),
        part: 0,
        conversation: "thread".into(),
        contact: Person {
            platform_id: "jane".into(),
            ..Person::default()
        },
        direction,
        origin,
        sent_at: at(seconds),
        content: Content::Text { text: "hi".into() },
        reply_to: None,
        referral: None,
        answers: None,
        platform_data: None,
    }
}

fn fact(key: &str, fact: Fact) -> InboundEvent {
    InboundEvent {
        channel_platform_id: "business".into(),
        key: key.into(),
        fact,
    }
}

fn message(reported: InboundMessage) -> InboundEvent {
    fact(&reported.platform_id.clone(), Fact::Message(Box::new(reported)))
}

fn receipt(key: &str, status: ReceiptStatus, target: ReceiptTarget) -> InboundEvent {
    let receipt = Fact::Receipt {
        conversation: "thread".into(),
        status,
        target,
        at: at(50),
        error: None,
    };
    fact(key, receipt)
}

fn referral(ad: i64, seconds: i64) -> Referral {
    Referral {
        id: None,
        source: "ad".into(),
        ad_id: Some(format!("ad-{ad}")),
        ad_name: None,
        advertiser_id: None,
        creative_id: None,
        url: None,
        reference: None,
        prefilled_text: None,
        prefill_audit: None,
        at: Some(at(seconds)),
    }
}

/// Facts of one thread, each with its own time: messages of the contact under changing names, echoes of every surface,
/// receipts, read receipts, arrivals by ads.
fn facts() -> impl Strategy<Value = Vec<InboundEvent>> {
    vec((0..7usize, 0..3usize, 0..12i64), 1..12).prop_map(|drawn| {
        // Without a message the conversation does not exist.
        let mut facts = vec![message(reported("m9", Direction::Inbound, Origin::Contact, 9))];
        for (n, (kind, which, about)) in drawn.into_iter().enumerate() {
            let moment = 10 + i64::try_from(n).expect("a few");
            let id = format!("m{moment}");
            facts.push(match kind {
                0 => {
                    let origin = [Origin::App, Origin::Web, Origin::Automation][which];
                    message(reported(&id, Direction::Outbound, origin, moment))
                }
                1 => receipt(
                    &format!("read-{n}"),
                    ReceiptStatus::Read,
                    ReceiptTarget::UpTo(at(10 + about)),
                ),
                2 => {
                    let status = [ReceiptStatus::Delivered, ReceiptStatus::Read, ReceiptStatus::Delivered][which];
                    let target = ReceiptTarget::Messages(vec![format!("m{}", 10 + about)]);
                    receipt(&format!("receipt-{n}"), status, target)
                }
                3 => fact(
                    &format!("arrival-{n}"),
                    Fact::Arrival {
                        conversation: "thread".into(),
                        contact: Person {
                            platform_id: "jane".into(),
                            ..Person::default()
                        },
                        referral: referral(moment, moment),
                        at: at(moment),
                    },
                ),
                _ => {
                    let mut reported = reported(&id, Direction::Inbound, Origin::Contact, moment);
                    reported.contact.username = Some(format!("name-{which}"));
                    reported.contact.display_name = (which > 0).then(|| format!("Name {about}"));
                    message(reported)
                }
            });
        }
        facts
    })
}

fn in_groups(facts: &[InboundEvent], cut: usize) -> Vec<Vec<InboundEvent>> {
    facts.chunks(cut).map(<[InboundEvent]>::to_vec).collect()
}

proptest! {
    #[test]
    fn any_order_is_one_conversation(
        (facts, shuffled, cut) in facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle(), 1..6usize)),
    ) {
        let (mut first, mut second) = (Memory::begin(), Memory::begin());
        for fact in facts {
            first.record(vec![vec![fact]]);
        }
        second.record(in_groups(&shuffled, cut));
        prop_assert_eq!(first.seen(), second.seen());
    }

    #[test]
    fn a_group_is_its_batches_one_by_one(facts in facts().prop_shuffle(), cut in 1..6usize) {
        let (mut together, mut alone) = (Memory::begin(), Memory::begin());
        let of_group = together.record(in_groups(&facts, cut));
        let one_by_one: Vec<Recorded> = in_groups(&facts, cut)
            .into_iter()
            .flat_map(|batch| alone.record(vec![batch]))
            .collect();
        prop_assert_eq!(of_group, one_by_one);
        prop_assert_eq!(&together.events, &alone.events);
        prop_assert_eq!(&together.conversations, &alone.conversations);
        prop_assert_eq!(&together.contacts, &alone.contacts);
        prop_assert_eq!(&together.messages, &alone.messages);
    }

    #[test]
    fn a_fact_is_recorded_once(facts in facts().prop_shuffle(), cut in 1..6usize) {
        let mut memory = Memory::begin();
        let first: Recorded = memory.record(in_groups(&facts, cut)).into_iter().sum();
        let (seen, events) = (memory.seen(), memory.events.len());
        let second: Recorded = memory.record(in_groups(&facts, cut)).into_iter().sum();
        prop_assert_eq!(second.stored, 0);
        prop_assert_eq!(second.duplicates, first.stored + first.duplicates);
        prop_assert_eq!((memory.seen(), memory.events.len()), (seen, events));
    }

    #[test]
    fn budget_counts_since_last_contact_message(facts in facts().prop_shuffle(), cut in 1..6usize) {
        let mut memory = Memory::begin();
        memory.record(in_groups(&facts, cut));
        let conversation = &memory.only_conversation().conversation;
        let counted = memory.messages.values().filter(|stored| {
            stored.counts() && Some(stored.message.sent_at) > conversation.contact_wrote_at
        });
        prop_assert_eq!(conversation.budget_used as usize, counted.count());
    }

    #[test]
    fn what_is_not_touched_is_not_written(facts in facts()) {
        let mut memory = Memory::begin();
        memory.record(vec![facts.clone()]);
        let again = Batch {
            app: "example".into(),
            events: facts,
            source: Source::Webhook,
            policies: policy_set(),
            now: at(100),
        };
        let (_, changes) = record(vec![again], memory.load(), &memory.mint);
        let written = changes.messages.iter().any(|row| !matches!(row.write(), crate::record::change::Write::Nothing));
        prop_assert!(!written && changes.events.is_empty() && changes.facts.is_empty());
    }
}

/// An outbound message that was sent and has no response.
fn in_flight(memory: &mut Memory, n: u128, text: &str) {
    let conversation = memory.only_conversation().conversation.clone();
    let mut sent = StoredMessage::new(
        "default",
        Message {
            id: id(100 + n),
            channel_id: conversation.channel_id,
            conversation_id: conversation.id,
            contact_id: conversation.contact.id,
            direction: Direction::Outbound,
            origin: Origin::Api,
            status: Status::Queued,
            content: Content::Text { text: text.into() },
            platform_id: None,
            reply_to: None,
            referral: None,
            client_ref: None,
            error: None,
            warnings: Vec::new(),
            answers: None,
            platform_data: None,
            sent_at: at(20),
            created_at: at(20),
            sequence: 2,
        },
        0,
        true,
    );
    assert!(sent.advance(Status::Sending, MessageUpdate::default(), None));
    assert!(sent.advance(Status::Uncertain, MessageUpdate::default(), None));
    memory.outbox.push(QueuedMessage {
        place: i64::try_from(n).expect("a few"),
        message: sent.message.id,
        channel: conversation.channel_id,
        conversation: conversation.id,
        state: QueueState::Uncertain { until: at(170) },
        due_at: None,
        expires_at: None,
        tries: 1,
        epoch: 1,
        dispatched_at: Some(at(20)),
    });
    memory.messages.insert(sent.message.id, sent);
}

fn api_echo(platform_id: &str, text: &str) -> InboundEvent {
    let mut reported = reported(platform_id, Direction::Outbound, Origin::Api, 21);
    reported.content = Content::Text { text: text.into() };
    message(reported)
}

#[test]
fn an_echo_before_the_answer_finds_its_message() {
    let mut memory = Memory::begin();
    memory.record(vec![vec![message(reported(
        "m1",
        Direction::Inbound,
        Origin::Contact,
        1,
    ))]]);
    in_flight(&mut memory, 1, "hello");
    memory.record(vec![vec![api_echo("p1", "hello")]]);
    let message = &memory.messages[&id::<MessageId>(101)].message;
    assert_eq!(
        (message.status, message.platform_id.as_deref()),
        (Status::Sent, Some("p1"))
    );
    assert_eq!(memory.messages.len(), 2);
    assert!(memory.outbox.is_empty(), "what was uncertain is settled");
    assert_eq!(memory.events.last().map(|event| event.0), Some(EventType::MessageSent));
}

#[test]
fn two_alike_are_not_guessed_between() {
    let mut memory = Memory::begin();
    memory.record(vec![vec![message(reported(
        "m1",
        Direction::Inbound,
        Origin::Contact,
        1,
    ))]]);
    in_flight(&mut memory, 1, "hello");
    in_flight(&mut memory, 2, "hello");
    memory.record(vec![vec![api_echo("p1", "hello")]]);
    assert_eq!(memory.messages.len(), 4);
    assert_eq!(
        memory.events.last().map(|event| event.0),
        Some(EventType::MessageEchoed)
    );
}

#[test]
fn a_receipt_in_the_group_of_its_message_counts() {
    let mut memory = Memory::begin();
    let read = receipt("r", ReceiptStatus::Read, ReceiptTarget::Messages(vec!["e1".into()]));
    let echo = message(reported("e1", Direction::Outbound, Origin::App, 5));
    memory.record(vec![vec![read], vec![echo]]);
    let statuses: Vec<Status> = memory.messages.values().map(|stored| stored.message.status).collect();
    assert_eq!(statuses, [Status::Read]);
    assert!(memory.early.is_empty());
}
