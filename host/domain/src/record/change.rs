//! The changes of a decision.

use std::collections::BTreeMap;
use std::ops::Deref;

use crate::channel::Channel;
use crate::event::{self, EventData, EventType};
use crate::id::{ChannelId, ContactId, ConversationId, EndpointId, MediaId, MessageId};
use crate::inbound::RemoteMedia;
use crate::message::{MessageError, Referral, Status};
use crate::record::attempt::EndedAttempt;
use crate::record::queue::{ConversationQueue, DueChange, QueuedMessage};
use crate::record::{StoredContact, StoredConversation, StoredMessage};
use crate::time::Timestamp;

/// A row as loaded, and as changed. Only a row that was edited keeps a copy of the original.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracked<T> {
    before: Before<T>,
    row: T,
}

#[derive(Clone, Debug, PartialEq)]
enum Before<T> {
    /// The row is new.
    Nothing,
    Same,
    Other(Box<T>),
}

/// How a row is written.
#[derive(Debug)]
pub enum Write<'a, T> {
    /// It is inserted.
    Insert(&'a T),
    /// The differences are written.
    Update {
        /// As stored.
        before: &'a T,
        /// As changed.
        after: &'a T,
    },
    /// It is unchanged.
    Nothing,
}

impl<T: Clone + PartialEq> Tracked<T> {
    pub fn loaded(row: T) -> Self {
        Self {
            before: Before::Same,
            row,
        }
    }

    pub fn new(row: T) -> Self {
        Self {
            before: Before::Nothing,
            row,
        }
    }

    pub fn is_new(&self) -> bool {
        matches!(self.before, Before::Nothing)
    }

    pub fn edit(&mut self) -> &mut T {
        if matches!(self.before, Before::Same) {
            self.before = Before::Other(Box::new(self.row.clone()));
        }
        &mut self.row
    }

    /// The row in its final form.
    pub fn into_row(self) -> T {
        self.row
    }

    pub fn write(&self) -> Write<'_, T> {
        match &self.before {
            Before::Nothing => Write::Insert(&self.row),
            Before::Other(before) if **before != self.row => Write::Update {
                before,
                after: &self.row,
            },
            Before::Other(_) | Before::Same => Write::Nothing,
        }
    }
}

impl<T> Deref for Tracked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.row
    }
}

/// What an event concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    pub workspace: String,
    pub channel: Option<ChannelId>,
    /// Deliveries keep the order of the events of one conversation.
    pub conversation: Option<ConversationId>,
    /// The endpoint that the event concerns does not receive it: it could not receive that either.
    pub endpoint: Option<EndpointId>,
}

impl About {
    pub fn workspace(workspace: &str) -> Self {
        Self {
            workspace: workspace.to_owned(),
            channel: None,
            conversation: None,
            endpoint: None,
        }
    }

    pub fn channel(channel: &Channel) -> Self {
        Self {
            channel: Some(channel.id),
            ..Self::workspace(&channel.workspace_id)
        }
    }

    pub fn message(stored: &StoredMessage) -> Self {
        Self {
            channel: Some(stored.message.channel_id),
            conversation: Some(stored.message.conversation_id),
            ..Self::workspace(&stored.workspace)
        }
    }

    pub fn conversation(stored: &StoredConversation) -> Self {
        Self {
            channel: Some(stored.conversation.channel_id),
            conversation: Some(stored.conversation.id),
            ..Self::workspace(&stored.workspace)
        }
    }
}

/// An event to be appended to the log. The store assigns its id and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    pub about: About,
    pub kind: EventType,
    /// The document, serialized once.
    pub data: String,
}

impl NewEvent {
    pub fn of(about: About, kind: EventType, data: &impl EventData) -> Self {
        let data =
            serde_json::to_string(data).expect("the documents of events have text for keys, so they can be written");
        Self { about, kind, data }
    }
}

/// All changes of a decision, by kind, so that a store writes each kind at once: deleted rows first, then the others in
/// the order in which they reference one another, then the events in the order in which they occurred.
#[derive(Debug, Default)]
pub struct Changes {
    /// In their final form.
    pub channels: Vec<Channel>,
    pub contacts: Vec<Tracked<StoredContact>>,
    pub conversations: Vec<Tracked<StoredConversation>>,
    /// Contacts who wrote in a conversation that belongs to another contact.
    pub authors: Vec<(ConversationId, ContactId)>,
    pub folded_echoes: Vec<FoldedEcho>,
    pub messages: Vec<Tracked<StoredMessage>>,
    pub media: Vec<ExpectedMedia>,
    pub referrals: Vec<NewReferral>,
    /// Keys of facts that are known from now on.
    pub facts: Vec<(ChannelId, String)>,
    /// Receipts that arrived before their message or conversation, each with its time of arrival.
    pub early_receipts: Vec<(EarlyReceipt, Timestamp)>,
    /// Messages of the platform whose early receipts have been applied.
    pub used_receipts: Vec<(ChannelId, String)>,
    /// When the waiting messages of a conversation expire.
    pub expiries: BTreeMap<ConversationId, Timestamp>,
    /// Positions in the outbox to delete.
    pub removed_queued: Vec<i64>,
    /// The new head of a conversation comes after the old one.
    pub queued: Vec<Tracked<QueuedMessage>>,
    /// Changes of the times at which something of these channels is due.
    pub due: BTreeMap<ChannelId, DueChange>,
    pub attempts: Vec<EndedAttempt>,
    pub events: Vec<NewEvent>,
}

/// The row of a message that turned out to be the echo of another: it is deleted, and messages that quoted it quote the
/// other.
#[derive(Debug, PartialEq, Eq)]
pub struct FoldedEcho {
    pub echo: MessageId,
    pub of: MessageId,
    pub conversation: ConversationId,
}

/// Media that the platform has, to be fetched at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedMedia {
    pub id: MediaId,
    pub workspace: String,
    pub message: MessageId,
    pub kind: String,
    pub remote: RemoteMedia,
}

/// A referral, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewReferral {
    pub workspace: String,
    pub conversation: ConversationId,
    pub contact: ContactId,
    pub channel: ChannelId,
    pub referral: Referral,
}

/// A receipt that arrived before its message or conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EarlyReceipt {
    pub channel: ChannelId,
    /// The platform id of the message, or empty for a read receipt of the conversation.
    pub message: String,
    /// The platform id of the conversation.
    pub conversation: String,
    pub status: Status,
    pub up_to: Option<Timestamp>,
    pub error: Option<MessageError>,
}

impl Changes {
    pub fn event(&mut self, about: About, kind: EventType, data: &impl EventData) {
        self.events.push(NewEvent::of(about, kind, data));
    }

    /// Appends an event with a message in its present form.
    pub fn message_event(&mut self, stored: &StoredMessage, kind: EventType) {
        let message = event::Message::from(stored.message.clone());
        self.event(About::message(stored), kind, &message);
    }

    /// Adds the changes of another decision of the same transaction, about other rows.
    pub fn merge(&mut self, other: Self) {
        let Self {
            channels,
            contacts,
            conversations,
            authors,
            folded_echoes,
            messages,
            media,
            referrals,
            facts,
            early_receipts,
            used_receipts,
            expiries,
            removed_queued,
            queued,
            due,
            attempts,
            events,
        } = other;
        self.channels.extend(channels);
        self.contacts.extend(contacts);
        self.conversations.extend(conversations);
        self.authors.extend(authors);
        self.folded_echoes.extend(folded_echoes);
        self.messages.extend(messages);
        self.media.extend(media);
        self.referrals.extend(referrals);
        self.facts.extend(facts);
        self.early_receipts.extend(early_receipts);
        self.used_receipts.extend(used_receipts);
        self.expiries.extend(expiries);
        self.removed_queued.extend(removed_queued);
        self.queued.extend(queued);
        for (channel, change) in due {
            self.due(channel, change);
        }
        self.attempts.extend(attempts);
        self.events.extend(events);
    }

    fn due(&mut self, channel: ChannelId, change: DueChange) {
        let known = self.due.entry(channel).or_insert(DueChange::Nothing);
        *known = known.and(change);
    }

    pub fn queue(&mut self, channel: ChannelId, queue: ConversationQueue) {
        let changes = queue.changes();
        self.removed_queued.extend(changes.removed);
        self.queued.extend(changes.entries);
        self.due(channel, changes.due);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_that_is_undone_writes_nothing() {
        let mut row = Tracked::loaded(1);
        *row.edit() = 2;
        assert!(matches!(row.write(), Write::Update { before: 1, after: 2 }));
        *row.edit() = 1;
        assert!(matches!(row.write(), Write::Nothing));
    }

    #[test]
    fn a_new_row_is_inserted_as_it_ends() {
        let mut row = Tracked::new(1);
        *row.edit() = 2;
        assert!(matches!(row.write(), Write::Insert(2)));
    }
}
