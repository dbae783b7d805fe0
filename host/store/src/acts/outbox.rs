//! Loads messages that are due to be sent, and applies the results of their attempts.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use weir_domain::channel::Channel;
use weir_domain::delivery::Next;
use weir_domain::id::{ChannelId, ConversationId, MessageId};
use weir_domain::message::{Draft, Message, Status};
use weir_domain::record::echo::Arrival;
use weir_domain::record::queue::{Room, round_robin};
use weir_domain::record::settle::{self, Outbound, Tried};
use weir_domain::record::{Changes, StoredMessage, Tracked};
use weir_domain::time::Timestamp;

use crate::acts::{apply, states};
use crate::db::Db;
use crate::tables::{channels, conversations, early, echo, media, messages, outbox};
use crate::{LeaseToken, MessageLease, RequestRecord, Result, StateWrite};

/// A message with its conversation and the unsettled messages of it.
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

/// Leases due messages up to the free capacity. All of a round is loaded and written together.
pub(crate) fn lease(db: &Db<'_>, owner: &str, mut room: Room, now: Timestamp) -> Result<Vec<MessageLease>> {
    let mut leases = Vec::new();
    let mut known: BTreeMap<ChannelId, Channel> = BTreeMap::new();
    while room.all > 0 && outbox::is_due(db, now)? {
        let (turns, heads) = outbox::turns(db, &room, now)?;
        for turn in turns.iter().filter(|turn| turn.due.is_empty()) {
            outbox::find_due(db, turn.channel)?;
        }
        let round = round_robin(turns, &mut room);
        if round.places.is_empty() {
            break;
        }
        let places = round.places.as_slice();
        let mut waiting: BTreeMap<MessageId, Message> = messages::at_places(db, places)?;
        let mut threads = conversations::at_places(db, places)?;
        outbox::lease(db, places, owner, now)?;
        for channel in round.channels {
            outbox::note_round(db, channel)?;
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

/// The draft to be checked and sent, as stored now.
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

/// The end of an attempt, as its worker reports it.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pub(crate) lease: LeaseToken,
    pub(crate) next: Next,
    pub(crate) requests: Vec<RequestRecord>,
    /// The connector's writes to its state.
    pub(crate) writes: Vec<StateWrite>,
    pub(crate) now: Timestamp,
}

/// Ends attempts. Returns false for one whose lease is lost: nothing of it is written. Attempts in different
/// conversations are loaded and written together.
pub(crate) fn settle(db: &Db<'_>, all: Vec<Settlement>) -> Result<Vec<bool>> {
    let mut settled = vec![false; all.len()];
    let mut rest: Pieces<Settlement> = all.into_iter().enumerate().collect();
    while !rest.is_empty() {
        let ids = rest.iter().map(|(_, settlement)| settlement.lease.message);
        let messages = messages::by_ids(db, ids.collect::<BTreeSet<_>>())?;
        let messages: BTreeMap<MessageId, StoredMessage> =
            messages.into_iter().map(|stored| (stored.message.id, stored)).collect();
        rest.retain(|(_, settlement)| messages.contains_key(&settlement.lease.message));
        let (these, later) = apart(rest, |settlement| {
            vec![messages[&settlement.lease.message].message.conversation_id]
        });
        settle_apart(db, these, messages, &mut settled)?;
        rest = later;
    }
    Ok(settled)
}

/// Items of a group, with their indexes in it.
pub(crate) type Pieces<T> = Vec<(usize, T)>;

/// Separates items that can be processed together from those that must follow, because they share a key with one of
/// them.
pub(crate) fn apart<T, K: Ord>(all: Pieces<T>, shares: impl Fn(&T) -> Vec<K>) -> (Pieces<T>, Pieces<T>) {
    let mut taken = BTreeSet::new();
    all.into_iter().partition(|(_, one)| {
        let shares = shares(one);
        let is_free = shares.iter().all(|share| !taken.contains(share));
        taken.extend(shares);
        is_free
    })
}

/// Ends attempts that are all in different conversations.
fn settle_apart(
    db: &Db<'_>,
    settlements: Pieces<Settlement>,
    mut messages: BTreeMap<MessageId, StoredMessage>,
    settled: &mut [bool],
) -> Result<()> {
    let of = |id: MessageId| messages.get(&id).map(|stored| &stored.message);
    let conversations = settlements.iter().filter_map(|(_, one)| of(one.lease.message));
    let conversations: Vec<ConversationId> = conversations.map(|message| message.conversation_id).collect();
    let mut queues = outbox::queues_of(db, conversations.iter().copied())?;
    let mut threads: BTreeMap<ConversationId, _> = conversations::by_ids(db, conversations)?
        .into_iter()
        .map(|stored| (stored.conversation.id, stored))
        .collect();
    let names = settlements.iter().filter_map(|(_, one)| match &one.next {
        Next::Sent { platform_id, .. } => Some((of(one.lease.message)?.channel_id, platform_id.clone())),
        _ => None,
    });
    let names: Vec<(ChannelId, String)> = names.collect();
    let known = messages::named(db, names.iter().map(|(channel, name)| (*channel, name.as_str())))?;
    let early = early::of_messages(db, names)?;

    let mut changes = Changes::default();
    let mut latest = Timestamp::default();
    for (n, settlement) in settlements {
        let Settlement {
            lease,
            next,
            requests,
            writes,
            now,
        } = settlement;
        let Some(message) = messages.remove(&lease.message) else {
            continue;
        };
        let (channel, conversation) = (message.message.channel_id, message.message.conversation_id);
        let Some(queue) = queues.remove(&conversation) else {
            continue;
        };
        let entry = queue.get(lease.message);
        if !entry.is_some_and(|entry| entry.is_leased(&lease.owner, lease.epoch)) {
            continue;
        }
        let thread = match threads.remove(&conversation) {
            Some(thread) => thread,
            None => conversations::needed(db, conversation)?,
        };
        let outbound = Outbound {
            message: Tracked::loaded(message),
            conversation: Tracked::loaded(thread),
            queue,
        };
        if !states::commit(db, channel, &writes)? {
            states::notify_unwritten(db, channel, &writes, now)?;
        }
        let arrival = match &next {
            Next::Sent { platform_id, at } => {
                let is_named = |stored: &&StoredMessage| {
                    let message = &stored.message;
                    stored.part == 0
                        && message.channel_id == channel
                        && message.platform_id.as_ref() == Some(platform_id)
                };
                let known_as = echo::known_as(&outbound, platform_id);
                let receipts = if known_as == platform_id {
                    let of_it = early
                        .iter()
                        .filter(|receipts| receipts.channel == channel && receipts.message == known_as);
                    of_it
                        .map(|receipts| (receipts.status, receipts.error.clone()))
                        .collect()
                } else {
                    early::receipts_of(db, channel, known_as)?
                };
                let other = known.iter().find(is_named).cloned();
                echo::arrival_with(db, &outbound, (platform_id, *at), other, receipts)?
            }
            _ => Arrival::default(),
        };
        let (of_one, is_believed) = settle::settle(
            outbound,
            Tried {
                next,
                requests,
                arrival,
            },
            now,
        );
        warn_of_id(lease.message, is_believed);
        changes.merge(of_one);
        latest = latest.max(now);
        settled[n] = true;
    }
    apply(db, changes, latest)
}

/// Logs that two sends received one id: the platform or its connector is wrong.
pub(crate) fn warn_of_id(id: MessageId, is_believed: bool) {
    if !is_believed {
        tracing::warn!(message.id = %id, "The platform gave this message the id of another");
    }
}

/// Settles messages that no worker will: expired leases, and expired messages. Returns their number.
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

/// Requeues messages that this owner leased and does not have in flight. Returns their number.
pub(crate) fn free(db: &Db<'_>, owner: &str, in_flight: &BTreeSet<MessageId>, now: Timestamp) -> Result<u32> {
    let mut freed = 0;
    for id in outbox::leased_to(db, owner, now)? {
        if !in_flight.contains(&id) {
            apply(db, settle::free(needed(db, id)?, now), now)?;
            freed += 1;
        }
    }
    Ok(freed)
}

/// Fails the queued messages of a deleted channel.
pub(crate) fn fail_queued(db: &Db<'_>, channel: ChannelId, now: Timestamp) -> Result<()> {
    for id in outbox::waiting(db, channel)? {
        let changes = settle::lose_channel(needed(db, id)?);
        apply(db, changes, now)?;
    }
    Ok(())
}

/// Releases messages that waited for the channel's authorization.
pub(crate) fn release_held(db: &Db<'_>, channel: ChannelId, now: Timestamp) -> Result<()> {
    for conversation in outbox::release(db, channel)? {
        reschedule(db, channel, conversation, None, now)?;
    }
    Ok(())
}

/// Sets the due time of the conversation's first message, leaving out this one.
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
