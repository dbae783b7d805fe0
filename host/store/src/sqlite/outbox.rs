//! The outbox: which message may leave next, who has it, and what became of it.
//!
//! Only the head of a conversation has a due time, and only while nothing of that conversation is in flight; two unique indexes
//! hold the database to both. Channels take turns: each lease gives the channel the last place in the row.

use rusqlite::params;
use weir_domain::channel::Channel;
use weir_domain::delivery::Next;
use weir_domain::event::EventType;
use weir_domain::id::{ChannelId, ConversationId, MessageId};
use weir_domain::limits;
use weir_domain::message::{Draft, Message, MessageError, Status};
use weir_domain::problem::Fault;
use weir_domain::time::Timestamp;

use crate::sqlite::db::{Db, get_id, get_json, get_json_if, get_time, get_time_if, json, json_if, key, ms};
use crate::sqlite::messages::Step;
use crate::sqlite::{channels, conversations, echo, media, messages, state};
use crate::{Attempt, LeaseToken, MessageLease, QueueDepth, RequestRecord, Result, Room, StateWrite};

/// Rows that one sweep settles: the writer has others to serve.
const SWEEP: u32 = 256;

// ---- what may leave --------------------------------------------------------------------------------------------------

/// Puts a message at the end of its conversation's queue.
pub(crate) fn push(db: &Db<'_>, message: &Message, expires_at: Option<Timestamp>, now: Timestamp) -> Result<()> {
    // The attempts go on where they were, so that a lease from before a retry cannot pass for one of this.
    db.run(
        "INSERT INTO outbox (message_id, channel_id, conversation_id, state, since, not_before, expires_at, epoch)
         VALUES (?1, ?2, ?3, 'queued', ?4, ?4, ?5,
             (SELECT coalesce(max(number), 0) FROM attempts WHERE message_id = ?1))",
        params![
            key(message.id),
            key(message.channel_id),
            key(message.conversation_id),
            now.as_millis(),
            ms(expires_at),
        ],
    )?;
    // Behind one that is to leave or is leaving it has no turn of its own.
    let waits = db.exists(
        "SELECT 1 FROM outbox WHERE conversation_id = ?1 AND state IN ('queued', 'sending') AND message_id <> ?2 LIMIT 1",
        params![key(message.conversation_id), key(message.id)],
    )?;
    if waits {
        return Ok(());
    }
    schedule(db, message.channel_id, message.conversation_id)
}

/// Takes a settled message out.
pub(crate) fn remove(db: &Db<'_>, message: &Message) -> Result<()> {
    db.run("DELETE FROM outbox WHERE message_id = ?1", [key(message.id)])?;
    schedule(db, message.channel_id, message.conversation_id)
}

/// Takes everything of a conversation out of the outbox, untold.
pub(crate) fn forget(db: &Db<'_>, channel: ChannelId, conversation: ConversationId) -> Result<()> {
    db.run("DELETE FROM outbox WHERE conversation_id = ?1", [key(conversation)])?;
    schedule(db, channel, conversation)
}

/// Gives the conversation's head its due time, and nobody else.
fn schedule(db: &Db<'_>, channel: ChannelId, conversation: ConversationId) -> Result<()> {
    let conversation = key(conversation);
    let mut head = None;
    {
        let mut statement = db
            .connection
            .prepare_cached("SELECT n, state, not_before, held FROM outbox WHERE conversation_id = ?1 ORDER BY n")?;
        let mut rows = statement.query([conversation])?;
        let mut wait = 0;
        while let Some(row) = rows.next()? {
            let not_before: i64 = row.get(2)?;
            match row.get_ref(1)?.as_str().unwrap_or_default() {
                // It waits for an older one in doubt, but not for ever.
                "uncertain" => wait = not_before.max(wait),
                "queued" => {
                    let held: bool = row.get(3)?;
                    head = Some((row.get::<_, i64>(0)?, not_before.max(wait))).filter(|_| !held);
                    break;
                }
                _ => break,
            }
        }
    }
    // One that came back from doubt is older than the one that went on without it.
    let in_flight = db.exists(
        "SELECT 1 FROM outbox WHERE conversation_id = ?1 AND state = 'sending'",
        [conversation],
    )?;
    let head = head.filter(|_| !in_flight);
    db.run(
        "UPDATE outbox SET due_at = NULL WHERE conversation_id = ?1 AND due_at IS NOT NULL AND n IS NOT ?2",
        params![conversation, head.map(|(n, _)| n)],
    )?;
    if let Some((n, due_at)) = head {
        db.run("UPDATE outbox SET due_at = ?2 WHERE n = ?1", params![n, due_at])?;
    }
    refresh_turn(db, channel)
}

fn refresh_turn(db: &Db<'_>, channel: ChannelId) -> Result<()> {
    let changed = db.one(
        "SELECT due_at, CASE WHEN held = 1 THEN NULL ELSE
             (SELECT min(due_at) FROM outbox WHERE channel_id = ?1 AND due_at IS NOT NULL) END
         FROM turns WHERE channel_id = ?1",
        [key(channel)],
        |row| {
            let (known, due_at): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
            Ok((known != due_at).then_some(due_at))
        },
    )?;
    // Two indexes are written anew for each update, changed or not.
    if let Some(due_at) = changed.flatten() {
        db.run(
            "UPDATE turns SET due_at = ?2 WHERE channel_id = ?1",
            params![key(channel), due_at],
        )?;
    }
    Ok(())
}

/// Whether nothing of a channel may leave now. Gives a new channel its place in the row.
pub(crate) fn hold_channel(db: &Db<'_>, channel: &Channel, held: bool) -> Result<()> {
    db.run(
        "INSERT INTO turns (channel_id, app, held) VALUES (?1, ?2, ?3) ON CONFLICT (channel_id) DO UPDATE SET held = ?3",
        params![key(channel.id), channel.app, held],
    )?;
    refresh_turn(db, channel.id)
}

/// Messages that waited for the authorisation wait no more.
pub(crate) fn release_held(db: &Db<'_>, channel: ChannelId) -> Result<()> {
    let conversations: Vec<ConversationId> = db.all(
        "SELECT DISTINCT conversation_id FROM outbox WHERE channel_id = ?1 AND held = 1",
        [key(channel)],
        |row| get_id(row, 0),
    )?;
    if conversations.is_empty() {
        return Ok(());
    }
    db.run(
        "UPDATE outbox SET held = 0 WHERE channel_id = ?1 AND held = 1",
        [key(channel)],
    )?;
    for conversation in conversations {
        schedule(db, channel, conversation)?;
    }
    Ok(())
}

/// The window moved: what waits in the conversation is of use until its new end.
pub(crate) fn extend(db: &Db<'_>, conversation: ConversationId, expires_at: Timestamp) -> Result<()> {
    db.run(
        "UPDATE outbox SET expires_at = ?2 WHERE conversation_id = ?1",
        params![key(conversation), expires_at.as_millis()],
    )?;
    Ok(())
}

/// Messages of ours in a conversation whose fate is open: each has its share of the budget. One that an echo showed before its
/// answer came is sent, and no longer among them.
pub(crate) fn unsettled(db: &Db<'_>, conversation: ConversationId) -> Result<u32> {
    Ok(db
        .one(
            "SELECT count(*) FROM outbox o JOIN messages m ON m.id = o.message_id
             WHERE o.conversation_id = ?1 AND m.status IN ('queued', 'sending', 'uncertain')",
            [key(conversation)],
            |row| row.get(0),
        )?
        .unwrap_or(0))
}

/// A message that left and whose answer is not here.
pub(crate) struct Left {
    pub(crate) message: MessageId,
    pub(crate) uncertain: bool,
    pub(crate) dispatched_at: Timestamp,
}

pub(crate) fn left(db: &Db<'_>, conversation: ConversationId) -> Result<Vec<Left>> {
    db.all(
        "SELECT message_id, state = 'uncertain', dispatched_at FROM outbox
         WHERE conversation_id = ?1 AND state IN ('sending', 'uncertain') ORDER BY n",
        [key(conversation)],
        |row| {
            Ok(Left {
                message: get_id(row, 0)?,
                uncertain: row.get(1)?,
                dispatched_at: get_time_if(row, 2)?.unwrap_or_default(),
            })
        },
    )
}

pub(crate) fn next_due(db: &Db<'_>, without: &[String]) -> Result<Option<Timestamp>> {
    if without.is_empty() {
        return db.moment("SELECT min(due_at) FROM turns WHERE due_at IS NOT NULL");
    }
    let due = db.one(
        "SELECT min(due_at) FROM turns WHERE due_at IS NOT NULL AND app NOT IN (SELECT value FROM json_each(?1))",
        [json(&without)?],
        |row| get_time_if(row, 0),
    )?;
    Ok(due.flatten())
}

pub(crate) fn queue(db: &Db<'_>, channel: ChannelId) -> Result<QueueDepth> {
    let depth = db.one(
        "SELECT count(*), min(since) FROM outbox WHERE channel_id = ?1 AND state <> 'uncertain'",
        [key(channel)],
        |row| {
            Ok(QueueDepth {
                depth: row.get::<_, u32>(0)?.into(),
                oldest_at: get_time_if(row, 1)?,
            })
        },
    )?;
    Ok(depth.unwrap_or_default())
}

// ---- leases ----------------------------------------------------------------------------------------------------------

pub(crate) fn lease(db: &Db<'_>, owner: &str, mut room: Room, now: Timestamp) -> Result<Vec<MessageLease>> {
    let mut leases = Vec::new();
    // The cheap question first: most rounds find nothing.
    while room.all > 0 && db.exists("SELECT 1 FROM turns WHERE due_at <= ?1 LIMIT 1", [now.as_millis()])? {
        let full: Vec<&str> = room
            .of
            .iter()
            .filter(|(_, left)| **left == 0)
            .map(|(app, _)| app.as_str())
            .collect();
        let in_turn: Vec<(ChannelId, String)> = db.all(
            "SELECT channel_id, app FROM turns INDEXED BY turns_order WHERE due_at <= ?1 AND due_at IS NOT NULL
             AND app NOT IN (SELECT value FROM json_each(?3)) ORDER BY turn LIMIT ?2",
            params![now.as_millis(), room.all, json(&full)?],
            |row| Ok((get_id(row, 0)?, row.get(1)?)),
        )?;
        if in_turn.is_empty() {
            break;
        }
        for (channel, app) in in_turn {
            let mut of_app = room.of.get_mut(&app);
            if of_app.as_ref().is_some_and(|left| **left == 0) {
                continue;
            }
            if let Some(lease) = lease_head(db, channel, owner, now)? {
                leases.push(lease);
                room.all -= 1;
                if let Some(left) = &mut of_app {
                    **left -= 1;
                }
            }
        }
    }
    Ok(leases)
}

/// The oldest due message of a channel. None if its row was of no use; it is gone then.
fn lease_head(db: &Db<'_>, channel: ChannelId, owner: &str, now: Timestamp) -> Result<Option<MessageLease>> {
    db.run(
        "UPDATE turns SET turn = (SELECT max(turn) + 1 FROM turns) WHERE channel_id = ?1",
        [key(channel)],
    )?;
    let head = db.one(
        "SELECT message_id, epoch + 1, tries + 1, expires_at FROM outbox WHERE channel_id = ?1 AND due_at <= ?2
         ORDER BY due_at, n LIMIT 1",
        params![key(channel), now.as_millis()],
        |row| {
            Ok((
                get_id::<MessageId>(row, 0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, u32>(2)?,
                get_time_if(row, 3)?,
            ))
        },
    )?;
    let Some((id, epoch, attempt, expires_at)) = head else {
        refresh_turn(db, channel)?;
        return Ok(None);
    };
    let mut message = messages::needed(db, id)?;
    let step = Step {
        error: message.error.clone(),
        ..Step::default()
    };
    if !messages::advance(db, &mut message, Status::Sending, step)? {
        remove(db, &message)?;
        return Ok(None);
    }
    db.run(
        "UPDATE outbox SET state = 'sending', owner = ?2, epoch = ?3, not_before = ?4, dispatched_at = ?5, due_at = NULL
         WHERE message_id = ?1",
        params![
            key(id),
            owner,
            epoch,
            now.after(limits::LEASE).as_millis(),
            now.as_millis(),
        ],
    )?;
    db.run(
        "INSERT INTO attempts (message_id, number, started_at, outcome, requests) VALUES (?1, ?2, ?3, 'open', '[]')",
        params![key(id), epoch, now.as_millis()],
    )?;
    // The next of its conversation waits for it; other conversations of the channel may be next.
    refresh_turn(db, channel)?;
    let thread = conversations::needed(db, message.conversation_id)?;
    Ok(Some(MessageLease {
        token: LeaseToken {
            message: id,
            owner: owner.to_owned(),
            epoch,
        },
        draft: draft(db, &thread.workspace, &message)?,
        conversation: thread.at(now),
        channel: channels::needed(db, channel)?,
        message,
        attempt,
        expires_at,
    }))
}

/// What is to be judged and sent, as the record knows it now.
pub(crate) fn draft(db: &Db<'_>, workspace: &str, message: &Message) -> Result<Draft> {
    let reply_to = match message.reply_to {
        Some(id) => messages::by_id(db, id)?.and_then(|quoted| quoted.platform_id),
        None => None,
    };
    Ok(Draft {
        content: media::described(db, workspace, message.content.clone())?,
        reply_to,
    })
}

pub(crate) fn settle(
    db: &Db<'_>,
    token: &LeaseToken,
    next: Next,
    requests: &[RequestRecord],
    writes: &[StateWrite],
    now: Timestamp,
) -> Result<bool> {
    let ours = db.exists(
        "SELECT 1 FROM outbox WHERE message_id = ?1 AND state = 'sending' AND owner = ?2 AND epoch = ?3",
        params![key(token.message), token.owner, token.epoch],
    )?;
    if !ours {
        return Ok(false);
    }
    let mut message = messages::needed(db, token.message)?;
    if !state::commit(db, message.channel_id, writes)? {
        state::tell_unwritten(db, message.channel_id, writes, now)?;
    }
    let (outcome, error) = match &next {
        Next::Sent { .. } => ("sent", None),
        Next::RetryAt { error, .. } => ("retry", Some(error)),
        Next::Held { error } => ("held", Some(error)),
        Next::Unserved { error, .. } => ("unserved", Some(error)),
        Next::Uncertain { error } => ("uncertain", Some(error)),
        Next::Failed { error } => ("failed", Some(error)),
    };
    if matches!(next, Next::Unserved { .. }) {
        // Nothing was tried, and in hours of that nobody wants to read each look.
        db.run(
            "DELETE FROM attempts WHERE message_id = ?1 AND number = ?2",
            params![key(token.message), token.epoch],
        )?;
    } else {
        close_attempt(db, token.message, token.epoch, outcome, error, Some(requests), now)?;
    }
    match next {
        Next::Sent { platform_id, at } => echo::arrived(db, &mut message, &platform_id, at, now)?,
        // The echo or a receipt was here first: the contact has it, whatever the answer was.
        _ if message.status != Status::Sending => remove(db, &message)?,
        Next::RetryAt { at, counts, error } => again(db, &mut message, at, counts, false, error)?,
        Next::Held { error } => again(db, &mut message, now, false, true, error)?,
        Next::Unserved { at, error } => again(db, &mut message, at, false, false, error)?,
        Next::Uncertain { error } => doubt(db, &mut message, error, now)?,
        Next::Failed { error } => fail(db, &mut message, error, now)?,
    }
    Ok(true)
}

/// Back into the queue, at its old place.
fn again(
    db: &Db<'_>,
    message: &mut Message,
    at: Timestamp,
    counts: bool,
    held: bool,
    error: MessageError,
) -> Result<()> {
    let step = Step {
        error: Some(error),
        ..Step::default()
    };
    messages::advance(db, message, Status::Queued, step)?;
    db.run(
        "UPDATE outbox SET state = 'queued', owner = NULL, not_before = ?2, tries = tries + ?3, held = ?4
         WHERE message_id = ?1",
        params![key(message.id), at.as_millis(), counts, held],
    )?;
    schedule(db, message.channel_id, message.conversation_id)
}

fn doubt(db: &Db<'_>, message: &mut Message, error: MessageError, now: Timestamp) -> Result<()> {
    let step = Step {
        error: Some(error),
        ..Step::default()
    };
    messages::advance(db, message, Status::Uncertain, step)?;
    db.run(
        "UPDATE outbox SET state = 'uncertain', owner = NULL, not_before = ?2 WHERE message_id = ?1",
        params![key(message.id), now.after(limits::UNCERTAIN_WAIT).as_millis()],
    )?;
    schedule(db, message.channel_id, message.conversation_id)?;
    tell(db, message, EventType::MessageUncertain, now)
}

/// It will not be sent, and gives its share of the budget back.
pub(crate) fn fail(db: &Db<'_>, message: &mut Message, error: MessageError, now: Timestamp) -> Result<()> {
    give_back(db, message)?;
    fail_counted(db, message, error, now)
}

/// It will not be sent, and keeps its share: the platform may have counted it.
pub(crate) fn fail_counted(db: &Db<'_>, message: &mut Message, error: MessageError, now: Timestamp) -> Result<()> {
    let step = Step {
        error: Some(error),
        ..Step::default()
    };
    if messages::advance(db, message, Status::Failed, step)? {
        tell(db, message, EventType::MessageFailed, now)?;
    }
    remove(db, message)
}

/// Gives a message's share of the budget back.
pub(crate) fn give_back(db: &Db<'_>, message: &Message) -> Result<()> {
    db.run("UPDATE messages SET counted = 0 WHERE id = ?1", [key(message.id)])?;
    conversations::give_back(db, message.conversation_id)
}

/// Puts a message in doubt back into the queue, at its old place.
pub(crate) fn requeue(db: &Db<'_>, message: &Message, expires_at: Option<Timestamp>, now: Timestamp) -> Result<()> {
    db.run(
        "UPDATE outbox SET state = 'queued', owner = NULL, not_before = ?2, held = 0, expires_at = coalesce(?3, expires_at)
         WHERE message_id = ?1",
        params![key(message.id), now.as_millis(), ms(expires_at)],
    )?;
    schedule(db, message.channel_id, message.conversation_id)
}

pub(crate) fn tell(db: &Db<'_>, message: &Message, kind: EventType, now: Timestamp) -> Result<()> {
    let channel = channels::needed(db, message.channel_id)?;
    messages::tell(db, &channel.workspace_id, message, kind, now)
}

// ---- attempts --------------------------------------------------------------------------------------------------------

fn close_attempt(
    db: &Db<'_>,
    message: MessageId,
    number: i64,
    outcome: &str,
    error: Option<&MessageError>,
    requests: Option<&[RequestRecord]>,
    now: Timestamp,
) -> Result<()> {
    db.run(
        "UPDATE attempts SET ended_at = ?3, outcome = ?4, error = ?5, requests = coalesce(?6, requests)
         WHERE message_id = ?1 AND number = ?2",
        params![
            key(message),
            number,
            now.as_millis(),
            outcome,
            json_if(error)?,
            requests.map(json).transpose()?,
        ],
    )?;
    Ok(())
}

pub(crate) fn attempts(db: &Db<'_>, id: MessageId) -> Result<Vec<Attempt>> {
    db.all(
        "SELECT number, started_at, ended_at, outcome, error, requests FROM attempts WHERE message_id = ?1 ORDER BY number",
        [key(id)],
        |row| {
            Ok(Attempt {
                number: row.get(0)?,
                started_at: get_time(row, 1)?,
                ended_at: get_time_if(row, 2)?,
                outcome: row.get(3)?,
                error: get_json_if(row, 4, "attempts.error")?,
                requests: get_json(row, 5, "attempts.requests")?,
            })
        },
    )
}

// ---- sweeping --------------------------------------------------------------------------------------------------------

pub(crate) fn sweep(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let lost: Vec<(MessageId, i64)> = db.all(
        "SELECT message_id, epoch FROM outbox WHERE state = 'sending' AND not_before <= ?1 ORDER BY not_before LIMIT ?2",
        params![now.as_millis(), SWEEP],
        |row| Ok((get_id(row, 0)?, row.get(1)?)),
    )?;
    let mut settled = 0;
    for (id, epoch) in lost {
        let mut message = messages::needed(db, id)?;
        settled += 1;
        if message.status != Status::Sending {
            close_attempt(db, id, epoch, "sent", None, None, now)?;
            remove(db, &message)?;
            continue;
        }
        let error = MessageError {
            code: "outcome_unknown".to_owned(),
            detail: "the host stopped over this message; it may or may not have been sent".to_owned(),
            fault: Fault::Host,
            retryable: false,
            platform: None,
        };
        close_attempt(db, id, epoch, "uncertain", Some(&error), None, now)?;
        doubt(db, &mut message, error, now)?;
    }
    let over: Vec<MessageId> = db.all(
        "SELECT message_id FROM outbox WHERE state = 'queued' AND expires_at IS NOT NULL AND expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
        params![now.as_millis(), SWEEP],
        |row| get_id(row, 0),
    )?;
    for id in over {
        let mut message = messages::needed(db, id)?;
        let error = MessageError {
            code: "reply_window_closed".to_owned(),
            detail: "the messaging window closed before the message could leave".to_owned(),
            fault: Fault::Host,
            retryable: false,
            // Why it had not left until then is worth keeping.
            platform: message.error.take().and_then(|error| error.platform),
        };
        fail(db, &mut message, error, now)?;
        settled += 1;
    }
    Ok(settled)
}

/// The channel is gone: what waits for it will not be sent.
pub(crate) fn fail_queued(db: &Db<'_>, channel: ChannelId, now: Timestamp) -> Result<()> {
    let waiting: Vec<MessageId> = db.all(
        "SELECT message_id FROM outbox WHERE channel_id = ?1 AND state = 'queued' ORDER BY n",
        [key(channel)],
        |row| get_id(row, 0),
    )?;
    for id in waiting {
        let mut message = messages::needed(db, id)?;
        let error = MessageError {
            code: "channel_deleted".to_owned(),
            detail: "the channel was deleted before the message could leave".to_owned(),
            fault: Fault::Caller,
            retryable: false,
            platform: None,
        };
        fail(db, &mut message, error, now)?;
    }
    Ok(())
}
