//! Referrals: how contacts arrived.

use super::{Context, InboundRecorder};
use crate::event::{EventType, ReferralReceived};
use crate::id::ConversationId;
use crate::message::{Direction, Referral};
use crate::record::change::NewReferral;
use crate::time::Timestamp;

impl InboundRecorder<'_> {
    /// Stores a referral, with an event.
    pub(super) fn keep_referral(&mut self, context: Context<'_>, place: usize, referral: Referral) -> Referral {
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
    fn first_message(&self, conversation: ConversationId, at: Timestamp) -> Option<usize> {
        let loaded = self.snapshot.first_messages.get(&(conversation, at));
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

    /// Assigns a referral to the contact's first message after it, if that is stored already.
    pub(super) fn refer(&mut self, place: usize, referral: &Referral) {
        let conversation = self.snapshot.conversations.at(place).conversation.id;
        let Some(first) = self.first_message(conversation, referral.at.unwrap_or_default()) else {
            return;
        };
        // It may belong to a newer referral.
        let known = self.snapshot.messages.at(first).message.referral.as_ref();
        if known.is_none_or(|other| other.at <= referral.at) {
            self.snapshot.messages.edit(first).message.referral = Some(referral.clone());
        }
    }

    /// The referral of a new message of this time, if it is the contact's first message after it. A later message that
    /// had the referral loses it.
    pub(super) fn take_referral(&mut self, place: usize, sent_at: Timestamp) -> Option<Referral> {
        let conversation = &self.snapshot.conversations.at(place).conversation;
        conversation.referral.as_ref()?;
        let id = conversation.id;
        let referral = self.snapshot.referral_before(id, sent_at)?.clone();
        if let Some(first) = self.first_message(id, referral.at.unwrap_or_default()) {
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
}
