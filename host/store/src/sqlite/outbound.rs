//! Accepting messages, and what a person does to one that was accepted: cancel, retry, settle a doubt.

use rusqlite::params;
use weir_domain::claim::{Claimed, Progress};
use weir_domain::event::EventType;
use weir_domain::id::MessageId;
use weir_domain::message::{Direction, Draft, Message, MessageError, Status};
use weir_domain::policy::{self, Refusal, RuleBook, Stage};
use weir_domain::problem::Fault;
use weir_domain::record::{Changes, StoredConversation, window_events};
use weir_domain::time::Timestamp;

use crate::acts::apply;
use crate::sqlite::conversations;
use crate::sqlite::db::{Db, get_id, get_time_if, json, key};
use crate::sqlite::echo::{self, Seen};
use crate::sqlite::messages::{self, Entry, Step};
use crate::sqlite::{channels, claims, media, outbox};
use crate::{EnqueueError, Enqueued, KeptAnswer, NewMessage, Resolution, Result, StoreError, UncertainMessage};

/// HTTP's `202 Accepted`, under which the first answer is kept.
const ACCEPTED: u16 = 202;

pub(super) fn enqueue(db: &Db<'_>, new: NewMessage, book: &RuleBook, now: Timestamp) -> Result<Enqueued, EnqueueError> {
    if let Some(first) = replayed(db, &new, now)? {
        return Ok(Enqueued::Replayed(first));
    }
    let mut thread = conversations::thread(db, new.conversation_id)?
        .filter(|thread| thread.workspace == new.workspace_id)
        .ok_or(EnqueueError::NoConversation)?;
    let channel = channels::needed(db, thread.conversation.channel_id)?;
    if let Some(client_ref) = &new.client_ref
        && let Some(other) = messages::by_client_ref(db, channel.id, client_ref)?
    {
        return Err(EnqueueError::ClientRefTaken(other));
    }
    let rules = book.rules(&channel);
    let reply_to = new.reply_to.map(|id| quoted(db, &thread, id)).transpose()?;
    let unspent = thread.conversation.budget_used;
    if thread.reopen(&rules, now) {
        conversations::save(db, &thread)?;
        let mut changes = Changes::default();
        window_events::opened(&mut changes, &thread, &channel, &rules, now);
        apply(db, changes, now)?;
    }
    // Until the platform gives it a time of its own, it is dated as the platform would: it is compared with the contact's words.
    let sent_at = rules.clock.platform(now);
    let mut accepted = Vec::with_capacity(1 + new.then.len());
    for content in std::iter::once(new.content).chain(new.then) {
        let is_first = accepted.is_empty();
        let draft = Draft {
            content: media::described(db, &new.workspace_id, content)?,
            reply_to: reply_to.clone().filter(|_| is_first),
        };
        let permit = policy::may_send(&rules, &channel, &thread.at(now), draft, Stage::Accept, now)
            .map_err(|refusal| as_it_was(refusal, unspent))?;
        let content = permit.draft().content.clone();
        let message = Message {
            id: db.mint(now),
            channel_id: channel.id,
            conversation_id: thread.conversation.id,
            contact_id: thread.conversation.contact.id,
            direction: Direction::Outbound,
            origin: new.origin,
            status: Status::Queued,
            warnings: policy::content::warnings(&rules, &content),
            content,
            platform_id: None,
            reply_to: new.reply_to.filter(|_| is_first),
            referral: None,
            client_ref: new.client_ref.clone().filter(|_| is_first),
            error: None,
            answers: None,
            platform_data: None,
            sent_at,
            created_at: now,
            sequence: thread.next_of_ours(sent_at),
        };
        thread.conversation.budget_used += 1;
        let entry = Entry {
            workspace: &new.workspace_id,
            part: 0,
            counted: true,
        };
        messages::insert(db, &message, entry)?;
        media::note_sent(db, message.conversation_id, &message.content)?;
        conversations::save(db, &thread)?;
        outbox::push(db, &message, thread.expires_at(&rules), now)?;
        messages::tell(db, &new.workspace_id, &message, EventType::MessageQueued, now)?;
        accepted.push(message);
    }
    if let Some(claim) = new.claim {
        let answer = KeptAnswer {
            status: ACCEPTED,
            body: json(&accepted)?,
        };
        claims::insert_answered(db, &claim, &answer, Some(thread.conversation.contact.id), now)?;
    }
    Ok(Enqueued::New(accepted))
}

/// A refusal of the second of several messages undoes the first too: the budget is told as it is without either.
fn as_it_was(refusal: Refusal, used: u32) -> Refusal {
    match refusal {
        Refusal::MessageBudgetExhausted { limit, .. } => Refusal::MessageBudgetExhausted { limit, used },
        other => other,
    }
}

/// The answer that the same request got before.
fn replayed(db: &Db<'_>, new: &NewMessage, now: Timestamp) -> Result<Option<Vec<Message>>, EnqueueError> {
    let Some(claim) = &new.claim else { return Ok(None) };
    let kept = match claims::judge(db, claim, now)? {
        Claimed::New => return Ok(None),
        Claimed::Before(Progress::Answered(kept)) if kept.status == ACCEPTED => kept,
        // A send is claimed and answered in one transaction, so whatever else is there is another request.
        Claimed::Before(_) | Claimed::Reused => return Err(EnqueueError::KeyReused),
    };
    let first = serde_json::from_str(&kept.body).map_err(|error| StoreError::Damaged {
        place: format!("claims.body of {}", claim.key),
        reason: error.to_string(),
    })?;
    Ok(Some(first))
}

/// The platform's id of the message to quote. One that the platform does not know yet cannot be quoted.
fn quoted(db: &Db<'_>, thread: &StoredConversation, id: MessageId) -> Result<String, EnqueueError> {
    messages::by_id(db, id)?
        .filter(|message| message.conversation_id == thread.conversation.id)
        .and_then(|message| message.platform_id)
        .ok_or(EnqueueError::NoReplyTarget)
}

pub(super) fn cancel(
    db: &Db<'_>,
    workspace: &str,
    id: MessageId,
    now: Timestamp,
) -> Result<Option<Result<Message, Message>>> {
    let Some(mut message) = messages::one(db, workspace, id)? else {
        return Ok(None);
    };
    if !messages::advance(db, &mut message, Status::Cancelled, Step::default())? {
        return Ok(Some(Err(message)));
    }
    outbox::give_back(db, &message)?;
    outbox::remove(db, &message)?;
    messages::tell(db, workspace, &message, EventType::MessageCancelled, now)?;
    Ok(Some(Ok(message)))
}

pub(super) fn retry(
    db: &Db<'_>,
    workspace: &str,
    id: MessageId,
    book: &RuleBook,
    now: Timestamp,
) -> Result<Option<Message>, EnqueueError> {
    let Some(mut message) = messages::one(db, workspace, id)? else {
        return Ok(None);
    };
    let in_doubt = match (message.direction, message.status) {
        (Direction::Outbound, Status::Uncertain) => true,
        (Direction::Outbound, Status::Failed) => false,
        _ => return Ok(Some(message)),
    };
    let mut thread = conversations::needed(db, message.conversation_id)?;
    let channel = channels::needed(db, message.channel_id)?;
    let rules = book.rules(&channel);
    // What is in doubt, or failed after the platform had it, has its share already.
    let has_share = db.exists("SELECT 1 FROM messages WHERE id = ?1 AND counted = 1", [key(id)])?;
    let mut as_if = thread.at(now);
    as_if.budget_used = as_if.budget_used.saturating_sub(u32::from(in_doubt && has_share));
    let draft = outbox::draft(db, workspace, &message)?;
    policy::may_send(&rules, &channel, &as_if, draft, Stage::Accept, now)?;
    thread.conversation.budget_used = as_if.budget_used + 1;
    conversations::save(db, &thread)?;
    db.run(
        "UPDATE messages SET counted = 1, platform_id = NULL WHERE id = ?1",
        [key(id)],
    )?;
    message.platform_id = None;
    let step = Step {
        sent_at: Some(rules.clock.platform(now)),
        ..Step::default()
    };
    messages::restart(db, &mut message, Status::Queued, step)?;
    let expires_at = thread.expires_at(&rules);
    if in_doubt {
        db.run("UPDATE outbox SET tries = 0 WHERE message_id = ?1", [key(id)])?;
        outbox::requeue(db, &message, expires_at, now)?;
    } else {
        outbox::push(db, &message, expires_at, now)?;
    }
    messages::tell(db, workspace, &message, EventType::MessageQueued, now)?;
    Ok(Some(message))
}

pub(super) fn uncertain(db: &Db<'_>, limit: u32) -> Result<Vec<UncertainMessage>> {
    let rows: Vec<(MessageId, Option<Timestamp>)> = db.all(
        "SELECT message_id, dispatched_at FROM outbox WHERE state = 'uncertain' ORDER BY n LIMIT ?1",
        params![limit],
        |row| Ok((get_id(row, 0)?, get_time_if(row, 1)?)),
    )?;
    rows.into_iter()
        .map(|(id, dispatched_at)| {
            let message = messages::needed(db, id)?;
            let thread = conversations::needed(db, message.conversation_id)?;
            Ok(UncertainMessage {
                conversation: thread.conversation,
                channel: channels::needed(db, message.channel_id)?,
                dispatched_at: dispatched_at.unwrap_or(message.sent_at),
                message,
            })
        })
        .collect()
}

pub(super) fn resolve(db: &Db<'_>, id: MessageId, found: Resolution, now: Timestamp) -> Result<bool> {
    let Some(mut message) = messages::by_id(db, id)?.filter(|message| message.status == Status::Uncertain) else {
        return Ok(false);
    };
    match found {
        Resolution::Found { platform_id, at } => echo::arrived(db, &mut message, &platform_id, at, now)?,
        Resolution::HistoryRead {
            possible_since,
            likely_since,
        } => match echo::seen(db, &message, possible_since, likely_since)? {
            Seen::There { platform_id, at } => echo::arrived(db, &mut message, &platform_id, at, now)?,
            Seen::Perhaps => return Ok(false),
            Seen::Nothing => {
                messages::advance(db, &mut message, Status::Queued, Step::default())?;
                outbox::requeue(db, &message, None, now)?;
                outbox::tell(db, &message, EventType::MessageQueued, now)?;
            }
        },
        Resolution::GivenUp => {
            let error = message.error.clone().unwrap_or_else(|| MessageError {
                code: "outcome_unknown".to_owned(),
                detail: "nobody knows whether it was sent, and it was given up".to_owned(),
                fault: Fault::Host,
                retryable: false,
                platform: None,
            });
            outbox::fail_counted(db, &mut message, error, now)?;
        }
    }
    Ok(true)
}
