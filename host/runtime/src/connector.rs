//! A connector as the rest of the host calls it: one method for each export of the interface.
//!
//! What must be proved before a call is an argument that only a judge makes: a verified webhook, a send permit. What a call
//! with network wants remembered comes back in [`Called`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;
use wasmtime::component::Instance;
use weir_domain::delivery::{Outcome, Verdict};
use weir_domain::inbound::{InboundEvent, RemoteMedia};
use weir_domain::limits;
use weir_domain::manifest::Manifest;
use weir_domain::message::{ContentKind, Draft, MessageError, Referral};
use weir_domain::policy::{Call, CallKind, EgressPermit, Finding, SendPermit};
use weir_domain::problem::Fault;
use weir_domain::signature::VerifiedWebhook;
use weir_domain::time::Timestamp;

use crate::answers::{
    Automation, Batch, Capability, ConversationPage, MessagePage, Profile, SendReport, SetupFinding, Signal,
};
use crate::bindings::exports::weir::connector as wit;
use crate::bindings::weir::connector::types;
use crate::call::{CallData, Inside, Sandbox, VersionName};
use crate::canary::Canary;
use crate::context::{CallContext, Called, ConversationFacts, Host, State, StateWrites};
use crate::convert;
use crate::error::{CallError, LoadError};
use crate::exports::{Exports, another_shape};
use crate::imports::http::{Ledger, Network, Seen};
use crate::imports::state::{StateView, check_quota};

/// One loaded version of a connector. Cheap to clone; what runs in it keeps it alive.
#[derive(Clone)]
pub struct Connector(Arc<Version>);

struct Version {
    name: Arc<VersionName>,
    manifest: Arc<Manifest>,
    digest: String,
    host: Host,
    exports: Arc<Exports>,
    sandbox: Sandbox,
    canary_key: Option<[u8; 32]>,
}

impl Connector {
    /// Asks a component what it is, and takes it if it says so properly.
    pub(crate) async fn introduce(
        sandbox: Sandbox,
        exports: Exports,
        digest: String,
        host: Host,
        canary_key: Option<[u8; 32]>,
    ) -> Result<Self, LoadError> {
        let nobody = Arc::new(VersionName {
            name: "?".to_owned(),
            number: "?".to_owned(),
        });
        let data = CallData::pure(CallKind::Describe, nobody, host.clone());
        let exports = Arc::new(exports);
        let looked_up = Arc::clone(&exports);
        let (described, _) = sandbox
            .run(data, move |store, instance| {
                Box::pin(async move {
                    if let Err(wrong) = looked_up.check(store, &instance) {
                        return Ok(Err(wrong));
                    }
                    let guest = looked_up.descriptor.load(&mut *store, &instance)?;
                    Ok(Ok(guest.call_describe(store).await?))
                })
            })
            .await;
        let said = described
            .map_err(LoadError::Describe)?
            .map_err(|(name, error)| another_shape(name, &error))?;
        let manifest = convert::manifest(said, exports.provided())?.check()?;
        Ok(Self(Arc::new(Version {
            name: Arc::new(VersionName {
                name: manifest.name.clone(),
                number: manifest.version.clone(),
            }),
            manifest: Arc::new(manifest),
            digest,
            host,
            exports,
            sandbox,
            canary_key,
        })))
    }

    /// What it says of itself, checked.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.0.manifest
    }

    /// SHA-256 of the component's bytes, in lower-case hex.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    // ---- pure calls ---------------------------------------------------------------------------------------------------

    /// Translates a webhook into events, oldest first. Pure: no network, no state.
    ///
    /// # Errors
    /// The webhook is then a dead letter: [`CallError::Answer`] holds the connector's own words.
    pub async fn receive(&self, webhook: &VerifiedWebhook) -> Result<Vec<InboundEvent>, CallError> {
        let raw = webhook.webhook();
        let headers = raw.headers.iter().cloned();
        let webhook = wit::inbound::Webhook {
            method: raw.method.clone(),
            query: raw.query.clone(),
            headers: headers.map(|(name, value)| types::Header { name, value }).collect(),
            body: raw.body.to_vec(),
        };
        let indices = self.0.exports.inbound.clone();
        self.pure(CallKind::Receive, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_receive(store, &webhook).await?;
                Ok(convert::events(said.map_err(answer)?)?)
            })
        })
        .await
    }

    /// Judges a draft beyond what the manifest's rules can say; no findings is a yes. Pure: no network, no state.
    ///
    /// # Errors
    /// How the call ended, if it did not return.
    pub async fn prepare(&self, draft: &Draft) -> Result<Vec<Finding>, CallError> {
        let draft = convert::draft(draft);
        let indices = self.0.exports.outbound.clone();
        self.pure(CallKind::Prepare, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                Ok(convert::findings(guest.call_prepare(store, &draft).await?)?)
            })
        })
        .await
    }

    /// Translates a channel's state for this version, from that of `from_version`. Pure; works on a copy. A connector without
    /// the interface `upgrade` keeps the state as it is.
    ///
    /// # Errors
    /// The old version keeps the channel: [`CallError::Answer`] holds the connector's own words.
    pub async fn migrate(&self, from_version: &str, state: State) -> Result<State, CallError> {
        let Some(indices) = self.0.exports.upgrade.clone() else {
            return Ok(state);
        };
        let from_version = from_version.to_owned();
        let entries: Vec<_> = state
            .into_iter()
            .map(|(key, value)| wit::upgrade::Entry { key, value })
            .collect();
        self.pure(CallKind::Migrate, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_migrate(store, &from_version, &entries).await?;
                let entries = said.map_err(answer)?.into_iter();
                let state = check_quota(entries.map(|entry| (entry.key, entry.value)).collect());
                Ok(state.map_err(CallError::Output)?)
            })
        })
        .await
    }

    // ---- calls with network -------------------------------------------------------------------------------------------

    /// Puts one message before a person. Spends the permit: one request of class `message-send` may leave.
    pub async fn send(&self, permit: SendPermit, context: CallContext) -> SendReport {
        let (mut data, channel, ledger) = self.networked(CallKind::Send, context);
        if let (Some(network), Some(media)) = (&mut data.network, permit.draft().content.media()) {
            network.attachments.push(media.id);
        }
        let conversation = convert::conversation(&permit.conversation().into());
        let draft = convert::draft(permit.draft());
        let indices = self.0.exports.outbound.clone();
        let called = self
            .run(data, ledger, move |store, instance| {
                Box::pin(async move {
                    let guest = indices.load(&mut *store, &instance)?;
                    let said = guest.call_send(store, &channel, &conversation, &draft).await?;
                    Ok(convert::sent(said?)?)
                })
            })
            .await;
        let Seen {
            requests,
            sent,
            answered,
            no_turn,
        } = called.seen;
        let (outcome, error) = match called.result {
            Ok((platform_id, at)) => (Outcome::Sent { platform_id, at }.as_seen(sent, answered), None),
            Err(CallError::Failed { verdict, error }) => {
                let verdict = after_the_turn(verdict, no_turn);
                let failed = Outcome::Failed { verdict, error: *error };
                (failed.as_seen(sent, answered), None)
            }
            Err(busy @ CallError::Busy { .. }) => (not_begun(&busy), Some(busy)),
            Err(ended) => (Outcome::of_silence(sent, &ended.to_string()), Some(ended)),
        };
        SendReport {
            outcome,
            error,
            requests,
            writes: called.writes,
        }
    }

    /// Reads the account's own profile, with its credential in place.
    pub async fn who_am_i(&self, context: CallContext) -> Called<Profile> {
        let (data, channel, ledger) = self.networked(CallKind::Identify, context);
        let indices = self.0.exports.identity.clone();
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                Ok(convert::profile(guest.call_who_am_i(store, &channel).await??)?)
            })
        })
        .await
    }

    /// Sets up what the account needs: the webhook subscription. Safe to repeat.
    pub async fn connected(&self, context: CallContext) -> Called<()> {
        let (data, channel, ledger) = self.networked(CallKind::Identify, context);
        let indices = self.0.exports.identity.clone();
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                Ok(guest.call_connected(store, &channel).await??)
            })
        })
        .await
    }

    /// Looks at the account's set-up, for the diagnosis of a channel.
    pub async fn check(&self, context: CallContext) -> Called<Vec<SetupFinding>> {
        let (data, channel, ledger) = self.networked(CallKind::Identify, context);
        let indices = self.0.exports.identity.clone();
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                Ok(convert::setup_findings(guest.call_check(store, &channel).await??)?)
            })
        })
        .await
    }

    /// Shows the contact that somebody types, or that their messages were read.
    pub async fn signal(&self, context: CallContext, conversation: &ConversationFacts, signal: Signal) -> Called<()> {
        let Some(indices) = self.0.exports.signals.clone() else {
            return not_provided("signals");
        };
        let (data, channel, ledger) = self.networked(CallKind::Signal, context);
        let conversation = convert::conversation(conversation);
        let signal = match signal {
            Signal::Typing => wit::signals::Signal::Typing,
            Signal::Read => wit::signals::Signal::Read,
        };
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                Ok(guest.call_show(store, &channel, &conversation, signal).await??)
            })
        })
        .await
    }

    /// Says where an attachment's bytes are, as the permit to fetch them: judged like a request of the connector's own, against
    /// a route of class `media`, and after its turn. To be spent by [`weir_egress::Egress::fetch`], with the same secrets.
    pub async fn locate(
        &self,
        context: CallContext,
        conversation: &ConversationFacts,
        message_id: &str,
        kind: ContentKind,
        media: &RemoteMedia,
    ) -> Called<EgressPermit> {
        let Some(indices) = self.0.exports.media_transfer.clone() else {
            return not_provided("media-transfer");
        };
        let (data, channel, ledger) = self.networked(CallKind::Locate, context);
        let conversation = convert::conversation(conversation);
        let message_id = message_id.to_owned();
        let media = convert::media_out(kind, media);
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest
                    .call_locate(&mut *store, &channel, &conversation, &message_id, &media)
                    .await?;
                let place = said?;
                let permit = store.data_mut().permit_fetch(&place.url, place.headers);
                let permit = permit.map_err(CallError::from)?;
                store.data().turn_of_media().await.map_err(CallError::from)?;
                Ok(permit)
            })
        })
        .await
    }

    /// Asks what a conversation can carry now.
    pub async fn probe(&self, context: CallContext, conversation: &ConversationFacts) -> Called<Vec<Capability>> {
        let Some(indices) = self.0.exports.probing.clone() else {
            return not_provided("probing");
        };
        let (data, channel, ledger) = self.networked(CallKind::Probe, context);
        let conversation = convert::conversation(conversation);
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_probe(store, &channel, &conversation).await?;
                Ok(convert::capabilities(said?)?)
            })
        })
        .await
    }

    /// Reads one page of the channel's conversations from the platform's own record, newest first.
    pub async fn conversations(&self, context: CallContext, cursor: Option<String>) -> Called<ConversationPage> {
        let Some(indices) = self.0.exports.history.clone() else {
            return not_provided("history");
        };
        let (data, channel, ledger) = self.networked(CallKind::History, context);
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_conversations(store, &channel, cursor.as_deref()).await?;
                Ok(convert::conversation_page(said?)?)
            })
        })
        .await
    }

    /// Reads what the platform's own record holds of a conversation since a moment.
    pub async fn messages(
        &self,
        context: CallContext,
        conversation: &ConversationFacts,
        since: Timestamp,
    ) -> Called<MessagePage> {
        let Some(indices) = self.0.exports.history.clone() else {
            return not_provided("history");
        };
        let (data, channel, ledger) = self.networked(CallKind::History, context);
        let conversation = convert::conversation(conversation);
        let since = u64::try_from(since.as_millis()).unwrap_or(0);
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_messages(store, &channel, &conversation, since).await?;
                Ok(convert::message_page(said?, &channel.platform_id)?)
            })
        })
        .await
    }

    /// Reads the automatic messages of a kind.
    pub async fn automations(&self, context: CallContext, kind: &str) -> Called<Vec<Automation>> {
        let Some(indices) = self.0.exports.automations.clone() else {
            return not_provided("automations");
        };
        let (data, channel, ledger) = self.networked(CallKind::Automate, context);
        let kind = kind.to_owned();
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                Ok(convert::automations(guest.call_get(store, &channel, &kind).await??)?)
            })
        })
        .await
    }

    /// Makes an automatic message, or replaces the one with its id; gives the platform's id.
    pub async fn put_automation(&self, context: CallContext, automation: &Automation) -> Called<Option<String>> {
        let Some(indices) = self.0.exports.automations.clone() else {
            return not_provided("automations");
        };
        let (data, channel, ledger) = self.networked(CallKind::Automate, context);
        let automation = convert::automation_out(automation);
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_put(store, &channel, &automation).await?;
                Ok(convert::automation_id(said?)?)
            })
        })
        .await
    }

    /// Removes an automatic message.
    pub async fn remove_automation(&self, context: CallContext, kind: &str, id: &str) -> Called<()> {
        let Some(indices) = self.0.exports.automations.clone() else {
            return not_provided("automations");
        };
        let (data, channel, ledger) = self.networked(CallKind::Automate, context);
        let (kind, id) = (kind.to_owned(), id.to_owned());
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                Ok(guest.call_remove(store, &channel, &kind, &id).await??)
            })
        })
        .await
    }

    /// A preview of the ad that brought a contact; none where the platform has none.
    pub async fn ad_preview(&self, context: CallContext, referral: &Referral) -> Called<Option<serde_json::Value>> {
        let Some(indices) = self.0.exports.ads.clone() else {
            return not_provided("ads");
        };
        let (data, channel, ledger) = self.networked(CallKind::Ads, context);
        let referral = convert::referral_out(referral);
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_preview(store, &channel, &referral).await?;
                Ok(convert::preview(said?)?)
            })
        })
        .await
    }

    /// Asks for news, on platforms without webhooks.
    pub async fn poll(&self, context: CallContext, cursor: Option<String>) -> Called<Batch> {
        let Some(indices) = self.0.exports.polling.clone() else {
            return not_provided("polling");
        };
        let (data, channel, ledger) = self.networked(CallKind::Poll, context);
        self.call(data, ledger, move |store, instance| {
            Box::pin(async move {
                let guest = indices.load(&mut *store, &instance)?;
                let said = guest.call_poll(store, &channel, cursor.as_deref()).await?;
                Ok(convert::batch(said?, &channel.platform_id)?)
            })
        })
        .await
    }

    // ---- how they run -------------------------------------------------------------------------------------------------

    async fn pure<T, F>(&self, kind: CallKind, inside: F) -> Result<T, CallError>
    where
        F: for<'a> FnOnce(&'a mut Store<CallData>, Instance) -> Inside<'a, T> + Send,
        T: fmt::Debug + Send,
    {
        let data = CallData::pure(kind, self.0.name.clone(), self.0.host.clone());
        self.0.sandbox.run(data, inside).await.0
    }

    /// The host's side of a call with network, the channel as the connector sees it, and what will be seen of the call.
    fn networked(&self, kind: CallKind, mut context: CallContext) -> (CallData, types::Channel, Ledger) {
        let ledger = Ledger::default();
        let mut data = CallData::pure(kind, self.0.name.clone(), self.0.host.clone());
        data.channel_id = context.channel_id;
        if let Some(key) = &self.0.canary_key {
            data.canary = Canary::of(key, &self.0.name.name);
            context.channel.settings = data.canary.plant(&context.channel.settings);
        }
        let channel = convert::channel(&context.channel);
        data.state = Some(StateView::new(context.state));
        data.network = Some(Network {
            manifest: self.0.manifest.clone(),
            secrets: context.secrets,
            grants: context.grants,
            origins: context.origins,
            pacer: context.pacer,
            attachments: Vec::new(),
            call: Call::new(kind),
            ledger: ledger.clone(),
        });
        (data, channel, ledger)
    }

    async fn run<T, F>(&self, data: CallData, ledger: Ledger, inside: F) -> Ran<T>
    where
        F: for<'a> FnOnce(&'a mut Store<CallData>, Instance) -> Inside<'a, T> + Send,
        T: fmt::Debug + Send,
    {
        let (result, writes) = self.0.sandbox.run(data, inside).await;
        Ran {
            result,
            writes,
            seen: ledger.take(),
        }
    }

    async fn call<T, F>(&self, data: CallData, ledger: Ledger, inside: F) -> Called<T>
    where
        F: for<'a> FnOnce(&'a mut Store<CallData>, Instance) -> Inside<'a, T> + Send,
        T: fmt::Debug + Send,
    {
        let ran = self.run(data, ledger, inside).await;
        Called {
            result: ran.result,
            requests: ran.seen.requests,
            writes: ran.writes,
        }
    }
}

/// A call with network that ended, and what was seen of it.
struct Ran<T> {
    result: Result<T, CallError>,
    writes: StateWrites,
    seen: Seen,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({} {})", self.0.name.name, self.0.name.number)
    }
}

fn answer(words: String) -> CallError {
    CallError::Answer(crate::text::line(&words, limits::LOG_LINE_BYTES))
}

fn not_provided<T>(interface: &'static str) -> Called<T> {
    Called {
        result: Err(CallError::NotProvided { interface }),
        requests: Vec::new(),
        writes: StateWrites::default(),
    }
}

/// A message whose request found no turn was not refused by anybody: it waits for the turn, and the try does not count.
fn after_the_turn(verdict: Verdict, no_turn: Option<Duration>) -> Verdict {
    match (verdict, no_turn) {
        (Verdict::Retry { .. } | Verdict::Uncertain, Some(wait)) => Verdict::Retry {
            after_ms: u64::try_from(wait.as_millis()).ok(),
            counts: false,
        },
        _ => verdict,
    }
}

/// A message whose call never began is tried again, and the try does not count.
fn not_begun(busy: &CallError) -> Outcome {
    Outcome::Failed {
        verdict: Verdict::Retry {
            after_ms: None,
            counts: false,
        },
        error: MessageError {
            code: "host_busy".to_owned(),
            detail: busy.to_string(),
            fault: Fault::Host,
            retryable: true,
            platform: None,
        },
    }
}
