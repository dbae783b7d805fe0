//! A loaded connector: one method for each function of the interface.
//!
//! What must be checked before a call is an argument that only the check can create: a verified webhook, a send permit.
//! The state writes of a call with network are returned in [`Called`].

mod replay;
mod run;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use weir_domain::delivery::{Outcome, Verdict};
use weir_domain::inbound::{InboundEvent, Person, RemoteMedia};
use weir_domain::manifest::Manifest;
use weir_domain::message::{ContentKind, Draft, MessageError, Referral};
use weir_domain::policy::{CallKind, EgressPermit, Finding, SendPermit};
use weir_domain::problem::Fault;
use weir_domain::signature::VerifiedWebhook;
use weir_domain::time::Timestamp;
use weir_egress::Departure;

use crate::call::data::{CallData, VersionName};
use crate::call::network::Seen;
use crate::call::sandbox::{self, Sandbox};
use crate::context::{CallContext, Called, ConversationFacts, Host, State};
use crate::error::{CallError, LoadError};
use crate::interface::bindings::exports::weir::connector::signals;
use crate::interface::bindings::weir::connector::types::Header;
use crate::interface::convert;
use crate::interface::exports::Exports;
use crate::interface::functions::{self, ExportCall, Webhook};
use crate::interface::output::{
    Automation, Batch, Capability, ConversationPage, MessagePage, Profile, SendReport, SetupFinding, Signal,
};

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

    // ---- pure calls ------------------------------------------------------------------------------------------------

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

    /// Migrates a copy of a channel's state from `from_version` to this version. Pure: no network. A connector without
    /// the interface `upgrade` keeps the state as it is.
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

    // ---- calls with network ----------------------------------------------------------------------------------------

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
            Err(busy @ CallError::Busy { .. }) => (not_started(&busy), Some(busy)),
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
    /// against a route of class `media`, after the wait for the rate limit. For [`weir_egress::Egress::fetch_at`], with
    /// the same secrets.
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
            return Called::not_provided(functions::Locate::INTERFACE);
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
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connector({} {})", self.0.name.name, self.0.name.number)
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
fn not_started(busy: &CallError) -> Outcome {
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
