//! A conversation as stored.

use crate::conversation::{Contact, Conversation, ConversationStatus, Marks, OpenedBy};
use crate::id::ConversationId;
use crate::inbound::Person;
use crate::message::Referral;
use crate::policy::Rules;
use crate::policy::window::{Phase, phase};
use crate::time::Timestamp;

/// A conversation as its writers see it: the API's members, and those that only the database needs.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredConversation {
    pub conversation: Conversation,
    pub workspace: String,
    /// Aggregates of its messages that the conversation does not show.
    pub marks: Marks,
    /// The contact has read up to this time.
    pub read_up_to: Option<Timestamp>,
    /// The platform's time of what `opened_by` names.
    pub begun_at: Option<Timestamp>,
    /// The platform's time of the newest event in the conversation that named its contact as stored.
    pub named_at: Timestamp,
    /// The sequence of the last message.
    pub sequence: i64,
    /// When the next change by time alone is due: its window closes, or its channel was deleted.
    pub window_event_at: Option<Timestamp>,
    /// Until when the platform's report on pictures is valid.
    pub images_until: Option<Timestamp>,
}

impl StoredConversation {
    /// A new conversation, opened by something that the platform dates `begun_at`.
    pub fn begin(
        id: ConversationId,
        workspace: &str,
        platform_id: &str,
        contact: Contact,
        opened_by: OpenedBy,
        begun_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        Self {
            conversation: Conversation {
                id,
                channel_id: contact.channel_id,
                contact,
                platform_id: platform_id.to_owned(),
                status: ConversationStatus::Open,
                opened_by,
                answered: false,
                replied: false,
                contact_wrote_at: None,
                budget_used: 0,
                images_allowed: None,
                last_message_at: None,
                unread: 0,
                referral: None,
                created_at: now,
            },
            workspace: workspace.to_owned(),
            marks: Marks::default(),
            read_up_to: None,
            begun_at: Some(begun_at),
            named_at: Timestamp::default(),
            sequence: 0,
            window_event_at: None,
            images_until: None,
        }
    }

    /// Whether an event of the time `at` names the contact as stored; if so, the time is stored in this row, which
    /// changes with each message anyway, so that an older name does not replace this one.
    pub fn confirms(&mut self, person: &Person, at: Timestamp) -> bool {
        let confirms = self.conversation.contact.is_named(person);
        if confirms {
            self.named_at = self.named_at.max(at);
        }
        confirms
    }

    /// The conversation as checked at `now`: the platform's report on pictures is valid only for a while.
    pub fn at(&self, now: Timestamp) -> Conversation {
        let mut conversation = self.conversation.clone();
        if self.images_until.is_none_or(|until| now >= until) {
            conversation.images_allowed = None;
        }
        conversation
    }

    /// The next sequence in the conversation, for a message of this time.
    pub fn next(&mut self, sent_at: Timestamp) -> i64 {
        self.sequence += 1;
        self.conversation.last_message_at = self.conversation.last_message_at.max(Some(sent_at));
        self.sequence
    }

    /// The next sequence, for a message sent through Weir: a reply marks the contact's messages as read.
    pub fn next_of_ours(&mut self, now: Timestamp) -> i64 {
        let sequence = self.next(now);
        self.marks.seen_sequence = sequence;
        self.conversation.unread = 0;
        sequence
    }

    /// Updates the conversation for an outbound message that the platform has with this time.
    pub fn note_sent(&mut self, sent_at: Timestamp) {
        self.marks.sent(sent_at);
        let conversation = &mut self.conversation;
        conversation.answered = true;
        conversation.replied |= self.marks.is_replied(conversation.contact_wrote_at);
        conversation.last_message_at = conversation.last_message_at.max(Some(sent_at));
    }

    /// Updates what opened the conversation, if the platform dates it earlier than what is known.
    pub fn started_by(&mut self, opened_by: OpenedBy, at: Timestamp) {
        let known = self.begun_at.map(|begun_at| (begun_at, self.conversation.opened_by));
        if known.is_some_and(|known| known > (at, opened_by)) {
            self.conversation.opened_by = opened_by;
            self.begun_at = Some(at);
        }
    }

    /// Stores how the contact arrived, if it is the newest referral.
    pub fn came_by(&mut self, referral: &Referral) {
        let known = self.conversation.referral.as_ref();
        if known.is_none_or(|known| known.at <= referral.at) {
            self.conversation.referral = Some(referral.clone());
        }
    }

    /// Reopens a closed conversation for a new message; returns whether it was closed.
    pub fn reopen(&mut self, rules: &Rules, now: Timestamp) -> bool {
        if self.conversation.status == ConversationStatus::Open {
            return false;
        }
        self.conversation.status = ConversationStatus::Open;
        self.schedule_window_event(rules, now);
        true
    }

    /// The window moved: schedules its next event. A window that is closed already has none. An earlier scheduled time
    /// stays: nothing is reported then, and the next time is computed. So a busy conversation reschedules once per
    /// window and not with each message.
    pub fn schedule_window_event(&mut self, rules: &Rules, now: Timestamp) {
        let first = match phase(rules, self.conversation.contact_wrote_at, now) {
            Some(Phase::Open { closing_at }) => closing_at,
            Some(Phase::Closing { .. }) => now,
            Some(Phase::Closed) | None => return,
        };
        self.window_event_at = Some(self.window_event_at.map_or(first, |set| set.min(first)));
    }

    /// When a message in it expires: at the end of the window in which it was accepted, by the host's clock.
    pub fn expires_at(&self, rules: &Rules) -> Option<Timestamp> {
        let closes_at = self.conversation.contact_wrote_at?.after(rules.window?);
        Some(rules.clock.ours(closes_at))
    }
}
