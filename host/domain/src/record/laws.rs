//! Properties of a conversation's messages for any sequence of decisions.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::channel::Channel;
use crate::conversation::OpenedBy;
use crate::delivery::Next;
use crate::id::{MessageId, Mint};
use crate::limits;
use crate::message::{Content, Draft, MessageError, Origin, Status};
use crate::policy::tests as given;
use crate::policy::{Refusal, Rules};
use crate::problem::Fault;
use crate::record::change::Write;
use crate::record::echo::Arrival;
use crate::record::outbound::{self, Destination, NewMessages, Retry, Settlement};
use crate::record::queue::{ConversationQueue, QueueState, QueuedMessage};
use crate::record::settle::{self, Outbound, Tried};
use crate::record::{Changes, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

/// Messages until the contact writes again.
const BUDGET: u32 = 4;

/// A database of one conversation, in memory.
struct Record {
    rules: Rules,
    channel: Channel,
    mint: Mint,
    conversation: StoredConversation,
    messages: BTreeMap<MessageId, StoredMessage>,
    outbox: BTreeMap<i64, QueuedMessage>,
    accepted: i64,
    attempts: BTreeSet<(MessageId, i64)>,
}

impl Record {
    fn begin() -> Self {
        let conversation = given::conversation(Some(given::WROTE), 0);
        let wrote = given::at(given::WROTE);
        let mut stored = StoredConversation::begin(
            conversation.id,
            "default",
            &conversation.platform_id,
            conversation.contact.clone(),
            OpenedBy::Message,
            wrote,
            wrote,
        );
        stored.conversation = conversation;
        Self {
            rules: Rules {
                budget: Some(BUDGET),
                ..given::rules()
            },
            channel: given::channel(),
            mint: given::mint(),
            conversation: stored,
            messages: BTreeMap::new(),
            outbox: BTreeMap::new(),
            accepted: 0,
            attempts: BTreeSet::new(),
        }
    }

    fn queue(&self) -> ConversationQueue {
        ConversationQueue::loaded(self.outbox.values().cloned().collect())
    }

    fn load(&self, id: MessageId) -> Outbound {
        Outbound {
            message: Tracked::loaded(self.messages[&id].clone()),
            conversation: Tracked::loaded(self.conversation.clone()),
            queue: self.queue(),
        }
    }

    fn apply(&mut self, changes: Changes) {
        for message in changes.messages {
            self.messages.insert(message.message.id, message.into_row());
        }
        for conversation in changes.conversations {
            self.conversation = conversation.into_row();
        }
        for place in changes.removed_queued {
            self.outbox.remove(&place);
        }
        for entry in &changes.queued {
            match entry.write() {
                Write::Insert(row) => {
                    self.accepted += 1;
                    let place = self.accepted;
                    self.outbox.insert(place, QueuedMessage { place, ..row.clone() });
                }
                Write::Update { after, .. } => drop(self.outbox.insert(after.place, after.clone())),
                Write::Nothing => {}
            }
        }
        for attempt in changes.attempts {
            assert!(
                self.attempts.insert((attempt.message, attempt.number)),
                "an attempt ends once"
            );
        }
    }

    fn pick(&self, n: usize, of: impl Fn(&StoredMessage) -> bool) -> Option<MessageId> {
        let those: Vec<MessageId> = self
            .messages
            .values()
            .filter(|stored| of(stored))
            .map(|stored| stored.message.id)
            .collect();
        those.get(n % those.len().max(1)).copied()
    }

    fn draft() -> Draft {
        Draft {
            content: Content::Text { text: "hi".into() },
            reply_to: None,
        }
    }

    fn play(&mut self, act: &Act, now: Timestamp) -> Result<(), Refusal> {
        let with = |status: Status| move |stored: &StoredMessage| stored.message.status == status;
        match act {
            Act::Accept(count) => {
                let new = NewMessages {
                    contents: vec![Self::draft().content; *count],
                    reply_to: None,
                    client_ref: None,
                    origin: Origin::Api,
                };
                let to = Destination {
                    conversation: Tracked::loaded(self.conversation.clone()),
                    channel: &self.channel,
                    rules: &self.rules,
                    queue: self.queue(),
                };
                let (accepted, changes) = outbound::accept(to, new, &self.mint, now)?;
                assert_eq!(accepted.len(), *count);
                self.apply(changes);
            }
            Act::Lease => {
                let head = self
                    .outbox
                    .values_mut()
                    .find(|row| row.due_at.is_some_and(|due| due <= now));
                if let Some(head) = head {
                    let until = now.after(limits::LEASE);
                    head.state = QueueState::Sending {
                        owner: "worker".into(),
                        until,
                    };
                    head.epoch += 1;
                    head.dispatched_at = Some(now);
                    head.due_at = None;
                    let stored = self.messages.get_mut(&head.message).expect("it is in the outbox");
                    stored.message.status = Status::Sending;
                }
            }
            Act::Settle(outcome) => {
                let Some(id) = self.pick(0, with(Status::Sending)) else {
                    return Ok(());
                };
                let error = MessageError {
                    code: "no".into(),
                    detail: "no".into(),
                    fault: Fault::Platform,
                    retryable: false,
                    platform: None,
                };
                let next = match outcome {
                    AttemptOutcome::Sent => Next::Sent {
                        platform_id: format!("p-{id}"),
                        at: now,
                    },
                    AttemptOutcome::Retry => Next::RetryAt {
                        at: now,
                        counts: true,
                        error,
                    },
                    AttemptOutcome::Held => Next::Held { error },
                    AttemptOutcome::Uncertain => Next::Uncertain { error },
                    AttemptOutcome::Failed => Next::Failed { error },
                };
                let tried = Tried {
                    next,
                    requests: Vec::new(),
                    arrival: Arrival::default(),
                };
                let (changes, is_believed) = settle::settle(self.load(id), tried, now);
                assert!(is_believed);
                self.apply(changes);
            }
            Act::LoseLease => {
                if let Some(id) = self.pick(0, with(Status::Sending)) {
                    self.apply(settle::lose_lease(self.load(id), now));
                }
            }
            Act::Cancel(n) => {
                if let Some(id) = self.pick(*n, with(Status::Queued)) {
                    let (message, changes) = outbound::cancel(self.load(id)).expect("it is queued");
                    assert_eq!(message.status, Status::Cancelled);
                    self.apply(changes);
                }
            }
            Act::Retry(n) => {
                let may_be =
                    |stored: &StoredMessage| matches!(stored.message.status, Status::Failed | Status::Uncertain);
                if let Some(id) = self.pick(*n, may_be) {
                    let last = self
                        .attempts
                        .iter()
                        .filter(|(of, _)| *of == id)
                        .map(|(_, number)| *number)
                        .max();
                    let by = Retry {
                        channel: &self.channel,
                        rules: &self.rules,
                        draft: Self::draft(),
                        epoch: last.unwrap_or_default(),
                    };
                    let (_, changes) = outbound::retry(self.load(id), by, now)?;
                    self.apply(changes);
                }
            }
            Act::Resolve(n, found) => {
                if let Some(id) = self.pick(*n, with(Status::Uncertain)) {
                    let settlement = match found {
                        0 => Settlement::Found {
                            platform_id: format!("p-{id}"),
                            at: now,
                            arrival: Arrival::default(),
                        },
                        1 => Settlement::Absent,
                        _ => Settlement::GivenUp,
                    };
                    let (changes, _) = outbound::resolve(self.load(id), settlement, now);
                    self.apply(changes);
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Act {
    Accept(usize),
    Lease,
    Settle(AttemptOutcome),
    LoseLease,
    Cancel(usize),
    Retry(usize),
    Resolve(usize, usize),
}

#[derive(Clone, Copy, Debug)]
enum AttemptOutcome {
    Sent,
    Retry,
    Held,
    Uncertain,
    Failed,
}

fn act() -> impl Strategy<Value = Act> {
    let outcome = prop_oneof![
        3 => Just(AttemptOutcome::Sent),
        1 => Just(AttemptOutcome::Retry),
        1 => Just(AttemptOutcome::Held),
        2 => Just(AttemptOutcome::Uncertain),
        1 => Just(AttemptOutcome::Failed)
    ];
    prop_oneof![
        4 => (1..3usize).prop_map(Act::Accept),
        5 => Just(Act::Lease),
        5 => outcome.prop_map(Act::Settle),
        1 => Just(Act::LoseLease),
        1 => (0..9usize).prop_map(Act::Cancel),
        1 => (0..9usize).prop_map(Act::Retry),
        2 => (0..9usize, 0..3usize).prop_map(|(n, found)| Act::Resolve(n, found)),
    ]
}

proptest! {
    #[test]
    fn no_decision_breaks_the_laws_of_a_conversation(acts in prop::collection::vec(act(), 1..50)) {
        let mut record = Record::begin();
        let mut now = given::at(given::WROTE);
        for act in acts {
            now = now.after(std::time::Duration::from_secs(40));
            let before = (record.conversation.clone(), record.messages.clone(), record.outbox.clone());
            if let Err(refusal) = record.play(&act, now) {
                prop_assert_eq!(refusal.code(), "message_budget_exhausted");
                // A refusal changes nothing.
                prop_assert!(before == (record.conversation.clone(), record.messages.clone(), record.outbox.clone()));
            }
            // The contact wrote once, before all: no share is lost, and none is granted beyond the budget. A message
            // that was given up and is retried takes another share, since the platform may have counted the first.
            let shares = record.messages.values().filter(|stored| stored.counted).count();
            let used = record.conversation.conversation.budget_used;
            prop_assert!(shares <= used as usize && used <= BUDGET);
            // The outbox contains exactly the unsettled messages.
            let unsettled: BTreeSet<MessageId> = record
                .messages
                .values()
                .filter(|stored| stored.message.status.is_unsettled())
                .map(|stored| stored.message.id)
                .collect();
            prop_assert_eq!(&unsettled, &record.outbox.values().map(|row| row.message).collect());
            for row in record.outbox.values() {
                let status = record.messages[&row.message].message.status;
                let fits = match row.state {
                    QueueState::Queued { .. } => status == Status::Queued,
                    QueueState::Sending { .. } => status == Status::Sending,
                    QueueState::Uncertain { .. } => status == Status::Uncertain,
                };
                prop_assert!(fits, "{:?} {}", row, status.as_str());
                // Queued messages come after all others.
                prop_assert_eq!(record.messages[&row.message].stands_at, None);
            }
            prop_assert!(record.outbox.values().filter(|row| row.is_in_flight()).count() <= 1);
        }
    }
}

#[test]
fn a_lease_from_before_a_retry_is_lost() {
    let mut record = Record::begin();
    let mut now = given::at(given::WROTE);
    let mut play = |record: &mut Record, act: Act| {
        now = now.after(std::time::Duration::from_secs(1));
        record.play(&act, now).expect("no rule refuses it");
    };
    play(&mut record, Act::Accept(1));
    play(&mut record, Act::Lease);
    play(&mut record, Act::Settle(AttemptOutcome::Failed));
    play(&mut record, Act::Retry(0));
    play(&mut record, Act::Lease);
    let row = record.outbox.values().next().expect("it is being sent again");
    assert!(row.is_leased("worker", 2));
    assert!(!row.is_leased("worker", 1) && !row.is_leased("another", 2));
}
