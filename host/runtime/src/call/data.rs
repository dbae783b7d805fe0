//! The host's data of one call: what host functions work on.

use std::sync::Arc;

use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::policy::CallKind;
use weir_domain::time::Timestamp;

use crate::call::honeytoken::Honeytoken;
use crate::call::limits::{Meter, Processor};
use crate::call::network::Network;
use crate::context::Host;
use crate::state::StateView;
use crate::trace::recorder::CallTrace;

/// Which version of which connector runs.
#[derive(Debug)]
pub(crate) struct VersionName {
    pub(crate) name: String,
    pub(crate) number: String,
}

/// The data of a call's store.
pub(crate) struct CallData {
    pub(crate) kind: CallKind,
    pub(crate) version: Arc<VersionName>,
    pub(crate) host: Host,
    /// The channel's id; none in a call without a channel.
    pub(crate) channel_id: Option<ChannelId>,
    /// None in a pure call.
    pub(crate) state: Option<StateView>,
    /// None in a pure call.
    pub(crate) network: Option<Network>,
    /// Log lines written, including those dropped.
    pub(crate) lines: u32,
    /// Acts that the policy refused.
    pub(crate) refusals: u32,
    /// The planted secret that must not leave the call.
    pub(crate) honeytoken: Honeytoken,
    /// What records the call, or replays it.
    pub(crate) trace: CallTrace,
    pub(super) meter: Meter,
    pub(super) processor: Arc<Processor>,
}

impl CallData {
    /// A call without network and state.
    pub(crate) fn pure(kind: CallKind, version: Arc<VersionName>, host: Host) -> Self {
        Self {
            kind,
            version,
            host,
            channel_id: None,
            state: None,
            network: None,
            lines: 0,
            refusals: 0,
            honeytoken: Honeytoken::default(),
            trace: CallTrace::Off,
            meter: Meter::default(),
            processor: Arc::default(),
        }
    }

    /// Counts a refusal; whether it is reported. A connector that tries forever is refused forever, but reported only
    /// so often.
    pub(crate) fn reports_refusal(&mut self) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        self.refusals <= limits::REQUESTS_PER_CALL && !self.is_silent()
    }

    /// Whether its log lines and refusals are dropped: `describe` runs before an operator approves the component.
    pub(crate) fn is_silent(&self) -> bool {
        self.kind == CallKind::Describe
    }

    /// The host's time; the epoch in `describe`, whose result must not depend on the time.
    pub(crate) fn moment(&self) -> Timestamp {
        if self.kind == CallKind::Describe {
            Timestamp::default()
        } else {
            self.host.clock.now()
        }
    }
}
