//! Accepting messages, and a person's actions on accepted ones: cancel, retry, settle an uncertain one.

use crate::channel::Channel;
use crate::event::EventType;
use crate::id::{MessageId, Mint};
use crate::message::{Content, Direction, Draft, Message, MessageError, Origin, Status};
use crate::policy::{self, Refusal, Rules, Stage};
use crate::problem::Fault;
use crate::record::echo::Arrival;
use crate::record::queue::{ConversationQueue, QueueState, QueuedMessage};
use crate::record::settle::Outbound;
use crate::record::{Changes, MessageUpdate, StoredConversation, StoredMessage, Tracked, window_events};
use crate::time::Timestamp;

/// The conversation that messages are sent in.
#[derive(Debug)]
pub struct Destination<'a> {
    pub conversation: Tracked<StoredConversation>,
    pub channel: &'a Channel,
    pub rules: &'a Rules,
    pub queue: ConversationQueue,
}

/// Messages to be accepted.
#[derive(Debug)]
pub struct NewMessages {
    /// Their contents, with attachments as stored: all are accepted, or none.
    pub contents: Vec<Content>,
    /// The message that the first one quotes, and its platform id.
    pub reply_to: Option<(MessageId, String)>,
    /// The caller's own reference to the first one.
    pub client_ref: Option<String>,
    pub origin: Origin,
}

/// Checks drafts against the policy and adds them to the outbox.
///
/// # Errors
/// A rule that refuses one of them; then none is accepted.
pub fn accept(
    to: Destination<'_>,
    new: NewMessages,
    mint: &Mint,
    now: Timestamp,
) -> Result<(Vec<Message>, Changes), Refusal> {
    let Destination {
        mut conversation,
        channel,
        rules,
        mut queue,
    } = to;
    let mut changes = Changes::default();
    let unspent = conversation.conversation.budget_used;
    if conversation.edit().reopen(rules, now) {
        window_events::opened(&mut changes, &conversation, channel, rules, now);
    }
    // Until the platform assigns a time, it is dated by the platform's clock: it is compared with the contact's
    // messages.
    let sent_at = rules.clock.platform(now);
    let mut accepted = Vec::with_capacity(new.contents.len());
    let (mut reply_to, mut client_ref) = (new.reply_to, new.client_ref);
    for content in new.contents {
        let (quoted, reply_to) = reply_to.take().unzip();
        let draft = Draft { content, reply_to };
        let permit = policy::may_send(rules, channel, &conversation.at(now), draft, Stage::Accept, now)
            .map_err(|refusal| as_it_was(refusal, unspent))?;
        let content = permit.draft().content.clone();
        let stored = conversation.edit();
        let message = Message {
            id: mint.id(now),
            channel_id: channel.id,
            conversation_id: stored.conversation.id,
            contact_id: stored.conversation.contact.id,
            direction: Direction::Outbound,
            origin: new.origin,
            status: Status::Queued,
            warnings: policy::content::warnings(rules, &content),
            content,
            platform_id: None,
            reply_to: quoted,
            referral: None,
            client_ref: client_ref.take(),
            error: None,
            answers: None,
            platform_data: None,
            sent_at,
            created_at: now,
            sequence: stored.next_of_ours(sent_at),
        };
        stored.conversation.budget_used += 1;
        queue.push(queued(&message, stored.expires_at(rules), 0, now));
        let stored = StoredMessage::new(&stored.workspace, message, 0, true);
        changes.message_event(&stored, EventType::MessageQueued);
        accepted.push(stored.message.clone());
        changes.messages.push(Tracked::new(stored));
    }
    changes.queue(channel.id, queue);
    changes.conversations.push(conversation);
    Ok((accepted, changes))
}

/// A refusal of a later message undoes the first ones too: the refusal reports the budget without them.
fn as_it_was(refusal: Refusal, used: u32) -> Refusal {
    match refusal {
        Refusal::MessageBudgetExhausted { limit, .. } => Refusal::MessageBudgetExhausted { limit, used },
        other => other,
    }
}

/// A message at the end of its conversation's queue. `epoch` is the number of its last attempt.
fn queued(message: &Message, expires_at: Option<Timestamp>, epoch: i64, now: Timestamp) -> QueuedMessage {
    QueuedMessage {
        place: 0,
        message: message.id,
        channel: message.channel_id,
        conversation: message.conversation_id,
        state: QueueState::Queued {
            not_before: now,
            held: false,
        },
        due_at: None,
        expires_at,
        tries: 0,
        epoch,
        dispatched_at: None,
    }
}

/// Cancels a queued message. `None` if it is not queued.
pub fn cancel(mut outbound: Outbound) -> Option<(Message, Changes)> {
    let mut changes = Changes::default();
    if !outbound.advance(Status::Cancelled, None) {
        return None;
    }
    outbound.give_back();
    outbound.leave();
    outbound.event(&mut changes, EventType::MessageCancelled);
    let message = outbound.message.message.clone();
    Some((message, outbound.into_changes(changes)))
}

/// The input of a retry's check.
#[derive(Debug)]
pub struct Retry<'a> {
    pub channel: &'a Channel,
    pub rules: &'a Rules,
    pub draft: Draft,
    /// The number of its last attempt.
    pub epoch: i64,
}

/// Queues a failed or uncertain message again.
///
/// # Errors
/// A rule that refuses it now.
pub fn retry(mut outbound: Outbound, by: Retry<'_>, now: Timestamp) -> Result<(Message, Changes), Refusal> {
    let mut changes = Changes::default();
    let Retry {
        channel,
        rules,
        draft,
        epoch,
    } = by;
    let is_uncertain = outbound.message.message.status == Status::Uncertain;
    // An uncertain message, or one that failed after the platform had it, has its share already.
    let mut as_if = outbound.conversation.at(now);
    let has_share = is_uncertain && outbound.message.counted;
    as_if.budget_used = as_if.budget_used.saturating_sub(u32::from(has_share));
    policy::may_send(rules, channel, &as_if, draft, Stage::Accept, now)?;
    outbound.conversation.edit().conversation.budget_used = as_if.budget_used + 1;
    let expires_at = outbound.conversation.expires_at(rules);
    let stored = outbound.message.edit();
    stored.counted = true;
    stored.message.platform_id = None;
    let update = MessageUpdate {
        sent_at: Some(rules.clock.platform(now)),
        ..MessageUpdate::default()
    };
    stored.restart(Status::Queued, update, None);
    let message = stored.message.clone();
    match outbound.queue.edit(message.id) {
        Some(entry) => {
            entry.requeue(now, false);
            entry.tries = 0;
            entry.expires_at = expires_at.or(entry.expires_at);
        }
        None => outbound.queue.push(queued(&message, expires_at, epoch, now)),
    }
    outbound.event(&mut changes, EventType::MessageQueued);
    Ok((message, outbound.into_changes(changes)))
}

/// The result that settles an uncertain message.
#[derive(Debug)]
pub enum Settlement {
    /// The platform has it, under this id.
    Found {
        platform_id: String,
        at: Timestamp,
        arrival: Arrival,
    },
    /// No message of the platform's history can be it.
    Absent,
    /// A person gives it up.
    GivenUp,
}

/// Settles an uncertain message. Returns false if its platform id belongs to another message and is ignored.
pub fn resolve(mut outbound: Outbound, settlement: Settlement, now: Timestamp) -> (Changes, bool) {
    let mut changes = Changes::default();
    let mut is_believed = true;
    match settlement {
        Settlement::Found {
            platform_id,
            at,
            arrival,
        } => {
            is_believed = outbound.arrived(&mut changes, (&platform_id, at), arrival);
        }
        Settlement::Absent => {
            outbound.advance(Status::Queued, None);
            if let Some(entry) = outbound.queue.edit(outbound.message.message.id) {
                entry.requeue(now, false);
            }
            outbound.event(&mut changes, EventType::MessageQueued);
        }
        Settlement::GivenUp => {
            let error = outbound.message.message.error.clone().unwrap_or_else(|| MessageError {
                code: "outcome_unknown".to_owned(),
                detail: "it is unknown whether it was sent, and it was given up".to_owned(),
                fault: Fault::Host,
                retryable: false,
                platform: None,
            });
            outbound.fail_counted(&mut changes, error);
        }
    }
    (outbound.into_changes(changes), is_believed)
}
