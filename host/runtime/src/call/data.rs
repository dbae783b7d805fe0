//! What one call carries on the host's side.

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

/// What one call carries on the host's side.
pub(crate) struct CallData {
    pub(crate) kind: CallKind,
    pub(crate) version: Arc<VersionName>,
    pub(crate) host: Host,
    /// The channel in the host's record; none in a call without one.
    pub(crate) channel_id: Option<ChannelId>,
    /// None in a call that has none.
    pub(crate) state: Option<StateView>,
    /// None in a call that has none.
    pub(crate) network: Option<Network>,
    /// Log lines written, those dropped among them.
    pub(crate) lines: u32,
    /// How often a judge said no.
    pub(crate) refusals: u32,
    /// The planted secret that must not leave the call.
    pub(crate) honeytoken: Honeytoken,
    /// What runs along.
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

    /// Counts a refusal. A connector that asks without end is answered without end, and written down for a while.
    pub(crate) fn is_worth_writing_down(&mut self) -> bool {
        self.refusals = self.refusals.saturating_add(1);
        self.refusals <= limits::REQUESTS_PER_CALL && !self.is_mute()
    }

    /// Whether what it says is nobody's business: `describe` runs before anybody said yes to the connector.
    pub(crate) fn is_mute(&self) -> bool {
        self.kind == CallKind::Describe
    }

    /// The host's clock; a connector that says what it is must not look at it.
    pub(crate) fn moment(&self) -> Timestamp {
        if self.kind == CallKind::Describe {
            Timestamp::default()
        } else {
            self.host.clock.now()
        }
    }
}
