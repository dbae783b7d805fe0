//! Receipts of outbound messages.

use super::{Applied, Context, InboundRecorder};
use crate::event::EventType;
use crate::id::ConversationId;
use crate::inbound::{ReceiptStatus, ReceiptTarget};
use crate::message::{MessageError, Status};
use crate::problem::Fault;
use crate::record::MessageUpdate;
use crate::record::change::EarlyReceipt;
use crate::record::echo::{EarlyReceipts, advance};
use crate::time::Timestamp;

impl InboundRecorder<'_> {
    pub(super) fn receipt(
        &mut self,
        context: Context<'_>,
        conversation: String,
        status: ReceiptStatus,
        target: ReceiptTarget,
        error: Option<MessageError>,
    ) -> Applied {
        let channel = context.channel.id;
        let (next, kind) = match status {
            ReceiptStatus::Delivered => (Status::Delivered, EventType::MessageDelivered),
            ReceiptStatus::Read => (Status::Read, EventType::MessageRead),
            ReceiptStatus::Failed => (Status::Failed, EventType::MessageFailed),
        };
        let error = (status == ReceiptStatus::Failed).then(|| {
            error.unwrap_or_else(|| MessageError {
                code: "not_delivered".to_owned(),
                detail: "the platform accepted the message and did not deliver it".to_owned(),
                fault: Fault::Platform,
                retryable: false,
                platform: None,
            })
        });
        let early = |message: &str, up_to| EarlyReceipt {
            channel,
            message: message.to_owned(),
            conversation: conversation.clone(),
            status: next,
            up_to,
            error: error.clone(),
        };
        let touched = match target {
            ReceiptTarget::UpTo(at) => {
                let Some(place) = self.snapshot.conversation(channel, &conversation) else {
                    let mark = EarlyReceipt {
                        error: None,
                        ..early("", Some(at))
                    };
                    self.keep_early(context, mark);
                    return Applied::New;
                };
                let stored = self.snapshot.conversations.at(place);
                let id = stored.conversation.id;
                if status == ReceiptStatus::Read && stored.read_up_to < Some(at) {
                    // For a message whose response arrives after it was read.
                    self.snapshot.conversations.edit(place).read_up_to = Some(at);
                }
                self.sent_up_to(id, at)
            }
            ReceiptTarget::Messages(ids) => {
                let mut touched = Vec::with_capacity(ids.len());
                for id in ids {
                    let parts = self.snapshot.parts(channel, &id);
                    if parts.is_empty() {
                        self.keep_early(context, early(&id, None));
                    }
                    touched.extend(parts);
                }
                touched
            }
        };
        for message in touched {
            let update = MessageUpdate {
                error: error.clone(),
                ..MessageUpdate::default()
            };
            self.advance(message, next, update, kind);
        }
        Applied::New
    }

    /// The outbound messages, known to the platform, that a read receipt covers.
    fn sent_up_to(&self, conversation: ConversationId, at: Timestamp) -> Vec<usize> {
        let covered = self.snapshot.messages.iter().filter(|(_, stored)| {
            let message = &stored.message;
            message.conversation_id == conversation
                && message.sent_at <= at
                && matches!(message.status, Status::Sent | Status::Delivered)
        });
        let mut covered: Vec<_> = covered
            .map(|(place, stored)| (stored.message.sent_at, stored.message.sequence, place))
            .collect();
        covered.sort_unstable();
        covered.into_iter().map(|(.., place)| place).collect()
    }

    /// Stores a receipt until its message or conversation arrives.
    fn keep_early(&mut self, context: Context<'_>, receipt: EarlyReceipt) {
        if receipt.message.is_empty() {
            if receipt.status == Status::Read {
                let marks = &mut self.snapshot.early_marks;
                let known = marks.get(receipt.channel, &receipt.conversation).copied();
                if let Some(at) = receipt.up_to.max(known) {
                    marks.insert(receipt.channel, receipt.conversation.clone(), at);
                }
            }
        } else {
            let known = self.snapshot.early_receipts.entry(receipt.channel, &receipt.message);
            known.push(receipt.clone());
        }
        self.changes.early_receipts.push((receipt, context.now));
    }

    /// The receipts of a message that arrived before it.
    pub(super) fn early(&mut self, place: usize) -> Option<EarlyReceipts> {
        let message = &self.snapshot.messages.at(place).message;
        let platform_id = message.platform_id.clone()?;
        let receipts = self.snapshot.early_receipts.remove(message.channel_id, &platform_id)?;
        let receipts = receipts.into_iter().map(|receipt| (receipt.status, receipt.error));
        Some((platform_id, receipts.collect()))
    }

    /// Advances a message's status if that is allowed, with an event.
    pub(super) fn advance(&mut self, place: usize, next: Status, update: MessageUpdate, kind: EventType) {
        let last_message_at = self.last_message_at(place);
        let stored = self.snapshot.messages.tracked(place);
        advance(&mut self.changes, stored, (next, kind), update, last_message_at);
    }

    /// The newest message of the message's conversation.
    pub(super) fn last_message_at(&self, place: usize) -> Option<Timestamp> {
        let message = &self.snapshot.messages.at(place).message;
        let conversation = self.snapshot.conversations.get(&message.conversation_id)?;
        conversation.conversation.last_message_at
    }
}
