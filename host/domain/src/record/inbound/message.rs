//! Messages that the platform reports.

use serde_json::json;

use super::resolve::ResolvedConversation;
use super::{Applied, Context, InboundRecorder};
use crate::conversation::OpenedBy;
use crate::event::EventType;
use crate::id::MessageId;
use crate::inbound::{InboundMessage, RemoteMedia};
use crate::message::{Attachment, Content, Direction, MediaStatus, Message, Referral, Status};
use crate::policy::window::{self, Phase};
use crate::record::change::ExpectedMedia;
use crate::record::echo::apply_early;
use crate::record::{MessageUpdate, StoredConversation, StoredMessage, Tracked};
use crate::time::Timestamp;

impl InboundRecorder<'_> {
    pub(super) fn contact_wrote(&mut self, context: Context<'_>, reported: InboundMessage) -> Applied {
        let Context { channel, rules, .. } = context;
        if self
            .snapshot
            .part(channel.id, &reported.platform_id, reported.part)
            .is_some()
        {
            return Applied::Known;
        }
        let resolved = self.resolve(
            context,
            &reported.conversation,
            &reported.contact,
            OpenedBy::Message,
            reported.sent_at,
        );
        let place = resolved.place;
        let could_write = context.may_write(self.snapshot.conversations.at(place));
        self.open_window(context, place, reported.sent_at);
        let stored = self.snapshot.conversations.edit(place);
        let sequence = stored.next(reported.sent_at);
        if stored.marks.is_unread(sequence, reported.sent_at) {
            stored.conversation.unread = stored.conversation.unread.saturating_add(1);
        }
        let id = stored.conversation.id;
        self.snapshot
            .unread
            .entry(id)
            .or_default()
            .push((reported.sent_at, sequence));
        self.meeting_events(context, &resolved);
        let referral = match reported.referral.clone() {
            Some(referral) => {
                let referral = Referral {
                    at: referral.at.or(Some(reported.sent_at)),
                    ..referral
                };
                Some(self.keep_referral(context, place, referral))
            }
            None => self.take_referral(place, reported.sent_at),
        };
        let has_media = reported.content.media().is_some();
        let message = self.message(context, &resolved, reported, Status::Received, referral, sequence);
        self.message_event(message, EventType::MessageReceived);
        // A window event is due if the business could not write before and can now.
        let stored = self.snapshot.conversations.at(place);
        if rules.window.is_some() && !could_write && context.may_write(stored) {
            let view = context.view(stored);
            self.event(context, EventType::WindowOpened, Some(id), &view);
        }
        if has_media { Applied::WithMedia } else { Applied::New }
    }

    /// A message of the contact reopens the window and resets the budget, except for shares of messages in the outbox
    /// and those sent after it. A message older than the newest known one changes nothing.
    fn open_window(&mut self, context: Context<'_>, place: usize, sent_at: Timestamp) {
        let Context { rules, now, .. } = context;
        let opened_at = window::opened_at(rules, sent_at, now);
        let stored = self.snapshot.conversations.edit(place);
        let conversation = &mut stored.conversation;
        if conversation.contact_wrote_at.is_some_and(|known| known >= opened_at) {
            return;
        }
        self.report_closed_window(context, place);
        let stored = self.snapshot.conversations.edit(place);
        let conversation = &mut stored.conversation;
        conversation.contact_wrote_at = Some(opened_at);
        conversation.replied |= stored.marks.is_replied(conversation.contact_wrote_at);
        stored.schedule_window_event(rules, now);
        let (id, end) = (stored.conversation.id, stored.expires_at(rules));
        self.count_budget(place);
        let waits = self
            .snapshot
            .unsettled
            .get(&id)
            .is_some_and(|waiting| !waiting.is_empty());
        if let Some(end) = end.filter(|_| waits) {
            self.changes.expiries.insert(id, end);
        }
    }

    /// Appends the event of a window that has closed, if the sweep has not: after this it finds the new window.
    fn report_closed_window(&mut self, context: Context<'_>, place: usize) {
        let stored = self.snapshot.conversations.at(place);
        let last = window::phase(context.rules, stored.conversation.contact_wrote_at, context.now);
        if stored.window_event_at.is_none() || last != Some(Phase::Closed) {
            return;
        }
        let (id, view) = (stored.conversation.id, context.view(stored));
        self.event(context, EventType::WindowClosed, Some(id), &view);
        self.snapshot.conversations.edit(place).window_event_at = None;
    }

    /// Recounts the window's budget: messages in the outbox, and outbound messages that the platform has from after the
    /// contact's last message.
    pub(super) fn count_budget(&mut self, place: usize) {
        let StoredConversation {
            conversation, marks, ..
        } = self.snapshot.conversations.at(place);
        let (id, since) = (conversation.id, conversation.contact_wrote_at);
        let mut used = self.snapshot.unsettled_in(id);
        if marks.last_answer_at > since {
            used += self.snapshot.counted_after(id, since);
        }
        self.snapshot.conversations.edit(place).conversation.budget_used = used;
    }

    pub(super) fn business_wrote(&mut self, context: Context<'_>, reported: InboundMessage) -> Applied {
        let channel = context.channel.id;
        if let Some(message) = self.snapshot.part(channel, &reported.platform_id, reported.part) {
            return if self.known_echo(message, &reported) {
                Applied::New
            } else {
                Applied::Known
            };
        }
        let resolved = self.resolve(
            context,
            &reported.conversation,
            &reported.contact,
            OpenedBy::Echo,
            reported.sent_at,
        );
        let place = resolved.place;
        if self.matched_echo(context, place, &reported) {
            self.meeting_events(context, &resolved);
            return Applied::New;
        }
        let stored = self.snapshot.conversations.edit(place);
        let sequence = stored.next(reported.sent_at);
        stored.note_sent(reported.sent_at);
        // Its author had read the messages before it, and none after it.
        if stored.marks.echoed(reported.sent_at) && stored.conversation.unread > 0 {
            let unread = self.snapshot.unread_in(self.snapshot.conversations.at(place));
            self.snapshot.conversations.edit(place).conversation.unread = unread;
        }
        let conversation = &mut self.snapshot.conversations.edit(place).conversation;
        if context.counts(reported.origin)
            && conversation
                .contact_wrote_at
                .is_none_or(|wrote| reported.sent_at > wrote)
        {
            conversation.budget_used += 1;
        }
        self.meeting_events(context, &resolved);
        let has_media = reported.content.media().is_some();
        let referral = reported.referral.clone();
        let message = self.message(context, &resolved, reported, Status::Sent, referral, sequence);
        self.message_event(message, EventType::MessageEchoed);
        let stored = self.snapshot.messages.at(message);
        let read_up_to = self.snapshot.conversations.at(place).read_up_to;
        if read_up_to.is_some_and(|read| stored.message.sent_at <= read) {
            self.advance(message, Status::Read, MessageUpdate::default(), EventType::MessageRead);
        }
        let early = self.early(message);
        let last_message_at = self.last_message_at(message);
        let stored = self.snapshot.messages.tracked(message);
        apply_early(&mut self.changes, stored, early, last_message_at);
        if has_media { Applied::WithMedia } else { Applied::New }
    }

    /// Stores a message that the platform reports.
    fn message(
        &mut self,
        context: Context<'_>,
        resolved: &ResolvedConversation,
        reported: InboundMessage,
        status: Status,
        referral: Option<Referral>,
        sequence: i64,
    ) -> usize {
        let Context { channel, now, .. } = context;
        let conversation = &self.snapshot.conversations.at(resolved.place).conversation;
        let (conversation_id, contact_id) = (conversation.id, conversation.contact.id);
        let id: MessageId = self.mint.id(now);
        let quoted = reported.reply_to.as_deref().and_then(|platform_id| {
            let parts = self.snapshot.parts(channel.id, platform_id);
            let quoted = &self.snapshot.messages.at(*parts.first()?).message;
            (quoted.conversation_id == conversation_id).then_some(quoted.id)
        });
        let unknown_quote = reported.reply_to.filter(|_| quoted.is_none());
        let counted = reported.direction == Direction::Outbound && context.counts(reported.origin);
        let message = Message {
            id,
            channel_id: channel.id,
            conversation_id,
            contact_id: resolved.contact,
            direction: reported.direction,
            origin: reported.origin,
            status,
            content: self.expect_media(context, id, reported.content),
            platform_id: Some(reported.platform_id),
            reply_to: quoted,
            referral,
            client_ref: None,
            error: None,
            warnings: Vec::new(),
            answers: reported.answers,
            platform_data: with_quote(reported.platform_data, unknown_quote),
            sent_at: reported.sent_at,
            created_at: now,
            sequence,
        };
        // A contact writes in a conversation that belongs to another contact.
        if message.direction == Direction::Inbound && message.contact_id != contact_id {
            self.changes.authors.push((conversation_id, message.contact_id));
        }
        let stored = StoredMessage::new(&channel.workspace_id, message, reported.part, counted);
        self.snapshot.add_message(Tracked::new(stored))
    }

    /// Notes media that the platform has, to be fetched at once, and assigns their id.
    fn expect_media(&mut self, context: Context<'_>, message: MessageId, content: Content<RemoteMedia>) -> Content {
        let kind = content.kind();
        let (mint, expected) = (self.mint, &mut self.changes.media);
        content.map_media(|remote| {
            let attachment = Attachment {
                id: mint.id(context.now),
                mime_type: remote.mime_type.clone(),
                size: remote.size,
                url: None,
                status: Some(MediaStatus::Pending),
            };
            expected.push(ExpectedMedia {
                id: attachment.id,
                workspace: context.channel.workspace_id.clone(),
                message,
                kind: kind.map_or_else(|| "fallback".to_owned(), |kind| kind.to_string()),
                remote,
            });
            attachment
        })
    }
}

/// Adds the platform id of a quoted message that is not stored: no reported data is dropped.
fn with_quote(platform_data: Option<serde_json::Value>, quote: Option<String>) -> Option<serde_json::Value> {
    let Some(quote) = quote else { return platform_data };
    let mut data = match platform_data {
        Some(data @ serde_json::Value::Object(_)) => data,
        Some(other) => json!({ "platform_data": other }),
        None => json!({}),
    };
    data["reply_to_platform_id"] = quote.into();
    Some(data)
}
