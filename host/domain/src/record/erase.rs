//! Erasure of a person: what is deleted with a contact, what stays with others, and which of the rest names the erased
//! person.

use crate::channel::Channel;
use crate::conversation::Contact;
use crate::erasure::{Marks, Removed};
use crate::event::{ClosedBy, ErasedContact, EventType};
use crate::id::{ContactId, ConversationId};
use crate::message::MessageError;
use crate::record::{About, Changes, NewEvent, StoredConversation, window_events};

/// A contact, and the conversations with their messages.
#[derive(Debug)]
pub struct Snapshot {
    pub workspace: String,
    pub contact: Contact,
    pub channel: Channel,
    /// The contact's conversations.
    pub with: Vec<ConversationWith>,
    /// Conversations of others that they wrote in, and the text of their newest messages there.
    pub elsewhere: Vec<(ConversationId, Vec<String>)>,
}

/// A conversation with the contact.
#[derive(Debug)]
pub struct ConversationWith {
    pub stored: StoredConversation,
    /// Another contact who wrote in it.
    pub other: Option<ContactId>,
    /// The text of its newest messages: all of them, and only the contact's if another contact wrote in it.
    pub words: Vec<String>,
}

/// The scope of an erasure.
#[derive(Debug)]
pub struct Erasure {
    pub contact: Contact,
    pub marks: Marks,
    /// Conversations that are deleted as a whole.
    pub whole: Vec<ConversationId>,
    /// Conversations of which only the contact's messages are deleted, and the new contact if they were the erased
    /// one's.
    pub shared: Vec<(ConversationId, Option<ContactId>)>,
    /// Events that precede the contact's deletion.
    pub changes: Changes,
    /// Values that identify only this contact: others' messages may contain the rest, and stay.
    own: Marks,
    about: About,
}

/// The rest of a row that names an erased person.
#[derive(Debug, PartialEq, Eq)]
pub enum Left<T> {
    /// It names no erased person.
    Same,
    Changed(T),
    Nothing,
}

/// Decides what is deleted: a conversation that is only the contact's as a whole; of a shared one their messages, and
/// it is assigned to another contact.
pub fn erase(snapshot: Snapshot) -> Erasure {
    let Snapshot {
        workspace,
        contact,
        channel,
        with,
        elsewhere,
    } = snapshot;
    let mut changes = Changes::default();
    let mut ids = vec![contact.id.to_string(), contact.platform_id.clone()];
    ids.extend(contact.username.clone());
    let own = Marks::new([contact.id.to_string(), contact.platform_id.clone()]);
    let (mut whole, mut shared, mut words) = (Vec::new(), Vec::new(), Vec::new());
    for ConversationWith {
        stored,
        other,
        words: own_texts,
    } in with
    {
        let id = stored.conversation.id;
        words.extend(own_texts);
        if other.is_some() {
            shared.push((id, other));
        } else {
            ids.extend([id.to_string(), stored.conversation.platform_id.clone()]);
            window_events::closed(&mut changes, &stored, ClosedBy::ContactErased);
            whole.push(id);
        }
    }
    for (id, own_texts) in elsewhere {
        words.extend(own_texts);
        shared.push((id, None));
    }
    let names = contact.display_name.iter().chain(&contact.avatar_url);
    let business = serde_json::to_string(&channel).expect("a channel has text for keys, so it can be written");
    let marks = Marks::new(ids)
        .and_words(names.map(String::as_str), words.iter().map(String::as_str))
        .but_those_in(&business);
    Erasure {
        about: About {
            channel: Some(contact.channel_id),
            ..About::workspace(&workspace)
        },
        contact,
        marks,
        whole,
        shared,
        changes,
        own,
    }
}

impl Erasure {
    /// Whether an event of a shared conversation is deleted. The reason of another's failed message may be in the
    /// platform's words.
    pub fn takes_event(&self, kind: &str, data: &[u8]) -> bool {
        if kind == EventType::MessageFailed.as_str() {
            self.marks.are_repeated_in(data)
        } else {
            self.own.stand_in(data)
        }
    }

    /// Whether the platform's data about another's message is deleted.
    pub fn takes_extras(&self, extras: &str) -> bool {
        self.marks.stand_in(extras.as_bytes())
    }

    /// Whether an attempt of another's message is deleted, by any text of it.
    pub fn takes_attempt<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> bool {
        texts
            .into_iter()
            .any(|text| self.marks.are_repeated_in(text.as_bytes()))
    }

    /// Why another's message failed, without data of the contact. `None` if there is none to remove.
    pub fn error_left(&self, error: MessageError) -> Option<MessageError> {
        let text = serde_json::to_vec(&error).expect("an error has text for keys, so it can be written");
        self.marks.are_repeated_in(&text).then(|| MessageError {
            detail: self.marks.unless_repeated_in(error.detail),
            platform: None,
            ..error
        })
    }

    /// Whether an entry of the account's state is deleted: the connector starts without it.
    pub fn takes_entry(&self, name: &str, value: &[u8]) -> bool {
        self.marks.are_repeated_in(name.as_bytes()) || self.marks.are_repeated_in(value)
    }

    /// Whether the polling cursor is deleted. Only the connector can read it, so no part of it can be removed.
    pub fn takes_cursor(&self, cursor: &str) -> bool {
        self.marks.are_repeated_in(cursor.as_bytes())
    }

    /// Whether a receipt is deleted that waits for the message and the conversation with these platform ids.
    pub fn takes_receipt(&self, message: &str, conversation: &str, error: Option<&str>) -> bool {
        [message, conversation]
            .iter()
            .any(|id| self.marks.stand_in(id.as_bytes()))
            || error.is_some_and(|error| self.marks.are_repeated_in(error.as_bytes()))
    }

    /// The rest of a history gap, by its conversation, its person and the platform's message: the contact's own gap is
    /// deleted, another's only loses the message.
    pub fn gap_left(&self, conversation: &str, contact: Option<&str>, detail: &str) -> Left<String> {
        let texts = [Some(conversation), contact, Some(detail)];
        if texts
            .into_iter()
            .flatten()
            .any(|text| self.marks.stand_in(text.as_bytes()))
        {
            Left::Nothing
        } else if self.marks.are_repeated_in(detail.as_bytes()) {
            Left::Changed(self.marks.unless_repeated_in(detail.to_owned()))
        } else {
            Left::Same
        }
    }

    /// The event that reports the erasure, with no data of the contact except Weir's id.
    pub fn erased_event(&self, removed: Removed) -> NewEvent {
        let erased_data = ErasedContact {
            id: self.contact.id,
            channel_id: self.contact.channel_id,
            removed: removed.into(),
        };
        NewEvent::of(self.about.clone(), EventType::ContactErased, &erased_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::OpenedBy;
    use crate::id::Mint;
    use crate::message::PlatformError;
    use crate::policy::tests as given;
    use crate::problem::Fault;

    const WORDS: &str = "please send it to my new address";

    fn person(mint: &Mint, platform_id: &str) -> Contact {
        let known = given::conversation(None, 0).contact;
        Contact {
            id: mint.id(given::at(given::WROTE)),
            platform_id: platform_id.into(),
            username: Some(format!("{platform_id}_doe")),
            display_name: Some("Jane Doe".into()),
            ..known
        }
    }

    fn with(contact: &Contact, thread: &str, other: Option<ContactId>) -> ConversationWith {
        let (mint, wrote) = (given::mint(), given::at(given::WROTE));
        let id = mint.id(wrote);
        let contact = contact.clone();
        ConversationWith {
            stored: StoredConversation::begin(id, "default", thread, contact, OpenedBy::Message, wrote, wrote),
            other,
            words: vec![WORDS.into()],
        }
    }

    fn erased(contact: &Contact, with: Vec<ConversationWith>) -> Erasure {
        erase(Snapshot {
            workspace: "default".into(),
            contact: contact.clone(),
            channel: given::channel(),
            with,
            elsewhere: Vec::new(),
        })
    }

    #[test]
    fn own_conversation_is_erased_with_event() {
        let jane = person(&given::mint(), "jane-of-the-platform");
        let own = with(&jane, "thread-of-jane-alone", None);
        let id = own.stored.conversation.id;
        let erasure = erased(&jane, vec![own]);
        assert_eq!((erasure.whole.as_slice(), erasure.shared.len()), ([id].as_slice(), 0));
        let erased_data: Vec<_> = erasure.changes.events.iter().map(|event| event.kind).collect();
        assert_eq!(erased_data, [EventType::ConversationClosed]);
        for name in [id.to_string().as_str(), "thread-of-jane-alone", "jane-of-the-platform"] {
            assert!(erasure.marks.stand_in(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_shared_conversation_stays_and_is_the_others() {
        let mint = given::mint();
        let (jane, other) = (person(&mint, "jane-of-the-platform"), person(&mint, "somebody"));
        let shared = with(&jane, "thread-of-two-people", Some(other.id));
        let id = shared.stored.conversation.id;
        let erasure = erased(&jane, vec![shared]);
        assert_eq!(erasure.shared, [(id, Some(other.id))]);
        assert!(erasure.whole.is_empty() && erasure.changes.events.is_empty());
        assert!(
            !erasure.marks.stand_in(b"thread-of-two-people"),
            "it names the other too"
        );
    }

    #[test]
    fn repeated_text_is_erased_only_where_safe() {
        let jane = person(&given::mint(), "jane-of-the-platform");
        let erasure = erased(&jane, Vec::new());
        assert!(erasure.takes_event("message.received", b"{\"from\":\"jane-of-the-platform\"}"));
        assert!(erasure.takes_event("message.failed", b"no such person: Jane Doe"));
        assert!(!erasure.takes_event("message.sent", b"{\"text\":\"dear Jane Doe\"}"));
        assert!(erasure.takes_extras("jane-of-the-platform") && !erasure.takes_extras("Jane Doe"));
        assert!(erasure.takes_attempt(["[]", "to Jane Doe"]) && !erasure.takes_attempt(["[]"]));
        assert!(erasure.takes_entry("last:jane-of-the-platform", b"1"));
        assert!(erasure.takes_entry("last", b"Jane Doe") && !erasure.takes_entry("last", b"1"));
        assert!(erasure.takes_receipt("", "jane-of-the-platform", None));
        assert!(
            erasure.takes_receipt("m1", "thread", Some("Jane Doe")) && !erasure.takes_receipt("m1", "thread", None)
        );
    }

    #[test]
    fn erasure_keeps_others_failure_and_gap() {
        let jane = person(&given::mint(), "jane-of-the-platform");
        let erasure = erased(&jane, vec![with(&jane, "thread", None)]);
        let error = |detail: &str| MessageError {
            code: "refused".into(),
            detail: detail.into(),
            fault: Fault::Platform,
            retryable: false,
            platform: Some(PlatformError::default()),
        };
        let left = erasure.error_left(error(WORDS)).expect("it repeats her");
        assert_eq!((left.code.as_str(), left.platform.is_none()), ("refused", true));
        assert!(!left.detail.contains("address"));
        assert_eq!(erasure.error_left(error("no")), None);
        assert_eq!(erasure.gap_left("other", None, "no"), Left::Same);
        assert_eq!(
            erasure.gap_left("other", Some("jane-of-the-platform"), "no"),
            Left::Nothing
        );
        assert!(matches!(erasure.gap_left("other", None, WORDS), Left::Changed(detail) if detail != WORDS));
    }

    #[test]
    fn business_name_is_no_erasure_mark() {
        let jane = Contact {
            display_name: Some(given::channel().name),
            ..person(&given::mint(), "jane-of-the-platform")
        };
        let erasure = erased(&jane, Vec::new());
        assert!(!erasure.takes_cursor(&given::channel().name));
    }
}
