//! A loaded connector: one method for each function of the interface.
//!
//! What must be checked before a call is an argument that only the check can create: a verified webhook, a send permit. The
//! state writes of a call with network are returned in [`Called`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_domain::credential::Secrets;
use weir_domain::delivery::{Outcome, Verdict};
use weir_domain::inbound::{InboundEvent, Person, RemoteMedia};
use weir_domain::manifest::Manifest;
use weir_domain::message::{ContentKind, Draft, MessageError, Referral};
use weir_domain::policy::{Call, CallKind, EgressPermit, Finding, SendPermit};
use weir_domain::problem::Fault;
use weir_domain::signature::VerifiedWebhook;
use weir_domain::time::Timestamp;
use weir_egress::Departure;

use crate::call::data::{CallData, VersionName};
use crate::call::honeytoken::Honeytoken;
use crate::call::network::{Ledger, Network, Seen};
use crate::call::sandbox::{self, Ended, Sandbox};
use crate::context::{
    CallContext, Called, ConversationFacts, Host, NoObserver, RecordedTranscript, Recording, State, StateWrites,
};
use crate::error::{CallError, LoadError};
use crate::interface::bindings::exports::weir::connector::signals;
use crate::interface::bindings::weir::connector::types::{self, Header};
use crate::interface::convert;
use crate::interface::exports::Exports;
use crate::interface::functions::{self, ExportCall, RecordedCall, Webhook};
use crate::interface::output::{
    Automation, Batch, Capability, ConversationPage, MessagePage, Profile, SendReport, SetupFinding, Signal,
};
use crate::state::StateView;
use crate::trace::recorder::{CallTrace, Recorder, ReplaySource};
use crate::trace::replay::{self, Boundary, Offline, ReplayRun, Replayed};
use crate::trace::transcript::{self, Cost, End, FORMAT, Transcript};

/// Where an attachment's bytes are.
pub struct Located {
    /// The permit to fetch them.
    pub permit: EgressPermit,
    /// The gate that the request passes when it leaves; none if no rate limit applies.
    pub departure: Option<Box<dyn Departure>>,
}

impl fmt::Debug for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Located")
            .field("permit", &self.permit)
            .finish_non_exhaustive()
    }
}

/// One loaded version of a connector. Cheap to clone; running calls keep it alive.
#[derive(Clone)]
pub struct Connector(Arc<Version>);

struct Version {
    name: Arc<VersionName>,
    manifest: Arc<Manifest>,
    digest: String,
    host: Host,
    exports: Arc<Exports>,
    sandbox: Sandbox,
    honeytoken_key: Option<[u8; 32]>,
}

impl Connector {
    /// Checks the types of a component's exports and reads its manifest.
    pub(crate) async fn describe(
        sandbox: Sandbox,
        exports: Exports,
        digest: String,
        host: Host,
        honeytoken_key: Option<[u8; 32]>,
    ) -> Result<Self, LoadError> {
        let unknown = Arc::new(VersionName {
            name: "?".to_owned(),
            number: "?".to_owned(),
        });
        let data = CallData::pure(CallKind::Describe, unknown, host.clone());
        let exports = Arc::new(exports);
        let found = Arc::clone(&exports);
        let described = sandbox
            .run(data, move |store, instance| {
                Box::pin(async move {
                    if let Err(wrong) = functions::check_types(&found, store, &instance) {
                        return Ok(Err(wrong));
                    }
                    Ok(Ok(
                        sandbox::invoke(&functions::Describe {}, &found, store, instance).await?
                    ))
                })
            })
            .await;
        let raw = described
            .result
            .map_err(LoadError::Describe)?
            .map_err(|(name, error)| exports.type_mismatch(name, &error))?;
        let manifest = convert::manifest(raw, exports.provided())?.check()?;
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
            honeytoken_key,
        })))
    }

    /// Its manifest, checked.
    pub fn manifest(&self) -> &Arc<Manifest> {
        &self.0.manifest
    }

    /// SHA-256 of the component's bytes, in lower-case hex.
    pub fn digest(&self) -> &str {
        &self.0.digest
    }

    /// References to this version other than the caller's: those of running calls, and of callers about to make one.
    pub fn held_by(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    // ---- pure calls ---------------------------------------------------------------------------------------------------

    /// Translates a webhook into events, oldest first. Pure: no network, no state.
    ///
    /// # Errors
    /// The webhook becomes a dead letter; [`CallError::Answer`] holds the connector's error text.
    pub async fn receive(&self, webhook: &VerifiedWebhook) -> Result<Vec<InboundEvent>, CallError> {
        let raw = webhook.webhook();
        let headers = raw.headers.iter().cloned();
        let webhook = Webhook {
            method: raw.method.clone(),
            query: raw.query.clone(),
            headers: headers.map(|(name, value)| Header { name, value }).collect(),
            body: raw.body.to_vec(),
        };
        self.pure(CallKind::Receive, functions::Receive { webhook }).await
    }

    /// Checks a draft beyond what the manifest's rules can express; no findings means that it may be sent. Pure: no
    /// network, no state.
    ///
    /// # Errors
    /// How the call failed.
    pub async fn prepare(&self, draft: &Draft) -> Result<Vec<Finding>, CallError> {
        let draft = convert::draft(draft);
        self.pure(CallKind::Prepare, functions::Prepare { draft }).await
    }

    /// Migrates a copy of a channel's state from `from_version` to this version. Pure: no network. A connector without the
    /// interface `upgrade` keeps the state as it is.
    ///
    /// # Errors
    /// The old version keeps the channel; [`CallError::Answer`] holds the connector's error text.
    pub async fn migrate(&self, from_version: &str, state: State) -> Result<State, CallError> {
        if !self.0.exports.has("upgrade") {
            return Ok(state);
        }
        let state = convert::state(state);
        let from_version = from_version.to_owned();
        self.pure(CallKind::Migrate, functions::Migrate { from_version, state })
            .await
    }

    // ---- calls with network -------------------------------------------------------------------------------------------

    /// Sends one message. Consumes the permit: one request of class `message-send` may leave.
    pub async fn send(&self, permit: SendPermit, context: CallContext) -> SendReport {
        let (mut data, channel, ledger) = self.networked(CallKind::Send, context);
        if let (Some(network), Some(media)) = (&mut data.network, permit.draft().content.media()) {
            network.attachments.push(media.id);
        }
        let call = functions::SendMessage {
            channel,
            conversation: convert::conversation(&permit.conversation().into()),
            draft: convert::draft(permit.draft()),
        };
        let called = self.invoke(data, call).await;
        let Seen {
            requests,
            sent,
            answered,
            no_turn,
        } = ledger.take();
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

    /// The account's own profile.
    pub async fn who_am_i(&self, context: CallContext) -> Called<Profile> {
        self.call(CallKind::Identify, context, |channel| functions::WhoAmI { channel })
            .await
    }

    /// Sets up what the account needs, such as the webhook subscription. Idempotent.
    pub async fn connected(&self, context: CallContext) -> Called<()> {
        self.call(CallKind::Identify, context, |channel| functions::Connected { channel })
            .await
    }

    /// Checks the account's setup, for the diagnosis of a channel.
    pub async fn check(&self, context: CallContext) -> Called<Vec<SetupFinding>> {
        self.call(CallKind::Identify, context, |channel| functions::Check { channel })
            .await
    }

    /// Shows the contact a typing indicator or a read receipt.
    pub async fn signal(&self, context: CallContext, conversation: &ConversationFacts, signal: Signal) -> Called<()> {
        let signal = match signal {
            Signal::Typing => signals::Signal::Typing,
            Signal::Read => signals::Signal::Read,
        };
        self.call(CallKind::Signal, context, |channel| functions::Show {
            channel,
            conversation: convert::conversation(conversation),
            signal,
        })
        .await
    }

    /// Locates an attachment's bytes, and returns the permit to fetch them: checked like a request of the connector,
    /// against a route of class `media`, after the wait for the rate limit. For [`weir_egress::Egress::fetch_at`], with the
    /// same secrets.
    pub async fn locate(
        &self,
        context: CallContext,
        conversation: &ConversationFacts,
        message_id: &str,
        kind: ContentKind,
        media: &RemoteMedia,
    ) -> Called<Located> {
        let (mut data, channel, ledger) = self.networked(CallKind::Locate, context);
        let call = functions::Locate {
            channel,
            conversation: convert::conversation(conversation),
            message_id: message_id.to_owned(),
            media: convert::media_out(kind, media),
        };
        if !self.0.exports.has(functions::Locate::INTERFACE) {
            return not_provided(functions::Locate::INTERFACE);
        }
        data.trace = self.trace(&data, &call);
        let exports = Arc::clone(&self.0.exports);
        let located = self.0.sandbox.run(data, move |store, instance| {
            Box::pin(async move {
                let place = sandbox::invoke(&call, &exports, store, instance).await?;
                let permit = store.data_mut().permit_fetch(&place.url, place.headers);
                let permit = permit.map_err(CallError::from)?;
                let departure = store.data().media_turn().await.map_err(CallError::from)?;
                Ok(Located { permit, departure })
            })
        });
        self.report_transcript(located.await).called(&ledger)
    }

    /// The content kinds that a conversation supports now.
    pub async fn probe(&self, context: CallContext, conversation: &ConversationFacts) -> Called<Vec<Capability>> {
        self.call(CallKind::Probe, context, |channel| functions::Probe {
            channel,
            conversation: convert::conversation(conversation),
        })
        .await
    }

    /// One page of the channel's conversations from the platform's history, newest first.
    pub async fn conversations(&self, context: CallContext, cursor: Option<String>) -> Called<ConversationPage> {
        self.call(CallKind::History, context, |channel| functions::Conversations {
            channel,
            cursor,
        })
        .await
    }

    /// A conversation's messages since `since`, from the platform's history.
    pub async fn messages(
        &self,
        context: CallContext,
        conversation: &ConversationFacts,
        since: Timestamp,
    ) -> Called<MessagePage> {
        self.call(CallKind::History, context, |channel| functions::Messages {
            channel,
            conversation: convert::conversation(conversation),
            since: u64::try_from(since.as_millis()).unwrap_or(0),
        })
        .await
    }

    /// The profile of a conversation's contact; none if the platform has none.
    pub async fn look_up(&self, context: CallContext, conversation: &ConversationFacts) -> Called<Option<Person>> {
        self.call(CallKind::History, context, |channel| functions::LookUp {
            channel,
            conversation: convert::conversation(conversation),
        })
        .await
    }

    /// The automatic messages of a kind.
    pub async fn automations(&self, context: CallContext, kind: &str) -> Called<Vec<Automation>> {
        let kind = kind.to_owned();
        self.call(CallKind::Automate, context, |channel| functions::Automations {
            channel,
            kind,
        })
        .await
    }

    /// Creates an automatic message, or replaces the one with its id; returns the platform's id.
    pub async fn put_automation(&self, context: CallContext, automation: &Automation) -> Called<Option<String>> {
        let automation = convert::automation_out(automation);
        self.call(CallKind::Automate, context, |channel| functions::PutAutomation {
            channel,
            automation,
        })
        .await
    }

    /// Removes an automatic message.
    pub async fn remove_automation(&self, context: CallContext, kind: &str, id: &str) -> Called<()> {
        let (kind, id) = (kind.to_owned(), id.to_owned());
        self.call(CallKind::Automate, context, |channel| functions::RemoveAutomation {
            channel,
            kind,
            id,
        })
        .await
    }

    /// A preview of the ad that brought a contact; none where the platform has none.
    pub async fn ad_preview(&self, context: CallContext, referral: &Referral) -> Called<Option<serde_json::Value>> {
        let referral = convert::referral_out(referral);
        self.call(CallKind::Ads, context, |channel| functions::AdPreview {
            channel,
            referral,
        })
        .await
    }

    /// New events since `cursor`, on platforms without webhooks.
    pub async fn poll(&self, context: CallContext, cursor: Option<String>) -> Called<Batch> {
        self.call(CallKind::Poll, context, |channel| functions::Poll { channel, cursor })
            .await
    }

    // ---- replay -------------------------------------------------------------------------------------------------------

    /// Replays a recorded call offline: host functions answer from the transcript, no request leaves, no state is written,
    /// and no observer is called. Each request is checked by this version's routes and by `boundary`. Replayed on the
    /// version that the transcript is of, nothing differs.
    pub async fn replay(&self, transcript: &Transcript, boundary: &Boundary) -> Replayed {
        let interface = transcript.arguments.interface();
        if !self.0.exports.has(interface) {
            return Replayed::not_provided(interface, transcript);
        }
        let host = Host {
            observer: Arc::new(NoObserver),
            ..self.0.host.clone()
        };
        let mut data = CallData::pure(transcript.call, self.0.name.clone(), host);
        data.state = transcript.state().map(StateView::new);
        data.trace = CallTrace::Replaying(Box::new(ReplaySource::of(transcript)));
        data.network = (!transcript.call.is_pure()).then(|| Network {
            manifest: self.0.manifest.clone(),
            secrets: Secrets::default(),
            grants: Arc::clone(&boundary.grants),
            origins: Arc::clone(&boundary.origins),
            pacer: Arc::new(Offline),
            dates: Arc::new(Offline),
            attachments: transcript.arguments.attachments(),
            call: Call::new(transcript.call),
            ledger: Ledger::default(),
        });
        let (recorded, exports) = (transcript.arguments.clone(), Arc::clone(&self.0.exports));
        let ended = self.0.sandbox.run(data, move |store, instance| {
            Box::pin(async move {
                let RecordedCall::Locate(call) = &recorded else {
                    let (raw, output) = recorded.invoke(&exports, store, instance).await?;
                    if let CallTrace::Replaying(source) = &mut store.data_mut().trace {
                        source.returned = raw;
                    }
                    return Ok(output?);
                };
                let place = sandbox::invoke(call, &exports, store, instance).await?;
                let permit = store.data_mut().permit_fetch(&place.url, place.headers);
                Ok(permit.map(drop).map_err(CallError::from)?)
            })
        });
        let ended = ended.await;
        let (requests, refusals, returned) = match ended.trace {
            CallTrace::Replaying(source) => {
                let requests = source.requests.iter().map(replay::value).collect();
                (requests, source.refusals, source.returned)
            }
            CallTrace::Off | CallTrace::Recording(_) => Default::default(),
        };
        let run = ReplayRun {
            end: End::of(returned, ended.result.as_ref().err()),
            requests,
            refusals,
            writes: transcript::writes(&ended.writes),
            cost: ended.cost,
        };
        replay::compare(transcript, run)
    }

    // ---- how calls run ------------------------------------------------------------------------------------------------

    async fn pure<C: ExportCall>(&self, kind: CallKind, call: C) -> Result<C::Output, CallError> {
        let data = CallData::pure(kind, self.0.name.clone(), self.0.host.clone());
        self.invoke(data, call).await.result
    }

    async fn call<C: ExportCall>(
        &self,
        kind: CallKind,
        context: CallContext,
        call: impl FnOnce(types::Channel) -> C,
    ) -> Called<C::Output> {
        if !self.0.exports.has(C::INTERFACE) {
            return not_provided(C::INTERFACE);
        }
        let (data, channel, ledger) = self.networked(kind, context);
        self.invoke(data, call(channel)).await.called(&ledger)
    }

    /// The data of a call with network, the channel as the connector sees it, and the ledger of its requests.
    fn networked(&self, kind: CallKind, mut context: CallContext) -> (CallData, types::Channel, Ledger) {
        let ledger = Ledger::default();
        let mut data = CallData::pure(kind, self.0.name.clone(), self.0.host.clone());
        data.channel_id = context.channel_id;
        if let Some(key) = &self.0.honeytoken_key {
            data.honeytoken = Honeytoken::of(key, &self.0.name.name);
            context.channel.settings = data.honeytoken.plant(&context.channel.settings);
        }
        let channel = convert::channel(&context.channel);
        data.state = Some(StateView::new(context.state));
        data.network = Some(Network {
            manifest: self.0.manifest.clone(),
            secrets: context.secrets,
            grants: context.grants,
            origins: context.origins,
            pacer: context.pacer,
            dates: context.dates,
            attachments: Vec::new(),
            call: Call::new(kind),
            ledger: ledger.clone(),
        });
        (data, channel, ledger)
    }

    async fn invoke<C: ExportCall>(&self, mut data: CallData, call: C) -> Ended<C::Output> {
        data.trace = self.trace(&data, &call);
        let exports = Arc::clone(&self.0.exports);
        let ended = self.0.sandbox.run(data, move |store, instance| {
            Box::pin(async move { sandbox::invoke(&call, &exports, store, instance).await })
        });
        self.report_transcript(ended.await)
    }

    /// The trace of a call: a recorder if the observer wants one.
    fn trace<C: ExportCall>(&self, data: &CallData, call: &C) -> CallTrace {
        let keep_always = match data.host.observer.recording(data.kind) {
            Recording::Off => return CallTrace::Off,
            Recording::Crashes => false,
            Recording::All => true,
        };
        CallTrace::Recording(Box::new(Recorder {
            keep_always,
            at: data.moment(),
            call: call.clone().into(),
            state: data.state.as_ref().map(StateView::entries),
            clock: Vec::new(),
            exchanges: Vec::new(),
            returned: None,
        }))
    }

    /// Passes the transcript of a recorded call to the observer.
    fn report_transcript<T>(&self, mut ended: Ended<T>) -> Ended<T> {
        let CallTrace::Recording(recorder) = std::mem::take(&mut ended.trace) else {
            return ended;
        };
        let error = ended.result.as_ref().err();
        let crashed = error.is_some_and(CallError::is_crash);
        if !recorder.keep_always && !crashed {
            return ended;
        }
        let transcript = Transcript {
            format: FORMAT,
            connector: self.0.name.name.clone(),
            version: self.0.name.number.clone(),
            digest: self.0.digest.clone(),
            call: ended.kind,
            channel_id: ended.channel_id,
            at: recorder.at,
            arguments: recorder.call,
            state: recorder.state.as_ref().map(transcript::written),
            clock: recorder.clock,
            exchanges: recorder.exchanges,
            writes: transcript::writes(&ended.writes),
            end: End::of(recorder.returned, error),
            cost: ended.cost,
        };
        if let Ok(json) = serde_json::to_string(&transcript) {
            self.0.host.observer.on_transcript(&RecordedTranscript {
                connector: &transcript.connector,
                version: &transcript.version,
                kind: transcript.call,
                at: transcript.at,
                channel_id: transcript.channel_id,
                crashed,
                json: ended.honeytoken.without(json),
            });
        }
        ended
    }
}

impl<T> Ended<T> {
    fn called(self, ledger: &Ledger) -> Called<T> {
        Called {
            result: self.result,
            requests: ledger.take().requests,
            writes: self.writes,
        }
    }
}

impl Replayed {
    /// The replay of a call on a version that does not export its function.
    fn not_provided(interface: &'static str, transcript: &Transcript) -> Self {
        let end = End::of(None, Some(&CallError::NotProvided { interface }));
        let run = ReplayRun {
            end,
            requests: Vec::new(),
            refusals: Vec::new(),
            writes: BTreeMap::new(),
            cost: Cost::default(),
        };
        replay::compare(transcript, run)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({} {})", self.0.name.name, self.0.name.number)
    }
}

fn not_provided<T>(interface: &'static str) -> Called<T> {
    Called {
        result: Err(CallError::NotProvided { interface }),
        requests: Vec::new(),
        writes: StateWrites::default(),
    }
}

/// A message whose request the rate limit held back was not refused: it is retried after the wait, and the attempt
/// does not count.
fn after_the_turn(verdict: Verdict, no_turn: Option<Duration>) -> Verdict {
    match (verdict, no_turn) {
        (Verdict::Retry { .. } | Verdict::Uncertain, Some(wait)) => Verdict::Retry {
            after_ms: u64::try_from(wait.as_millis()).ok(),
            counts: false,
        },
        _ => verdict,
    }
}

/// A message whose call did not begin is retried, and the attempt does not count.
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
