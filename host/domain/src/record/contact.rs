//! A contact as stored: each name with the platform's time of it.

use crate::conversation::{Contact, later};
use crate::id::ContactId;
use crate::inbound::Person;
use crate::time::Timestamp;

/// A contact, and the times of its names.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredContact {
    pub contact: Contact,
    pub workspace: String,
    /// The platform's times of the handle, of the name and of the picture.
    pub named_at: [Timestamp; 3],
}

/// How an event that names a person changed the contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContactChange {
    /// The contact is new.
    New,
    /// The name or picture changed.
    Renamed,
    /// Nothing that needs an event.
    Nothing,
}

impl StoredContact {
    pub fn new(
        id: ContactId,
        workspace: &str,
        channel: crate::id::ChannelId,
        person: &Person,
        at: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            contact: Contact {
                id,
                channel_id: channel,
                platform_id: person.platform_id.clone(),
                username: person.username.clone(),
                display_name: person.display_name.clone(),
                avatar_url: person.avatar_url.clone(),
                created_at: now,
            },
            workspace: workspace.to_owned(),
            named_at: [at; 3],
        }
    }

    /// Applies names of the time `at`. A platform that leaves a name out has not removed it, and an older name does not
    /// replace a newer one. Links of pictures change with each message on most platforms; a link that differs only in
    /// its query is stored without an event.
    pub fn name(&mut self, person: &Person, at: Timestamp) -> ContactChange {
        let known = self.contact.clone();
        if known.is_named(person) {
            // The names are valid at this time too.
            self.named_at = self.named_at.map(|named_at| named_at.max(at));
            return ContactChange::Nothing;
        }
        let contact = &mut self.contact;
        let [username_at, display_name_at, avatar_at] = &mut self.named_at;
        for (name, named_at, new_name) in [
            (&mut contact.username, username_at, &person.username),
            (&mut contact.display_name, display_name_at, &person.display_name),
            (&mut contact.avatar_url, avatar_at, &person.avatar_url),
        ] {
            (*name, *named_at) = later((name.take(), *named_at), (new_name.clone(), at));
        }
        let is_renamed = contact.username != known.username || contact.display_name != known.display_name;
        if is_renamed || picture(contact.avatar_url.as_deref()) != picture(known.avatar_url.as_deref()) {
            ContactChange::Renamed
        } else {
            ContactChange::Nothing
        }
    }
}

/// A picture's link without its query, whose signature changes each time.
fn picture(url: Option<&str>) -> Option<&str> {
    url.map(|url| url.split_once('?').map_or(url, |(plain, _)| plain))
}
