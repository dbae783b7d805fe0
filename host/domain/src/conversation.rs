//! Conversations between one channel and one contact, with the data by which the platform's rules are evaluated.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::id::{ChannelId, ContactId, ConversationId};
use crate::inbound::Person;
use crate::message::Referral;
use crate::time::Timestamp;

/// A person who exchanges messages with a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub id: ContactId,
    /// The channel that they write to.
    pub channel_id: ChannelId,
    /// The platform's id of the person.
    pub platform_id: String,
    /// The handle, without @.
    pub username: Option<String>,
    /// The display name.
    pub display_name: Option<String>,
    /// The URL of the profile picture; most platforms' links expire.
    pub avatar_url: Option<String>,
    /// When the contact was created.
    pub created_at: Timestamp,
}

impl Contact {
    /// Whether `person` has the same id, names and picture.
    pub fn is_named(&self, person: &Person) -> bool {
        self.platform_id == person.platform_id
            && self.username == person.username
            && self.display_name == person.display_name
            && self.avatar_url == person.avatar_url
    }
}

/// A conversation's data. What may be sent in it now follows from this and the rules: [`crate::policy::Rules`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// The channel.
    pub channel_id: ChannelId,
    /// The contact.
    pub contact: Contact,
    /// The platform's id of the thread.
    pub platform_id: String,
    /// Open until it is closed.
    pub status: ConversationStatus,
    /// What opened it.
    pub opened_by: OpenedBy,
    /// Whether the business has written in it.
    pub answered: bool,
    /// Whether the contact has written after that.
    pub replied: bool,
    /// When the contact last wrote, by the platform's clock; `None` if they never did.
    pub contact_wrote_at: Option<Timestamp>,
    /// Messages counted against the budget since then, including those in the outbox.
    pub budget_used: u32,
    /// Whether pictures may be sent both ways, by the platform's last report.
    pub images_allowed: Option<bool>,
    /// The newest message's time.
    pub last_message_at: Option<Timestamp>,
    /// Messages of the contact since the business answered or marked them read.
    pub unread: u32,
    /// How the contact last arrived, by an ad or a link, if they did.
    pub referral: Option<Referral>,
    /// When it was created.
    pub created_at: Timestamp,
}

/// Aggregates of a conversation's messages that it does not show: the same for the same messages, whatever their order
/// of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The oldest message of the business that the platform has.
    pub first_answer_at: Option<Timestamp>,
    /// The newest of them.
    pub last_answer_at: Option<Timestamp>,
    /// The newest that was written elsewhere, in the platform's app: its author had read the earlier messages.
    pub echoed_at: Option<Timestamp>,
    /// The position of the last message that was displayed here when the business viewed or replied.
    pub seen_sequence: i64,
}

impl Marks {
    /// The platform has a message of the business, sent through Weir.
    pub fn sent(&mut self, at: Timestamp) {
        self.first_answer_at = Some(self.first_answer_at.map_or(at, |first| first.min(at)));
        self.last_answer_at = self.last_answer_at.max(Some(at));
    }

    /// The business wrote elsewhere; returns whether that is the newest such message.
    pub fn echoed(&mut self, at: Timestamp) -> bool {
        self.sent(at);
        let is_newest = self.echoed_at < Some(at);
        self.echoed_at = self.echoed_at.max(Some(at));
        is_newest
    }

    /// Whether a message of the contact is unread. A late message that is older than a reply from elsewhere was read
    /// before that reply; a late message that is older than a reply from here was not.
    #[must_use]
    pub fn is_unread(&self, sequence: i64, sent_at: Timestamp) -> bool {
        sequence > self.seen_sequence && self.echoed_at.is_none_or(|echoed| sent_at > echoed)
    }

    /// Whether the contact, who last wrote at `wrote_at`, has written after the business's first message.
    #[must_use]
    pub fn is_replied(&self, wrote_at: Option<Timestamp>) -> bool {
        self.first_answer_at.is_some_and(|first| wrote_at > Some(first))
    }
}

/// Which of two reports of a value is used: the later one; for equal times the greater value, so that the order of
/// arrival does not matter. A report without the value changes nothing.
#[must_use]
pub fn later<T: Ord>(known: (Option<T>, Timestamp), newer: (Option<T>, Timestamp)) -> (Option<T>, Timestamp) {
    match (&known.0, &newer.0) {
        (_, None) => known,
        (None, Some(_)) => newer,
        (Some(first), Some(second)) => {
            if (newer.1, second) > (known.1, first) {
                newer
            } else {
                known
            }
        }
    }
}

/// Whether a conversation is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConversationStatus {
    /// It is open.
    Open,
    /// Its channel was deleted: it is closed until the next message in it.
    Closed,
}

/// What opened a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OpenedBy {
    /// The contact wrote.
    Message,
    /// The contact arrived by an ad or a link, and wrote nothing.
    Referral,
    /// The business wrote from the platform's own app.
    Echo,
    /// It was found in the platform's history.
    History,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn an_older_echo_reads_no_newer_question() {
        let mut marks = Marks::default();
        assert!(marks.echoed(at(20)));
        assert!(!marks.echoed(at(10)));
        assert!(marks.is_unread(2, at(21)) && !marks.is_unread(3, at(20)));
        marks.seen_sequence = 2;
        assert!(!marks.is_unread(2, at(21)));
    }

    proptest! {
        #[test]
        fn marks_are_the_same_in_any_order(seen in proptest::collection::vec((any::<bool>(), 1..50_i64), 0..12).prop_shuffle()) {
            let fold = |seen: &[(bool, i64)]| {
                let mut marks = Marks::default();
                for (elsewhere, ms) in seen {
                    if *elsewhere {
                        marks.echoed(at(*ms));
                    } else {
                        marks.sent(at(*ms));
                    }
                }
                marks
            };
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            prop_assert_eq!(fold(&seen), fold(&sorted));
        }

        #[test]
        fn a_name_is_the_same_in_any_order(seen in proptest::collection::vec((proptest::option::of("[ab]"), 0..4_i64), 0..6).prop_shuffle()) {
            let fold = |seen: &[(Option<String>, i64)]| {
                seen.iter().fold((None, at(0)), |known, (name, ms)| later(known, (name.clone(), at(*ms))))
            };
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            prop_assert_eq!(fold(&seen), fold(&sorted));
        }
    }
}
