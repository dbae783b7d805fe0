//! Runs a call of a connector, and records it if the observer wants a transcript.

use std::sync::Arc;

use weir_domain::policy::{Call, CallKind};

use super::Connector;
use crate::call::data::CallData;
use crate::call::honeytoken::Honeytoken;
use crate::call::network::{Ledger, Network};
use crate::call::sandbox::{self, Ended};
use crate::context::{CallContext, Called, RecordedTranscript, Recording, StateWrites};
use crate::error::CallError;
use crate::interface::bindings::weir::connector::types;
use crate::interface::convert;
use crate::interface::functions::ExportCall;
use crate::state::StateView;
use crate::trace::recorder::{CallTrace, Recorder};
use crate::trace::transcript::{self, End, FORMAT, Transcript};

impl Connector {
    pub(super) async fn pure<C: ExportCall>(&self, kind: CallKind, call: C) -> Result<C::Output, CallError> {
        let data = CallData::pure(kind, self.0.name.clone(), self.0.host.clone());
        self.invoke(data, call).await.result
    }

    pub(super) async fn call<C: ExportCall>(
        &self,
        kind: CallKind,
        context: CallContext,
        call: impl FnOnce(types::Channel) -> C,
    ) -> Called<C::Output> {
        if !self.0.exports.has(C::INTERFACE) {
            return Called::not_provided(C::INTERFACE);
        }
        let (data, channel, ledger) = self.networked(kind, context);
        self.invoke(data, call(channel)).await.called(&ledger)
    }

    /// The data of a call with network, the channel as the connector sees it, and the ledger of its requests.
    pub(super) fn networked(&self, kind: CallKind, mut context: CallContext) -> (CallData, types::Channel, Ledger) {
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
            fence: context.fence,
            attachments: Vec::new(),
            call: Call::new(kind),
            ledger: ledger.clone(),
        });
        (data, channel, ledger)
    }

    pub(super) async fn invoke<C: ExportCall>(&self, mut data: CallData, call: C) -> Ended<C::Output> {
        data.trace = self.trace(&data, &call);
        let exports = Arc::clone(&self.0.exports);
        let ended = self.0.sandbox.run(data, move |store, instance| {
            Box::pin(async move { sandbox::invoke(&call, &exports, store, instance).await })
        });
        self.report_transcript(ended.await)
    }

    /// The trace of a call: a recorder if the observer wants one.
    pub(super) fn trace<C: ExportCall>(&self, data: &CallData, call: &C) -> CallTrace {
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
    pub(super) fn report_transcript<T>(&self, mut ended: Ended<T>) -> Ended<T> {
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
    pub(super) fn called(self, ledger: &Ledger) -> Called<T> {
        Called {
            result: self.result,
            requests: ledger.take().requests,
            writes: self.writes,
        }
    }
}

impl<T> Called<T> {
    /// The connector does not export the function's interface.
    pub(super) fn not_provided(interface: &'static str) -> Self {
        Self {
            result: Err(CallError::NotProvided { interface }),
            requests: Vec::new(),
            writes: StateWrites::default(),
        }
    }
}
