//! The rows of the outbox, of attempts and of channel turns. [`weir_domain::record`] decides their meaning; two unique
//! indexes enforce at most one message in flight and one with a due time in each conversation.

use std::collections::BTreeMap;

use weir_domain::channel::Channel;
use weir_domain::delivery::backoff;
use weir_domain::id::{ChannelId, ConversationId, MessageId};
use weir_domain::limits;
use weir_domain::message::Status;
use weir_domain::record::attempt::EndedAttempt;
use weir_domain::record::echo::OtherShares;
use weir_domain::record::inbound::COUNTED;
use weir_domain::record::queue::{ConversationQueue, DueChange, QueueState, QueuedChannel, QueuedMessage, Room};
use weir_domain::time::Timestamp;

use crate::db::{
    Db, Row, ToParam, Value, get_enum, get_id, get_json, get_json_if, get_time, get_time_if, json, json_if, key,
    key_if, key_value, ms, params,
};
use crate::tables::CHANNEL;
use crate::{Attempt, QueueDepth, Result, StoreError};

/// Rows that one sweep settles: bounded, since the writer serves others too.
const SWEEP: u32 = 256;

// ---- the queue of a conversation -----------------------------------------------------------------------------------

const QUEUED: &str =
    "n, message_id, channel_id, conversation_id, state, not_before, held, owner, due_at, expires_at, tries, epoch,
    dispatched_at";

fn read(row: &Row<'_>) -> Result<QueuedMessage> {
    let at = get_time(row, 5)?;
    Ok(QueuedMessage {
        place: row.get(0)?,
        message: get_id(row, 1)?,
        channel: get_id(row, 2)?,
        conversation: get_id(row, 3)?,
        state: match row.get(4)? {
            "sending" => QueueState::Sending {
                owner: row.get::<Option<String>>(7)?.unwrap_or_default(),
                until: at,
            },
            "uncertain" => QueueState::Uncertain { until: at },
            _ => QueueState::Queued {
                not_before: at,
                held: row.get(6)?,
            },
        },
        due_at: get_time_if(row, 8)?,
        expires_at: get_time_if(row, 9)?,
        tries: row.get(10)?,
        epoch: row.get(11)?,
        dispatched_at: get_time_if(row, 12)?,
    })
}

/// The front of a conversation's queue, and this message. At most the next two are read, however many wait.
pub(crate) fn queue_of(
    db: &Db<'_>,
    conversation: ConversationId,
    with: Option<MessageId>,
) -> Result<ConversationQueue> {
    let mut rows = db.all(
        &format!(
            "SELECT {QUEUED} FROM outbox WHERE conversation_id = ?1 AND state = 'sending'
             UNION ALL SELECT {QUEUED} FROM outbox INDEXED BY outbox_uncertain WHERE conversation_id = ?1 AND state = 'uncertain'
             UNION ALL SELECT * FROM
                 (SELECT {QUEUED} FROM outbox WHERE conversation_id = ?1 AND state = 'queued' ORDER BY n LIMIT 2) AS next
             UNION ALL SELECT {QUEUED} FROM outbox WHERE message_id = ?2"
        ),
        params![key(conversation), key_if(with)],
        read,
    )?;
    rows.sort_by_key(|row| row.place);
    rows.dedup_by_key(|row| row.place);
    Ok(ConversationQueue::loaded(rows))
}

/// The same for several conversations, in one statement.
pub(crate) fn queues_of(
    db: &Db<'_>,
    conversations: impl IntoIterator<Item = ConversationId>,
) -> Result<BTreeMap<ConversationId, ConversationQueue>> {
    let mut rows = db.wanted(
        conversations.into_iter().map(|id| [key_value(id)]),
        &[],
        &format!(
            "SELECT {QUEUED} FROM wanted CROSS JOIN outbox ON conversation_id = w1 AND state = 'sending'
             UNION ALL SELECT {QUEUED} FROM wanted CROSS JOIN outbox INDEXED BY outbox_uncertain
                 ON conversation_id = w1 AND state = 'uncertain'
             UNION ALL SELECT {QUEUED} FROM wanted CROSS JOIN outbox ON conversation_id = w1 AND state = 'queued'
                 AND n <= coalesce((SELECT o.n FROM outbox o WHERE o.conversation_id = w1 AND o.state = 'queued'
                                    ORDER BY o.n LIMIT 1 OFFSET 1), {END})",
            END = i64::MAX
        ),
        read,
    )?;
    rows.sort_by_key(|row| (row.conversation, row.place));
    let of_each = rows.chunk_by(|one, next| one.conversation == next.conversation);
    Ok(of_each
        .map(|rows| (rows[0].conversation, ConversationQueue::loaded(rows.to_vec())))
        .collect())
}

fn columns(state: &QueueState) -> (&'static str, i64, bool, Option<&str>) {
    match state {
        QueueState::Queued { not_before, held } => ("queued", not_before.as_millis(), *held, None),
        QueueState::Sending { owner, until } => ("sending", until.as_millis(), false, Some(owner)),
        QueueState::Uncertain { until } => ("uncertain", until.as_millis(), false, None),
    }
}

/// Inserts new messages after all others.
pub(crate) fn insert_all(db: &Db<'_>, rows: Vec<&QueuedMessage>, now: Timestamp) -> Result<()> {
    let values = |row: &QueuedMessage| -> [Value; 13] {
        let (state, not_before, held, owner) = columns(&row.state);
        [
            key_value(row.message),
            key_value(row.channel),
            key_value(row.conversation),
            state.to_owned().into(),
            now.as_millis().into(),
            not_before.into(),
            held.into(),
            owner.map(str::to_owned).into(),
            ms(row.due_at).into(),
            ms(row.expires_at).into(),
            row.tries.into(),
            row.epoch.into(),
            ms(row.dispatched_at).into(),
        ]
    };
    let values: Vec<_> = rows.into_iter().map(values).collect();
    db.insert_all(
        "INSERT INTO outbox (message_id, channel_id, conversation_id, state, since, not_before, held, owner, due_at, expires_at,
             tries, epoch, dispatched_at)",
        &values,
    )?;
    Ok(())
}

/// Writes what differs: an engine rewrites the index of each column that an update names, changed or not.
pub(crate) fn update(db: &Db<'_>, before: &QueuedMessage, after: &QueuedMessage) -> Result<()> {
    let mut named: Vec<(&str, Value)> = Vec::new();
    if before.state != after.state {
        let (state, not_before, held, owner) = columns(&after.state);
        named.push(("state", state.to_owned().into()));
        named.push(("not_before", not_before.into()));
        named.push(("held", held.into()));
        named.push(("owner", owner.map(str::to_owned).into()));
    }
    if before.due_at != after.due_at {
        named.push(("due_at", ms(after.due_at).into()));
    }
    if before.expires_at != after.expires_at {
        named.push(("expires_at", ms(after.expires_at).into()));
    }
    if before.tries != after.tries {
        named.push(("tries", after.tries.into()));
    }
    let columns: Vec<String> = (2..)
        .zip(&named)
        .map(|(n, (column, _))| format!("{column} = ?{n}"))
        .collect();
    let columns = columns.join(", ");
    let values = named.iter().map(|(_, value)| value.to_param());
    db.write(
        &format!("UPDATE outbox SET {columns} WHERE n = ?1"),
        [after.place.to_param()].into_iter().chain(values).collect::<Vec<_>>(),
    )?;
    Ok(())
}

pub(crate) fn remove(db: &Db<'_>, places: &[i64]) -> Result<()> {
    if !places.is_empty() {
        db.write(
            "DELETE FROM outbox WHERE n IN (SELECT value FROM json_each(?1))",
            [places],
        )?;
    }
    Ok(())
}

/// Deletes everything of a conversation from the outbox, without events.
pub(crate) fn forget(db: &Db<'_>, channel: ChannelId, conversation: ConversationId) -> Result<()> {
    db.write("DELETE FROM outbox WHERE conversation_id = ?1", [key(conversation)])?;
    find_due(db, channel)
}

/// The window moved: waiting messages of the conversation expire at its new end.
pub(crate) fn extend(db: &Db<'_>, conversation: ConversationId, expires_at: Timestamp) -> Result<()> {
    db.write(
        "UPDATE outbox SET expires_at = ?2 WHERE conversation_id = ?1",
        params![key(conversation), expires_at.as_millis()],
    )?;
    Ok(())
}

/// Outbound messages of a conversation whose outcome is open: each has its share of the budget. A message that an echo
/// showed before its response arrived is sent, and not among them.
pub(crate) fn unsettled(db: &Db<'_>, conversation: ConversationId, without: Option<MessageId>) -> Result<u32> {
    Ok(db
        .one(
            "SELECT count(*) FROM outbox o JOIN messages m ON m.id = o.message_id
             WHERE o.conversation_id = ?1 AND o.message_id IS DISTINCT FROM ?2 AND m.status IN ('queued', 'sending', 'uncertain')",
            params![key(conversation), key_if(without)],
            |row| row.get(0),
        )?
        .unwrap_or(0))
}

/// The budget shares in a conversation of messages other than these.
pub(crate) fn other_shares(
    db: &Db<'_>,
    conversation: ConversationId,
    since: Timestamp,
    this: MessageId,
    other: Option<MessageId>,
) -> Result<OtherShares> {
    let taken = db.one(
        "SELECT count(*) FROM (
             SELECT 1 FROM messages INDEXED BY messages_counted
             WHERE conversation_id = ?1 AND counted = 1 AND sent_at > ?2 AND id <> ?3 AND id IS DISTINCT FROM ?4
               AND status IN ('sent', 'delivered', 'read', 'failed') LIMIT ?5) AS shares",
        params![key(conversation), since.as_millis(), key(this), key_if(other), COUNTED],
        |row| row.get(0),
    )?;
    Ok(OtherShares {
        unsettled: unsettled(db, conversation, Some(this))?,
        taken: taken.unwrap_or(0),
    })
}

/// The unsettled messages of these conversations, with their statuses.
pub(crate) fn of_conversations(
    db: &Db<'_>,
    ids: impl IntoIterator<Item = ConversationId>,
) -> Result<Vec<(ConversationId, MessageId, Status)>> {
    db.wanted(
        ids.into_iter().map(|id| [key_value(id)]),
        &[],
        "SELECT o.conversation_id, o.message_id, m.status FROM wanted
         CROSS JOIN outbox o ON o.conversation_id = w1 CROSS JOIN messages m ON m.id = o.message_id",
        |row| Ok((get_id(row, 0)?, get_id(row, 1)?, get_enum(row, 2, "messages.status")?)),
    )
}

/// Messages that are being sent or are uncertain, in the order of acceptance.
pub(crate) fn in_flight(db: &Db<'_>, conversation: ConversationId) -> Result<Vec<MessageId>> {
    db.all(
        "SELECT message_id, n FROM outbox WHERE conversation_id = ?1 AND state = 'sending'
         UNION ALL SELECT message_id, n FROM outbox INDEXED BY outbox_uncertain
         WHERE conversation_id = ?1 AND state = 'uncertain' ORDER BY 2",
        [key(conversation)],
        |row| get_id(row, 0),
    )
}

pub(crate) fn queue(db: &Db<'_>, workspace: &str, channel: ChannelId) -> Result<QueueDepth> {
    let depth = db.one(
        &format!("SELECT count(*), min(since) FROM outbox WHERE channel_id = {CHANNEL} AND state <> 'uncertain'"),
        params![key(channel), workspace],
        |row| {
            Ok(QueueDepth {
                depth: row.get::<u32>(0)?.into(),
                oldest_at: get_time_if(row, 1)?,
            })
        },
    )?;
    Ok(depth.unwrap_or_default())
}

/// The uncertain messages, with the start of their last attempt, in the order of acceptance.
pub(crate) fn uncertain(db: &Db<'_>, limit: u32) -> Result<Vec<(MessageId, Option<Timestamp>)>> {
    db.all(
        "SELECT message_id, dispatched_at FROM outbox WHERE state = 'uncertain' ORDER BY n LIMIT ?1",
        params![limit],
        |row| Ok((get_id(row, 0)?, get_time_if(row, 1)?)),
    )
}

/// An uncertain message, and the queries made about it.
pub(crate) struct Uncertain {
    pub(crate) message_id: MessageId,
    pub(crate) dispatched_at: Option<Timestamp>,
    /// Number of queries to the platform since then.
    confirmations: u32,
}

/// The oldest uncertain messages about which the platform is due to be queried.
pub(crate) fn to_confirm(db: &Db<'_>, limit: u32, now: Timestamp) -> Result<Vec<Uncertain>> {
    let rows = db.all(
        "SELECT message_id, dispatched_at, asked_at, asked FROM outbox WHERE state = 'uncertain' ORDER BY n LIMIT ?1",
        [limit],
        |row| {
            let (dispatched_at, confirmed_at) = (get_time_if(row, 1)?, get_time_if(row, 2)?);
            // It was sent again since, and is newly uncertain.
            let confirmed_at =
                confirmed_at.filter(|confirmed_at| dispatched_at.is_none_or(|dispatched| dispatched <= *confirmed_at));
            let uncertain = Uncertain {
                message_id: get_id(row, 0)?,
                dispatched_at,
                confirmations: if confirmed_at.is_some() { row.get(3)? } else { 0 },
            };
            Ok((uncertain, confirmed_at))
        },
    )?;
    let is_due = |(uncertain, confirmed_at): &(Uncertain, Option<Timestamp>)| match confirmed_at {
        // A time in the future is from before the clock was set back.
        Some(confirmed_at) => {
            *confirmed_at > now
                || now.since(*confirmed_at) >= backoff(limits::UNCERTAIN_QUERY_WAIT, uncertain.confirmations, 1.0)
        }
        None => uncertain
            .dispatched_at
            .is_none_or(|dispatched| now.since(dispatched) >= limits::UNCERTAIN_GRACE),
    };
    Ok(rows
        .into_iter()
        .filter(is_due)
        .map(|(uncertain, _)| uncertain)
        .collect())
}

pub(crate) fn note_confirmation(db: &Db<'_>, uncertain: &Uncertain, now: Timestamp) -> Result<()> {
    db.write(
        "UPDATE outbox SET asked_at = ?2, asked = ?3 WHERE message_id = ?1",
        params![key(uncertain.message_id), now.as_millis(), uncertain.confirmations + 1],
    )?;
    Ok(())
}

// ---- turns ---------------------------------------------------------------------------------------------------------

pub(crate) fn next_due(db: &Db<'_>, without: &[String]) -> Result<Option<Timestamp>> {
    if without.is_empty() {
        return db.moment("SELECT min(due_at) FROM turns WHERE due_at IS NOT NULL");
    }
    let due = db.one(
        "SELECT min(due_at) FROM turns WHERE due_at IS NOT NULL AND app NOT IN (SELECT value FROM json_each(?1))",
        [without],
        |row| get_time_if(row, 0),
    )?;
    Ok(due.flatten())
}

/// Applies a queue change to its channel's due time.
pub(crate) fn put_due(db: &Db<'_>, channel: ChannelId, change: DueChange) -> Result<()> {
    match change {
        DueChange::Nothing => Ok(()),
        DueChange::By(due_at) => {
            db.write(
                "UPDATE turns SET due_at = ?2 WHERE channel_id = ?1 AND held = 0 AND (due_at IS NULL OR due_at > ?2)",
                params![key(channel), due_at.as_millis()],
            )?;
            Ok(())
        }
        DueChange::Later => find_due(db, channel),
    }
}

/// The earliest time at which a message of a channel may be sent.
const EARLIEST: &str = "CASE WHEN held = 1 THEN NULL ELSE
    (SELECT min(o.due_at) FROM outbox o WHERE o.channel_id = ?1 AND o.due_at IS NOT NULL) END";

pub(crate) fn find_due(db: &Db<'_>, channel: ChannelId) -> Result<()> {
    // Each update rewrites two indexes, changed or not.
    db.write(
        &format!("UPDATE turns SET due_at = {EARLIEST} WHERE channel_id = ?1 AND due_at IS DISTINCT FROM {EARLIEST}"),
        [key(channel)],
    )?;
    Ok(())
}

/// Sets whether the channel's messages are held. Gives a new channel its turn position.
pub(crate) fn hold_channel(db: &Db<'_>, channel: &Channel, held: bool) -> Result<()> {
    db.write(
        "INSERT INTO turns (channel_id, app, held) VALUES (?1, ?2, ?3) ON CONFLICT (channel_id) DO UPDATE SET held = ?3",
        params![key(channel.id), channel.app, held],
    )?;
    find_due(db, channel.id)
}

/// Whether a message is due: a cheap query, since most rounds find none.
pub(crate) fn is_due(db: &Db<'_>, now: Timestamp) -> Result<bool> {
    db.exists("SELECT 1 FROM turns WHERE due_at <= ?1 LIMIT 1", [now.as_millis()])
}

/// The channels with a due message and free capacity, in turn order, and those messages.
pub(crate) fn turns(db: &Db<'_>, room: &Room, now: Timestamp) -> Result<(Vec<QueuedChannel>, Vec<QueuedMessage>)> {
    let row: Vec<(ChannelId, String)> = db.all(
        "SELECT channel_id, app FROM turns INDEXED BY turns_order WHERE due_at <= ?1 AND due_at IS NOT NULL
         AND app NOT IN (SELECT value FROM json_each(?3)) ORDER BY turn LIMIT ?2",
        params![
            now.as_millis(),
            room.all,
            room.full().into_iter().map(str::to_owned).collect::<Vec<_>>()
        ],
        |row| Ok((get_id(row, 0)?, row.get(1)?)),
    )?;
    // Splits the capacity evenly between the channels; the next round finds the rest.
    let of_each = room.all.div_ceil(u32::try_from(row.len().max(1)).unwrap_or(u32::MAX));
    let (mut turns, mut all) = (Vec::with_capacity(row.len()), Vec::new());
    for (channel, app) in row {
        let heads = db.all(
            &format!("SELECT {QUEUED} FROM outbox WHERE channel_id = ?1 AND due_at <= ?2 ORDER BY due_at, n LIMIT ?3"),
            params![key(channel), now.as_millis(), of_each],
            read,
        )?;
        turns.push(QueuedChannel {
            channel,
            app,
            due: heads.iter().map(|head| head.place).collect(),
        });
        all.extend(heads);
    }
    Ok((turns, all))
}

/// Messages leased by dead nodes: the next sweep finds their leases expired.
pub(crate) fn end_leases_of_dead(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let ended = db.run(
        "UPDATE outbox SET not_before = ?1 WHERE state = 'sending' AND not_before > ?1
           AND owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [now.as_millis()],
    )?;
    Ok(u32::try_from(ended).unwrap_or(u32::MAX))
}

pub(crate) fn has_leases_of_dead(db: &Db<'_>, now: Timestamp) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM outbox WHERE state = 'sending' AND not_before > ?1
           AND owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL) LIMIT 1",
        [now.as_millis()],
    )
}

/// Leases the messages at these positions. An attempt is open from here until the message is settled.
pub(crate) fn lease(db: &Db<'_>, places: &[i64], owner: &str, now: Timestamp) -> Result<()> {
    db.write(
        "UPDATE outbox SET state = 'sending', owner = ?2, epoch = epoch + 1, not_before = ?3, dispatched_at = ?4, due_at = NULL
         WHERE n IN (SELECT value FROM json_each(?1))",
        params![places, owner, now.after(limits::LEASE).as_millis(), now.as_millis()],
    )?;
    db.write(
        "UPDATE messages SET status = 'sending'
         WHERE id IN (SELECT message_id FROM outbox WHERE n IN (SELECT value FROM json_each(?1)))",
        [places],
    )?;
    Ok(())
}

/// Moves a channel to the last turn position, and finds its next due message.
pub(crate) fn note_round(db: &Db<'_>, channel: ChannelId) -> Result<()> {
    db.write(
        &format!(
            "UPDATE turns SET turn = (SELECT max(turn) + 1 FROM turns), due_at = {EARLIEST} WHERE channel_id = ?1"
        ),
        [key(channel)],
    )?;
    Ok(())
}

// ---- attempts ------------------------------------------------------------------------------------------------------

/// Writes attempts as they ended.
pub(crate) fn end_attempts(db: &Db<'_>, attempts: Vec<EndedAttempt>) -> Result<()> {
    let values = |ended: EndedAttempt| -> Result<[Value; 7]> {
        Ok([
            key_value(ended.message),
            ended.number.into(),
            ended.started_at.as_millis().into(),
            ended.ended_at.as_millis().into(),
            ended.outcome.to_owned().into(),
            json_if(ended.error.as_ref())?.into(),
            json(&ended.requests)?.into(),
        ])
    };
    let values: Vec<_> = attempts.into_iter().map(values).collect::<Result<_>>()?;
    db.insert_all(
        "INSERT INTO attempts (message_id, number, started_at, ended_at, outcome, error, requests)",
        &values,
    )?;
    Ok(())
}

/// The number of a message's last finished attempt. A lease from before a retry cannot be mistaken for one after it.
pub(crate) fn last_attempt(db: &Db<'_>, id: MessageId) -> Result<i64> {
    let number = db.one(
        "SELECT coalesce(max(number), 0) FROM attempts WHERE message_id = ?1",
        [key(id)],
        |row| row.get(0),
    )?;
    Ok(number.unwrap_or_default())
}

/// The attempts of a message, including an open one.
pub(crate) fn attempts(db: &Db<'_>, workspace: &str, id: MessageId) -> Result<Vec<Attempt>> {
    const MESSAGE: &str = "(SELECT id FROM messages WHERE id = ?1 AND workspace_id = ?2)";
    db.all(
        &format!(
            "SELECT number, started_at, ended_at, outcome, error, requests FROM attempts WHERE message_id = {MESSAGE}
             UNION ALL
             SELECT epoch, dispatched_at, NULL, 'open', NULL, '[]' FROM outbox
             WHERE message_id = {MESSAGE} AND state = 'sending'
             ORDER BY 1"
        ),
        params![key(id), workspace],
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

// ---- rows for a sweep ----------------------------------------------------------------------------------------------

/// Messages whose lease expired. All in flight are read; they are at most what the workers have leased.
pub(crate) fn lost(db: &Db<'_>, now: Timestamp) -> Result<Vec<MessageId>> {
    ids(
        db,
        "SELECT message_id FROM outbox WHERE state = 'sending' AND not_before <= ?1 ORDER BY not_before LIMIT ?2",
        now,
    )
}

/// Messages that this owner leased, and whose lease has not expired.
pub(crate) fn leased_to(db: &Db<'_>, owner: &str, now: Timestamp) -> Result<Vec<MessageId>> {
    db.all(
        "SELECT message_id FROM outbox WHERE state = 'sending' AND owner = ?1 AND not_before > ?2",
        params![owner, now.as_millis()],
        |row| get_id(row, 0),
    )
}

/// Waiting messages that have expired.
pub(crate) fn expired(db: &Db<'_>, now: Timestamp) -> Result<Vec<MessageId>> {
    ids(
        db,
        "SELECT message_id FROM outbox WHERE state = 'queued' AND expires_at IS NOT NULL AND expires_at <= ?1
         ORDER BY expires_at LIMIT ?2",
        now,
    )
}

fn ids(db: &Db<'_>, sql: &str, now: Timestamp) -> Result<Vec<MessageId>> {
    db.all(sql, params![now.as_millis(), SWEEP], |row| get_id(row, 0))
}

/// The waiting messages of a channel.
pub(crate) fn waiting(db: &Db<'_>, channel: ChannelId) -> Result<Vec<MessageId>> {
    db.all(
        "SELECT message_id FROM outbox WHERE channel_id = ?1 AND state = 'queued' ORDER BY n",
        [key(channel)],
        |row| get_id(row, 0),
    )
}

/// Releases the messages that wait for the channel's authorization; returns their conversations.
pub(crate) fn release(db: &Db<'_>, channel: ChannelId) -> Result<Vec<ConversationId>> {
    let conversations = db.all(
        "SELECT DISTINCT conversation_id FROM outbox WHERE channel_id = ?1 AND held = 1",
        [key(channel)],
        |row| get_id(row, 0),
    )?;
    if !conversations.is_empty() {
        db.write(
            "UPDATE outbox SET held = 0 WHERE channel_id = ?1 AND held = 1",
            [key(channel)],
        )?;
    }
    Ok(conversations)
}

/// The error for a damaged database, whose outbox references a missing message.
pub(crate) fn missing(id: MessageId) -> StoreError {
    StoreError::Damaged {
        place: format!("messages, row {id}"),
        reason: "the outbox references it, and it is missing".to_owned(),
    }
}
