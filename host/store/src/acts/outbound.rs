//! Loads what the acceptance of a message needs, and applies a person's actions on accepted messages.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use weir_domain::channel::Channel;
use weir_domain::claim::{Claim, Claimed, Progress};
use weir_domain::event::{self, EventType};
use weir_domain::id::{ChannelId, ContactId, ConversationId, MessageId};
use weir_domain::message::{Direction, Message, Status};
use weir_domain::policy::PolicySet;
use weir_domain::record::outbound::{self, Destination, NewMessages, Retry, Settlement};
use weir_domain::record::queue::{ConversationQueue, QueuedMessage};
use weir_domain::record::{Changes, StoredConversation, Tracked};
use weir_domain::time::Timestamp;

use crate::acts::{apply, outbox as acts};
use crate::db::Db;
use crate::tables::echo::{self, Seen};
use crate::tables::{channels, claims, conversations, media, messages, outbox};
use crate::{EnqueueError, Enqueued, NewMessage, Resolution, Result, StoreError, StoredResponse, UncertainMessage};

/// HTTP's `202 Accepted`, stored as the status of the first response.
const ACCEPTED: u16 = 202;

/// A message to be accepted, with the rules that apply.
#[derive(Clone, Debug)]
pub(crate) struct Acceptance {
    pub(crate) new: NewMessage,
    pub(crate) policies: PolicySet,
    pub(crate) now: Timestamp,
}

/// What two acceptances may share: the later one then has to see the result of the earlier.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    Conversation(ConversationId),
    Claim(String),
    ClientRef(String),
}

fn shares(acceptance: &Acceptance) -> Vec<Share> {
    let new = &acceptance.new;
    let claim = new.claim.as_ref().map(|claim| Share::Claim(claim.key.clone()));
    let client_ref = new.client_ref.clone().map(Share::ClientRef);
    let conversation = Share::Conversation(new.conversation_id);
    [conversation].into_iter().chain(claim).chain(client_ref).collect()
}

/// Checks messages against the policy and adds them to the outbox. Messages for different conversations are loaded and
/// written together.
pub(crate) fn accept(db: &Db<'_>, all: Vec<Acceptance>) -> Result<Vec<Result<Enqueued, EnqueueError>>> {
    let mut accepted: Vec<Result<Enqueued, EnqueueError>> =
        all.iter().map(|_| Err(EnqueueError::NoConversation)).collect();
    let mut rest: acts::Pieces<Acceptance> = all.into_iter().enumerate().collect();
    while !rest.is_empty() {
        let (these, later) = acts::apart(rest, shares);
        accept_apart(db, these, &mut accepted)?;
        rest = later;
    }
    Ok(accepted)
}

/// Rows read for acceptances that share nothing.
struct Loaded {
    conversations: BTreeMap<ConversationId, StoredConversation>,
    queues: BTreeMap<ConversationId, ConversationQueue>,
    channels: BTreeMap<ChannelId, Arc<Channel>>,
}

/// The response stored under a claim.
struct ClaimedResponse {
    claim: Claim,
    answer: StoredResponse,
    contact: ContactId,
}

fn accept_apart(
    db: &Db<'_>,
    acceptances: acts::Pieces<Acceptance>,
    accepted: &mut [Result<Enqueued, EnqueueError>],
) -> Result<()> {
    let ids: Vec<ConversationId> = acceptances.iter().map(|(_, one)| one.new.conversation_id).collect();
    let stored = conversations::by_ids(db, ids.iter().copied())?;
    let mut loaded = Loaded {
        conversations: stored
            .into_iter()
            .map(|stored| (stored.conversation.id, stored))
            .collect(),
        queues: outbox::queues_of(db, ids)?,
        channels: BTreeMap::new(),
    };
    let (mut changes, mut answered, mut latest) = (Changes::default(), Vec::new(), Timestamp::default());
    for (n, acceptance) in acceptances {
        latest = latest.max(acceptance.now);
        accepted[n] = match accept_one(db, &mut loaded, acceptance) {
            Ok((enqueued, of_one, answer)) => {
                changes.merge(of_one);
                answered.extend(answer);
                Ok(enqueued)
            }
            // The result of all of them is unknown.
            Err(EnqueueError::Store(error)) => return Err(error),
            Err(refused) => Err(refused),
        };
        if let Ok(Enqueued::New(messages)) = &accepted[n] {
            for message in messages {
                media::note_sent(db, message.conversation_id, &message.content)?;
            }
        }
    }
    if let Ok(new @ 1..) = u32::try_from(answered.len()) {
        claims::forget_old(db, new, latest)?;
    }
    for ClaimedResponse { claim, answer, contact } in answered {
        claims::insert_with_response(db, &claim, &answer, Some(contact), latest)?;
    }
    apply(db, changes, latest)
}

/// Checks one message, and writes nothing.
fn accept_one(
    db: &Db<'_>,
    loaded: &mut Loaded,
    acceptance: Acceptance,
) -> Result<(Enqueued, Changes, Option<ClaimedResponse>), EnqueueError> {
    let Acceptance { new, policies, now } = acceptance;
    if let Some(first) = replayed(db, &new, now)? {
        return Ok((Enqueued::Replayed(first), Changes::default(), None));
    }
    let conversation = loaded
        .conversations
        .remove(&new.conversation_id)
        .filter(|stored| stored.workspace == new.workspace_id)
        .ok_or(EnqueueError::NoConversation)?;
    let id = conversation.conversation.channel_id;
    let channel = match loaded.channels.entry(id) {
        Entry::Occupied(known) => Arc::clone(known.get()),
        Entry::Vacant(unknown) => Arc::clone(unknown.insert(Arc::new(channels::needed(db, id)?))),
    };
    if let Some(client_ref) = &new.client_ref
        && let Some(other) = messages::by_client_ref(db, channel.id, client_ref)?
    {
        return Err(EnqueueError::ClientRefTaken(other));
    }
    let rules = policies.rules(&channel);
    let reply_to = match new.reply_to {
        Some(id) => Some((id, quoted(db, &conversation, id)?)),
        None => None,
    };
    let mut contents = Vec::with_capacity(1 + new.then.len());
    for content in std::iter::once(new.content).chain(new.then) {
        contents.push(media::described(db, &new.workspace_id, content)?);
    }
    let contact = conversation.conversation.contact.id;
    let to = Destination {
        queue: loaded.queues.remove(&new.conversation_id).unwrap_or_default(),
        conversation: Tracked::loaded(conversation),
        channel: &channel,
        rules: &rules,
    };
    let new_messages = NewMessages {
        contents,
        reply_to,
        client_ref: new.client_ref,
        origin: new.origin,
    };
    let (messages, changes) = outbound::accept(to, new_messages, db.mint, now)?;
    let answered = new.claim.map(|claim| {
        // The response lists the messages as their events show them.
        let appended = changes
            .events
            .iter()
            .filter(|event| event.kind == EventType::MessageQueued);
        let documents: Vec<&str> = appended.map(|event| event.data.as_str()).collect();
        let answer = StoredResponse {
            status: ACCEPTED,
            body: format!("[{}]", documents.join(",")),
        };
        ClaimedResponse { claim, answer, contact }
    });
    Ok((Enqueued::New(messages), changes, answered))
}

/// The response that the same request received before.
fn replayed(db: &Db<'_>, new: &NewMessage, now: Timestamp) -> Result<Option<Vec<Message>>, EnqueueError> {
    let Some(claim) = &new.claim else { return Ok(None) };
    let kept = match claims::judge(db, claim, now)? {
        Claimed::New => return Ok(None),
        Claimed::Before(Progress::Answered(kept)) if kept.status == ACCEPTED => kept,
        // A send is claimed and answered in one transaction, so any other claim is a different request.
        Claimed::Before(_) | Claimed::Reused => return Err(EnqueueError::KeyReused),
    };
    let first: Vec<event::Message> = serde_json::from_str(&kept.body).map_err(|error| StoreError::Damaged {
        place: format!("claims.body of {}", claim.key),
        reason: error.to_string(),
    })?;
    Ok(Some(first.into_iter().map(Into::into).collect()))
}

/// The platform id of the message to quote. A message that the platform does not know yet cannot be quoted.
fn quoted(db: &Db<'_>, conversation: &StoredConversation, id: MessageId) -> Result<String, EnqueueError> {
    messages::by_id(db, id)?
        .filter(|message| message.conversation_id == conversation.conversation.id)
        .and_then(|message| message.platform_id)
        .ok_or(EnqueueError::NoReplyTarget)
}

pub(crate) fn cancel(
    db: &Db<'_>,
    workspace: &str,
    id: MessageId,
    now: Timestamp,
) -> Result<Option<Result<Message, Message>>> {
    let Some(outbound) = acts::load(db, id)?.filter(|outbound| outbound.message.workspace == workspace) else {
        return Ok(None);
    };
    let as_it_is = outbound.message.message.clone();
    let Some((message, changes)) = outbound::cancel(outbound) else {
        return Ok(Some(Err(as_it_is)));
    };
    apply(db, changes, now)?;
    Ok(Some(Ok(message)))
}

pub(crate) fn retry(
    db: &Db<'_>,
    workspace: &str,
    id: MessageId,
    policies: &PolicySet,
    now: Timestamp,
) -> Result<Option<Message>, EnqueueError> {
    let Some(outbound) = acts::load(db, id)?.filter(|outbound| outbound.message.workspace == workspace) else {
        return Ok(None);
    };
    let message = &outbound.message.message;
    let may_be = message.direction == Direction::Outbound
        && matches!(message.status, Status::Uncertain | Status::Failed)
        // A receipt reported its failure, and the response of its send is still pending.
        && !outbound.queue.get(id).is_some_and(QueuedMessage::is_in_flight);
    if !may_be {
        return Ok(Some(message.clone()));
    }
    let channel = channels::needed(db, message.channel_id)?;
    let by = Retry {
        rules: &policies.rules(&channel),
        channel: &channel,
        draft: acts::draft(db, workspace, message)?,
        epoch: outbox::last_attempt(db, id)?,
    };
    let (message, changes) = outbound::retry(outbound, by, now)?;
    apply(db, changes, now)?;
    Ok(Some(message))
}

pub(crate) fn uncertain(db: &Db<'_>, limit: u32) -> Result<Vec<UncertainMessage>> {
    shown(db, outbox::uncertain(db, limit)?)
}

/// Uncertain messages about which the platform is due to be queried.
pub(crate) fn confirm_uncertain(db: &Db<'_>, limit: u32, now: Timestamp) -> Result<Vec<UncertainMessage>> {
    let to_confirm = outbox::to_confirm(db, limit, now)?;
    for uncertain in &to_confirm {
        outbox::note_confirmation(db, uncertain, now)?;
    }
    shown(
        db,
        to_confirm
            .into_iter()
            .map(|uncertain| (uncertain.message_id, uncertain.dispatched_at))
            .collect(),
    )
}

fn shown(db: &Db<'_>, rows: Vec<(MessageId, Option<Timestamp>)>) -> Result<Vec<UncertainMessage>> {
    rows.into_iter()
        .map(|(id, dispatched_at)| {
            let message = messages::needed(db, id)?;
            let conversation = conversations::needed(db, message.conversation_id)?;
            Ok(UncertainMessage {
                conversation: conversation.conversation,
                channel: channels::needed(db, message.channel_id)?,
                dispatched_at: dispatched_at.unwrap_or(message.sent_at),
                message,
            })
        })
        .collect()
}

pub(crate) fn resolve(db: &Db<'_>, workspace: &str, id: MessageId, found: Resolution, now: Timestamp) -> Result<bool> {
    let is_uncertain = |message: &Message| message.status == Status::Uncertain;
    if !messages::one(db, workspace, id)?.is_some_and(|message| is_uncertain(&message)) {
        return Ok(false);
    }
    let Some(outbound) = acts::load(db, id)? else {
        return Ok(false);
    };
    let (platform_id, at) = match found {
        Resolution::Found { platform_id, at } => (platform_id, at),
        Resolution::HistoryRead {
            possible_since,
            likely_since,
        } => match echo::seen(db, &outbound.message.message, possible_since, likely_since)? {
            Seen::There { platform_id, at } => (platform_id, at),
            Seen::Perhaps => return Ok(false),
            Seen::Nothing => {
                let (changes, _) = outbound::resolve(outbound, Settlement::Absent, now);
                apply(db, changes, now)?;
                return Ok(true);
            }
        },
        Resolution::GivenUp => {
            let (changes, _) = outbound::resolve(outbound, Settlement::GivenUp, now);
            apply(db, changes, now)?;
            return Ok(true);
        }
    };
    let arrival = echo::arrival(db, &outbound, &platform_id, at)?;
    let settlement = Settlement::Found {
        platform_id,
        at,
        arrival,
    };
    let (changes, is_believed) = outbound::resolve(outbound, settlement, now);
    acts::warn_of_id(id, is_believed);
    apply(db, changes, now)?;
    Ok(true)
}
