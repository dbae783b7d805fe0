//! What webhooks and the platform's history told, made into contacts, conversations, messages and events. Each fact is recorded
//! once in a channel; what arrives late, doubled or in another order leads to the same messages.

mod echo;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::json;

use crate::channel::{Channel, ChannelStatus};
use crate::conversation::OpenedBy;
use crate::event::{
    self, ChannelNotice, ChannelTold, ContactCreated, EventData, EventType, Reaction, ReactionContact, ReferralReceived,
};
use crate::id::{ContactId, ConversationId, MediaId, MessageId, Mint};
use crate::inbound::{Fact, InboundEvent, InboundMessage, Person, ReceiptStatus, ReceiptTarget, RemoteMedia};
use crate::message::{Attachment, Content, Direction, MediaStatus, Message, MessageError, Origin, Referral, Status};
use crate::policy::{ConversationView, RuleBook, Rules, Stage, may_write, window};
use crate::problem::Fault;
use crate::record::contact::ContactChange;
use crate::record::echo::{EarlyReceipts, advance, apply_early};
use crate::record::window_events;
use crate::record::{About, Changes, MessageUpdate, StoredContact, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

pub use snapshot::{COUNTED, Channels, EarlyReceipt, Keys, Needs, Snapshot};

/// Where inbound facts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The platform's history, read by the reconciler.
    History,
}

/// What one webhook, or one reading of the history, told of an app's accounts.
#[derive(Clone, Debug)]
pub struct Batch {
    pub app: String,
    pub events: Vec<InboundEvent>,
    pub source: Source,
    pub book: RuleBook,
    pub now: Timestamp,
}

/// What became of the events of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// New.
    pub stored: u32,
    /// Seen before.
    pub duplicates: u32,
    /// For an account that the app does not know.
    pub unknown_channel: u32,
    /// For a deleted channel.
    pub deleted_channel: u32,
    /// That the connector did not know; the caller keeps the webhook as a dead letter.
    pub unknown_events: u32,
    /// Attachments that are to be fetched.
    pub media: u32,
}

impl std::ops::AddAssign for Recorded {
    fn add_assign(&mut self, other: Self) {
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.unknown_channel += other.unknown_channel;
        self.deleted_channel += other.deleted_channel;
        self.unknown_events += other.unknown_events;
        self.media += other.media;
    }
}

impl std::iter::Sum for Recorded {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |mut all, one| {
            all += one;
            all
        })
    }
}

/// Bytes that are with the platform, to be fetched at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedMedia {
    pub id: MediaId,
    pub workspace: String,
    pub message: MessageId,
    pub kind: String,
    pub remote: RemoteMedia,
}

/// How a contact came, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReferral {
    pub workspace: String,
    pub conversation: ConversationId,
    pub contact: ContactId,
    pub channel: crate::id::ChannelId,
    pub referral: Referral,
}

/// Records batches in their order, each seeing those before it.
pub fn record(batches: Vec<Batch>, snapshot: Snapshot, mint: &Mint) -> (Vec<Recorded>, Changes) {
    let mut recorder = InboundRecorder {
        snapshot,
        changes: Changes::default(),
        mint,
    };
    let recorded = batches.into_iter().map(|batch| recorder.batch(batch)).collect();
    let InboundRecorder {
        mut snapshot,
        mut changes,
        ..
    } = recorder;
    for (conversation, channel) in snapshot.left_queues {
        if let Some(queue) = snapshot.queues.remove(&conversation) {
            changes.queue(channel, queue);
        }
    }
    changes.contacts = snapshot.contacts.into_rows();
    changes.conversations = snapshot.conversations.into_rows();
    changes.messages = snapshot.messages.into_rows();
    (recorded, changes)
}

/// What a fact came to.
enum Applied {
    /// It was new.
    New,
    /// It was new, and names bytes to be fetched.
    WithMedia,
    /// It was known.
    Known,
}

/// Where and under which rules a fact is recorded.
#[derive(Clone, Copy)]
struct Context<'a> {
    channel: &'a Channel,
    rules: &'a Rules,
    source: Source,
    now: Timestamp,
}

impl Context<'_> {
    fn view(&self, stored: &StoredConversation) -> event::Conversation {
        ConversationView::of(&stored.at(self.now), self.channel, self.rules, self.now).into()
    }

    fn may_write(&self, stored: &StoredConversation) -> bool {
        may_write(self.rules, &stored.conversation, Stage::Accept, self.now).is_ok()
    }

    /// Whether the platform counts such a message. What came through its API and is none of ours is another program's, or one
    /// that we took for failed: the platform counted it like ours.
    fn counts(&self, origin: Origin) -> bool {
        origin == Origin::Api || self.rules.counts.contains(&origin)
    }
}

/// Who a fact is about and where, by their places in the snapshot, and what of it is news.
struct ResolvedConversation {
    contact: ContactId,
    change: ContactChange,
    place: usize,
    is_opened: bool,
}

struct InboundRecorder<'a> {
    snapshot: Snapshot,
    changes: Changes,
    mint: &'a Mint,
}

impl InboundRecorder<'_> {
    fn batch(&mut self, batch: Batch) -> Recorded {
        let mut recorded = Recorded::default();
        // Most batches are about one account.
        let mut last: Option<(Arc<Channel>, Arc<Rules>)> = None;
        for event in batch.events {
            let known = self.snapshot.channels.get(&batch.app);
            let Some(channel) = known.and_then(|known| known.get(&event.channel_platform_id)).cloned() else {
                recorded.unknown_channel += 1;
                continue;
            };
            if channel.status == ChannelStatus::Deleted {
                recorded.deleted_channel += 1;
                continue;
            }
            // Not marked as seen: the mended connector shall have it.
            if let Fact::Unknown { .. } = event.fact {
                recorded.unknown_events += 1;
                continue;
            }
            if !self.is_first(&channel, &event) {
                recorded.duplicates += 1;
                continue;
            }
            let rules = match &last {
                Some((known, rules)) if Arc::ptr_eq(known, &channel) => Arc::clone(rules),
                _ => batch.book.rules(&channel),
            };
            let context = Context {
                channel: &channel,
                rules: &rules,
                source: batch.source,
                now: batch.now,
            };
            match self.apply(context, event.fact) {
                Applied::New => recorded.stored += 1,
                Applied::WithMedia => {
                    recorded.stored += 1;
                    recorded.media += 1;
                }
                Applied::Known => recorded.duplicates += 1,
            }
            last = Some((channel, rules));
        }
        recorded
    }

    /// Whether a channel gets a fact for the first time, which is noted. A message whose key is the platform's id of it is known
    /// by its own row: a key beside it would be one more page to write for each message.
    fn is_first(&mut self, channel: &Channel, event: &InboundEvent) -> bool {
        if self.snapshot.facts.get(channel.id, &event.key).is_some() {
            return false;
        }
        if !event.is_keyed_by_message() {
            self.snapshot.facts.insert(channel.id, event.key.clone(), ());
            self.changes.facts.push((channel.id, event.key.clone()));
        }
        true
    }

    fn apply(&mut self, context: Context<'_>, fact: Fact) -> Applied {
        match fact {
            Fact::Message(told) if told.direction == Direction::Inbound => self.contact_wrote(context, *told),
            Fact::Message(told) => self.business_wrote(context, *told),
            Fact::Receipt {
                conversation,
                status,
                target,
                error,
                ..
            } => self.receipt(context, conversation, status, target, error),
            Fact::Reaction {
                conversation,
                contact,
                message,
                emoji,
                url,
                direction,
                added,
                at,
            } => {
                let channel = context.channel.id;
                let known = self.snapshot.conversation(channel, &conversation);
                let stored = known.map(|place| self.snapshot.conversations.at(place));
                let contact = named(contact, &conversation, stored);
                let conversation_id = stored.map(|stored| stored.conversation.id);
                let parts = self.snapshot.parts(channel, &message);
                let known = self.snapshot.contact(channel, &contact.platform_id);
                let reaction = Reaction {
                    conversation_id,
                    conversation_platform_id: conversation,
                    message_id: parts.first().map(|place| self.snapshot.messages.at(*place).message.id),
                    message_platform_id: message,
                    emoji,
                    url,
                    direction,
                    contact: ReactionContact {
                        id: known.map(|place| self.snapshot.contacts.at(place).contact.id),
                        platform_id: contact.platform_id,
                        username: contact.username,
                        display_name: contact.display_name,
                        avatar_url: contact.avatar_url,
                    },
                    at,
                };
                let kind = if added {
                    EventType::ReactionAdded
                } else {
                    EventType::ReactionRemoved
                };
                self.event(context, kind, conversation_id, &reaction);
                Applied::New
            }
            Fact::Arrival {
                conversation,
                contact,
                referral,
                at,
            } => {
                let resolved = self.resolve(context, &conversation, &contact, OpenedBy::Referral, at);
                self.meeting_events(context, &resolved);
                let referral = Referral {
                    at: referral.at.or(Some(at)),
                    ..referral
                };
                let referral = self.keep_referral(context, resolved.place, referral);
                self.refer(resolved.place, &referral);
                Applied::New
            }
            Fact::Notice { kind, at, detail } => self.notice(context, &kind, at, detail),
            Fact::Unknown { .. } => Applied::Known,
        }
    }

    fn event(
        &mut self,
        context: Context<'_>,
        kind: EventType,
        conversation: Option<ConversationId>,
        data: &impl EventData,
    ) {
        let about = About {
            conversation,
            ..About::channel(context.channel)
        };
        self.changes.event(about, kind, data);
    }

    fn message_event(&mut self, place: usize, kind: EventType) {
        let stored = self.snapshot.messages.at(place);
        self.changes.message_event(stored, kind);
    }

    // ---- who, and where ----------------------------------------------------------------------------------------------

    /// The contact and the conversation that a fact of the time `at` is about, begun if they are new. A conversation found in
    /// the history says so, whatever brought it about.
    fn resolve(
        &mut self,
        context: Context<'_>,
        platform_id: &str,
        person: &Person,
        opened_by: OpenedBy,
        at: Timestamp,
    ) -> ResolvedConversation {
        let Context {
            channel, rules, now, ..
        } = context;
        let opened_by = match context.source {
            Source::Webhook => opened_by,
            Source::History => OpenedBy::History,
        };
        let known = self.snapshot.conversation(channel.id, platform_id);
        // An echo may leave the person out: the conversation knows them, or stands for them.
        let is_anonymous = person.platform_id.is_empty();
        let stand_in = is_anonymous.then(|| Person {
            platform_id: platform_id.to_owned(),
            ..person.clone()
        });
        let person = stand_in.as_ref().unwrap_or(person);
        let Some(place) = known else {
            let (contact, change) = self.name(context, person, at);
            let id = self.mint.id(now);
            let workspace = &channel.workspace_id;
            let of = self.snapshot.contacts.at(contact).contact.clone();
            let contact = of.id;
            let mut begun = StoredConversation::begin(id, workspace, platform_id, of, opened_by, at, now);
            begun.read_up_to = self.snapshot.early_marks.get(channel.id, platform_id).copied();
            return ResolvedConversation {
                contact,
                change,
                place: self.snapshot.add_conversation(Tracked::new(begun)),
                is_opened: true,
            };
        };
        let stored = self.snapshot.conversations.edit(place);
        let is_confirmed = is_anonymous || stored.confirms(person, at);
        let is_opened = stored.reopen(rules, now);
        // What the history shows says nothing of how a known conversation began.
        if context.source == Source::Webhook && stored.conversation.opened_by != OpenedBy::History {
            stored.begun_by(opened_by, at);
        }
        let (contact, change) = if is_confirmed {
            (stored.conversation.contact.id, ContactChange::Nothing)
        } else {
            self.name_stand_in(place, person);
            let (contact, change) = self.name(context, person, at);
            let contact = &self.snapshot.contacts.at(contact).contact;
            let stored = self.snapshot.conversations.edit(place);
            if stored.conversation.contact.id == contact.id {
                stored.conversation.contact = contact.clone();
            }
            (contact.id, change)
        };
        ResolvedConversation {
            contact,
            change,
            place,
            is_opened,
        }
    }

    /// The contact that a person is, as something of the time `at` names them.
    fn name(&mut self, context: Context<'_>, person: &Person, at: Timestamp) -> (usize, ContactChange) {
        let channel = context.channel;
        match self.snapshot.contact(channel.id, &person.platform_id) {
            Some(place) => {
                let id = self.snapshot.contacts.at(place).contact.id;
                let noted = self.snapshot.conversations.iter();
                let noted = noted.filter(|(_, stored)| stored.conversation.contact.id == id);
                let noted: Vec<_> = noted.map(|(place, stored)| (place, stored.named_at)).collect();
                let confirmed_at = noted.iter().map(|(_, at)| *at).max().unwrap_or_default();
                let contact = self.snapshot.contacts.edit(place);
                contact.named_at = contact.named_at.map(|named_at| named_at.max(confirmed_at));
                let known = contact.contact.clone();
                let change = contact.name(person, at);
                if contact.contact != known {
                    // The contact's row now has the moment of each name; what conversations noted is of names that are no more, and
                    // what they confirm from now on are the new ones.
                    let named = contact.contact.clone();
                    for (conversation, _) in noted {
                        let stored = self.snapshot.conversations.edit(conversation);
                        stored.named_at = Timestamp::default();
                        stored.conversation.contact.clone_from(&named);
                    }
                }
                (place, change)
            }
            None => {
                let id = self.mint.id(context.now);
                let contact = StoredContact::new(id, &channel.workspace_id, channel.id, person, at, context.now);
                (self.snapshot.add_contact(Tracked::new(contact)), ContactChange::New)
            }
        }
    }

    /// A conversation that stood for a person whom no event had named knows them now: the stand-in gets their name.
    fn name_stand_in(&mut self, place: usize, person: &Person) {
        let conversation = &self.snapshot.conversations.at(place).conversation;
        let contact = &conversation.contact;
        let is_stand_in = contact.platform_id == conversation.platform_id && contact.platform_id != person.platform_id;
        let channel = contact.channel_id;
        if !is_stand_in || self.snapshot.contact(channel, &person.platform_id).is_some() {
            return;
        }
        let known = contact.platform_id.clone();
        if let Some(place) = self.snapshot.contact(channel, &known) {
            let contact = self.snapshot.contacts.edit(place);
            contact.contact.platform_id.clone_from(&person.platform_id);
            let id = contact.contact.id;
            self.snapshot.contact_ids.remove(channel, &known);
            self.snapshot
                .contact_ids
                .insert(channel, person.platform_id.clone(), id);
        }
    }

    /// Tells of a contact and a conversation that are new, as they are now.
    fn meeting_events(&mut self, context: Context<'_>, resolved: &ResolvedConversation) {
        let stored = self.snapshot.conversations.at(resolved.place);
        let about = About::conversation(stored);
        if let Some(StoredContact { contact, .. }) = self.snapshot.contacts.get(&resolved.contact) {
            match resolved.change {
                ContactChange::New => {
                    let created = ContactCreated {
                        contact: contact.clone().into(),
                        reason: stored.conversation.opened_by,
                    };
                    self.changes.event(about, EventType::ContactCreated, &created);
                }
                ContactChange::Renamed => {
                    let contact = event::Contact::from(contact.clone());
                    self.changes.event(about, EventType::ContactUpdated, &contact);
                }
                ContactChange::Nothing => {}
            }
        }
        if resolved.is_opened {
            window_events::opened(&mut self.changes, stored, context.channel, context.rules, context.now);
        }
    }

    // ---- referrals ---------------------------------------------------------------------------------------------------

    /// Keeps how a contact came, and tells of it.
    fn keep_referral(&mut self, context: Context<'_>, place: usize, referral: Referral) -> Referral {
        let referral = Referral {
            id: Some(self.mint.id(context.now)),
            ..referral
        };
        let stored = self.snapshot.conversations.edit(place);
        stored.came_by(&referral);
        let conversation = &stored.conversation;
        self.snapshot
            .referrals
            .entry(conversation.id)
            .or_default()
            .push(referral.clone());
        self.changes.referrals.push(NewReferral {
            workspace: stored.workspace.clone(),
            conversation: conversation.id,
            contact: conversation.contact.id,
            channel: conversation.channel_id,
            referral: referral.clone(),
        });
        let received = ReferralReceived {
            referral: referral.clone().into(),
            conversation_id: conversation.id,
            contact: conversation.contact.clone().into(),
        };
        let id = conversation.id;
        self.event(context, EventType::ReferralReceived, Some(id), &received);
        referral
    }

    /// The contact's first message at or after a moment.
    fn first_word(&self, conversation: ConversationId, at: Timestamp) -> Option<usize> {
        let loaded = self.snapshot.first_words.get(&(conversation, at));
        let loaded = loaded.and_then(|id| self.snapshot.messages.place(id));
        let here = self.snapshot.messages.iter().filter(|(_, stored)| {
            let message = &stored.message;
            message.conversation_id == conversation && message.direction == Direction::Inbound && message.sent_at >= at
        });
        let here = here.map(|(place, _)| place);
        loaded.into_iter().chain(here).min_by_key(|place| {
            let message = &self.snapshot.messages.at(*place).message;
            (message.sent_at, message.sequence)
        })
    }

    /// Gives a referral to the contact's first message after it, if it is here already.
    fn refer(&mut self, place: usize, referral: &Referral) {
        let conversation = self.snapshot.conversations.at(place).conversation.id;
        let Some(first) = self.first_word(conversation, referral.at.unwrap_or_default()) else {
            return;
        };
        // It may have come by a newer one.
        let known = self.snapshot.messages.at(first).message.referral.as_ref();
        if known.is_none_or(|other| other.at <= referral.at) {
            self.snapshot.messages.edit(first).message.referral = Some(referral.clone());
        }
    }

    /// How the contact came, if a new message of this time is the first that they wrote after it. A later one that had it gives
    /// it up.
    fn take_referral(&mut self, place: usize, sent_at: Timestamp) -> Option<Referral> {
        let conversation = &self.snapshot.conversations.at(place).conversation;
        conversation.referral.as_ref()?;
        let id = conversation.id;
        let referral = self.snapshot.referral_before(id, sent_at)?.clone();
        if let Some(first) = self.first_word(id, referral.at.unwrap_or_default()) {
            let message = &self.snapshot.messages.at(first).message;
            if message.sent_at <= sent_at {
                return None;
            }
            if message.referral.as_ref().is_some_and(|other| other.id == referral.id) {
                self.snapshot.messages.edit(first).message.referral = None;
            }
        }
        Some(referral)
    }

    // ---- messages ----------------------------------------------------------------------------------------------------

    fn contact_wrote(&mut self, context: Context<'_>, told: InboundMessage) -> Applied {
        let Context { channel, rules, .. } = context;
        if self.snapshot.part(channel.id, &told.platform_id, told.part).is_some() {
            return Applied::Known;
        }
        let resolved = self.resolve(
            context,
            &told.conversation,
            &told.contact,
            OpenedBy::Message,
            told.sent_at,
        );
        let place = resolved.place;
        let could_write = context.may_write(self.snapshot.conversations.at(place));
        self.open_window(context, place, told.sent_at);
        let stored = self.snapshot.conversations.edit(place);
        let sequence = stored.next(told.sent_at);
        if stored.marks.is_unread(sequence, told.sent_at) {
            stored.conversation.unread = stored.conversation.unread.saturating_add(1);
        }
        let id = stored.conversation.id;
        self.snapshot
            .unread
            .entry(id)
            .or_default()
            .push((told.sent_at, sequence));
        self.meeting_events(context, &resolved);
        let referral = match told.referral.clone() {
            Some(referral) => {
                let referral = Referral {
                    at: referral.at.or(Some(told.sent_at)),
                    ..referral
                };
                Some(self.keep_referral(context, place, referral))
            }
            None => self.take_referral(place, told.sent_at),
        };
        let has_media = told.content.media().is_some();
        let message = self.message(context, &resolved, told, Status::Received, referral, sequence);
        self.message_event(message, EventType::MessageReceived);
        // A window is news when the business could not write before and now can.
        let stored = self.snapshot.conversations.at(place);
        if rules.window.is_some() && !could_write && context.may_write(stored) {
            let view = context.view(stored);
            self.event(context, EventType::WindowOpened, Some(id), &view);
        }
        if has_media { Applied::WithMedia } else { Applied::New }
    }

    /// A word of the contact opens the window anew and gives the budget back, but for what stands in the outbox and what we
    /// sent after it. An older word than the newest known one changes nothing.
    fn open_window(&mut self, context: Context<'_>, place: usize, sent_at: Timestamp) {
        let Context { rules, now, .. } = context;
        let opened_at = window::opened_at(rules, sent_at, now);
        let stored = self.snapshot.conversations.edit(place);
        let conversation = &mut stored.conversation;
        if conversation.contact_wrote_at.is_some_and(|known| known >= opened_at) {
            return;
        }
        conversation.contact_wrote_at = Some(opened_at);
        conversation.replied |= stored.marks.is_replied(conversation.contact_wrote_at);
        stored.schedule_window_event(rules, now);
        let (id, end) = (stored.conversation.id, stored.expires_at(rules));
        self.count_budget(place);
        let waits = self
            .snapshot
            .unsettled
            .get(&id)
            .is_some_and(|waiting| !waiting.is_empty());
        if let Some(end) = end.filter(|_| waits) {
            self.changes.expiries.insert(id, end);
        }
    }

    /// Counts anew what the window's budget has given: to what stands in the outbox, and to what the platform has from us after
    /// the contact's last word.
    fn count_budget(&mut self, place: usize) {
        let StoredConversation {
            conversation, marks, ..
        } = self.snapshot.conversations.at(place);
        let (id, since) = (conversation.id, conversation.contact_wrote_at);
        let mut used = self.snapshot.unsettled_in(id);
        if marks.last_answer_at > since {
            used += self.snapshot.counted_after(id, since);
        }
        self.snapshot.conversations.edit(place).conversation.budget_used = used;
    }

    fn business_wrote(&mut self, context: Context<'_>, told: InboundMessage) -> Applied {
        let channel = context.channel.id;
        if let Some(message) = self.snapshot.part(channel, &told.platform_id, told.part) {
            return if self.known_echo(message, &told) {
                Applied::New
            } else {
                Applied::Known
            };
        }
        let resolved = self.resolve(context, &told.conversation, &told.contact, OpenedBy::Echo, told.sent_at);
        let place = resolved.place;
        if self.matched_echo(context, place, &told) {
            self.meeting_events(context, &resolved);
            return Applied::New;
        }
        let stored = self.snapshot.conversations.edit(place);
        let sequence = stored.next(told.sent_at);
        stored.note_sent(told.sent_at);
        // Whoever wrote it elsewhere had read what came before it, and nothing that came after.
        if stored.marks.echoed(told.sent_at) && stored.conversation.unread > 0 {
            let unread = self.snapshot.unread_in(self.snapshot.conversations.at(place));
            self.snapshot.conversations.edit(place).conversation.unread = unread;
        }
        let conversation = &mut self.snapshot.conversations.edit(place).conversation;
        if context.counts(told.origin) && conversation.contact_wrote_at.is_none_or(|wrote| told.sent_at > wrote) {
            conversation.budget_used += 1;
        }
        self.meeting_events(context, &resolved);
        let has_media = told.content.media().is_some();
        let referral = told.referral.clone();
        let message = self.message(context, &resolved, told, Status::Sent, referral, sequence);
        self.message_event(message, EventType::MessageEchoed);
        let stored = self.snapshot.messages.at(message);
        let read_up_to = self.snapshot.conversations.at(place).read_up_to;
        if read_up_to.is_some_and(|read| stored.message.sent_at <= read) {
            self.advance(message, Status::Read, MessageUpdate::default(), EventType::MessageRead);
        }
        let early = self.early(message);
        let last_message_at = self.last_message_at(message);
        let stored = self.snapshot.messages.tracked(message);
        apply_early(&mut self.changes, stored, early, last_message_at);
        if has_media { Applied::WithMedia } else { Applied::New }
    }

    /// Stores a message that the platform told.
    fn message(
        &mut self,
        context: Context<'_>,
        resolved: &ResolvedConversation,
        told: InboundMessage,
        status: Status,
        referral: Option<Referral>,
        sequence: i64,
    ) -> usize {
        let Context { channel, now, .. } = context;
        let conversation = &self.snapshot.conversations.at(resolved.place).conversation;
        let (conversation_id, contact_id) = (conversation.id, conversation.contact.id);
        let id: MessageId = self.mint.id(now);
        let quoted = told.reply_to.as_deref().and_then(|platform_id| {
            let parts = self.snapshot.parts(channel.id, platform_id);
            let quoted = &self.snapshot.messages.at(*parts.first()?).message;
            (quoted.conversation_id == conversation_id).then_some(quoted.id)
        });
        let unknown_quote = told.reply_to.filter(|_| quoted.is_none());
        let counted = told.direction == Direction::Outbound && context.counts(told.origin);
        let message = Message {
            id,
            channel_id: channel.id,
            conversation_id,
            contact_id: resolved.contact,
            direction: told.direction,
            origin: told.origin,
            status,
            content: self.expect_media(context, id, told.content),
            platform_id: Some(told.platform_id),
            reply_to: quoted,
            referral,
            client_ref: None,
            error: None,
            warnings: Vec::new(),
            answers: told.answers,
            platform_data: with_quote(told.platform_data, unknown_quote),
            sent_at: told.sent_at,
            created_at: now,
            sequence,
        };
        // Somebody writes in a conversation that is with another contact.
        if message.direction == Direction::Inbound && message.contact_id != contact_id {
            self.changes.authors.push((conversation_id, message.contact_id));
        }
        let stored = StoredMessage::new(&channel.workspace_id, message, told.part, counted);
        self.snapshot.add_message(Tracked::new(stored))
    }

    /// Notes bytes that are with the platform, to be fetched at once, and names them as ours.
    fn expect_media(&mut self, context: Context<'_>, message: MessageId, content: Content<RemoteMedia>) -> Content {
        let kind = content.kind();
        let (mint, expected) = (self.mint, &mut self.changes.media);
        content.map_media(|remote| {
            let attachment = Attachment {
                id: mint.id(context.now),
                mime_type: remote.mime_type.clone(),
                size: remote.size,
                url: None,
                status: Some(MediaStatus::Pending),
            };
            expected.push(ExpectedMedia {
                id: attachment.id,
                workspace: context.channel.workspace_id.clone(),
                message,
                kind: kind.map_or_else(|| "fallback".to_owned(), |kind| kind.to_string()),
                remote,
            });
            attachment
        })
    }

    // ---- what became of ours -----------------------------------------------------------------------------------------

    fn receipt(
        &mut self,
        context: Context<'_>,
        conversation: String,
        status: ReceiptStatus,
        target: ReceiptTarget,
        error: Option<MessageError>,
    ) -> Applied {
        let channel = context.channel.id;
        let (next, kind) = match status {
            ReceiptStatus::Delivered => (Status::Delivered, EventType::MessageDelivered),
            ReceiptStatus::Read => (Status::Read, EventType::MessageRead),
            ReceiptStatus::Failed => (Status::Failed, EventType::MessageFailed),
        };
        let error = (status == ReceiptStatus::Failed).then(|| {
            error.unwrap_or_else(|| MessageError {
                code: "not_delivered".to_owned(),
                detail: "the platform took the message and did not deliver it".to_owned(),
                fault: Fault::Platform,
                retryable: false,
                platform: None,
            })
        });
        let early = |message: &str, up_to| EarlyReceipt {
            channel,
            message: message.to_owned(),
            conversation: conversation.clone(),
            status: next,
            up_to,
            error: error.clone(),
        };
        let touched = match target {
            ReceiptTarget::UpTo(at) => {
                let Some(place) = self.snapshot.conversation(channel, &conversation) else {
                    let mark = EarlyReceipt {
                        error: None,
                        ..early("", Some(at))
                    };
                    self.keep_early(context, mark);
                    return Applied::New;
                };
                let stored = self.snapshot.conversations.at(place);
                let id = stored.conversation.id;
                if status == ReceiptStatus::Read && stored.read_up_to < Some(at) {
                    // For a message whose answer comes after its being read.
                    self.snapshot.conversations.edit(place).read_up_to = Some(at);
                }
                self.sent_up_to(id, at)
            }
            ReceiptTarget::Messages(ids) => {
                let mut touched = Vec::with_capacity(ids.len());
                for id in ids {
                    let parts = self.snapshot.parts(channel, &id);
                    if parts.is_empty() {
                        self.keep_early(context, early(&id, None));
                    }
                    touched.extend(parts);
                }
                touched
            }
        };
        for message in touched {
            let update = MessageUpdate {
                error: error.clone(),
                ..MessageUpdate::default()
            };
            self.advance(message, next, update, kind);
        }
        Applied::New
    }

    /// The messages of ours, known to the platform, that a read mark covers.
    fn sent_up_to(&self, conversation: ConversationId, at: Timestamp) -> Vec<usize> {
        let covered = self.snapshot.messages.iter().filter(|(_, stored)| {
            let message = &stored.message;
            message.conversation_id == conversation
                && message.sent_at <= at
                && matches!(message.status, Status::Sent | Status::Delivered)
        });
        let mut covered: Vec<_> = covered
            .map(|(place, stored)| (stored.message.sent_at, stored.message.sequence, place))
            .collect();
        covered.sort_unstable();
        covered.into_iter().map(|(.., place)| place).collect()
    }

    /// Keeps a receipt until what it is about comes.
    fn keep_early(&mut self, context: Context<'_>, receipt: EarlyReceipt) {
        if receipt.message.is_empty() {
            if receipt.status == Status::Read {
                let marks = &mut self.snapshot.early_marks;
                let known = marks.get(receipt.channel, &receipt.conversation).copied();
                if let Some(at) = receipt.up_to.max(known) {
                    marks.insert(receipt.channel, receipt.conversation.clone(), at);
                }
            }
        } else {
            let known = self.snapshot.early_receipts.entry(receipt.channel, &receipt.message);
            known.push(receipt.clone());
        }
        self.changes.early_receipts.push((receipt, context.now));
    }

    /// What was said of a message before it came.
    fn early(&mut self, place: usize) -> Option<EarlyReceipts> {
        let message = &self.snapshot.messages.at(place).message;
        let platform_id = message.platform_id.clone()?;
        let said = self.snapshot.early_receipts.remove(message.channel_id, &platform_id)?;
        let said = said.into_iter().map(|receipt| (receipt.status, receipt.error));
        Some((platform_id, said.collect()))
    }

    /// Moves a message on, if its status lets it, and tells of it.
    fn advance(&mut self, place: usize, next: Status, update: MessageUpdate, kind: EventType) {
        let last_message_at = self.last_message_at(place);
        let stored = self.snapshot.messages.tracked(place);
        advance(&mut self.changes, stored, (next, kind), update, last_message_at);
    }

    /// The newest message of the conversation that a message is in.
    fn last_message_at(&self, place: usize) -> Option<Timestamp> {
        let message = &self.snapshot.messages.at(place).message;
        let conversation = self.snapshot.conversations.get(&message.conversation_id)?;
        conversation.conversation.last_message_at
    }

    // ---- the channel itself ------------------------------------------------------------------------------------------

    fn notice(&mut self, context: Context<'_>, notice: &str, at: Timestamp, detail: serde_json::Value) -> Applied {
        if notice == "authorization_revoked" {
            self.revoke(context, notice);
            return Applied::New;
        }
        let kind = match notice {
            "inbound_withheld" => EventType::ChannelInboundWithheld,
            _ => EventType::ChannelUpdated,
        };
        let told = ChannelNotice {
            notice: notice.to_owned(),
            detail,
            at,
        };
        self.event(context, kind, None, &told);
        Applied::New
    }

    fn revoke(&mut self, context: Context<'_>, reason: &str) {
        if context.channel.status == ChannelStatus::ReauthorizationRequired {
            return;
        }
        let channel = Channel {
            status: ChannelStatus::ReauthorizationRequired,
            updated_at: context.now,
            ..context.channel.clone()
        };
        let told = ChannelTold {
            channel: channel.clone().into(),
            reason: Some(reason.to_owned()),
            days_left: None,
        };
        self.event(context, EventType::ChannelReauthorizationRequired, None, &told);
        self.changes.channels.push(channel.clone());
        let known = self.snapshot.channels.entry(channel.app.clone()).or_default();
        known.insert(channel.platform_id.clone(), Arc::new(channel));
    }
}

/// A person whom an event left out is the conversation's; where the record has none, the conversation stands for them.
fn named(person: Person, conversation: &str, stored: Option<&StoredConversation>) -> Person {
    if !person.platform_id.is_empty() {
        return person;
    }
    match stored.map(|stored| &stored.conversation.contact) {
        Some(contact) => Person {
            platform_id: contact.platform_id.clone(),
            username: person.username.or_else(|| contact.username.clone()),
            display_name: person.display_name.or_else(|| contact.display_name.clone()),
            avatar_url: person.avatar_url.or_else(|| contact.avatar_url.clone()),
        },
        None => Person {
            platform_id: conversation.to_owned(),
            ..person
        },
    }
}

/// The platform's id of a quoted message that the record does not have: nothing that was told is dropped.
fn with_quote(platform_data: Option<serde_json::Value>, quote: Option<String>) -> Option<serde_json::Value> {
    let Some(quote) = quote else { return platform_data };
    let mut data = match platform_data {
        Some(data @ serde_json::Value::Object(_)) => data,
        Some(other) => json!({ "platform_data": other }),
        None => json!({}),
    };
    data["reply_to_platform_id"] = quote.into();
    Some(data)
}
