//! Loads what accepting a message needs, and what a person does to one that was accepted.

use weir_domain::claim::{Claimed, Progress};
use weir_domain::event::EventType;
use weir_domain::id::MessageId;
use weir_domain::message::{Direction, Message, Status};
use weir_domain::policy::RuleBook;
use weir_domain::record::outbound::{self, Destination, NewMessages, Retry, Settlement};
use weir_domain::record::queue::QueuedMessage;
use weir_domain::record::{StoredConversation, Tracked};
use weir_domain::time::Timestamp;

use crate::acts::{apply, outbox as acts};
use crate::sqlite::db::Db;
use crate::sqlite::echo::{self, Seen};
use crate::sqlite::{channels, claims, conversations, media, messages, outbox};
use crate::{EnqueueError, Enqueued, KeptAnswer, NewMessage, Resolution, Result, StoreError, UncertainMessage};

/// HTTP's `202 Accepted`, under which the first answer is kept.
const ACCEPTED: u16 = 202;

pub(crate) fn enqueue(db: &Db<'_>, new: NewMessage, book: &RuleBook, now: Timestamp) -> Result<Enqueued, EnqueueError> {
    if let Some(first) = replayed(db, &new, now)? {
        return Ok(Enqueued::Replayed(first));
    }
    let conversation = conversations::thread(db, new.conversation_id)?
        .filter(|stored| stored.workspace == new.workspace_id)
        .ok_or(EnqueueError::NoConversation)?;
    let channel = channels::needed(db, conversation.conversation.channel_id)?;
    if let Some(client_ref) = &new.client_ref
        && let Some(other) = messages::by_client_ref(db, channel.id, client_ref)?
    {
        return Err(EnqueueError::ClientRefTaken(other));
    }
    let rules = book.rules(&channel);
    let reply_to = match new.reply_to {
        Some(id) => Some((id, quoted(db, &conversation, id)?)),
        None => None,
    };
    let mut contents = Vec::with_capacity(1 + new.then.len());
    for content in std::iter::once(new.content).chain(new.then) {
        contents.push(media::described(db, &new.workspace_id, content)?);
    }
    let (id, contact) = (conversation.conversation.id, conversation.conversation.contact.id);
    let to = Destination {
        queue: outbox::queue_of(db, id, None)?,
        conversation: Tracked::loaded(conversation),
        channel: &channel,
        rules: &rules,
    };
    let new_messages = NewMessages {
        contents,
        reply_to,
        client_ref: new.client_ref,
        origin: new.origin,
    };
    let (accepted, changes) = outbound::accept(to, new_messages, db.mint, now)?;
    for message in &accepted {
        media::note_sent(db, id, &message.content)?;
    }
    if let Some(claim) = new.claim {
        // The answer lists the messages as their events show them.
        let told = changes
            .events
            .iter()
            .filter(|event| event.kind == EventType::MessageQueued);
        let documents: Vec<&str> = told.map(|event| event.data.as_str()).collect();
        let answer = KeptAnswer {
            status: ACCEPTED,
            body: format!("[{}]", documents.join(",")),
        };
        claims::insert_answered(db, &claim, &answer, Some(contact), now)?;
    }
    apply(db, changes, now)?;
    Ok(Enqueued::New(accepted))
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
fn quoted(db: &Db<'_>, conversation: &StoredConversation, id: MessageId) -> Result<String, EnqueueError> {
    messages::by_id(db, id)?
        .filter(|message| message.conversation_id == conversation.conversation.id)
        .and_then(|message| message.platform_id)
        .ok_or(EnqueueError::NoReplyTarget)
}

pub(crate) fn cancel(
    db: &Db<'_>,
    workspace: &str,
    id: MessageId,
    now: Timestamp,
) -> Result<Option<Result<Message, Message>>> {
    let Some(outbound) = acts::load(db, id)?.filter(|outbound| outbound.message.workspace == workspace) else {
        return Ok(None);
    };
    let as_it_is = outbound.message.message.clone();
    let Some((message, changes)) = outbound::cancel(outbound) else {
        return Ok(Some(Err(as_it_is)));
    };
    apply(db, changes, now)?;
    Ok(Some(Ok(message)))
}

pub(crate) fn retry(
    db: &Db<'_>,
    workspace: &str,
    id: MessageId,
    book: &RuleBook,
    now: Timestamp,
) -> Result<Option<Message>, EnqueueError> {
    let Some(outbound) = acts::load(db, id)?.filter(|outbound| outbound.message.workspace == workspace) else {
        return Ok(None);
    };
    let message = &outbound.message.message;
    let may_be = message.direction == Direction::Outbound
        && matches!(message.status, Status::Uncertain | Status::Failed)
        // A receipt said that it failed, and the answer of its send is still to come.
        && !outbound.queue.get(id).is_some_and(QueuedMessage::is_in_flight);
    if !may_be {
        return Ok(Some(message.clone()));
    }
    let channel = channels::needed(db, message.channel_id)?;
    let by = Retry {
        rules: &book.rules(&channel),
        channel: &channel,
        draft: acts::draft(db, workspace, message)?,
        epoch: outbox::last_attempt(db, id)?,
    };
    let (message, changes) = outbound::retry(outbound, by, now)?;
    apply(db, changes, now)?;
    Ok(Some(message))
}

pub(crate) fn uncertain(db: &Db<'_>, limit: u32) -> Result<Vec<UncertainMessage>> {
    let rows = outbox::uncertain(db, limit)?;
    rows.into_iter()
        .map(|(id, dispatched_at)| {
            let message = messages::needed(db, id)?;
            let conversation = conversations::needed(db, message.conversation_id)?;
            Ok(UncertainMessage {
                conversation: conversation.conversation,
                channel: channels::needed(db, message.channel_id)?,
                dispatched_at: dispatched_at.unwrap_or(message.sent_at),
                message,
            })
        })
        .collect()
}

pub(crate) fn resolve(db: &Db<'_>, id: MessageId, found: Resolution, now: Timestamp) -> Result<bool> {
    let is_uncertain = |message: &Message| message.status == Status::Uncertain;
    let Some(outbound) = acts::load(db, id)?.filter(|outbound| is_uncertain(&outbound.message.message)) else {
        return Ok(false);
    };
    let (platform_id, at) = match found {
        Resolution::Found { platform_id, at } => (platform_id, at),
        Resolution::HistoryRead {
            possible_since,
            likely_since,
        } => match echo::seen(db, &outbound.message.message, possible_since, likely_since)? {
            Seen::There { platform_id, at } => (platform_id, at),
            Seen::Perhaps => return Ok(false),
            Seen::Nothing => {
                let (changes, _) = outbound::resolve(outbound, Settlement::Absent, now);
                apply(db, changes, now)?;
                return Ok(true);
            }
        },
        Resolution::GivenUp => {
            let (changes, _) = outbound::resolve(outbound, Settlement::GivenUp, now);
            apply(db, changes, now)?;
            return Ok(true);
        }
    };
    let arrival = echo::arrival(db, &outbound, &platform_id, at)?;
    let settlement = Settlement::Found {
        platform_id,
        at,
        arrival,
    };
    let (changes, is_believed) = outbound::resolve(outbound, settlement, now);
    acts::warn_of_id(id, is_believed);
    apply(db, changes, now)?;
    Ok(true)
}
