//! Every method of [`Store`], handed to the file that knows it.
#![allow(unused_variables)]

use std::collections::BTreeMap;

use async_trait::async_trait;
use weir_domain::caller::Key;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::conversation::{Contact, Conversation};
use weir_domain::credential::Credential;
use weir_domain::delivery::Next;
use weir_domain::event::{Event, EventType};
use weir_domain::grant::Grants;
use weir_domain::id::{
    ChannelId, ConnectSessionId, ContactId, ConversationId, DeadLetterId, DeliveryId, EndpointId, EventId, KeyId,
    MediaId, MessageId, RefusalId,
};
use weir_domain::inbound::InboundEvent;
use weir_domain::message::Message;
use weir_domain::policy::RuleBook;
use weir_domain::time::Timestamp;

use crate::*;
use crate::sqlite::SqliteStore;

fn not_yet() -> StoreError {
    StoreError::Unavailable { reason: "not written yet".to_owned() }
}

#[async_trait]
impl Store for SqliteStore {
    async fn insert_key(&self, key: Key) -> Result<()> { Err(not_yet().into()) }
    async fn key_by_prefix(&self, prefix: &str) -> Result<Option<Key>> { Err(not_yet().into()) }
    async fn keys(&self, workspace: &str) -> Result<Vec<Key>> { Err(not_yet().into()) }
    async fn revoke_key(&self, workspace: &str, id: KeyId, now: Timestamp) -> Result<bool> { Err(not_yet().into()) }
    async fn put_app(&self, app: App) -> Result<()> { Err(not_yet().into()) }
    async fn app(&self, name: &str) -> Result<Option<App>> { Err(not_yet().into()) }
    async fn apps(&self) -> Result<Vec<App>> { Err(not_yet().into()) }
    async fn stage_version(&self, version: NewVersion, now: Timestamp) -> Result<Version, StageError> { Err(not_yet().into()) }
    async fn versions(&self) -> Result<Vec<Version>> { Err(not_yet().into()) }
    async fn version(&self, connector: &str, version: &str) -> Result<Option<Version>> { Err(not_yet().into()) }
    async fn activate_version(&self, connector: &str, version: &str, now: Timestamp) -> Result<Option<Version>> { Err(not_yet().into()) }
    async fn grants(&self, connector: &str) -> Result<Grants> { Err(not_yet().into()) }
    async fn put_grants(&self, connector: &str, grants: Grants, now: Timestamp) -> Result<()> { Err(not_yet().into()) }
    async fn insert_connect_session(&self, session: ConnectSession) -> Result<()> { Err(not_yet().into()) }
    async fn connect_session(&self, id: ConnectSessionId, now: Timestamp) -> Result<Option<ConnectSession>> { Err(not_yet().into()) }
    async fn take_connect_session(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>> { Err(not_yet().into()) }
    async fn finish_connect_session(&self, id: ConnectSessionId, end: ConnectEnd) -> Result<()> { Err(not_yet().into()) }
    async fn connect_channel(&self, new: NewChannel, credential: Credential, now: Timestamp) -> Result<(Channel, bool)> { Err(not_yet().into()) }
    async fn channel(&self, id: ChannelId) -> Result<Option<Channel>> { Err(not_yet().into()) }
    async fn channels(&self, workspace: &str, deleted: bool, page: Page) -> Result<Listed<Channel>> { Err(not_yet().into()) }
    async fn update_channel(&self, id: ChannelId, patch: ChannelPatch, now: Timestamp) -> Result<Option<Channel>> { Err(not_yet().into()) }
    async fn set_channel_status(&self, id: ChannelId, status: ChannelStatus, reason: &str, now: Timestamp) -> Result<()> { Err(not_yet().into()) }
    async fn delete_channel(&self, id: ChannelId, now: Timestamp) -> Result<Option<Channel>> { Err(not_yet().into()) }
    async fn credential(&self, id: ChannelId) -> Result<Option<Credential>> { Err(not_yet().into()) }
    async fn put_credential(&self, id: ChannelId, credential: Credential) -> Result<()> { Err(not_yet().into()) }
    async fn credentials_due(&self, before: Timestamp, limit: u32) -> Result<Vec<ChannelId>> { Err(not_yet().into()) }
    async fn state(&self, id: ChannelId) -> Result<BTreeMap<String, Vec<u8>>> { Err(not_yet().into()) }
    async fn commit_state(&self, id: ChannelId, writes: Vec<StateWrite>) -> Result<()> { Err(not_yet().into()) }
    async fn record_inbound(&self, app: &App, events: Vec<InboundEvent>, source: Source, book: &RuleBook, now: Timestamp) -> Result<Recorded> { Err(not_yet().into()) }
    async fn keep_dead_letter(&self, letter: DeadLetter) -> Result<()> { Err(not_yet().into()) }
    async fn dead_letters(&self, page: Page) -> Result<Listed<DeadLetter>> { Err(not_yet().into()) }
    async fn dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>> { Err(not_yet().into()) }
    async fn drop_dead_letter(&self, id: DeadLetterId) -> Result<bool> { Err(not_yet().into()) }
    async fn contact(&self, workspace: &str, id: ContactId) -> Result<Option<Contact>> { Err(not_yet().into()) }
    async fn contacts(&self, workspace: &str, channel: Option<ChannelId>, page: Page) -> Result<Listed<Contact>> { Err(not_yet().into()) }
    async fn conversation(&self, workspace: &str, id: ConversationId) -> Result<Option<Conversation>> { Err(not_yet().into()) }
    async fn conversations(&self, workspace: &str, channel: Option<ChannelId>, page: Page) -> Result<Listed<Conversation>> { Err(not_yet().into()) }
    async fn set_images_allowed(&self, id: ConversationId, allowed: bool, until: Timestamp) -> Result<()> { Err(not_yet().into()) }
    async fn message(&self, workspace: &str, id: MessageId) -> Result<Option<Message>> { Err(not_yet().into()) }
    async fn messages(&self, workspace: &str, conversation: ConversationId, page: Page) -> Result<Listed<Message>> { Err(not_yet().into()) }
    async fn attempts(&self, id: MessageId) -> Result<Vec<Attempt>> { Err(not_yet().into()) }
    async fn enqueue(&self, new: NewMessage, book: &RuleBook, now: Timestamp) -> Result<Enqueued, EnqueueError> { Err(not_yet().into()) }
    async fn lease_messages(&self, owner: &str, limit: u32, now: Timestamp) -> Result<Vec<MessageLease>> { Err(not_yet().into()) }
    async fn settle_message(&self, lease: &LeaseToken, next: Next, requests: Vec<RequestRecord>, state: Vec<StateWrite>, now: Timestamp) -> Result<bool> { Err(not_yet().into()) }
    async fn sweep_messages(&self, now: Timestamp) -> Result<u32> { Err(not_yet().into()) }
    async fn uncertain_messages(&self, limit: u32) -> Result<Vec<UncertainMessage>> { Err(not_yet().into()) }
    async fn resolve_uncertain(&self, id: MessageId, found: Resolution, now: Timestamp) -> Result<bool> { Err(not_yet().into()) }
    async fn cancel_message(&self, workspace: &str, id: MessageId, now: Timestamp) -> Result<Option<Result<Message, Message>>> { Err(not_yet().into()) }
    async fn retry_message(&self, workspace: &str, id: MessageId, book: &RuleBook, now: Timestamp) -> Result<Option<Message>, EnqueueError> { Err(not_yet().into()) }
    async fn next_message_due(&self) -> Result<Option<Timestamp>> { Err(not_yet().into()) }
    async fn queue(&self, channel: ChannelId) -> Result<QueueDepth> { Err(not_yet().into()) }
    async fn insert_media(&self, media: Media) -> Result<()> { Err(not_yet().into()) }
    async fn media(&self, id: MediaId) -> Result<Option<Media>> { Err(not_yet().into()) }
    async fn lease_media(&self, limit: u32, now: Timestamp) -> Result<Vec<MediaFetch>> { Err(not_yet().into()) }
    async fn media_stored(&self, id: MediaId, mime_type: String, size: u64) -> Result<()> { Err(not_yet().into()) }
    async fn media_failed(&self, id: MediaId, reason: &str, retry_at: Option<Timestamp>) -> Result<()> { Err(not_yet().into()) }
    async fn append_event(&self, workspace: &str, channel: Option<ChannelId>, kind: EventType, data: serde_json::Value, now: Timestamp) -> Result<Event> { Err(not_yet().into()) }
    async fn events(&self, workspace: &str, after: i64, filter: &EventFilter, limit: u32) -> Result<Vec<Event>> { Err(not_yet().into()) }
    async fn event(&self, workspace: &str, id: EventId) -> Result<Option<Event>> { Err(not_yet().into()) }
    async fn last_sequence(&self) -> Result<i64> { Err(not_yet().into()) }
    async fn insert_endpoint(&self, endpoint: Endpoint) -> Result<()> { Err(not_yet().into()) }
    async fn endpoint(&self, workspace: &str, id: EndpointId) -> Result<Option<Endpoint>> { Err(not_yet().into()) }
    async fn endpoints(&self, workspace: &str, page: Page) -> Result<Listed<Endpoint>> { Err(not_yet().into()) }
    async fn update_endpoint(&self, workspace: &str, id: EndpointId, patch: EndpointPatch, now: Timestamp) -> Result<Option<Endpoint>> { Err(not_yet().into()) }
    async fn delete_endpoint(&self, workspace: &str, id: EndpointId) -> Result<bool> { Err(not_yet().into()) }
    async fn recover_endpoint(&self, workspace: &str, id: EndpointId, since: Timestamp, now: Timestamp) -> Result<Option<u32>> { Err(not_yet().into()) }
    async fn insert_delivery(&self, endpoint: EndpointId, event: EventId, now: Timestamp) -> Result<DeliveryId> { Err(not_yet().into()) }
    async fn lease_deliveries(&self, owner: &str, limit: u32, now: Timestamp) -> Result<Vec<DeliveryLease>> { Err(not_yet().into()) }
    async fn settle_delivery(&self, lease: &DeliveryLease, attempt: DeliveryAttempt, next: DeliveryNext, now: Timestamp) -> Result<bool> { Err(not_yet().into()) }
    async fn next_delivery_due(&self) -> Result<Option<Timestamp>> { Err(not_yet().into()) }
    async fn deliveries(&self, workspace: &str, endpoint: Option<EndpointId>, page: Page) -> Result<Listed<Delivery>> { Err(not_yet().into()) }
    async fn delivery(&self, workspace: &str, id: DeliveryId) -> Result<Option<(Delivery, Vec<DeliveryAttempt>)>> { Err(not_yet().into()) }
    async fn keep_refusal(&self, refusal: RefusalRecord) -> Result<()> { Err(not_yet().into()) }
    async fn refusal(&self, workspace: &str, id: RefusalId) -> Result<Option<RefusalRecord>> { Err(not_yet().into()) }
    async fn refusals(&self, workspace: &str, page: Page) -> Result<Listed<RefusalRecord>> { Err(not_yet().into()) }
    async fn audit(&self, entry: AuditEntry) -> Result<()> { Err(not_yet().into()) }
    async fn audit_log(&self, workspace: &str, page: Page) -> Result<Listed<AuditEntry>> { Err(not_yet().into()) }
    async fn kept_answer(&self, workspace: &str, key: &str, now: Timestamp) -> Result<Option<KeptAnswer>> { Err(not_yet().into()) }
    async fn keep_answer(&self, workspace: &str, key: &str, answer: KeptAnswer, now: Timestamp) -> Result<()> { Err(not_yet().into()) }
    async fn depths(&self) -> Result<Depths> { Err(not_yet().into()) }
    async fn ping(&self) -> Result<()> { Err(not_yet().into()) }
    async fn backup(&self, to: &std::path::Path) -> Result<()> { Err(not_yet().into()) }
    async fn close(&self) {  }
}
