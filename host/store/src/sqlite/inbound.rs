//! What webhooks and the platform's history told, made into contacts, conversations, messages and events. Each fact is taken
//! once in a channel; what arrives late, doubled or in another order leads to the same messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::conversation::{Contact, OpenedBy};
use weir_domain::event::{ChannelNotice, ContactCreated, EventType, Reaction, ReactionContact, ReferralReceived};
use weir_domain::id::{ConversationId, MessageId};
use weir_domain::inbound::{Fact, InboundEvent, InboundMessage, Person, ReceiptStatus, ReceiptTarget};
use weir_domain::message::{Direction, Message, MessageError, Origin, Referral, Status};
use weir_domain::policy::{ConversationView, RuleBook, Rules, Stage, may_write, window};
use weir_domain::problem::Fault;
use weir_domain::record::{About, Changes, StoredConversation, window_events};
use weir_domain::time::Timestamp;

use crate::acts::apply;
use crate::sqlite::conversations::{self, Heard};
use crate::sqlite::db::Db;
use crate::sqlite::events;
use crate::sqlite::messages::{self, Entry, Step};
use crate::sqlite::{channels, early, echo, media, outbox, referrals, seen};
use crate::{Recorded, Result, Source};

/// What a fact came to.
enum Kept {
    /// It was new.
    New,
    /// It was new, and names bytes to be fetched.
    WithMedia,
    /// It was known.
    Known,
}

pub(super) fn record(
    db: &Db<'_>,
    app: &str,
    events: Vec<InboundEvent>,
    source: Source,
    book: &RuleBook,
    now: Timestamp,
) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    let mut known: BTreeMap<String, (Channel, Arc<Rules>)> = BTreeMap::new();
    for event in events {
        if !known.contains_key(&event.channel_platform_id) {
            match channels::by_platform_id(db, app, &event.channel_platform_id)? {
                None => {
                    recorded.unknown_channel += 1;
                    continue;
                }
                Some(channel) => {
                    let rules = book.rules(&channel);
                    known.insert(event.channel_platform_id.clone(), (channel, rules));
                }
            }
        }
        let Some((channel, rules)) = known.get(&event.channel_platform_id) else {
            continue;
        };
        if channel.status == ChannelStatus::Deleted {
            recorded.deleted_channel += 1;
            continue;
        }
        // Not marked as seen: the mended connector shall have it.
        if let Fact::Unknown { .. } = event.fact {
            recorded.unknown_events += 1;
            continue;
        }
        if !seen::first(db, channel.id, &event, now)? {
            recorded.duplicates += 1;
            continue;
        }
        let is_notice = matches!(event.fact, Fact::Notice { .. });
        let ear = Ear {
            db,
            channel,
            rules,
            source,
            now,
        };
        match ear.hear(event.fact)? {
            Kept::New => recorded.stored += 1,
            Kept::WithMedia => {
                recorded.stored += 1;
                recorded.media += 1;
            }
            Kept::Known => recorded.duplicates += 1,
        }
        if is_notice {
            // The channel itself may have changed.
            known.remove(&event.channel_platform_id);
        }
    }
    Ok(recorded)
}

/// One channel, listening.
struct Ear<'a> {
    db: &'a Db<'a>,
    channel: &'a Channel,
    rules: &'a Rules,
    source: Source,
    now: Timestamp,
}

impl Ear<'_> {
    fn hear(&self, fact: Fact) -> Result<Kept> {
        match fact {
            Fact::Message(told) if told.direction == Direction::Inbound => self.contact_wrote(*told),
            Fact::Message(told) => self.business_wrote(*told),
            Fact::Receipt {
                conversation,
                status,
                target,
                error,
                ..
            } => self.receipt(&conversation, status, target, error),
            Fact::Reaction {
                conversation,
                contact,
                message,
                emoji,
                url,
                direction,
                added,
                at,
            } => {
                let thread = conversations::by_platform_id(self.db, self.channel.id, &conversation)?;
                let contact = named(contact, &conversation, thread.as_ref());
                let ours = messages::by_platform_id(self.db, self.channel.id, &message, None)?;
                let known = conversations::contact_by_platform_id(self.db, self.channel.id, &contact.platform_id)?;
                let conversation_id = thread.map(|thread| thread.conversation.id);
                let reaction = Reaction {
                    conversation_id,
                    conversation_platform_id: conversation,
                    message_id: ours.map(|message| message.id),
                    message_platform_id: message,
                    emoji,
                    url,
                    direction,
                    contact: ReactionContact {
                        id: known.map(|contact| contact.id),
                        platform_id: contact.platform_id,
                        username: contact.username,
                        display_name: contact.display_name,
                        avatar_url: contact.avatar_url,
                    },
                    at,
                };
                let kind = if added {
                    EventType::ReactionAdded
                } else {
                    EventType::ReactionRemoved
                };
                self.tell(kind, conversation_id, &reaction)?;
                Ok(Kept::New)
            }
            Fact::Arrival {
                conversation,
                contact,
                referral,
                at,
            } => {
                let mut met = self.meet(&conversation, &contact, OpenedBy::Referral, at)?;
                conversations::save(self.db, &met.thread)?;
                self.tell_meeting(&met)?;
                let referral = Referral {
                    at: referral.at.or(Some(at)),
                    ..referral
                };
                let referral = self.keep_referral(&mut met.thread, referral)?;
                messages::refer(self.db, met.thread.conversation.id, &referral)?;
                Ok(Kept::New)
            }
            Fact::Notice { kind, at, detail } => self.notice(&kind, at, detail),
            Fact::Unknown { .. } => Ok(Kept::Known),
        }
    }

    fn tell(&self, kind: EventType, conversation: Option<ConversationId>, data: &impl Serialize) -> Result<()> {
        let about = About {
            conversation,
            ..About::channel(self.channel)
        };
        events::append(self.db, &about, kind, data, self.now)?;
        Ok(())
    }

    fn view(&self, thread: &StoredConversation) -> ConversationView {
        ConversationView::of(&thread.at(self.now), self.channel, self.rules, self.now)
    }

    fn writable(&self, thread: &StoredConversation) -> bool {
        may_write(self.rules, &thread.conversation, Stage::Accept, self.now).is_ok()
    }

    // ---- who, and where ----------------------------------------------------------------------------------------------

    /// The contact and the conversation that a fact of the time `at` is about, begun if they are new. A conversation found in
    /// the history says so, whatever brought it about.
    fn meet(&self, platform_id: &str, person: &Person, opened_by: OpenedBy, at: Timestamp) -> Result<Met> {
        let opened_by = match self.source {
            Source::Webhook => opened_by,
            Source::History => OpenedBy::History,
        };
        // An echo may leave the person out: the conversation knows them, or stands for them.
        let anonymous = person.platform_id.is_empty();
        if anonymous && let Some(mut thread) = conversations::by_platform_id(self.db, self.channel.id, platform_id)? {
            let opened = self.reopen(&mut thread)?;
            self.begun_by(&mut thread, opened_by, at)?;
            return Ok(Met {
                contact: thread.conversation.contact.clone(),
                heard: Heard::Known,
                thread,
                opened,
            });
        }
        let stand_in = anonymous.then(|| Person {
            platform_id: platform_id.to_owned(),
            ..person.clone()
        });
        let person = stand_in.as_ref().unwrap_or(person);
        let workspace = &self.channel.workspace_id;
        let mut known = conversations::by_platform_id(self.db, self.channel.id, platform_id)?;
        let is_confirmed = known.as_mut().is_some_and(|thread| thread.confirms(person, at));
        let (contact, heard) = match &known {
            Some(thread) if is_confirmed => (thread.conversation.contact.clone(), Heard::Known),
            known => {
                if let Some(thread) = known {
                    conversations::name_stand_in(self.db, thread, person)?;
                }
                conversations::hear_of(self.db, workspace, self.channel.id, person, at, self.now)?
            }
        };
        let (thread, opened) = match known {
            Some(mut thread) => {
                let reopened = self.reopen(&mut thread)?;
                self.begun_by(&mut thread, opened_by, at)?;
                if thread.conversation.contact.id == contact.id {
                    thread.conversation.contact = contact.clone();
                }
                (thread, reopened)
            }
            None => {
                let begun_by = (opened_by, at);
                let mut begun =
                    conversations::begin(self.db, workspace, platform_id, contact.clone(), begun_by, self.now)?;
                begun.read_up_to = early::read_up_to(self.db, self.channel.id, platform_id)?;
                (begun, true)
            }
        };
        Ok(Met {
            contact,
            heard,
            thread,
            opened,
        })
    }

    fn reopen(&self, thread: &mut StoredConversation) -> Result<bool> {
        let opened = thread.reopen(self.rules, self.now);
        if opened {
            conversations::save(self.db, thread)?;
        }
        Ok(opened)
    }

    /// What the history shows says nothing of how a known conversation began.
    fn begun_by(&self, thread: &mut StoredConversation, opened_by: OpenedBy, at: Timestamp) -> Result<()> {
        match self.source {
            Source::Webhook if thread.conversation.opened_by != OpenedBy::History => {
                conversations::begun_by(self.db, thread, opened_by, at)
            }
            _ => Ok(()),
        }
    }

    /// Tells of a contact and a conversation that are new, as they are now.
    fn tell_meeting(&self, met: &Met) -> Result<()> {
        let conversation = met.thread.conversation.id;
        match met.heard {
            Heard::New => {
                let created = ContactCreated {
                    contact: met.contact.clone(),
                    reason: met.thread.conversation.opened_by,
                };
                self.tell(EventType::ContactCreated, Some(conversation), &created)?;
            }
            Heard::Changed => self.tell(EventType::ContactUpdated, Some(conversation), &met.contact)?,
            Heard::Known => {}
        }
        if met.opened {
            let mut changes = Changes::default();
            window_events::opened(&mut changes, &met.thread, self.channel, self.rules, self.now);
            apply(self.db, changes, self.now)?;
        }
        Ok(())
    }

    /// Keeps how a contact came, and tells of it.
    fn keep_referral(&self, thread: &mut StoredConversation, referral: Referral) -> Result<Referral> {
        let id = self.db.mint(self.now);
        let referral = Referral {
            id: Some(id),
            ..referral
        };
        referrals::insert(self.db, thread, id, &referral)?;
        conversations::came_by(self.db, thread, &referral)?;
        let conversation = &thread.conversation;
        let received = ReferralReceived {
            referral: referral.clone(),
            conversation_id: conversation.id,
            contact: conversation.contact.clone(),
        };
        self.tell(EventType::ReferralReceived, Some(conversation.id), &received)?;
        Ok(referral)
    }

    /// How the contact came, if this message is the first that they wrote after it.
    fn came_by(&self, thread: &StoredConversation, sent_at: Timestamp) -> Result<Option<Referral>> {
        if thread.conversation.referral.is_none() {
            return Ok(None);
        }
        let Some(referral) = referrals::before(self.db, thread.conversation.id, sent_at)? else {
            return Ok(None);
        };
        let is_first = messages::take_referral(self.db, thread.conversation.id, &referral, sent_at)?;
        Ok(Some(referral).filter(|_| is_first))
    }

    // ---- messages ----------------------------------------------------------------------------------------------------

    fn contact_wrote(&self, told: InboundMessage) -> Result<Kept> {
        if messages::by_platform_id(self.db, self.channel.id, &told.platform_id, Some(told.part))?.is_some() {
            return Ok(Kept::Known);
        }
        let mut met = self.meet(&told.conversation, &told.contact, OpenedBy::Message, told.sent_at)?;
        let could_write = self.writable(&met.thread);
        self.open_window(&mut met.thread, told.sent_at)?;
        let sequence = met.thread.next(told.sent_at);
        if met.thread.marks.is_unread(sequence, told.sent_at) {
            met.thread.conversation.unread = met.thread.conversation.unread.saturating_add(1);
        }
        conversations::save(self.db, &met.thread)?;
        self.tell_meeting(&met)?;
        let referral = match told.referral.clone() {
            Some(referral) => {
                let referral = Referral {
                    at: referral.at.or(Some(told.sent_at)),
                    ..referral
                };
                Some(self.keep_referral(&mut met.thread, referral)?)
            }
            None => self.came_by(&met.thread, told.sent_at)?,
        };
        let has_media = told.content.media().is_some();
        let message = self.message(&met, told, Status::Received, referral, sequence)?;
        messages::tell(
            self.db,
            &met.thread.workspace,
            &message,
            EventType::MessageReceived,
            self.now,
        )?;
        // A window is news when the business could not write before and now can.
        if self.rules.window.is_some() && !could_write && self.writable(&met.thread) {
            let view = self.view(&met.thread);
            self.tell(EventType::WindowOpened, Some(met.thread.conversation.id), &view)?;
        }
        Ok(if has_media { Kept::WithMedia } else { Kept::New })
    }

    /// A word of the contact opens the window anew and gives the budget back, but for what stands in the outbox and what we
    /// sent after it. An older word than the newest known one changes nothing.
    fn open_window(&self, thread: &mut StoredConversation, sent_at: Timestamp) -> Result<()> {
        let opened_at = window::opened_at(self.rules, sent_at, self.now);
        let conversation = &mut thread.conversation;
        if conversation.contact_wrote_at.is_some_and(|known| known >= opened_at) {
            return Ok(());
        }
        conversation.contact_wrote_at = Some(opened_at);
        conversation.replied |= thread.marks.is_replied(conversation.contact_wrote_at);
        thread.schedule_window_event(self.rules, self.now);
        messages::count_budget(self.db, thread)?;
        if let Some(end) = thread.expires_at(self.rules) {
            outbox::extend(self.db, thread.conversation.id, end)?;
        }
        Ok(())
    }

    fn business_wrote(&self, told: InboundMessage) -> Result<Kept> {
        let known = messages::by_platform_id(self.db, self.channel.id, &told.platform_id, Some(told.part))?;
        if let Some(mut message) = known {
            let mut thread = conversations::needed(self.db, message.conversation_id)?;
            let news = echo::known(self.db, &mut thread, &mut message, &told, self.now)?;
            conversations::save(self.db, &thread)?;
            return Ok(if news { Kept::New } else { Kept::Known });
        }
        let mut met = self.meet(&told.conversation, &told.contact, OpenedBy::Echo, told.sent_at)?;
        if echo::matched(self.db, self.rules, &mut met.thread, &told, self.now)?.is_some() {
            conversations::save(self.db, &met.thread)?;
            self.tell_meeting(&met)?;
            return Ok(Kept::New);
        }
        let sequence = met.thread.next(told.sent_at);
        met.thread.note_sent(told.sent_at);
        // Whoever wrote it elsewhere had read what came before it, and nothing that came after.
        if met.thread.marks.echoed(told.sent_at) && met.thread.conversation.unread > 0 {
            messages::count_unread(self.db, &mut met.thread)?;
        }
        let conversation = &mut met.thread.conversation;
        if self.counts(told.origin) && conversation.contact_wrote_at.is_none_or(|wrote| told.sent_at > wrote) {
            conversation.budget_used += 1;
        }
        conversations::save(self.db, &met.thread)?;
        self.tell_meeting(&met)?;
        let has_media = told.content.media().is_some();
        let referral = told.referral.clone();
        let read_up_to = met.thread.read_up_to;
        let mut message = self.message(&met, told, Status::Sent, referral, sequence)?;
        messages::tell(
            self.db,
            &met.thread.workspace,
            &message,
            EventType::MessageEchoed,
            self.now,
        )?;
        if read_up_to.is_some_and(|read| message.sent_at <= read) {
            self.advance(&mut message, Status::Read, EventType::MessageRead, None)?;
        }
        early::apply(self.db, &met.thread.workspace, &mut message, self.now)?;
        Ok(if has_media { Kept::WithMedia } else { Kept::New })
    }

    /// Whether the platform counts such a message. What came through its API and is none of ours is another program's, or one
    /// that we took for failed: the platform counted it like ours.
    fn counts(&self, origin: Origin) -> bool {
        origin == Origin::Api || self.rules.counts.contains(&origin)
    }

    /// Stores a message that the platform told.
    fn message(
        &self,
        met: &Met,
        told: InboundMessage,
        status: Status,
        referral: Option<Referral>,
        sequence: i64,
    ) -> Result<Message> {
        let conversation = met.thread.conversation.id;
        let id: MessageId = self.db.mint(self.now);
        let quoted = match &told.reply_to {
            Some(platform_id) => messages::by_platform_id(self.db, self.channel.id, platform_id, None)?
                .filter(|quoted| quoted.conversation_id == conversation)
                .map(|quoted| quoted.id),
            None => None,
        };
        let unknown_quote = told.reply_to.filter(|_| quoted.is_none());
        let content = media::expect(self.db, &met.thread.workspace, id, told.content, self.now)?;
        let counts = told.direction == Direction::Outbound && self.counts(told.origin);
        let message = Message {
            id,
            channel_id: self.channel.id,
            conversation_id: conversation,
            contact_id: met.contact.id,
            direction: told.direction,
            origin: told.origin,
            status,
            content,
            platform_id: Some(told.platform_id),
            reply_to: quoted,
            referral,
            client_ref: None,
            error: None,
            warnings: Vec::new(),
            answers: told.answers,
            platform_data: with_quote(told.platform_data, unknown_quote),
            sent_at: told.sent_at,
            created_at: self.now,
            sequence,
        };
        let entry = Entry {
            workspace: &met.thread.workspace,
            part: told.part,
            counted: counts,
        };
        messages::insert(self.db, &message, entry)?;
        if message.direction == Direction::Inbound {
            conversations::note_author(self.db, &met.thread.conversation, message.contact_id)?;
        }
        Ok(message)
    }

    // ---- what became of ours -----------------------------------------------------------------------------------------

    fn receipt(
        &self,
        conversation: &str,
        status: ReceiptStatus,
        target: ReceiptTarget,
        error: Option<MessageError>,
    ) -> Result<Kept> {
        let (next, kind) = match status {
            ReceiptStatus::Delivered => (Status::Delivered, EventType::MessageDelivered),
            ReceiptStatus::Read => (Status::Read, EventType::MessageRead),
            ReceiptStatus::Failed => (Status::Failed, EventType::MessageFailed),
        };
        let error = (status == ReceiptStatus::Failed).then(|| {
            error.unwrap_or_else(|| MessageError {
                code: "not_delivered".to_owned(),
                detail: "the platform took the message and did not deliver it".to_owned(),
                fault: Fault::Platform,
                retryable: false,
                platform: None,
            })
        });
        let touched = match target {
            ReceiptTarget::UpTo(at) => {
                let Some(mut thread) = conversations::by_platform_id(self.db, self.channel.id, conversation)? else {
                    let mark = early::Receipt {
                        channel: self.channel.id,
                        message: "",
                        thread: conversation,
                        status: next,
                        up_to: Some(at),
                        error: None,
                    };
                    early::keep(self.db, &mark, self.now)?;
                    return Ok(Kept::New);
                };
                if status == ReceiptStatus::Read && thread.read_up_to < Some(at) {
                    // For a message whose answer comes after its being read.
                    thread.read_up_to = Some(at);
                    conversations::save(self.db, &thread)?;
                }
                messages::unread_up_to(self.db, thread.conversation.id, at)?
            }
            ReceiptTarget::Messages(ids) => {
                let mut touched = Vec::with_capacity(ids.len());
                for id in ids {
                    let parts = messages::parts(self.db, self.channel.id, &id)?;
                    if parts.is_empty() {
                        let receipt = early::Receipt {
                            channel: self.channel.id,
                            message: &id,
                            thread: conversation,
                            status: next,
                            up_to: None,
                            error: error.as_ref(),
                        };
                        early::keep(self.db, &receipt, self.now)?;
                    }
                    touched.extend(parts);
                }
                touched
            }
        };
        for mut message in touched {
            self.advance(&mut message, next, kind, error.clone())?;
        }
        Ok(Kept::New)
    }

    fn advance(&self, message: &mut Message, next: Status, kind: EventType, error: Option<MessageError>) -> Result<()> {
        let step = Step {
            error,
            ..Step::default()
        };
        if messages::advance(self.db, message, next, step)? {
            messages::tell(self.db, &self.channel.workspace_id, message, kind, self.now)?;
        }
        Ok(())
    }

    // ---- the channel itself ------------------------------------------------------------------------------------------

    fn notice(&self, notice: &str, at: Timestamp, detail: serde_json::Value) -> Result<Kept> {
        let told = ChannelNotice {
            notice: notice.to_owned(),
            detail,
            at,
        };
        match notice {
            "authorization_revoked" => channels::set_status(
                self.db,
                self.channel.id,
                ChannelStatus::ReauthorizationRequired,
                notice,
                self.now,
            )?,
            "inbound_withheld" => self.tell(EventType::ChannelInboundWithheld, None, &told)?,
            _ => self.tell(EventType::ChannelUpdated, None, &told)?,
        }
        Ok(Kept::New)
    }
}

/// Who a fact is about and where, and what of it is news.
struct Met {
    contact: Contact,
    heard: Heard,
    thread: StoredConversation,
    opened: bool,
}

/// A person whom an event left out is the conversation's; where the record has none, the conversation stands for them.
fn named(person: Person, conversation: &str, thread: Option<&StoredConversation>) -> Person {
    if !person.platform_id.is_empty() {
        return person;
    }
    match thread.map(|thread| &thread.conversation.contact) {
        Some(contact) => Person {
            platform_id: contact.platform_id.clone(),
            username: person.username.or_else(|| contact.username.clone()),
            display_name: person.display_name.or_else(|| contact.display_name.clone()),
            avatar_url: person.avatar_url.or_else(|| contact.avatar_url.clone()),
        },
        None => Person {
            platform_id: conversation.to_owned(),
            ..person
        },
    }
}

/// The platform's id of a quoted message that the record does not have: nothing that was told is dropped.
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
