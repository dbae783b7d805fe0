//! Every method of [`Store`], handed to the file that knows it.

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
use weir_domain::limits;
use weir_domain::message::{Message, Referral};
use weir_domain::policy::RuleBook;
use weir_domain::record::inbound::Batch;
use weir_domain::rollout::{Canary, Intent, VersionAct};
use weir_domain::time::Timestamp;
use weir_domain::workspace::Workspace;

use crate::acts::outbound::Acceptance;
use crate::acts::outbox::Settlement;
use crate::acts::{self, versions, window_events};
use crate::sqlite::writer::Shared;
use crate::sqlite::{
    SqliteStore, canary_runs, channels, claims, clearing, clock, connect, connectors, conversations, deliveries,
    endpoints, erasure, events, gaps, intents, keys, ledger, media, messages, outbox, recovery, referrals, retention,
    state, transcripts, workspaces,
};
use crate::*;

#[async_trait]
impl Store for SqliteStore {
    // ---- workspaces, keys, apps, connectors ------------------------------------------------------------------------

    async fn insert_workspace(&self, workspace: Workspace) -> Result<bool> {
        self.write(move |db| workspaces::insert(db, &workspace)).await
    }
    async fn workspaces(&self) -> Result<Vec<Workspace>> {
        self.read(workspaces::all).await
    }
    async fn workspace(&self, id: &str) -> Result<Option<Workspace>> {
        let id = id.to_owned();
        self.look(move |db| workspaces::one(db, &id)).await
    }
    async fn remove_workspace(&self, id: &str, now: Timestamp) -> Result<bool, RemoveWorkspaceError> {
        let id = id.to_owned();
        self.write(move |db| workspaces::remove(db, &id, now)).await
    }
    async fn clear_workspaces(&self, now: Timestamp, limit: u32) -> Result<bool> {
        self.write(move |db| clearing::clear(db, now, limit)).await
    }
    async fn insert_key(&self, key: Key) -> Result<()> {
        self.write(move |db| keys::insert(db, &key)).await
    }
    async fn put_configured_key(&self, key: Key, now: Timestamp) -> Result<()> {
        self.write(move |db| keys::configure(db, &key, now)).await
    }

    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<Key>> {
        self.look(|db| keys::by_prefix(db, prefix)).await
    }
    async fn keys(&self, workspace: &str) -> Result<Vec<Key>> {
        let workspace = workspace.to_owned();
        self.read(move |db| keys::all(db, &workspace)).await
    }
    async fn revoke_key(&self, workspace: &str, id: KeyId, now: Timestamp) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| keys::revoke(db, &workspace, id, now)).await
    }
    async fn insert_session(&self, digest: [u8; 32], key: KeyId, expires_at: Timestamp, now: Timestamp) -> Result<()> {
        self.write(move |db| keys::begin_session(db, digest, key, expires_at, now))
            .await
    }
    async fn session(&self, digest: [u8; 32]) -> Result<Option<Session>> {
        self.look(|db| keys::session(db, digest)).await
    }
    async fn end_session(&self, digest: [u8; 32]) -> Result<()> {
        self.write(move |db| keys::end_session(db, digest)).await
    }
    async fn put_app(&self, app: App) -> Result<()> {
        self.write(move |db| keys::put_app(db, &app)).await
    }
    async fn app(&self, name: &str) -> Result<Option<App>> {
        self.look(|db| keys::app(db, name)).await
    }
    async fn apps(&self) -> Result<Vec<App>> {
        self.read(keys::apps).await
    }
    async fn stage_version(&self, version: NewVersion, now: Timestamp) -> Result<Version, StageError> {
        self.write(move |db| connectors::stage(db, version, now)).await
    }
    async fn versions(&self) -> Result<Vec<Version>> {
        self.read(connectors::all).await
    }
    async fn version(&self, connector: &str, version: &str) -> Result<Option<Version>> {
        let connector = connector.to_owned();
        let version = version.to_owned();
        self.read(move |db| connectors::one(db, &connector, &version)).await
    }
    async fn quarantine_version(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| versions::quarantine(db, &connector, &version, &reason, now))
            .await
    }
    async fn begin_version_change(&self, connector: &str, intent: Intent) -> Result<bool> {
        let connector = connector.to_owned();
        self.write(move |db| intents::begin(db, &connector, &intent)).await
    }
    async fn open_version_changes(&self) -> Result<Vec<(String, Intent)>> {
        self.read(intents::open).await
    }
    async fn undo_version_change(&self, connector: &str) -> Result<u64> {
        let connector = connector.to_owned();
        self.write(move |db| intents::undo(db, &connector)).await
    }
    async fn activate_version(
        &self,
        connector: &str,
        version: &str,
        act: VersionAct,
        reason: &str,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| versions::activate(db, &connector, &version, act, &reason, now))
            .await
    }
    async fn begin_canary(
        &self,
        connector: &str,
        version: &str,
        canary: Canary,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version) = (connector.to_owned(), version.to_owned());
        self.write(move |db| versions::begin_canary(db, &connector, &version, canary, now))
            .await
    }
    async fn end_canary(
        &self,
        connector: &str,
        version: &str,
        reason: &str,
        failed: bool,
        now: Timestamp,
    ) -> Result<Option<Version>> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| versions::end_canary(db, &connector, &version, &reason, failed, now))
            .await
    }
    async fn keep_canary_figures(&self, connector: &str, version: &str, figures: serde_json::Value) -> Result<()> {
        let (connector, version) = (connector.to_owned(), version.to_owned());
        self.write(move |db| canary_runs::keep_figures(db, &connector, &version, &figures))
            .await
    }
    async fn canary_run(&self, connector: &str, version: &str) -> Result<Option<CanaryRunRecord>> {
        let (connector, version) = (connector.to_owned(), version.to_owned());
        self.read(move |db| canary_runs::one(db, &connector, &version)).await
    }
    async fn retire_version(&self, connector: &str, version: &str, now: Timestamp) -> Result<Retirement> {
        let (connector, version) = (connector.to_owned(), version.to_owned());
        self.write(move |db| versions::retire(db, &connector, &version, now))
            .await
    }
    async fn active_before(&self, connector: &str) -> Result<Option<String>> {
        let connector = connector.to_owned();
        self.read(move |db| connectors::active_before(db, &connector)).await
    }
    async fn version_changes(&self, connector: &str, limit: u32) -> Result<Vec<VersionChange>> {
        let connector = connector.to_owned();
        self.read(move |db| connectors::timeline(db, &connector, limit)).await
    }
    async fn keep_transcript(&self, record: TranscriptRecord, ring: u32) -> Result<()> {
        self.write(move |db| transcripts::keep(db, &record, ring)).await
    }
    async fn transcripts(&self, connector: &str, filter: TranscriptFilter) -> Result<Vec<TranscriptRecord>> {
        let connector = connector.to_owned();
        self.read(move |db| transcripts::list(db, &connector, &filter)).await
    }
    async fn transcript(&self, connector: &str, id: TranscriptId) -> Result<Option<TranscriptRecord>> {
        let connector = connector.to_owned();
        self.read(move |db| transcripts::one(db, &connector, id)).await
    }
    async fn drop_transcripts(&self, before: Timestamp) -> Result<u64> {
        self.write(move |db| transcripts::drop_before(db, before)).await
    }
    async fn grants(&self, connector: &str) -> Result<Grants> {
        let connector = connector.to_owned();
        self.read(move |db| connectors::grants(db, &connector)).await
    }
    async fn put_grants(&self, connector: &str, grants: Grants, now: Timestamp) -> Result<()> {
        let connector = connector.to_owned();
        self.write(move |db| connectors::put_grants(db, &connector, &grants, now))
            .await
    }

    // ---- connecting ------------------------------------------------------------------------------------------------

    async fn insert_connect_session(&self, session: ConnectSession) -> Result<()> {
        self.write(move |db| connect::insert(db, session)).await
    }
    async fn connect_session(&self, id: ConnectSessionId, now: Timestamp) -> Result<Option<ConnectSession>> {
        self.read(move |db| connect::one(db, id, now)).await
    }
    async fn take_connect_session(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>> {
        let state = state.to_owned();
        self.write(move |db| connect::take(db, &state, now)).await
    }
    async fn connect_session_of(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>> {
        let state = state.to_owned();
        self.read(move |db| connect::of_state(db, &state, now)).await
    }
    async fn keep_first_tokens(&self, id: ConnectSessionId, tokens: Tokens) -> Result<()> {
        self.write(move |db| connect::keep_tokens(db, id, &tokens)).await
    }
    async fn taken_connect_sessions(&self, now: Timestamp) -> Result<Vec<ConnectSession>> {
        self.read(move |db| connect::taken(db, now)).await
    }
    async fn finish_connect_session(&self, id: ConnectSessionId, end: ConnectEnd) -> Result<()> {
        self.write(move |db| connect::finish(db, id, &end)).await
    }
    async fn end_connect_sessions(&self, now: Timestamp) -> Result<u32> {
        // Mostly there is none, and nobody needs the writer.
        match self.look(connect::next_over).await? {
            Some(over) if over <= now => self.write(move |db| connect::end_over(db, now)).await,
            _ => Ok(0),
        }
    }
    async fn connect_channel(
        &self,
        new: NewChannel,
        credential: Credential,
        now: Timestamp,
    ) -> Result<(Channel, bool)> {
        self.write(move |db| channels::connect(db, new, &credential, now)).await
    }
    async fn channel(&self, id: ChannelId) -> Result<Option<Channel>> {
        self.look(|db| channels::one(db, id)).await
    }
    async fn channels(
        &self,
        workspace: &str,
        these: BTreeSet<ChannelId>,
        deleted: bool,
        page: Page,
    ) -> Result<Listed<Channel>> {
        let workspace = workspace.to_owned();
        self.read(move |db| channels::all(db, &workspace, &these, deleted, &page))
            .await
    }
    async fn update_channel(&self, id: ChannelId, patch: ChannelPatch, now: Timestamp) -> Result<Option<Channel>> {
        self.write(move |db| channels::update(db, id, patch, now)).await
    }
    async fn set_channel_status(
        &self,
        id: ChannelId,
        status: ChannelStatus,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        let reason = reason.to_owned();
        self.write(move |db| channels::set_status(db, id, status, &reason, now))
            .await
    }
    async fn delete_channel(&self, id: ChannelId, now: Timestamp) -> Result<Option<Channel>> {
        self.write(move |db| channels::delete(db, id, now)).await
    }
    async fn channel_of_account(&self, app: &str, platform_id: &str) -> Result<Option<Channel>> {
        self.look(|db| channels::by_platform_id(db, app, platform_id)).await
    }
    async fn set_up_done(&self, id: ChannelId) -> Result<()> {
        self.write(move |db| channels::set_up_done(db, id)).await
    }
    async fn set_up_failed(&self, id: ChannelId, now: Timestamp) -> Result<()> {
        self.write(move |db| channels::set_up_failed(db, id, now)).await
    }
    async fn set_ups_due(&self, now: Timestamp, limit: u32) -> Result<Vec<Channel>> {
        self.read(move |db| channels::set_ups_due(db, now, limit)).await
    }
    async fn resume_set_ups(&self, now: Timestamp) -> Result<u32> {
        self.write(move |db| channels::resume_set_ups(db, now)).await
    }
    async fn credential(&self, id: ChannelId) -> Result<Option<Credential>> {
        self.look(|db| channels::credential(db, id)).await
    }
    async fn begin_renewal(&self, id: ChannelId, now: Timestamp) -> Result<()> {
        self.write(move |db| channels::note_renewal(db, id, Some(now))).await
    }
    async fn end_renewal(&self, id: ChannelId) -> Result<()> {
        self.write(move |db| channels::note_renewal(db, id, None)).await
    }
    async fn renewal_begun(&self, id: ChannelId) -> Result<Option<Timestamp>> {
        self.look(|db| channels::renewal_begun(db, id)).await
    }
    async fn put_credential(
        &self,
        id: ChannelId,
        old: Credential,
        renewed: Credential,
        now: Timestamp,
    ) -> Result<bool> {
        self.write(move |db| channels::put_renewed(db, id, &old, &renewed, now))
            .await
    }
    async fn credentials_due(&self, before: Timestamp, limit: u32) -> Result<Vec<ChannelId>> {
        self.read(move |db| channels::credentials_due(db, before, limit)).await
    }
    async fn keep_history_gap(&self, gap: HistoryGap) -> Result<()> {
        self.write(move |db| gaps::keep(db, &gap)).await
    }
    async fn close_history_gap(&self, channel: ChannelId, conversation: &str) -> Result<()> {
        let conversation = conversation.to_owned();
        self.write(move |db| gaps::close(db, channel, &conversation)).await
    }
    async fn history_gaps(&self, channel: ChannelId) -> Result<Vec<HistoryGap>> {
        self.read(move |db| gaps::of(db, channel)).await
    }
    async fn history_gaps_due(&self, limit: u32, now: Timestamp) -> Result<Vec<HistoryGap>> {
        self.read(move |db| gaps::due(db, limit, now)).await
    }
    async fn poll_cursor(&self, id: ChannelId) -> Result<Option<String>> {
        self.read(move |db| channels::poll_cursor(db, id)).await
    }
    async fn keep_poll_cursor(&self, id: ChannelId, cursor: Option<String>) -> Result<()> {
        self.write(move |db| channels::keep_poll_cursor(db, id, cursor.as_deref()))
            .await
    }
    async fn state(&self, id: ChannelId) -> Result<ChannelState> {
        self.look(|db| state::state(db, id)).await
    }
    async fn commit_state(&self, id: ChannelId, writes: Vec<StateWrite>) -> Result<bool> {
        self.write(move |db| state::commit(db, id, &writes)).await
    }
    async fn state_owners(&self, connector: &str) -> Result<Vec<StateOwner>> {
        let connector = connector.to_owned();
        self.read(move |db| state::owners(db, &connector)).await
    }
    async fn hand_state_over(&self, connector: &str, handed: StateMove) -> Result<bool> {
        let connector = connector.to_owned();
        self.write(move |db| state::hand_over(db, &connector, &handed)).await
    }
    async fn hold_state(
        &self,
        connector: &str,
        channel: ChannelId,
        version: &str,
        reason: &str,
        now: Timestamp,
    ) -> Result<()> {
        let (connector, version, reason) = (connector.to_owned(), version.to_owned(), reason.to_owned());
        self.write(move |db| state::hold(db, &connector, channel, &version, &reason, now))
            .await
    }
    async fn give_state_back(&self, connector: &str, channel: ChannelId, from: &str, to: &str) -> Result<bool> {
        let (connector, from, to) = (connector.to_owned(), from.to_owned(), to.to_owned());
        self.write(move |db| state::give_back(db, &connector, channel, &from, &to))
            .await
    }
    async fn hold_accounts(
        &self,
        connector: &str,
        reasons: BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<HeldAccounts> {
        let connector = connector.to_owned();
        self.write(move |db| state::hold_accounts(db, &connector, &reasons, now))
            .await
    }
    async fn held(&self, id: ChannelId) -> Result<Option<String>> {
        self.look(|db| state::held(db, id)).await
    }

    // ---- inbound ---------------------------------------------------------------------------------------------------

    async fn record_inbound(
        &self,
        app: &App,
        events: Vec<InboundEvent>,
        source: Source,
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Recorded> {
        let batch = Batch {
            app: app.name.clone(),
            events,
            source,
            book: book.clone(),
            now,
        };
        self.share(batch).await
    }
    async fn tell_news(&self, books: BTreeMap<String, RuleBook>, limit: u32, now: Timestamp) -> Result<u32> {
        self.write(move |db| window_events::sweep(db, &books, limit, now)).await
    }
    async fn keep_dead_letter(&self, letter: DeadLetter) -> Result<()> {
        self.write(move |db| ledger::keep_letter(db, letter)).await
    }
    async fn dead_letters(&self, apps: BTreeSet<String>, page: Page) -> Result<Listed<DeadLetter>> {
        self.read(move |db| ledger::letters(db, &apps, &page)).await
    }
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>> {
        self.read(move |db| ledger::letter(db, id)).await
    }
    async fn drop_dead_letter(&self, id: DeadLetterId) -> Result<bool> {
        self.write(move |db| ledger::drop_letter(db, id)).await
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    async fn contact(&self, workspace: &str, id: ContactId) -> Result<Option<Contact>> {
        self.look(|db| conversations::contact(db, workspace, id)).await
    }
    async fn contacts(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<Contact>> {
        let workspace = workspace.to_owned();
        self.read(move |db| conversations::contacts(db, &workspace, &of, &page))
            .await
    }
    async fn conversation_with(&self, workspace: &str, id: ContactId) -> Result<Option<Conversation>> {
        let workspace = workspace.to_owned();
        self.read(move |db| conversations::with(db, &workspace, id)).await
    }
    async fn hear_of_contact(
        &self,
        workspace: &str,
        channel: ChannelId,
        person: Person,
        now: Timestamp,
    ) -> Result<Contact> {
        let workspace = workspace.to_owned();
        self.write(move |db| conversations::name(db, &workspace, channel, &person, now))
            .await
    }
    async fn erase_contact(&self, workspace: &str, id: ContactId, now: Timestamp) -> Result<Option<Erased>> {
        let workspace = workspace.to_owned();
        self.write(move |db| erasure::erase(db, &workspace, id, now)).await
    }
    async fn erase_on(&self) -> Result<Erasing> {
        self.erase_on().await
    }
    async fn empty_long_log(&self) -> Result<bool> {
        if self.log_bytes() <= limits::LOG_BYTES {
            return Ok(false);
        }
        self.empty_log().await
    }
    async fn conversation(&self, workspace: &str, id: ConversationId) -> Result<Option<Conversation>> {
        self.look(|db| conversations::one(db, workspace, id)).await
    }
    async fn conversations(
        &self,
        workspace: &str,
        filter: ConversationFilter,
        page: Page,
    ) -> Result<Listed<Conversation>> {
        let workspace = workspace.to_owned();
        self.read(move |db| conversations::all(db, &workspace, &filter, &page))
            .await
    }
    async fn last_messages(&self, conversations: Vec<ConversationId>) -> Result<BTreeMap<ConversationId, Message>> {
        self.read(move |db| messages::last_of(db, &conversations)).await
    }
    async fn looked_at(&self, workspace: &str, id: ConversationId) -> Result<()> {
        let workspace = workspace.to_owned();
        self.write(move |db| conversations::looked_at(db, &workspace, id)).await
    }
    async fn set_images_allowed(&self, id: ConversationId, allowed: bool, until: Timestamp) -> Result<()> {
        self.write(move |db| conversations::set_images_allowed(db, id, allowed, until))
            .await
    }
    async fn message(&self, workspace: &str, id: MessageId) -> Result<Option<Message>> {
        self.look(|db| messages::one(db, workspace, id)).await
    }
    async fn search_messages(
        &self,
        workspace: &str,
        of: BTreeSet<ChannelId>,
        words: &str,
        page: Page,
    ) -> Result<Listed<Message>> {
        let (workspace, words) = (workspace.to_owned(), words.to_lowercase());
        self.read(move |db| messages::search(db, &workspace, &of, &words, &page))
            .await
    }
    async fn messages(&self, workspace: &str, conversation: ConversationId, page: Page) -> Result<Listed<Message>> {
        let workspace = workspace.to_owned();
        self.read(move |db| messages::of_conversation(db, &workspace, conversation, &page))
            .await
    }
    async fn referral(&self, workspace: &str, id: ReferralId) -> Result<Option<ReferralRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| referrals::one(db, &workspace, id)).await
    }
    async fn referrals(&self, workspace: &str, of: BTreeSet<ChannelId>, page: Page) -> Result<Listed<ReferralRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| referrals::all(db, &workspace, &of, &page)).await
    }
    async fn keep_ad(&self, id: ReferralId, answer: AdAnswer) -> Result<()> {
        self.write(move |db| referrals::keep_ad(db, id, &answer)).await
    }
    async fn referral_with_prefill(&self, channel: ChannelId, text: &str) -> Result<Option<Referral>> {
        let text = text.to_owned();
        self.read(move |db| referrals::with_prefill(db, channel, &text)).await
    }
    async fn forget(&self, since: KeptSince, limit: u32) -> Result<Forgotten> {
        self.write(move |db| retention::forget(db, &since, limit)).await
    }
    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>> {
        self.read(move |db| outbox::attempts(db, id)).await
    }

    // ---- outbound --------------------------------------------------------------------------------------------------

    async fn enqueue(&self, new: NewMessage, book: &RuleBook, now: Timestamp) -> Result<Enqueued, EnqueueError> {
        let book = book.clone();
        let acceptance = Acceptance { new, book, now };
        if crate::claims::current().is_none() {
            return self.writer.share(acceptance).await?;
        }
        // The mark of the claim goes with what is accepted, and not with a refusal.
        self.write(move |db| Acceptance::one(db, acceptance)?).await
    }
    async fn lease_messages(&self, owner: &str, room: Room, now: Timestamp) -> Result<Vec<MessageLease>> {
        let owner = owner.to_owned();
        self.write(move |db| acts::outbox::lease(db, &owner, room, now)).await
    }
    async fn settle_message(
        &self,
        lease: &LeaseToken,
        next: Next,
        requests: Vec<RequestRecord>,
        state: Vec<StateWrite>,
        now: Timestamp,
    ) -> Result<bool> {
        let settlement = Settlement {
            lease: lease.clone(),
            next,
            requests,
            writes: state,
            now,
        };
        self.share(settlement).await
    }
    async fn sweep_messages(&self, now: Timestamp) -> Result<u32> {
        self.write(move |db| acts::outbox::sweep(db, now)).await
    }
    async fn end_leases_of_others(&self, owner: &str, now: Timestamp) -> Result<u32> {
        let owner = owner.to_owned();
        self.write(move |db| {
            Ok(outbox::end_leases_of_others(db, &owner, now)? + deliveries::end_leases_of_others(db, &owner, now)?)
        })
        .await
    }
    async fn uncertain_messages(&self, limit: u32) -> Result<Vec<UncertainMessage>> {
        self.read(move |db| acts::outbound::uncertain(db, limit)).await
    }
    async fn resolve_uncertain(&self, id: MessageId, found: Resolution, now: Timestamp) -> Result<bool> {
        self.write(move |db| acts::outbound::resolve(db, id, found, now)).await
    }
    async fn cancel_message(
        &self,
        workspace: &str,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Result<Message, Message>>> {
        let workspace = workspace.to_owned();
        self.write(move |db| acts::outbound::cancel(db, &workspace, id, now))
            .await
    }
    async fn retry_message(
        &self,
        workspace: &str,
        id: MessageId,
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Option<Message>, EnqueueError> {
        let workspace = workspace.to_owned();
        let book = book.clone();
        self.write(move |db| acts::outbound::retry(db, &workspace, id, &book, now))
            .await
    }
    async fn next_message_due(&self, without: Vec<String>) -> Result<Option<Timestamp>> {
        self.look(move |db| outbox::next_due(db, &without)).await
    }
    async fn queue(&self, channel: ChannelId) -> Result<QueueDepth> {
        self.read(move |db| outbox::queue(db, channel)).await
    }

    // ---- media -----------------------------------------------------------------------------------------------------

    async fn insert_media(&self, media: Media) -> Result<()> {
        self.write(move |db| media::insert(db, &media)).await
    }
    async fn media(&self, id: MediaId) -> Result<Option<Media>> {
        self.look(|db| media::one(db, id)).await
    }
    async fn lease_media(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>> {
        self.write(move |db| media::lease(db, limit, now)).await
    }
    async fn next_media_due(&self) -> Result<Option<Timestamp>> {
        self.look(media::next_due).await
    }
    async fn media_stored(&self, id: MediaId, mime_type: String, size: u64, now: Timestamp) -> Result<()> {
        self.write(move |db| media::stored(db, id, &mime_type, size, now)).await
    }
    async fn files_to_remove(&self, limit: u32) -> Result<Vec<MediaId>> {
        self.look(|db| media::files_to_remove(db, limit)).await
    }
    async fn files_removed(&self, ids: Vec<MediaId>) -> Result<()> {
        self.write(move |db| media::files_removed(db, &ids)).await
    }
    async fn media_without_row(&self, ids: Vec<MediaId>) -> Result<Vec<MediaId>> {
        self.read(move |db| media::without_row(db, ids)).await
    }
    async fn media_failed(&self, id: MediaId, reason: &str, retry_at: Option<Timestamp>, now: Timestamp) -> Result<()> {
        let reason = reason.to_owned();
        self.write(move |db| media::failed(db, id, &reason, retry_at, now))
            .await
    }

    // ---- events ----------------------------------------------------------------------------------------------------

    async fn append_event(
        &self,
        workspace: &str,
        channel: Option<ChannelId>,
        kind: EventType,
        data: serde_json::Value,
        now: Timestamp,
    ) -> Result<Event> {
        let workspace = workspace.to_owned();
        self.write(move |db| events::append_plain(db, &workspace, channel, kind, data, now))
            .await
    }
    async fn events(&self, workspace: &str, after: i64, filter: &EventFilter, limit: u32) -> Result<Listed<Event>> {
        let workspace = workspace.to_owned();
        let filter = filter.clone();
        self.read(move |db| events::after(db, &workspace, after, &filter, limit))
            .await
    }
    async fn event(&self, workspace: &str, id: EventId) -> Result<Option<Event>> {
        let workspace = workspace.to_owned();
        self.read(move |db| events::one(db, &workspace, id)).await
    }
    async fn event_place(&self, workspace: &str, id: EventId) -> Result<Option<i64>> {
        self.look(|db| events::place(db, workspace, id)).await
    }
    async fn last_sequence(&self) -> Result<i64> {
        self.look(events::last).await
    }
    fn log_end(&self) -> watch::Receiver<i64> {
        self.writer.log_end()
    }
    async fn insert_endpoint(&self, endpoint: Endpoint) -> Result<()> {
        self.write(move |db| endpoints::put(db, &endpoint)).await
    }
    async fn endpoint(&self, workspace: &str, id: EndpointId) -> Result<Option<Endpoint>> {
        let workspace = workspace.to_owned();
        self.read(move |db| endpoints::one(db, &workspace, id)).await
    }
    async fn endpoints(&self, workspace: &str, page: Page) -> Result<Listed<Endpoint>> {
        let workspace = workspace.to_owned();
        self.read(move |db| endpoints::all(db, &workspace, &page)).await
    }
    async fn update_endpoint(
        &self,
        workspace: &str,
        id: EndpointId,
        patch: EndpointPatch,
        now: Timestamp,
    ) -> Result<Option<Endpoint>> {
        let workspace = workspace.to_owned();
        self.write(move |db| endpoints::update(db, &workspace, id, patch, now))
            .await
    }
    async fn delete_endpoint(&self, workspace: &str, id: EndpointId) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| endpoints::delete(db, &workspace, id)).await
    }
    async fn begin_recovery(&self, workspace: &str, id: EndpointId, since: Timestamp, now: Timestamp) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| recovery::begin(db, &workspace, id, since, now))
            .await
    }
    async fn recover_step(&self, id: EndpointId, now: Timestamp) -> Result<RecoveryStep> {
        self.write(move |db| recovery::step(db, id, now)).await
    }
    async fn recoveries(&self, before: Timestamp) -> Result<Vec<EndpointId>> {
        self.look(|db| recovery::before(db, before)).await
    }
    async fn tell_failing(&self, now: Timestamp) -> Result<u32> {
        if !self.look(|db| endpoints::any_failing(db, now)).await? {
            return Ok(0);
        }
        self.write(move |db| endpoints::tell_failing(db, now)).await
    }
    async fn insert_delivery(&self, endpoint: EndpointId, event: EventId, now: Timestamp) -> Result<DeliveryId> {
        self.write(move |db| deliveries::add(db, endpoint, event, now)).await
    }
    async fn lease_deliveries(&self, owner: &str, limit: u32, now: Timestamp) -> Result<Vec<DeliveryLease>> {
        let owner = owner.to_owned();
        self.write(move |db| deliveries::lease(db, &owner, limit, now)).await
    }
    async fn settle_delivery(
        &self,
        lease: &DeliveryLease,
        attempt: DeliveryAttempt,
        next: DeliveryNext,
        now: Timestamp,
    ) -> Result<bool> {
        let lease = lease.clone();
        self.write(move |db| deliveries::settle(db, &lease, attempt, &next, now))
            .await
    }
    async fn next_delivery_due(&self) -> Result<Option<Timestamp>> {
        self.look(deliveries::next_due).await
    }
    async fn deliveries(&self, workspace: &str, of: DeliveriesOf, page: Page) -> Result<Listed<Delivery>> {
        let workspace = workspace.to_owned();
        self.read(move |db| deliveries::all(db, &workspace, of, &page)).await
    }
    async fn delivery(&self, workspace: &str, id: DeliveryId) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>> {
        let workspace = workspace.to_owned();
        self.read(move |db| deliveries::one(db, &workspace, id)).await
    }

    // ---- the rest --------------------------------------------------------------------------------------------------

    async fn keep_refusal(&self, refusal: RefusalRecord) -> Result<()> {
        self.write(move |db| ledger::keep_refusal(db, &refusal)).await
    }
    async fn refusal(&self, workspace: &str, id: RefusalId) -> Result<Option<RefusalRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::refusal(db, &workspace, id)).await
    }
    async fn refusals(&self, workspace: &str, page: Page) -> Result<Listed<RefusalRecord>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::refusals(db, &workspace, &page)).await
    }
    async fn refusal_counts(&self, workspace: &str, limit: u32) -> Result<Vec<RefusalCount>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::refusal_counts(db, &workspace, limit)).await
    }
    async fn forget_ledgers(&self, refusals: Timestamp, changes: Timestamp) -> Result<u32> {
        self.write(move |db| ledger::forget(db, refusals, changes)).await
    }
    async fn audit(&self, entry: AuditEntry) -> Result<()> {
        self.write(move |db| ledger::audit(db, &entry)).await
    }
    async fn audit_log(&self, workspace: &str, page: Page) -> Result<Listed<AuditEntry>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::audit_log(db, &workspace, &page)).await
    }
    async fn claim(&self, claim: Claim, owner: &str, now: Timestamp) -> Result<Claimed<KeptAnswer>> {
        let owner = owner.to_owned();
        self.write(move |db| claims::claim(db, &claim, &owner, now)).await
    }
    async fn answer_claim(&self, claim: Claim, answer: KeptAnswer, about: Option<ContactId>) -> Result<()> {
        self.write(move |db| claims::answer(db, &claim, &answer, about)).await
    }
    async fn release_claim(&self, claim: Claim) -> Result<()> {
        self.write(move |db| claims::release(db, &claim)).await
    }
    async fn interrupt_claim(&self, claim: Claim) -> Result<()> {
        self.write(move |db| claims::interrupt(db, &claim)).await
    }
    async fn interrupt_claims_of_others(&self, owner: &str) -> Result<u32> {
        let owner = owner.to_owned();
        self.write(move |db| claims::interrupt_others(db, &owner)).await
    }
    async fn clock_set_back(&self, by: Duration, now: Timestamp) -> Result<u32> {
        self.write(move |db| clock::set_back(db, by, now)).await
    }
    async fn clock_set_forward(&self, owner: &str, by: Duration) -> Result<u32> {
        let owner = owner.to_owned();
        self.write(move |db| clock::set_forward(db, &owner, by)).await
    }
    async fn platform_clocks(&self) -> Result<BTreeMap<String, ClockOffset>> {
        self.read(clock::platforms).await
    }
    async fn note_platform_clock(&self, app: &str, offset: ClockOffset, now: Timestamp) -> Result<u32> {
        let app = app.to_owned();
        self.write(move |db| clock::platform(db, &app, offset, now)).await
    }
    async fn age(&self, passed: Duration, now: Timestamp) -> Result<Timestamp> {
        self.write(move |db| clock::age(db, passed, now)).await
    }
    async fn depths(&self) -> Result<Depths> {
        let depths = self.read(ledger::depths).await?;
        let writes = u64::try_from(self.writes_waiting()).unwrap_or(u64::MAX);
        Ok(Depths {
            writes,
            log_bytes: self.log_bytes(),
            ..depths
        })
    }
    async fn ping(&self) -> Result<()> {
        self.read(|db| db.exists("SELECT 1 FROM workspaces LIMIT 1", []).map(drop))
            .await
    }
    async fn probe(&self) -> Result<()> {
        self.write(|db| {
            db.run(
                "INSERT INTO meta (name, value) VALUES ('probe', randomblob(8))
                 ON CONFLICT (name) DO UPDATE SET value = randomblob(8)",
                [],
            )
            .map(drop)
        })
        .await
    }
    async fn backup(&self, to: &std::path::Path) -> Result<()> {
        self.copy(to).await
    }
    async fn close(&self) {
        self.shut().await;
    }
}
