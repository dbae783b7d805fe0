//! Applies webhooks: loads what a group of them needs, with a constant number of statements.

use std::collections::BTreeSet;
use std::sync::Arc;

use weir_domain::record::Tracked;
use weir_domain::record::inbound::{self, Batch, Recorded, Snapshot};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::acts::apply;
use crate::db::Db;
use crate::tables::{channels, conversations, early, messages, outbox, referrals, seen};

/// Applies batches in order, all of them or none. Returns the result of each.
pub(crate) fn record(db: &Db<'_>, batches: Vec<Batch>) -> Result<Vec<Recorded>> {
    // Webhooks that share a commit arrived within milliseconds.
    let now = batches.iter().map(|batch| batch.now).max().unwrap_or_default();
    let snapshot = load(db, &batches, now)?;
    let (recorded, changes) = inbound::record(batches, snapshot, db.mint);
    apply(db, changes, now)?;
    Ok(recorded)
}

fn load(db: &Db<'_>, batches: &[Batch], now: Timestamp) -> Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let accounts: BTreeSet<(&str, &str)> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .events
                .iter()
                .map(|event| (batch.app.as_str(), event.channel_platform_id.as_str()))
        })
        .collect();
    for channel in channels::named(db, accounts)? {
        let of_app = snapshot.channels.entry(channel.app.clone()).or_default();
        of_app.insert(channel.platform_id.clone(), Arc::new(channel));
    }

    let keys = snapshot.keys(batches);
    for (channel, fact) in seen::known(db, keys.facts, now)? {
        snapshot.facts.insert(channel, fact, ());
    }
    for message in messages::named(db, keys.messages)? {
        snapshot.add_message(Tracked::loaded(message));
    }
    for conversation in conversations::named(db, keys.conversations)? {
        snapshot.add_conversation(Tracked::loaded(conversation));
    }
    for conversation in conversations::by_ids(db, snapshot.missing_conversations())? {
        snapshot.add_conversation(Tracked::loaded(conversation));
    }

    let needs = snapshot.needs(batches);
    for contact in conversations::contacts_named(db, needs.contacts)? {
        snapshot.add_contact(Tracked::loaded(contact));
    }
    for (conversation, message, status) in outbox::of_conversations(db, needs.unsettled)? {
        let waiting = snapshot.unsettled.entry(conversation).or_default();
        waiting.push((message, status));
    }
    let mut left = Vec::new();
    for conversation in needs.queues {
        let queue = outbox::queue_of(db, conversation, None)?;
        left.extend(queue.unanswered().map(|queued| queued.message));
        snapshot.queues.insert(conversation, queue);
    }
    for message in messages::by_ids(db, left)? {
        snapshot.add_message(Tracked::loaded(message));
    }
    for (conversation, since) in needs.counted {
        let counted = messages::counted_after(db, conversation, since)?;
        snapshot.counted.insert(conversation, counted);
    }
    for (conversation, after) in needs.unread {
        let unread = messages::unread_after(db, conversation, after)?;
        snapshot.unread.insert(conversation, unread);
    }
    for (conversation, at) in needs.sent_up_to {
        for message in messages::sent_up_to(db, conversation, at)? {
            snapshot.add_message(Tracked::loaded(message));
        }
    }
    for receipt in early::of_messages(db, needs.early_receipts)? {
        let known = snapshot.early_receipts.entry(receipt.channel, &receipt.message);
        known.push(receipt);
    }
    for mark in early::of_conversations(db, needs.early_marks)? {
        if let Some(at) = mark.up_to {
            snapshot.early_marks.insert(mark.channel, mark.conversation, at);
        }
    }
    for (conversation, at) in needs.referrals {
        let known = referrals::until(db, conversation, at)?;
        snapshot.referrals.insert(conversation, known);
    }
    for (conversation, at) in snapshot.first_messages_needed(batches) {
        if let Some(first) = messages::first_after(db, conversation, at)? {
            let id = first.message.id;
            snapshot.add_message(Tracked::loaded(first));
            snapshot.first_messages.insert((conversation, at), id);
        }
    }
    Ok(snapshot)
}
