//! Updates contacts from sources other than messages.

use weir_domain::conversation::Contact;
use weir_domain::event::{self, EventType};
use weir_domain::id::ChannelId;
use weir_domain::inbound::Person;
use weir_domain::record::{About, ContactChange, StoredContact, Tracked};
use weir_domain::time::Timestamp;

use crate::Result;
use crate::acts::events;
use crate::db::Db;
use crate::tables::{channels, conversations};

/// The contact of a person, renamed as a source outside of webhooks names them now, with its event.
pub(crate) fn name(
    db: &Db<'_>,
    workspace: &str,
    channel: ChannelId,
    person: &Person,
    now: Timestamp,
) -> Result<Option<Contact>> {
    if !channels::is_of(db, workspace, channel)? {
        return Ok(None);
    }
    let known = conversations::contacts_named(db, [(channel, person.platform_id.clone())])?.pop();
    let (stored, change) = match known {
        Some(known) => {
            let mut stored = Tracked::loaded(known);
            let change = stored.edit().name(person, now);
            (stored, change)
        }
        None => {
            let contact = StoredContact::new(db.mint(now), workspace, channel, person, now, now);
            (Tracked::new(contact), ContactChange::New)
        }
    };
    conversations::write_contacts(db, std::slice::from_ref(&stored))?;
    let contact = stored.contact.clone();
    let kind = match change {
        ContactChange::New => EventType::ContactCreated,
        ContactChange::Renamed => EventType::ContactUpdated,
        ContactChange::Nothing => return Ok(Some(contact)),
    };
    let about = About {
        channel: Some(channel),
        ..About::workspace(workspace)
    };
    events::append(db, &about, kind, &event::Contact::from(contact.clone()), now)?;
    Ok(Some(contact))
}
