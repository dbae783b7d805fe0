//! Echoes: outbound messages that the platform reports.

use super::{Context, InboundRecorder, Snapshot};
use crate::inbound::InboundMessage;
use crate::message::{Direction, Origin, Status};
use crate::record::MessageUpdate;
use crate::record::echo::move_on;
use crate::record::queue::{ConversationQueue, QueueState};

impl InboundRecorder<'_> {
    /// An echo of a message whose platform id is known: the platform has it, whatever its status was. Its time is the
    /// platform's, which read receipts refer to; the stored time, from the response, may be later. Returns whether
    /// anything changed.
    pub(super) fn known_echo(&mut self, place: usize, reported: &InboundMessage) -> bool {
        let message = &self.snapshot.messages.at(place).message;
        let before = message.status;
        let Some(conversation) = self.snapshot.conversations.place(&message.conversation_id) else {
            return false;
        };
        if message.direction != Direction::Outbound {
            return false;
        }
        if before.may_become(Status::Sent) {
            let update = MessageUpdate {
                sent_at: Some(reported.sent_at),
                ..MessageUpdate::default()
            };
            self.move_on(conversation, place, update);
            if before == Status::Uncertain {
                self.leave_queue(place);
            }
        } else if message.sent_at != reported.sent_at {
            self.snapshot.messages.edit(place).date(reported.sent_at);
            self.move_on(conversation, place, MessageUpdate::default());
            // The corrected time may be on the other side of the contact's last message.
            self.count_budget(conversation);
        }
        self.snapshot.messages.at(place).message.status != before
    }

    /// The platform reports an outbound message whose response has not arrived. It is matched to the one message of the
    /// conversation that was sent, has equal content and no id yet; between two equal ones none is chosen. Returns
    /// whether it was matched. A message that a worker has leased stays leased: its response finds it sent.
    pub(super) fn matched_echo(
        &mut self,
        context: Context<'_>,
        conversation: usize,
        reported: &InboundMessage,
    ) -> bool {
        // Weir's own messages have one part, and return as the API's.
        if reported.origin != Origin::Api || reported.part != 0 {
            return false;
        }
        let id = self.snapshot.conversations.at(conversation).conversation.id;
        let left = self
            .snapshot
            .queues
            .get(&id)
            .into_iter()
            .flat_map(ConversationQueue::unanswered);
        let alike = left.filter_map(|queued| {
            let place = self.snapshot.messages.place(&queued.message)?;
            let message = &self.snapshot.messages.at(place).message;
            let left_at = queued.dispatched_at.unwrap_or_default();
            let is_alike = message.platform_id.is_none()
                && reported.sent_at >= context.rules.likely_since(left_at)
                && message.content.looks_like(&reported.content);
            is_alike.then_some((place, matches!(queued.state, QueueState::Uncertain { .. })))
        });
        let alike: Vec<(usize, bool)> = alike.collect();
        let &[(place, is_uncertain)] = alike.as_slice() else {
            return false;
        };
        let update = MessageUpdate {
            platform_id: Some(reported.platform_id.clone()),
            sent_at: Some(reported.sent_at),
            error: None,
        };
        self.move_on(conversation, place, update);
        if is_uncertain {
            self.leave_queue(place);
            // A message that was sent before the contact's last message, and whose response arrived after it, does not
            // count in the new window.
            let wrote_at = self
                .snapshot
                .conversations
                .at(conversation)
                .conversation
                .contact_wrote_at;
            if wrote_at.is_some_and(|wrote_at| self.snapshot.messages.at(place).message.sent_at <= wrote_at) {
                self.count_budget(conversation);
            }
        }
        true
    }

    /// Sets it to sent, or further if a receipt arrived before the echo.
    fn move_on(&mut self, conversation: usize, place: usize, update: MessageUpdate) {
        let message = &self.snapshot.messages.at(place).message;
        let (id, channel) = (message.id, message.channel_id);
        let platform_id = update.platform_id.clone().or_else(|| message.platform_id.clone());
        let early = platform_id.and_then(|platform_id| {
            self.snapshot
                .message_ids
                .entry(channel, &platform_id)
                .entry(0)
                .or_insert(id);
            let receipts = self.snapshot.early_receipts.remove(channel, &platform_id)?;
            let receipts = receipts.into_iter().map(|receipt| (receipt.status, receipt.error));
            Some((platform_id, receipts.collect()))
        });
        let Snapshot {
            conversations,
            messages,
            ..
        } = &mut self.snapshot;
        let (conversation, stored) = (conversations.tracked(conversation), messages.tracked(place));
        move_on(&mut self.changes, conversation, stored, update, None, early);
    }

    /// Removes a settled message from the outbox.
    fn leave_queue(&mut self, place: usize) {
        let message = &self.snapshot.messages.at(place).message;
        let (id, channel, conversation) = (message.id, message.channel_id, message.conversation_id);
        if let Some(waiting) = self.snapshot.unsettled.get_mut(&conversation) {
            waiting.retain(|(other, _)| *other != id);
        }
        if let Some(queue) = self.snapshot.queues.get_mut(&conversation) {
            queue.remove(id);
            self.snapshot.left_queues.insert(conversation, channel);
        }
    }
}
