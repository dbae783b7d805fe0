//! Loads what leaves the outbox and what became of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use weir_domain::channel::Channel;
use weir_domain::delivery::Next;
use weir_domain::id::{ChannelId, ConversationId, MessageId};
use weir_domain::message::{Draft, Message, Status};
use weir_domain::record::queue::{Room, take_turns};
use weir_domain::record::settle::{self, Outbound, Tried};
use weir_domain::record::{Changes, Tracked};
use weir_domain::time::Timestamp;

use crate::acts::apply;
use crate::sqlite::db::{Db, json};
use crate::sqlite::{channels, conversations, echo, media, messages, outbox, state};
use crate::{LeaseToken, MessageLease, RequestRecord, Result, StateWrite};

/// A message with its conversation and what else of that is unsettled.
pub(crate) fn load(db: &Db<'_>, id: MessageId) -> Result<Option<Outbound>> {
    let Some(message) = messages::stored(db, id)? else {
        return Ok(None);
    };
    let conversation = message.message.conversation_id;
    Ok(Some(Outbound {
        message: Tracked::loaded(message),
        conversation: Tracked::loaded(conversations::needed(db, conversation)?),
        queue: outbox::queue_of(db, conversation, Some(id))?,
    }))
}

fn needed(db: &Db<'_>, id: MessageId) -> Result<Outbound> {
    load(db, id)?.ok_or_else(|| outbox::missing(id))
}

/// Leases what is due, as much as there is room for. All of a round is loaded and written together.
pub(crate) fn lease(db: &Db<'_>, owner: &str, mut room: Room, now: Timestamp) -> Result<Vec<MessageLease>> {
    let mut leases = Vec::new();
    let mut known: BTreeMap<ChannelId, Channel> = BTreeMap::new();
    while room.all > 0 && outbox::is_due(db, now)? {
        let (turns, heads) = outbox::turns(db, &room, now)?;
        for turn in turns.iter().filter(|turn| turn.due.is_empty()) {
            outbox::find_due(db, turn.channel)?;
        }
        let round = take_turns(turns, &mut room);
        if round.places.is_empty() {
            break;
        }
        let places = json(&round.places)?;
        let mut waiting: BTreeMap<MessageId, Message> = messages::at_places(db, &places)?;
        let mut threads = conversations::at_places(db, &places)?;
        outbox::lease(db, &places, owner, now)?;
        for channel in round.channels {
            outbox::had_turn(db, channel)?;
            if let Entry::Vacant(unknown) = known.entry(channel) {
                unknown.insert(channels::needed(db, channel)?);
            }
        }
        let mut heads: BTreeMap<i64, _> = heads.into_iter().map(|head| (head.place, head)).collect();
        for place in round.places {
            let Some(head) = heads.remove(&place) else { continue };
            let id = head.message;
            let mut message = waiting.remove(&id).ok_or_else(|| outbox::missing(id))?;
            message.status = Status::Sending;
            let thread = match threads.remove(&head.conversation) {
                Some(thread) => thread,
                None => conversations::needed(db, head.conversation)?,
            };
            leases.push(MessageLease {
                token: LeaseToken {
                    message: id,
                    owner: owner.to_owned(),
                    epoch: head.epoch + 1,
                },
                draft: draft(db, &thread.workspace, &message)?,
                conversation: thread.at(now),
                channel: known[&head.channel].clone(),
                message,
                attempt: head.tries + 1,
                expires_at: head.expires_at,
            });
        }
    }
    Ok(leases)
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

/// Ends an attempt. False, and nothing is written, if its lease is lost.
pub(crate) fn settle(
    db: &Db<'_>,
    token: &LeaseToken,
    next: Next,
    requests: Vec<RequestRecord>,
    writes: &[StateWrite],
    now: Timestamp,
) -> Result<bool> {
    let Some(outbound) = load(db, token.message)? else {
        return Ok(false);
    };
    let entry = outbound.queue.get(token.message);
    if !entry.is_some_and(|entry| entry.is_leased(&token.owner, token.epoch)) {
        return Ok(false);
    }
    let channel = outbound.message.message.channel_id;
    if !state::commit(db, channel, writes)? {
        state::tell_unwritten(db, channel, writes, now)?;
    }
    let arrival = match &next {
        Next::Sent { platform_id, at } => echo::arrival(db, &outbound, platform_id, *at)?,
        _ => Default::default(),
    };
    let tried = Tried {
        next,
        requests,
        arrival,
    };
    let (changes, is_believed) = settle::settle(outbound, tried, now);
    warn_of_id(token.message, is_believed);
    apply(db, changes, now)?;
    Ok(true)
}

/// Two sends with one id: the platform or its connector is wrong.
pub(crate) fn warn_of_id(id: MessageId, is_believed: bool) {
    if !is_believed {
        tracing::warn!(message.id = %id, "The platform gave this message the id of another");
    }
}

/// Settles what nobody else will: lost leases, and what is of no more use. How many.
pub(crate) fn sweep(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let mut settled = 0;
    for id in outbox::lost(db, now)? {
        let changes = settle::lose_lease(needed(db, id)?, now);
        apply(db, changes, now)?;
        settled += 1;
    }
    for id in outbox::expired(db, now)? {
        let changes = settle::expire(needed(db, id)?);
        apply(db, changes, now)?;
        settled += 1;
    }
    Ok(settled)
}

/// The channel is gone: what waits for it will not be sent.
pub(crate) fn fail_queued(db: &Db<'_>, channel: ChannelId, now: Timestamp) -> Result<()> {
    for id in outbox::waiting(db, channel)? {
        let changes = settle::lose_channel(needed(db, id)?);
        apply(db, changes, now)?;
    }
    Ok(())
}

/// Messages that waited for the channel's authorization wait no more.
pub(crate) fn release_held(db: &Db<'_>, channel: ChannelId, now: Timestamp) -> Result<()> {
    for conversation in outbox::release(db, channel)? {
        reschedule(db, channel, conversation, None, now)?;
    }
    Ok(())
}

/// Gives the conversation's head its due time, without this message.
fn reschedule(
    db: &Db<'_>,
    channel: ChannelId,
    conversation: ConversationId,
    without: Option<MessageId>,
    now: Timestamp,
) -> Result<()> {
    let mut queue = outbox::queue_of(db, conversation, without)?;
    if let Some(id) = without {
        queue.remove(id);
    }
    let mut changes = Changes::default();
    changes.queue(channel, queue);
    apply(db, changes, now)
}
