//! Replays a recorded call on a connector.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_domain::credential::Secrets;
use weir_domain::policy::Call;

use super::Connector;
use crate::call::data::CallData;
use crate::call::network::{Ledger, Network};
use crate::call::sandbox;
use crate::context::{Host, NoFence, NoObserver};
use crate::error::CallError;
use crate::interface::functions::RecordedCall;
use crate::state::StateView;
use crate::trace::recorder::{CallTrace, ReplaySource};
use crate::trace::replay::{self, Boundary, Offline, ReplayRun, Replayed};
use crate::trace::transcript::{self, Cost, End, Transcript};

impl Connector {
    /// Replays a recorded call offline: host functions answer from the transcript, no request leaves, no state is
    /// written, and no observer is called. Each request is checked by this version's routes and by `boundary`. Replayed
    /// on the version that the transcript is of, nothing differs.
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
            fence: Arc::new(NoFence),
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
