//! The contact and conversation of a fact.

use super::{Context, InboundRecorder, Source};
use crate::conversation::OpenedBy;
use crate::event::{self, ContactCreated, EventType};
use crate::id::ContactId;
use crate::inbound::Person;
use crate::record::contact::ContactChange;
use crate::record::{About, StoredContact, StoredConversation, Tracked, window_events};
use crate::time::Timestamp;

/// The contact and conversation of a fact, by their indexes in the snapshot, and whether they are new.
pub(super) struct ResolvedConversation {
    pub(super) contact: ContactId,
    change: ContactChange,
    pub(super) place: usize,
    is_opened: bool,
}

impl InboundRecorder<'_> {
    /// The contact and the conversation of a fact of the time `at`, created if they are new. A conversation found in
    /// the history is marked as such, whatever opened it.
    pub(super) fn resolve(
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
        // An echo may leave the person out: the conversation has the contact, or a placeholder.
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
            let mut started = StoredConversation::begin(id, workspace, platform_id, of, opened_by, at, now);
            started.read_up_to = self.snapshot.early_marks.get(channel.id, platform_id).copied();
            return ResolvedConversation {
                contact,
                change,
                place: self.snapshot.add_conversation(Tracked::new(started)),
                is_opened: true,
            };
        };
        let stored = self.snapshot.conversations.edit(place);
        let is_confirmed = is_anonymous || stored.confirms(person, at);
        let is_opened = stored.reopen(rules, now);
        // The history does not show how a known conversation was opened.
        if context.source == Source::Webhook && stored.conversation.opened_by != OpenedBy::History {
            stored.started_by(opened_by, at);
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

    /// The contact of a person, updated with names of the time `at`.
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
                    // The contact's row has the time of each name now; times that conversations stored refer to old
                    // names, and what they confirm from now on are the new ones.
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

    /// A conversation with a placeholder contact learns the person: the placeholder gets their name.
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

    /// Appends events about a contact and a conversation that are new, in their present form.
    pub(super) fn meeting_events(&mut self, context: Context<'_>, resolved: &ResolvedConversation) {
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
}
