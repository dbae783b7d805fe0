//! The data that applying a group of webhooks reads: first by platform ids, then what the results require.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::channel::{Channel, ChannelStatus};
use crate::id::{ChannelId, ContactId, ConversationId, MessageId};
use crate::inbound::{Fact, InboundEvent, InboundMessage, Person, ReceiptTarget};
use crate::message::{Direction, Origin, Referral, Status};
use crate::policy::window;
use crate::record::change::EarlyReceipt;
use crate::record::inbound::Batch;
use crate::record::queue::ConversationQueue;
use crate::record::rows::{ByPlatformId, Rows};
use crate::record::{StoredContact, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

/// The most messages that are counted: above any platform's budget, and a sufficient bound of unread messages.
pub const COUNTED: u32 = 1_000;

/// The channels of a group, by app and platform id.
pub type Channels = BTreeMap<String, BTreeMap<String, Arc<Channel>>>;

/// Keys of the first reads, by platform ids.
#[derive(Debug, Default)]
pub struct Keys<'a> {
    /// Keys of facts.
    pub facts: BTreeSet<(ChannelId, &'a str)>,
    pub messages: BTreeSet<(ChannelId, &'a str)>,
    pub conversations: BTreeSet<(ChannelId, &'a str)>,
}

/// The second reads, as the first results require. Most webhooks require only the unsettled messages.
#[derive(Debug, Default)]
pub struct Needs {
    pub contacts: BTreeSet<(ChannelId, String)>,
    /// Unsettled messages.
    pub unsettled: BTreeSet<ConversationId>,
    /// The queue, and the messages that were sent and have no response.
    pub queues: BTreeSet<ConversationId>,
    /// Messages that count against the budget and were sent after this time.
    pub counted: BTreeMap<ConversationId, Option<Timestamp>>,
    /// Messages of the contact after this time and this position, the newest [`COUNTED`].
    pub unread: BTreeMap<ConversationId, (Option<Timestamp>, i64)>,
    /// Outbound messages up to this time that are sent and not read.
    pub sent_up_to: BTreeMap<ConversationId, Timestamp>,
    /// Receipts that arrived before the message with this platform id.
    pub early_receipts: BTreeSet<(ChannelId, String)>,
    /// Read receipts that arrived before the conversation with this platform id.
    pub early_marks: BTreeSet<(ChannelId, String)>,
    /// Referrals up to this time.
    pub referrals: BTreeMap<ConversationId, Timestamp>,
}

/// The loaded data, as changed by the facts of a group, so that later facts see earlier ones.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub channels: Channels,
    /// Facts that are known by their keys.
    pub facts: ByPlatformId<()>,
    pub conversations: Rows<ConversationId, StoredConversation>,
    pub contacts: Rows<ContactId, StoredContact>,
    pub messages: Rows<MessageId, StoredMessage>,
    /// The unsettled messages, with the status of each as loaded.
    pub unsettled: BTreeMap<ConversationId, Vec<(MessageId, Status)>>,
    /// The queues from which messages may be removed.
    pub queues: BTreeMap<ConversationId, ConversationQueue>,
    /// Those from which messages were removed, with their channels.
    pub(super) left_queues: BTreeMap<ConversationId, ChannelId>,
    /// Messages that count, as loaded.
    pub counted: BTreeMap<ConversationId, Vec<(MessageId, Timestamp)>>,
    /// Messages of the contact: their times and positions.
    pub unread: BTreeMap<ConversationId, Vec<(Timestamp, i64)>>,
    pub early_receipts: ByPlatformId<Vec<EarlyReceipt>>,
    pub early_marks: ByPlatformId<Timestamp>,
    pub referrals: BTreeMap<ConversationId, Vec<Referral>>,
    /// The contact's first message at or after a moment.
    pub first_messages: BTreeMap<(ConversationId, Timestamp), MessageId>,
    pub(super) conversation_ids: ByPlatformId<ConversationId>,
    pub(super) contact_ids: ByPlatformId<ContactId>,
    /// The parts of each message.
    pub(super) message_ids: ByPlatformId<BTreeMap<u32, MessageId>>,
}

impl Snapshot {
    pub fn add_conversation(&mut self, row: Tracked<StoredConversation>) -> usize {
        let conversation = &row.conversation;
        let (id, channel) = (conversation.id, conversation.channel_id);
        self.conversation_ids
            .insert(channel, conversation.platform_id.clone(), id);
        self.conversations.add(id, row)
    }

    pub fn add_contact(&mut self, row: Tracked<StoredContact>) -> usize {
        let contact = &row.contact;
        let (id, channel) = (contact.id, contact.channel_id);
        self.contact_ids.insert(channel, contact.platform_id.clone(), id);
        self.contacts.add(id, row)
    }

    pub fn add_message(&mut self, row: Tracked<StoredMessage>) -> usize {
        let message = &row.message;
        if let Some(platform_id) = &message.platform_id {
            let parts = self.message_ids.entry(message.channel_id, platform_id);
            parts.insert(row.part, message.id);
        }
        self.messages.add(message.id, row)
    }

    pub(super) fn conversation(&self, channel: ChannelId, platform_id: &str) -> Option<usize> {
        let id = self.conversation_ids.get(channel, platform_id)?;
        self.conversations.place(id)
    }

    pub(super) fn contact(&self, channel: ChannelId, platform_id: &str) -> Option<usize> {
        let id = self.contact_ids.get(channel, platform_id)?;
        self.contacts.place(id)
    }

    /// The parts of the message with this platform id, in order.
    pub(super) fn parts(&self, channel: ChannelId, platform_id: &str) -> Vec<usize> {
        let parts = self.message_ids.get(channel, platform_id);
        let ids = parts.into_iter().flat_map(BTreeMap::values);
        ids.filter_map(|id| self.messages.place(id)).collect()
    }

    /// One part of the message with this platform id.
    pub(super) fn part(&self, channel: ChannelId, platform_id: &str, part: u32) -> Option<usize> {
        let id = self.message_ids.get(channel, platform_id)?.get(&part)?;
        self.messages.place(id)
    }

    /// Outbound messages whose outcome is open: each has its share of the budget. One that an echo showed before its
    /// response arrived is sent, and not among them.
    pub(super) fn unsettled_in(&self, conversation: ConversationId) -> u32 {
        let waiting = self.unsettled.get(&conversation).map_or(&[][..], Vec::as_slice);
        let is_unsettled = |(id, status): &&(MessageId, Status)| {
            let now = self.messages.get(id).map(|known| known.message.status);
            now.unwrap_or(*status).is_unsettled()
        };
        u32::try_from(waiting.iter().filter(is_unsettled).count()).unwrap_or(u32::MAX)
    }

    /// Outbound messages that the platform has from after a moment and that count. A failed one counts if it kept its
    /// share.
    pub(super) fn counted_after(&self, conversation: ConversationId, since: Option<Timestamp>) -> u32 {
        let is_after = |sent_at: Timestamp| since.is_none_or(|since| sent_at > since);
        let loaded = self.counted.get(&conversation).map_or(&[][..], Vec::as_slice);
        let unchanged = loaded
            .iter()
            .filter(|(id, sent_at)| self.messages.get(id).is_none() && is_after(*sent_at));
        let here = self.messages.iter().filter(|(_, stored)| {
            let message = &stored.message;
            message.conversation_id == conversation && stored.counts() && is_after(message.sent_at)
        });
        u32::try_from(unchanged.count() + here.count()).map_or(COUNTED, |count| count.min(COUNTED))
    }

    /// The contact's messages after the newest message from elsewhere and after the last position that was viewed here.
    pub(super) fn unread_in(&self, stored: &StoredConversation) -> u32 {
        let loaded = self.unread.get(&stored.conversation.id).map_or(&[][..], Vec::as_slice);
        let unread = loaded
            .iter()
            .filter(|(sent_at, sequence)| stored.marks.is_unread(*sequence, *sent_at));
        u32::try_from(unread.count()).map_or(COUNTED, |count| count.min(COUNTED))
    }

    /// The newest referral of a conversation up to a moment.
    pub(super) fn referral_before(&self, conversation: ConversationId, sent_at: Timestamp) -> Option<&Referral> {
        let known = self.referrals.get(&conversation)?.iter();
        let before = known.filter(|referral| referral.at.is_some_and(|at| at <= sent_at));
        before.min_by_key(|referral| (std::cmp::Reverse(referral.at), referral.id))
    }

    // ---- loading -------------------------------------------------------------------------------------------------

    /// The keys of the platform ids in a group. The channels are loaded.
    pub fn keys<'a>(&self, batches: &'a [Batch]) -> Keys<'a> {
        let mut keys = Keys::default();
        for (_, channel, event) in self.recorded(batches) {
            let of = |id: &'a str| (channel.id, id);
            keys.facts.insert(of(&event.key));
            match &event.fact {
                Fact::Message(reported) => {
                    keys.messages.insert(of(&reported.platform_id));
                    keys.messages.extend(reported.reply_to.as_deref().map(of));
                    keys.conversations.insert(of(&reported.conversation));
                }
                Fact::Receipt {
                    conversation, target, ..
                } => match target {
                    ReceiptTarget::Messages(ids) => keys.messages.extend(ids.iter().map(|id| of(id))),
                    ReceiptTarget::UpTo(_) => drop(keys.conversations.insert(of(conversation))),
                },
                Fact::Reaction {
                    conversation, message, ..
                } => {
                    keys.messages.insert(of(message));
                    keys.conversations.insert(of(conversation));
                }
                Fact::Arrival { conversation, .. } => drop(keys.conversations.insert(of(conversation))),
                Fact::Notice { .. } | Fact::Unknown { .. } => {}
            }
        }
        keys
    }

    /// Conversations of outbound messages that were not found by platform ids.
    pub fn missing_conversations(&self) -> BTreeSet<ConversationId> {
        let ours = self
            .messages
            .iter()
            .filter(|(_, stored)| stored.message.direction == Direction::Outbound);
        ours.map(|(_, stored)| stored.message.conversation_id)
            .filter(|id| self.conversations.place(id).is_none())
            .collect()
    }

    /// The second reads, once the channels and the results of the first are loaded.
    pub fn needs(&self, batches: &[Batch]) -> Needs {
        let mut needs = Needs::default();
        let words = self
            .recorded(batches)
            .filter_map(|(_, channel, event)| match &event.fact {
                Fact::Message(reported) if reported.direction == Direction::Inbound => {
                    Some((channel.id, reported.conversation.as_str()))
                }
                _ => None,
            });
        let words: BTreeSet<(ChannelId, &str)> = words.collect();
        for (batch, channel, event) in self.recorded(batches) {
            match &event.fact {
                Fact::Message(reported) if reported.direction == Direction::Inbound => {
                    if self.part(channel.id, &reported.platform_id, reported.part).is_none() {
                        self.needs_of_contact(&mut needs, channel, reported, batch);
                    }
                }
                Fact::Message(reported) => self.needs_of_business(&mut needs, channel, reported, &words),
                Fact::Receipt {
                    conversation,
                    target: ReceiptTarget::UpTo(at),
                    ..
                } => {
                    if let Some(id) = self.conversation_ids.get(channel.id, conversation) {
                        let up_to = needs.sent_up_to.entry(*id).or_insert(*at);
                        *up_to = (*up_to).max(*at);
                    }
                }
                Fact::Reaction {
                    conversation, contact, ..
                } => {
                    let known = self.conversation(channel.id, conversation);
                    let person = match known.map(|place| &self.conversations.at(place).conversation.contact) {
                        _ if !contact.platform_id.is_empty() => &contact.platform_id,
                        Some(contact) => &contact.platform_id,
                        None => conversation,
                    };
                    needs.contacts.insert((channel.id, person.clone()));
                }
                Fact::Arrival {
                    conversation,
                    contact,
                    at,
                    referral,
                } => {
                    self.needs_of_meeting(&mut needs, channel, conversation, contact);
                    self.needs_of_referral(&mut needs, channel, conversation, referral.at.unwrap_or(*at));
                }
                Fact::Receipt { .. } | Fact::Notice { .. } | Fact::Unknown { .. } => {}
            }
        }
        needs
    }

    /// Moments after which the contact's first message is required: those of the referrals that messages of the group
    /// may be the first after.
    pub fn first_messages_needed(&self, batches: &[Batch]) -> BTreeSet<(ConversationId, Timestamp)> {
        let mut needed = BTreeSet::new();
        for (_, channel, event) in self.recorded(batches) {
            let (conversation, moments) = match &event.fact {
                Fact::Message(reported) if reported.direction == Direction::Inbound => {
                    let own = reported
                        .referral
                        .as_ref()
                        .map(|referral| referral.at.unwrap_or(reported.sent_at));
                    let id = self.conversation_ids.get(channel.id, &reported.conversation);
                    let before = id.and_then(|id| self.referral_before(*id, reported.sent_at));
                    (&reported.conversation, [own, before.and_then(|referral| referral.at)])
                }
                Fact::Arrival {
                    conversation,
                    referral,
                    at,
                    ..
                } => (conversation, [Some(referral.at.unwrap_or(*at)), None]),
                _ => continue,
            };
            if let Some(id) = self.conversation_ids.get(channel.id, conversation) {
                needed.extend(moments.into_iter().flatten().map(|at| (*id, at)));
            }
        }
        needed
    }

    /// The events of a group that are applied, if they are new.
    fn recorded<'a, 's>(
        &'s self,
        batches: &'a [Batch],
    ) -> impl Iterator<Item = (&'a Batch, &'s Channel, &'a InboundEvent)> {
        batches.iter().flat_map(move |batch| {
            let channels = self.channels.get(&batch.app);
            batch.events.iter().filter_map(move |event| {
                let channel: &'s Channel = channels?.get(&event.channel_platform_id)?;
                let is_recorded =
                    channel.status != ChannelStatus::Deleted && !matches!(event.fact, Fact::Unknown { .. });
                is_recorded.then_some((batch, channel, event))
            })
        })
    }

    fn needs_of_contact(&self, needs: &mut Needs, channel: &Channel, reported: &InboundMessage, batch: &Batch) {
        self.needs_of_meeting(needs, channel, &reported.conversation, &reported.contact);
        let Some(place) = self.conversation(channel.id, &reported.conversation) else {
            return;
        };
        let stored = self.conversations.at(place);
        let id = stored.conversation.id;
        needs.unsettled.insert(id);
        // Only messages sent after this message of the contact may count from now on.
        let opened_at = window::opened_at(&batch.policies.rules(channel), reported.sent_at, batch.now);
        let moves = stored
            .conversation
            .contact_wrote_at
            .is_none_or(|known| opened_at > known);
        if moves && stored.marks.last_answer_at > Some(opened_at) {
            let since = needs.counted.entry(id).or_insert(Some(opened_at));
            *since = (*since).min(Some(opened_at));
        }
        if reported.referral.is_none() && stored.conversation.referral.is_some() {
            self.needs_of_referral(needs, channel, &reported.conversation, reported.sent_at);
        }
    }

    fn needs_of_business(
        &self,
        needs: &mut Needs,
        channel: &Channel,
        reported: &InboundMessage,
        words: &BTreeSet<(ChannelId, &str)>,
    ) {
        needs.early_receipts.insert((channel.id, reported.platform_id.clone()));
        let known = self.part(channel.id, &reported.platform_id, reported.part);
        let conversation = match known {
            Some(place) => self
                .conversations
                .place(&self.messages.at(place).message.conversation_id),
            None => {
                self.needs_of_meeting(needs, channel, &reported.conversation, &reported.contact);
                self.conversation(channel.id, &reported.conversation)
            }
        };
        let Some(stored) = conversation.map(|place| self.conversations.at(place)) else {
            return;
        };
        let id = stored.conversation.id;
        needs.unsettled.insert(id);
        let may_be_ours = known.is_none() && reported.origin == Origin::Api && reported.part == 0;
        if may_be_ours {
            needs.queues.insert(id);
        }
        let moves = known
            .map(|place| &self.messages.at(place).message)
            .is_some_and(|message| message.sent_at != reported.sent_at || message.status.may_become(Status::Sent));
        if known.is_some_and(|place| self.messages.at(place).message.status == Status::Uncertain) {
            needs.queues.insert(id);
        }
        // Or a message of the contact in the same group requires a recount.
        if may_be_ours || moves || words.contains(&(channel.id, &reported.conversation)) {
            needs.counted.insert(id, stored.conversation.contact_wrote_at);
        }
        if known.is_none() && stored.conversation.unread > 0 {
            needs
                .unread
                .insert(id, (stored.marks.echoed_at, stored.marks.seen_sequence));
        }
    }

    /// Adds the reads for the person and the conversation of a fact. A person whom the conversation has with the same
    /// names requires none.
    fn needs_of_meeting(&self, needs: &mut Needs, channel: &Channel, conversation: &str, person: &Person) {
        let known = self.conversation(channel.id, conversation);
        let Some(contact) = known.map(|place| &self.conversations.at(place).conversation.contact) else {
            needs.early_marks.insert((channel.id, conversation.to_owned()));
            let who = if person.platform_id.is_empty() {
                conversation
            } else {
                &person.platform_id
            };
            needs.contacts.insert((channel.id, who.to_owned()));
            return;
        };
        if !person.platform_id.is_empty() && !contact.is_named(person) {
            for who in [&contact.platform_id, &person.platform_id] {
                needs.contacts.insert((channel.id, who.clone()));
            }
        }
    }

    fn needs_of_referral(&self, needs: &mut Needs, channel: &Channel, conversation: &str, at: Timestamp) {
        if let Some(id) = self.conversation_ids.get(channel.id, conversation) {
            let up_to = needs.referrals.entry(*id).or_insert(at);
            *up_to = (*up_to).max(at);
        }
    }
}
