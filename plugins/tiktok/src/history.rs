//! TikTok's history (Get a list of conversations; Get a list of messages), for uncertain or missed messages.

use weir_sdk::abilities::history::{ConversationPage, ConversationSummary, MessagePage};
use weir_sdk::abilities::{Contacts, History};
use weir_sdk::json::Fields;
use weir_sdk::types::{Channel, Contact, Conversation, Direction, Event, Failure, InboundEvent, Timestamp};

use crate::content::{self, Dialect, Ids, millis};
use crate::media::conversation_type;
use crate::receive::{self, Place};
use crate::{TikTok, wire};

/// The message list has no pages; it returns the newest.
const MESSAGES_GIVEN: usize = 20;
/// The maximum number of conversations in one response.
const CONVERSATIONS_GIVEN: &str = "100";

impl History for TikTok {
    /// TikTok keeps two lists, of conversations that the business has answered and of those it has not; our page
    /// combines the next pages of both.
    fn conversations(channel: Channel, cursor: Option<String>) -> Result<ConversationPage, Failure> {
        let mut place = Cursor::read(cursor.as_deref());
        let mut found: Vec<ConversationSummary> = Vec::new();
        for answered in [true, false] {
            let next = place.of(answered);
            let Some(from) = *next else { continue };
            let (conversations, after) = list(&channel, answered, from)?;
            *next = after;
            for summary in conversations {
                // A reply between the two requests moves a conversation from one list to the other.
                if !found
                    .iter()
                    .any(|known| known.conversation.platform_id == summary.conversation.platform_id)
                {
                    found.push(summary);
                }
            }
        }
        found.sort_by_key(|summary| std::cmp::Reverse(summary.updated_at));
        Ok(ConversationPage {
            conversations: found,
            cursor: place.write(),
        })
    }

    fn messages(channel: Channel, conversation: Conversation, since: Timestamp) -> Result<MessagePage, Failure> {
        let call = wire::get(wire::MESSAGES)
            .query("business_id", &channel.platform_id)
            .query("conversation_id", &conversation.platform_id);
        let mut data = wire::ask(call)?;
        let mut contact = other_side(data.objects("participants"), &channel.platform_id);
        let messages = data.objects("messages");
        let given = messages.len();

        let mut events = Vec::new();
        let mut unread = false;
        for message in messages {
            match translate(&channel, &conversation, message) {
                Ok(translated) => events.extend(translated),
                Err(fault) => {
                    unread = true;
                    weir_sdk::warn!("a message of the list could not be read: {fault}");
                }
            }
        }
        // TikTok shows newest first in its example and guarantees no order.
        events.sort_by_key(time);
        let oldest = events
            .iter()
            .filter(|event| matches!(event.event, Event::Message(_)))
            .map(time)
            .min();
        let whole = given < MESSAGES_GIVEN || oldest.is_some_and(|oldest| oldest < since);
        if let (Some(contact), Some(username)) = (&mut contact, username(&events)) {
            contact.username = Some(username);
        }
        events.retain(|event| time(event) >= since);
        Ok(MessagePage {
            events,
            contact,
            complete: whole && !unread,
        })
    }
}

impl Contacts for TikTok {
    /// The other side of the conversation, as TikTok's list of its messages names it (TikTok API reference, List
    /// messages in a conversation).
    fn look_up(channel: Channel, conversation: Conversation) -> Result<Option<Contact>, Failure> {
        let page = <Self as History>::messages(channel, conversation, 0)?;
        Ok(page.contact)
    }
}

/// The positions in the two lists; `None` for a list that has ended.
struct Cursor {
    answered: Option<u64>,
    unanswered: Option<u64>,
}

impl Cursor {
    /// `3,-`: the next position in the answered list, and the unanswered one has ended. Any other text starts from the
    /// beginning.
    fn read(text: Option<&str>) -> Self {
        match text.and_then(|text| text.split_once(',')) {
            Some((answered, unanswered)) => Self {
                answered: answered.parse().ok(),
                unanswered: unanswered.parse().ok(),
            },
            None => Self {
                answered: Some(0),
                unanswered: Some(0),
            },
        }
    }

    fn of(&mut self, answered: bool) -> &mut Option<u64> {
        if answered {
            &mut self.answered
        } else {
            &mut self.unanswered
        }
    }

    fn write(&self) -> Option<String> {
        let place = |place: Option<u64>| place.map_or_else(|| "-".to_owned(), |place| place.to_string());
        (self.answered.is_some() || self.unanswered.is_some())
            .then(|| format!("{},{}", place(self.answered), place(self.unanswered)))
    }
}

fn list(channel: &Channel, answered: bool, from: u64) -> Result<(Vec<ConversationSummary>, Option<u64>), Failure> {
    let call = wire::get(wire::CONVERSATIONS)
        .query("business_id", &channel.platform_id)
        .query("conversation_type", conversation_type(answered))
        .query("limit", CONVERSATIONS_GIVEN)
        .query("cursor", &from.to_string());
    let mut data = wire::ask(call)?;
    let conversations = data
        .objects("conversations")
        .into_iter()
        .filter_map(|mut entry| {
            let conversation = Conversation {
                platform_id: entry.id("conversation_id")?,
                contact_id: None,
                answered,
            };
            Some(ConversationSummary {
                conversation,
                updated_at: entry.number("update_time").map(millis),
            })
        })
        .collect();
    let after = data.number("cursor");
    let more = data.boolean("has_more").unwrap_or(false);
    // A cursor that does not advance would be requested forever.
    Ok((conversations, after.filter(|after| more && *after > from)))
}

/// The participant that is not the account: the only source of a display name and a picture in TikTok's API. A person
/// is preferred to a business, since TikTok may use another id for the account here.
fn other_side(participants: Vec<Fields>, account: &str) -> Option<Contact> {
    let mut others: Vec<(bool, Contact)> = participants
        .into_iter()
        .filter_map(|mut entry| {
            let role = entry.text("role").unwrap_or_default();
            let contact = Contact {
                platform_id: entry.id("id").filter(|id| id != account)?,
                username: None,
                display_name: entry.filled_text("display_name"),
                avatar_url: entry.filled_text("profile_image"),
            };
            Some((!role.eq_ignore_ascii_case("personal_account"), contact))
        })
        .collect();
    others.sort_by_key(|(is_business, _)| *is_business);
    others.into_iter().map(|(_, contact)| contact).next()
}

/// One message of the list, and its reactions.
fn translate(channel: &Channel, conversation: &Conversation, mut fields: Fields) -> Result<Vec<InboundEvent>, String> {
    let account = channel.platform_id.as_str();
    let kind = content::kind(&mut fields, Dialect::List);
    let at = fields.number("timestamp").map(millis).ok_or("it has no timestamp")?;
    let ids = Ids::of(&mut fields)?;
    let ends = content::ends(&mut fields, Dialect::List, account, Direction::Inbound);
    // Two persons: the one that is not the contact is the business, whatever its id.
    let otherwise = Direction::Outbound;
    let place = Place {
        account,
        conversation: &conversation.platform_id,
        ends: &ends,
        at,
        otherwise,
    };
    let reactions: Vec<_> = fields
        .objects("reactions")
        .into_iter()
        .filter_map(|entry| receive::reaction(entry, Some(&ids.message), &place).ok())
        .collect();
    let message = content::message(fields, kind.as_deref(), ids, ends, at, conversation.answered);
    let mut events = vec![InboundEvent {
        channel_platform_id: account.to_owned(),
        key: message.platform_id.clone(),
        event: Event::Message(message),
    }];
    events.extend(reactions);
    Ok(events)
}

fn time(event: &InboundEvent) -> Timestamp {
    match &event.event {
        Event::Message(message) => message.sent_at,
        Event::Reaction(reaction) => reaction.at,
        // The list contains no others.
        _ => 0,
    }
}

/// The handle of the person, which the messages have and the participants do not.
fn username(events: &[InboundEvent]) -> Option<String> {
    events.iter().rev().find_map(|event| match &event.event {
        Event::Message(message) => message.contact.username.clone(),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
