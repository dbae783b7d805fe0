//! What Weir remembers. Each method of [`Store`] is one transaction, and says what it promises when two callers meet in it.
//!
//! What it promises as a whole: a webhook that was answered is here; a message that was accepted is in the outbox; an event
//! and what it tells of are written together; a worker that lost its lease can write nothing. What is allowed is judged by
//! [`weir_domain::policy`], inside the transaction that depends on it.
//!
//! A backend passes the suite in `conformance`; nothing outside this crate knows which one it is.
#![forbid(unsafe_code)]

mod acts;
mod claims;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod kill_point;
mod records;
mod sqlite;
mod vault;

pub use claims::{carried, for_claim};
pub use kill_point::kill_point;
pub use records::*;
pub use sqlite::SqliteStore;
pub use vault::MasterKey;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use weir_domain::caller::{Key, Session};
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::claim::{Claim, Claimed};
use weir_domain::clock::ClockOffset;
use weir_domain::conversation::{Contact, Conversation};
use weir_domain::credential::{Credential, Tokens};
use weir_domain::delivery::Next;
use weir_domain::event::{Event, EventType};
use weir_domain::grant::Grants;
use weir_domain::id::{
    ChannelId, ConnectSessionId, ContactId, ConversationId, DeadLetterId, DeliveryId, EndpointId, EventId, KeyId,
    MediaId, MessageId, ReferralId, RefusalId, TranscriptId,
};
use weir_domain::inbound::{InboundEvent, Person};
use weir_domain::message::{Message, Referral};
use weir_domain::policy::{Refusal, RuleBook};
use weir_domain::rollout::{Canary, Intent, VersionAct};
use weir_domain::time::Timestamp;
use weir_domain::workspace::{InUse, Workspace};

/// Why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many writes wait already, or the disk is full or locked. Nothing was written; come back later.
    #[error("the store cannot take this write now: {reason}; nothing was written, try again")]
    Unavailable {
        /// What is in the way.
        reason: String,
    },
    /// What was written before cannot be read.
    #[error("the record is damaged at {place}: {reason}")]
    Damaged {
        /// Table and row.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The record was sealed with another master key. Nothing was changed.
    #[error(
        "its credentials are sealed with another master key; give it the one that it was written with: WEIR_MASTER_KEY, or \
         master.key in the data folder"
    )]
    WrongKey,
    /// The record was written by a newer Weir, or has a form that cannot be migrated. Nothing was changed.
    #[error("this Weir cannot open the record: {0}")]
    Schema(String),
    /// The database said no in a way that nobody foresaw.
    #[error("the database failed: {0}")]
    Database(String),
}

/// Why a message did not enter the outbox.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// A rule says no; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No such conversation in this workspace.
    #[error("there is no such conversation")]
    NoConversation,
    /// The message to quote is not in this conversation.
    #[error("the message to reply to is not in this conversation")]
    NoReplyTarget,
    /// The idempotency key was used with another request.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// Another message of the channel has this reference.
    #[error("another message of this channel has the same client_ref: {0}")]
    ClientRefTaken(MessageId),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a workspace was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveWorkspaceError {
    /// Nothing was changed.
    #[error(transparent)]
    InUse(#[from] InUse),
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The result of most methods.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// The record. Every method is one transaction.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // ---- workspaces, keys, apps, connectors ------------------------------------------------------------------------

    /// Keeps a workspace. False if there is one of this name, or one that is being removed.
    async fn insert_workspace(&self, workspace: Workspace) -> Result<bool>;
    /// All workspaces, by name.
    async fn workspaces(&self) -> Result<Vec<Workspace>>;
    /// The workspace of this name.
    async fn workspace(&self, id: &str) -> Result<Option<Workspace>>;
    /// Marks a workspace as removed, if its channels are deleted: its keys, sessions and endpoints end, its apps are found no more,
    /// and nothing enters it from then on. What is in it waits for [`Self::clear_workspaces`]. False if there is no such workspace.
    async fn remove_workspace(&self, id: &str, now: Timestamp) -> Result<bool, RemoveWorkspaceError>;
    /// Deletes some of what is left in removed workspaces, `limit` rows of a kind at most, and a mark when nothing can follow it.
    /// Whether there may be more.
    async fn clear_workspaces(&self, now: Timestamp, limit: u32) -> Result<bool>;

    /// Keeps a key. The prefix is unique.
    async fn insert_key(&self, key: Key) -> Result<()>;
    /// Keeps the key that the operator's configuration names, in the place of the one of the same name before: that opens
    /// nothing any more, and its sessions end. The same key again changes nothing; one that was revoked works again.
    async fn put_configured_key(&self, key: Key, now: Timestamp) -> Result<()>;
    /// The key with this prefix, ended ones too.
    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<Key>>;
    /// All keys of a workspace, oldest first.
    async fn keys(&self, workspace: &str) -> Result<Vec<Key>>;
    /// Ends a key; false if there is none. Repeating it changes nothing.
    async fn revoke_key(&self, workspace: &str, id: KeyId, now: Timestamp) -> Result<bool>;

    /// Keeps a session that was begun with a key, and drops those that are over, and the oldest of the key beyond the bound.
    async fn insert_session(&self, digest: [u8; 32], key: KeyId, expires_at: Timestamp, now: Timestamp) -> Result<()>;
    /// The session with this digest and its key, ended ones too.
    async fn session(&self, digest: [u8; 32]) -> Result<Option<Session>>;
    /// Ends a session. Repeating it changes nothing.
    async fn end_session(&self, digest: [u8; 32]) -> Result<()>;

    /// Creates or replaces an app. Its secrets are encrypted at rest, with the row as associated data.
    async fn put_app(&self, app: App) -> Result<()>;
    /// The app of this name.
    async fn app(&self, name: &str) -> Result<Option<App>>;
    /// All apps, by name.
    async fn apps(&self) -> Result<Vec<App>>;

    /// Stages a version with an event. The same digest again changes nothing and gives what is there.
    ///
    /// # Errors
    /// [`StageError`] when this version number stands for other bytes, or the release counter goes back.
    async fn stage_version(&self, version: NewVersion, now: Timestamp) -> Result<Version, StageError>;
    /// Versions of all connectors, newest first within each.
    async fn versions(&self) -> Result<Vec<Version>>;
    /// One version.
    async fn version(&self, connector: &str, version: &str) -> Result<Option<Version>>;
    /// Writes down that a change of a connector's versions begins: from here on a start finishes or undoes it. False, and
    /// nothing is written, if another one is open.
    async fn begin_version_change(&self, connector: &str, intent: Intent) -> Result<bool>;
    /// Changes that have begun and are not over, by their connectors.
    async fn open_version_changes(&self) -> Result<Vec<(String, Intent)>>;
    /// Undoes the open change of a connector: the states that it moved are as they were, their owners' again. How many.
    async fn undo_version_change(&self, connector: &str) -> Result<u64>;
    /// Makes a version the active one, by a promotion or a roll-back, and the one before draining, with an event and why, in words. Ends the open
    /// change. None if there is no such version.
    async fn activate_version(
        &self,
        connector: &str,
        version: &str,
        act: VersionAct,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Makes a version the canary, or changes its share or rule, with an event; another one that was a canary is staged again. Ends the
    /// open change. None if there is no such version.
    async fn begin_canary(
        &self,
        connector: &str,
        version: &str,
        canary: Canary,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Ends a version's canary run: it is staged again, or drains if it owns accounts, with an event that says why. Ends the open
    /// change. None if it is on none.
    async fn end_canary(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        failed: bool,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// Keeps what the calls of a canary run came to, also after its end. A version that never was a canary changes nothing.
    async fn keep_canary_figures(&self, connector: &str, version: &str, figures: serde_json::Value) -> Result<()>;
    /// The last canary run of a version.
    async fn canary_run(&self, connector: &str, version: &str) -> Result<Option<CanaryRunRecord>>;
    /// Retires a version that serves nobody and owns no account.
    async fn retire_version(&self, connector: &str, version: &str, now: Timestamp) -> Result<Retirement>;
    /// The version that served before the active one, in the line of those that were active: a roll-back takes the last of the
    /// line away.
    async fn active_before(&self, connector: &str) -> Result<Option<String>>;
    /// The steps in the lives of a connector's versions, newest first.
    async fn version_changes(&self, connector: &str, limit: u32) -> Result<Vec<VersionChange>>;
    /// Keeps what was written down of a call; beyond `ring` of its connector the oldest go.
    async fn keep_transcript(&self, record: TranscriptRecord, ring: u32) -> Result<()>;
    /// Transcripts of a connector, newest first.
    async fn transcripts(&self, connector: &str, filter: TranscriptFilter) -> Result<Vec<TranscriptRecord>>;
    /// One transcript.
    async fn transcript(&self, connector: &str, id: TranscriptId) -> Result<Option<TranscriptRecord>>;
    /// Drops the transcripts that are older; how many.
    async fn drop_transcripts(&self, before: Timestamp) -> Result<u64>;
    /// Quarantines a version, with an event that says why. None if there is no such version.
    async fn quarantine_version(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>>;
    /// What the operator granted a connector; empty until then.
    async fn grants(&self, connector: &str) -> Result<Grants>;
    /// Replaces what the operator granted.
    async fn put_grants(&self, connector: &str, grants: Grants, now: Timestamp) -> Result<()>;

    // ---- connecting ------------------------------------------------------------------------------------------------

    /// Keeps a connect session.
    async fn insert_connect_session(&self, session: ConnectSession) -> Result<()>;
    /// The session, expired if its time is over at `now`.
    async fn connect_session(&self, id: ConnectSessionId, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// The session with this OAuth state, wherever it stands.
    async fn connect_session_of(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// Takes the pending session with this OAuth state: of two callers, one gets it.
    async fn take_connect_session(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// Keeps what the platform gave for the code of a session that was taken: the code is spent, so from here on a start goes
    /// on with these.
    async fn keep_first_tokens(&self, id: ConnectSessionId, tokens: Tokens) -> Result<()>;
    /// Sessions that were taken and have not ended: at work, or cut off by the end of the process.
    async fn taken_connect_sessions(&self, now: Timestamp) -> Result<Vec<ConnectSession>>;
    /// Says how a session ended.
    async fn finish_connect_session(&self, id: ConnectSessionId, end: ConnectEnd) -> Result<()>;
    /// Ends the sessions that nobody came to in time; those that were taken are finished by whoever took them, or by the next
    /// start. How many.
    async fn end_connect_sessions(&self, now: Timestamp) -> Result<u32>;

    /// Connects an account, with its credential, its state, the end of its session and an event. An account that the app knows
    /// already is updated in place: its id, history and name stay, and a deleted one comes back. Says whether it is new.
    async fn connect_channel(&self, new: NewChannel, credential: Credential, now: Timestamp)
    -> Result<(Channel, bool)>;
    /// The channel of this id, deleted ones too.
    async fn channel(&self, id: ChannelId) -> Result<Option<Channel>>;
    /// Channels of a workspace, or these of it, newest first; deleted ones only if asked.
    async fn channels(
        &self,
        workspace: &str,
        these: BTreeSet<ChannelId>,
        deleted: bool,
        page: Page,
    ) -> Result<Listed<Channel>>;
    /// Changes what an operator may change, with an event. None if there is none.
    async fn update_channel(&self, id: ChannelId, patch: ChannelPatch, now: Timestamp) -> Result<Option<Channel>>;
    /// Notes whether a channel works, with an event if that is news: `reauthorization_required` and `recovered` among them.
    /// Messages held for the authorization become due when it recovers.
    async fn set_channel_status(
        &self,
        id: ChannelId,
        status: ChannelStatus,
        reason: &str,
        now: Timestamp,
    ) -> Result<()>;
    /// Deletes a channel: its credential is destroyed, queued messages fail, its conversations end with the next
    /// [`Store::tell_news`], its history stays. With an event.
    async fn delete_channel(&self, id: ChannelId, now: Timestamp) -> Result<Option<Channel>>;
    /// The channel of an account, deleted ones too.
    async fn channel_of_account(&self, app: &str, platform_id: &str) -> Result<Option<Channel>>;
    /// The set-up of a channel is done.
    async fn set_up_done(&self, id: ChannelId) -> Result<()>;
    /// The set-up of a channel failed, and is due again later: the more often it failed, the later.
    async fn set_up_failed(&self, id: ChannelId, now: Timestamp) -> Result<()>;
    /// Channels whose set-up is due, longest first.
    async fn set_ups_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Channel>>;
    /// To be called at the start: set-ups that nobody reported the end of are due now, and their channels degraded until then,
    /// with an event each. How many.
    async fn resume_set_ups(&self, now: Timestamp) -> Result<u32>;

    /// The credential of a channel, decrypted.
    async fn credential(&self, id: ChannelId) -> Result<Option<Credential>>;
    /// Notes that the platform is asked for another credential: what follows cannot be undone. Commit this before.
    async fn begin_renewal(&self, id: ChannelId, now: Timestamp) -> Result<()>;
    /// Notes that the platform has refused to renew: the credential is as it was.
    async fn end_renewal(&self, id: ChannelId) -> Result<()>;
    /// Since when a renewal has no end: it is under way, or was cut off.
    async fn renewal_begun(&self, id: ChannelId) -> Result<Option<Timestamp>>;
    /// Puts a renewed credential in the place of `old`, which it was made from. A channel that waited for it is connected again,
    /// with an event. False, and nothing is written, if the channel has another credential by now, or was deleted. Repeating it
    /// changes nothing.
    async fn put_credential(&self, id: ChannelId, old: Credential, renewed: Credential, now: Timestamp)
    -> Result<bool>;
    /// Channels whose access token dies before `before` or whose renewal has no end, soonest first.
    async fn credentials_due(&self, before: Timestamp, limit: u32) -> Result<Vec<ChannelId>>;

    /// Where asking a platform without webhooks goes on; none at the beginning.
    async fn poll_cursor(&self, id: ChannelId) -> Result<Option<String>>;
    /// Keeps where it goes on. To be called once what came before it is recorded.
    async fn keep_poll_cursor(&self, id: ChannelId, cursor: Option<String>) -> Result<()>;

    /// Keeps that the platform refused to show a conversation's history.
    async fn keep_history_gap(&self, gap: HistoryGap) -> Result<()>;
    /// The history of a conversation was read.
    async fn close_history_gap(&self, channel: ChannelId, conversation: &str) -> Result<()>;
    /// The conversations of a channel whose history is still to be read; bounded.
    async fn history_gaps(&self, channel: ChannelId) -> Result<Vec<HistoryGap>>;
    /// Those of all channels that are to be asked for again, the longest due first.
    async fn history_gaps_due(&self, limit: u32, now: Timestamp) -> Result<Vec<HistoryGap>>;

    /// A channel's state.
    async fn state(&self, id: ChannelId) -> Result<ChannelState>;
    /// Writes of one call, all or none. A state that nobody owned is the writer's from then on. False, and nothing is written,
    /// if another version owns it.
    async fn commit_state(&self, id: ChannelId, writes: Vec<StateWrite>) -> Result<bool>;
    /// The channels of a connector that have a state, and whose it is.
    async fn state_owners(&self, connector: &str) -> Result<Vec<StateOwner>>;
    /// Hands a channel's state from one version to another, and keeps a copy of what it was. False, and nothing is written,
    /// if the state is another by now.
    async fn hand_state_over(&self, connector: &str, handed: StateMove) -> Result<bool>;
    /// Leaves a channel's state with a version, since another could not take it over, with an event that says why.
    async fn hold_state(
        &self,
        connector: &str,
        channel: ChannelId,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<()>;
    /// Gives a channel's state back to the version that it was taken over from, as it was. False, and nothing is written, if
    /// `from` does not own it, or there is no copy of `to`.
    async fn give_state_back(&self, connector: &str, channel: ChannelId, from: &str, to: &str) -> Result<bool>;
    /// Holds the accounts of a connector whose versions cannot run, by version and why, and frees all others, with an event for
    /// each change.
    async fn hold_accounts(
        &self,
        connector: &str,
        reasons: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<HeldAccounts>;
    /// Why a channel is held, since the version that owns its state cannot run.
    async fn held(&self, id: ChannelId) -> Result<Option<String>>;

    // ---- inbound ---------------------------------------------------------------------------------------------------

    /// Records what one webhook (or one reading of the history) told: for each event whose key the channel has not seen,
    /// the contact, the conversation with its window and budget, the message or what became of one, and the event log.
    /// Events for accounts that the app does not know, or that were deleted, are counted and not kept.
    /// Our own echo is matched to the message by platform id, and else to the one message of that conversation that is
    /// being sent or is uncertain, so that an echo may come before the answer of the send.
    async fn record_inbound(
        &self,
        app: &App,
        events: Vec<InboundEvent>,
        source: Source,
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Recorded>;
    /// Tells what time alone brought to up to `limit` conversations: the window closes in a while, or is closed, by the rules of
    /// the app that `books` names; the conversations of a deleted channel end. Oldest news first. How many were looked at;
    /// `limit` if there may be more. One whose app has no rules there is looked at again after
    /// [`weir_domain::limits::NEWS_WAIT`]. Of a window that moved meanwhile only where it stands now is told.
    async fn tell_news(&self, books: BTreeMap<String, RuleBook>, limit: u32, now: Timestamp) -> Result<u32>;
    /// Keeps a verified webhook that could not be translated, or what was polled and is unknown. At the bound of the app
    /// nothing gives way: [`StoreError::Unavailable`], and whoever brought it keeps it.
    async fn keep_dead_letter(&self, letter: DeadLetter) -> Result<()>;
    /// Dead letters of these apps without their bodies, newest first.
    async fn dead_letters(&self, apps: BTreeSet<String>, page: Page) -> Result<Listed<DeadLetter>>;
    /// One, with its body.
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>>;
    /// Drops one; false if there is none.
    async fn drop_dead_letter(&self, id: DeadLetterId) -> Result<bool>;

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// One contact.
    async fn contact(&self, workspace: &str, id: ContactId) -> Result<Option<Contact>>;
    /// Contacts of these channels, of all if none is named; newest first.
    async fn contacts(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<Contact>>;
    /// The conversation with a contact that something last happened in; none before the first.
    async fn conversation_with(&self, workspace: &str, id: ContactId) -> Result<Option<Conversation>>;
    /// Keeps what the platform says of a person that a channel talks to, with an event if that is news.
    async fn hear_of_contact(
        &self,
        workspace: &str,
        channel: ChannelId,
        person: Person,
        now: Timestamp,
    ) -> Result<Contact>;
    /// Erases a contact with every conversation that is only theirs, their words in others, the events and deliveries that tell of
    /// them, and what a connector's state says of them, with an event that tells only that it happened. Their next message makes a new contact. What may name
    /// them anywhere is left to [`Store::erase_on`]. None if there is no such contact.
    async fn erase_contact(&self, workspace: &str, id: ContactId, now: Timestamp) -> Result<Option<Erased>>;
    /// Goes on with the erasures that are not over, by a step of bounded length: reads dead letters, transcripts, refusals, kept
    /// answers and events of no conversation, and removes those that name who was erased; in the end empties
    /// the log. Two callers at once do the same work twice, and nothing else.
    async fn erase_on(&self) -> Result<Erasing>;
    /// Empties the record's log if it is longer than [`limits::LOG_BYTES`](weir_domain::limits::LOG_BYTES). Whether it did.
    async fn empty_long_log(&self) -> Result<bool>;
    /// One conversation.
    async fn conversation(&self, workspace: &str, id: ConversationId) -> Result<Option<Conversation>>;
    /// Conversations, the one with the newest message first. One page looks at [`weir_domain::limits::ROWS_SCANNED`] at most, so
    /// that with a name it may hold none, and more follow.
    async fn conversations(
        &self,
        workspace: &str,
        filter: ConversationFilter,
        page: Page,
    ) -> Result<Listed<Conversation>>;
    /// The newest message of each of these conversations.
    async fn last_messages(&self, conversations: Vec<ConversationId>) -> Result<BTreeMap<ConversationId, Message>>;
    /// Somebody looked at what the contact wrote: nothing of it is unread.
    async fn looked_at(&self, workspace: &str, id: ConversationId) -> Result<()>;
    /// Notes what the platform said that a conversation can carry.
    async fn set_images_allowed(&self, id: ConversationId, allowed: bool, until: Timestamp) -> Result<()>;
    /// One message.
    async fn message(&self, workspace: &str, id: MessageId) -> Result<Option<Message>>;
    /// Messages of these channels, of all if none is named, that hold these words, in whatever case, newest first. One page looks through the next
    /// [`limits::MESSAGES_SEARCHED`](weir_domain::limits::MESSAGES_SEARCHED) at most, so it may hold none, and another follow.
    async fn search_messages(
        &self,
        workspace: &str,
        of: BTreeSet<ChannelId>,
        words: &str,
        page: Page,
    ) -> Result<Listed<Message>>;
    /// Messages of a conversation, newest first.
    async fn messages(&self, workspace: &str, conversation: ConversationId, page: Page) -> Result<Listed<Message>>;
    /// How contacts came to these channels, to all if none is named; newest first.
    async fn referrals(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<ReferralRecord>>;
    /// How a contact came.
    async fn referral(&self, workspace: &str, id: ReferralId) -> Result<Option<ReferralRecord>>;
    /// Keeps what was found out of the ad that brought a contact.
    async fn keep_ad(&self, id: ReferralId, answer: AdAnswer) -> Result<()>;
    /// The newest referral of a channel by a link that put this text into the composer.
    async fn referral_with_prefill(&self, channel: ChannelId, text: &str) -> Result<Option<Referral>>;
    /// Deletes what is older than it is kept, oldest first and at most `limit` rows of a kind, so that nobody waits long for
    /// it. What is not settled stays: messages in the outbox, events that an enabled endpoint waits for. What a disabled one
    /// waits for goes, and is counted as missed.
    async fn forget(&self, since: KeptSince, limit: u32) -> Result<Forgotten>;
    /// Each try of a message, oldest first, with the requests that left.
    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>>;

    // ---- outbound --------------------------------------------------------------------------------------------------

    /// Judges a draft and puts it into the outbox, with an event and the answer under the caller's claim, in one transaction: two
    /// callers cannot both spend the last message of a window. The same key with the same request gives the first answer.
    async fn enqueue(&self, new: NewMessage, book: &RuleBook, now: Timestamp) -> Result<Enqueued, EnqueueError>;
    /// Leases messages that are due, as many as there is room for: at most one of a conversation, the oldest; channels in
    /// turn; none of a channel that is held or waits for authorization. The attempt is written open now, before anything leaves. A
    /// conversation with an uncertain message waits for it up to [`weir_domain::limits::UNCERTAIN_WAIT`].
    async fn lease_messages(&self, owner: &str, room: Room, now: Timestamp) -> Result<Vec<MessageLease>>;
    /// Closes the attempt and moves the message on, with an event and the state that the call wrote. False, and nothing
    /// written, if the lease was lost meanwhile.
    async fn settle_message(
        &self,
        lease: &LeaseToken,
        next: Next,
        requests: Vec<RequestRecord>,
        state: Vec<StateWrite>,
        now: Timestamp,
    ) -> Result<bool>;
    /// Messages whose lease ran out over an open attempt become uncertain; queued ones past their end fail. How many.
    async fn sweep_messages(&self, now: Timestamp) -> Result<u32>;
    /// Ends the leases of messages and deliveries that another than `owner` holds: those processes have died, and nobody waits
    /// for a lease that nobody works under. How many.
    async fn end_leases_of_others(&self, owner: &str, now: Timestamp) -> Result<u32>;
    /// Uncertain messages, oldest first, with when they were sent.
    async fn uncertain_messages(&self, limit: u32) -> Result<Vec<UncertainMessage>>;
    /// Settles an uncertain message by what the history or a person said. False if it is not uncertain any more.
    async fn resolve_uncertain(&self, id: MessageId, found: Resolution, now: Timestamp) -> Result<bool>;
    /// Takes a queued message back. What it was, if it could not be.
    async fn cancel_message(
        &self,
        workspace: &str,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Result<Message, Message>>>;
    /// Queues a failed or uncertain message again, judged anew by the same rules.
    async fn retry_message(
        &self,
        workspace: &str,
        id: MessageId,
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Option<Message>, EnqueueError>;
    /// When the next message is due, of whichever app but these; none if none waits.
    async fn next_message_due(&self, without: Vec<String>) -> Result<Option<Timestamp>>;
    /// How many messages of a channel wait, and since when.
    async fn queue(&self, channel: ChannelId) -> Result<QueueDepth>;

    // ---- media -----------------------------------------------------------------------------------------------------

    /// Keeps what is known of stored bytes.
    async fn insert_media(&self, media: Media) -> Result<()>;
    /// What is known of stored bytes.
    async fn media(&self, id: MediaId) -> Result<Option<Media>>;
    /// Attachments to be fetched at `now`, oldest first, each leased until the fetch must be over.
    async fn lease_media(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>>;
    /// When the next attachment is due; none if none waits.
    async fn next_media_due(&self) -> Result<Option<Timestamp>>;
    /// The bytes are here. If their row is gone meanwhile, the file is to be removed.
    async fn media_stored(&self, id: MediaId, mime_type: String, size: u64, now: Timestamp) -> Result<()>;
    /// The fetch failed: again at `retry_at`, or never; then the message's content becomes fallback content with `reason`.
    async fn media_failed(&self, id: MediaId, reason: &str, retry_at: Option<Timestamp>, now: Timestamp) -> Result<()>;

    /// Files whose rows are gone, written down in the transaction that deleted those.
    async fn files_to_remove(&self, limit: u32) -> Result<Vec<MediaId>>;
    /// They are gone, or another file will never be in their place.
    async fn files_removed(&self, ids: Vec<MediaId>) -> Result<()>;
    /// Which of these have no row.
    async fn media_without_row(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>>;

    // ---- events ----------------------------------------------------------------------------------------------------

    /// Writes one event that nothing else goes with.
    async fn append_event(
        &self,
        workspace: &str,
        channel: Option<ChannelId>,
        kind: EventType,
        data: serde_json::Value,
        now: Timestamp,
    ) -> Result<Event>;
    /// Events after a place in the log, in order. One page looks at [`weir_domain::limits::ROWS_SCANNED`] events at most, so it
    /// may hold fewer than there is room for, or none, and more follow: `next` is the place to go on from.
    async fn events(&self, workspace: &str, after: i64, filter: &EventFilter, limit: u32) -> Result<Listed<Event>>;
    /// One event.
    async fn event(&self, workspace: &str, id: EventId) -> Result<Option<Event>>;
    /// The place in the log of an event, of one that was erased too; 0 for one that became too old to be kept. None if there never
    /// was such an event.
    async fn event_place(&self, workspace: &str, id: EventId) -> Result<Option<i64>>;
    /// The end of the log.
    async fn last_sequence(&self) -> Result<i64>;
    /// The end of the log, which changes after each commit that made the log longer: who shows or delivers events as they come
    /// waits on it, and no write has to say that it added one.
    fn log_end(&self) -> watch::Receiver<i64>;

    /// Keeps an endpoint. It gets the events that come after.
    async fn insert_endpoint(&self, endpoint: Endpoint) -> Result<()>;
    /// One endpoint.
    async fn endpoint(&self, workspace: &str, id: EndpointId) -> Result<Option<Endpoint>>;
    /// Endpoints, newest first.
    async fn endpoints(&self, workspace: &str, page: Page) -> Result<Listed<Endpoint>>;
    /// Changes an endpoint. None if there is none.
    async fn update_endpoint(
        &self,
        workspace: &str,
        id: EndpointId,
        patch: EndpointPatch,
        now: Timestamp,
    ) -> Result<Option<Endpoint>>;
    /// Removes an endpoint and what waits for it; false if there is none.
    async fn delete_endpoint(&self, workspace: &str, id: EndpointId) -> Result<bool>;
    /// Writes down that this endpoint is to be given what it did not take of the events since then: deliveries that failed or
    /// wait for another try, and what was told while it was switched off. Asked for twice, it is one recovery from the earlier
    /// moment on. False if there is no such endpoint.
    async fn begin_recovery(&self, workspace: &str, id: EndpointId, since: Timestamp, now: Timestamp) -> Result<bool>;
    /// Takes the next step of a recovery: looks at [`weir_domain::limits::EVENTS_RECOVERED`] events, the oldest first. Until the
    /// last step nothing of the endpoint is leased.
    async fn recover_step(&self, id: EndpointId, now: Timestamp) -> Result<RecoveryStep>;
    /// Endpoints whose recovery took its last step before then.
    async fn recoveries(&self, before: Timestamp) -> Result<Vec<EndpointId>>;
    /// Tells of the enabled endpoints to which nothing has gone through for [`weir_domain::limits::ENDPOINT_FAILING`], once
    /// each. How many.
    async fn tell_failing(&self, now: Timestamp) -> Result<u32>;
    /// Queues one event for one endpoint, whatever its filter: an example, or a resend.
    async fn insert_delivery(&self, endpoint: EndpointId, event: EventId, now: Timestamp) -> Result<DeliveryId>;
    /// Leases up to `limit` deliveries that are due; for an endpoint that keeps order, at most one of a conversation, the
    /// oldest, so that a failing event blocks only its conversation. Endpoints in turn.
    async fn lease_deliveries(&self, owner: &str, limit: u32, now: Timestamp) -> Result<Vec<DeliveryLease>>;
    /// Writes down how a try went. False, and nothing written, if the lease was lost meanwhile.
    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        attempt: DeliveryAttempt,
        next: DeliveryNext,
        now: Timestamp,
    ) -> Result<bool>;
    /// When the next delivery is due; none if none waits.
    async fn next_delivery_due(&self) -> Result<Option<Timestamp>>;
    /// Deliveries, newest first.
    async fn deliveries(&self, workspace: &str, of: DeliveriesOf, page: Page) -> Result<Listed<Delivery>>;
    /// One delivery, with its tries.
    async fn delivery(&self, workspace: &str, id: DeliveryId) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>>;

    // ---- the rest --------------------------------------------------------------------------------------------------

    /// Keeps a no, so that it can explain itself.
    async fn keep_refusal(&self, refusal: RefusalRecord) -> Result<()>;
    /// One.
    async fn refusal(&self, workspace: &str, id: RefusalId) -> Result<Option<RefusalRecord>>;
    /// Refusals, newest first.
    async fn refusals(&self, workspace: &str, page: Page) -> Result<Listed<RefusalRecord>>;
    /// How often each rule said no, and to whom, the most frequent first.
    async fn refusal_counts(&self, workspace: &str, limit: u32) -> Result<Vec<RefusalCount>>;
    /// Forgets some refusals and changes: those before these moments, and the oldest of more than
    /// [`weir_domain::limits::REFUSALS`] and [`weir_domain::limits::AUDIT_ENTRIES`]. How many; 0 when nothing is left to do.
    async fn forget_ledgers(&self, refusals: Timestamp, changes: Timestamp) -> Result<u32>;
    /// Who changed what.
    async fn audit(&self, entry: AuditEntry) -> Result<()>;
    /// Newest first.
    async fn audit_log(&self, workspace: &str, page: Page) -> Result<Listed<AuditEntry>>;
    /// Claims an idempotency key for a request at which `owner` works: of two callers, one gets it. It holds for
    /// [`weir_domain::limits::IDEMPOTENCY`]. What the request writes then is written [for the claim](for_claim).
    async fn claim(&self, claim: Claim, owner: &str, now: Timestamp) -> Result<Claimed<KeptAnswer>>;
    /// Keeps the answer of a claimed request that succeeded, and whom it is about.
    async fn answer_claim(&self, claim: Claim, answer: KeptAnswer, about: Option<ContactId>) -> Result<()>;
    /// Gives the key of a claimed request back that was refused: it may be asked again.
    async fn release_claim(&self, claim: Claim) -> Result<()>;
    /// The claimed request broke off. If nothing was written for it, its key is given back.
    async fn interrupt_claim(&self, claim: Claim) -> Result<()>;
    /// The same for every claim at which another than `owner` worked: those processes have died. How many.
    async fn interrupt_claims_of_others(&self, owner: &str) -> Result<u32>;
    /// The clock was set back by so much and shows `now`: messages, deliveries and attachments wait for their next try, and leases
    /// for their end, only as long as they had still to wait. How many rows were touched.
    async fn clock_set_back(&self, by: Duration, now: Timestamp) -> Result<u32>;
    /// The clock was set forward by so much: the leases of this owner last as long as they had still to last, so that what is in
    /// its hands is not taken for lost. Others' run out. How many rows were touched.
    async fn clock_set_forward(&self, owner: &str, by: Duration) -> Result<u32>;
    /// How far the clocks of platforms are from ours, by app, as noted; an app that is not named agrees with us.
    async fn platform_clocks(&self) -> Result<BTreeMap<String, ClockOffset>>;
    /// Notes how far the clock of an app's platform is from ours, and moves the ends of queued messages and the next looks at
    /// windows, which are moments of the platform. To be called before anything is judged by the offset. How many rows were
    /// touched.
    async fn note_platform_clock(&self, app: &str, offset: ClockOffset, now: Timestamp) -> Result<u32>;
    /// Moves the clock that ages are counted by on by what `passed` since the last time, toward `now`, and gives where it stands.
    /// It is kept over restarts.
    async fn age(&self, passed: Duration, now: Timestamp) -> Result<Timestamp>;
    /// Depths and ages of all queues, for metrics.
    async fn depths(&self) -> Result<Depths>;
    /// Reads one row: is the record there?
    async fn ping(&self) -> Result<()>;
    /// Writes one row: can the record be written?
    async fn probe(&self) -> Result<()>;
    /// Copies the record to a file while it is in use.
    async fn backup(&self, to: &std::path::Path) -> Result<()>;
    /// Finishes what waits and closes. Later calls are [`StoreError::Unavailable`].
    async fn close(&self);
}

/// Why a version could not be staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The number stands for other bytes.
    #[error("version {version} of {connector} is already here with other bytes (digest {digest}); raise the version")]
    Taken {
        /// The connector.
        connector: String,
        /// The version.
        version: String,
        /// Of what is here.
        digest: String,
    },
    /// The release counter goes back.
    #[error(
        "release {wanted} of {connector} is older than the newest one here, {newest}; a downgrade must be asked for"
    )]
    Downgrade {
        /// The connector.
        connector: String,
        /// Of what was offered.
        wanted: u32,
        /// Of what is here.
        newest: u32,
    },
    /// The record.
    #[error(transparent)]
    Store(#[from] StoreError),
}
