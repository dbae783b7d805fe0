//! Applies webhooks and the platform's history: facts become contacts, conversations, messages and events. Each fact is
//! applied once in a channel; late, duplicate or reordered facts lead to the same messages.

mod echo;
mod message;
mod notice;
mod receipt;
mod referral;
mod resolve;
mod snapshot;

use std::sync::Arc;

use crate::channel::{Channel, ChannelStatus};
use crate::conversation::OpenedBy;
use crate::event::{self, EventData, EventType, Reaction, ReactionContact};
use crate::id::{ConversationId, Mint};
use crate::inbound::{Fact, InboundEvent, Person};
use crate::message::{Direction, Origin, Referral};
use crate::policy::{ConversationView, PolicySet, Rules, Stage, may_write};
use crate::record::{About, Changes, StoredConversation};
use crate::time::Timestamp;

pub use snapshot::{COUNTED, Channels, Keys, Needs, Snapshot};

/// The source of inbound facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A webhook.
    Webhook,
    /// The platform's history, read by the reconciler.
    History,
}

/// The facts of one webhook, or one page of the history, about an app's accounts.
#[derive(Clone, Debug)]
pub struct Batch {
    pub app: String,
    pub events: Vec<InboundEvent>,
    pub source: Source,
    pub policies: PolicySet,
    pub now: Timestamp,
}

/// The results for the events of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// New.
    pub stored: u32,
    /// Duplicates.
    pub duplicates: u32,
    /// For an account that the app does not know.
    pub unknown_channel: u32,
    /// For a deleted channel.
    pub deleted_channel: u32,
    /// Unknown to the connector; the caller stores the webhook as a dead letter.
    pub unknown_events: u32,
    /// Attachments to be fetched.
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

/// Applies batches in order, each seeing the earlier ones.
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

/// The result of a fact.
enum Applied {
    /// It was new.
    New,
    /// It was new, and references media to be fetched.
    WithMedia,
    /// It was known.
    Known,
}

/// The channel and the rules under which a fact is applied.
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

    /// Whether the platform counts such a message. A message from its API that Weir did not send is another program's,
    /// or one that Weir recorded as failed: the platform counted it like Weir's.
    fn counts(&self, origin: Origin) -> bool {
        origin == Origin::Api || self.rules.counts.contains(&origin)
    }
}

struct InboundRecorder<'a> {
    snapshot: Snapshot,
    changes: Changes,
    mint: &'a Mint,
}

impl InboundRecorder<'_> {
    fn batch(&mut self, batch: Batch) -> Recorded {
        let mut recorded = Recorded::default();
        // Most batches concern one account.
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
            // Not marked as received: a fixed connector version must be able to apply it.
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
                _ => batch.policies.rules(&channel),
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

    /// Whether a channel receives a fact for the first time, which is stored. A message whose key is its platform id is
    /// recognized by its own row: a separate key would be one more page write per message.
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
            Fact::Message(reported) if reported.direction == Direction::Inbound => {
                self.contact_wrote(context, *reported)
            }
            Fact::Message(reported) => self.business_wrote(context, *reported),
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
}

/// A person whom an event left out is the conversation's contact; if none is stored, a placeholder named after the
/// conversation.
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

#[cfg(test)]
mod tests;
