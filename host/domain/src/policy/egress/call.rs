//! Calls of connectors, and the remaining allowance of each.

use serde::{Deserialize, Serialize};

use super::CallRefusal;
use crate::limits;
use crate::manifest::{Route, RouteClass};

/// The call of a connector that makes a request, with its remaining allowance.
#[derive(Clone, Debug)]
pub struct Call {
    kind: CallKind,
    requests_left: u32,
    sends_left: u32,
}

/// The kind of a call; decides which classes of requests it may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// Return the manifest.
    Describe,
    /// Translate a webhook.
    Receive,
    /// Check and prepare a draft.
    Prepare,
    /// Migrate a channel's state.
    Migrate,
    /// Send one message, under a permit.
    Send,
    /// Identify an account, set it up, check it.
    Identify,
    /// Send a typing indicator or a read receipt.
    Signal,
    /// Return the location of an attachment.
    Locate,
    /// Return the content that a conversation supports.
    Probe,
    /// Read the platform's history.
    History,
    /// Manage automatic messages.
    Automate,
    /// Fetch the preview of an ad.
    Ads,
    /// Poll for new events.
    Poll,
}

impl CallKind {
    /// Whether the call is pure: no network, no state.
    pub fn is_pure(self) -> bool {
        matches!(self, Self::Describe | Self::Receive | Self::Prepare | Self::Migrate)
    }

    /// Its name in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Receive => "receive",
            Self::Prepare => "prepare",
            Self::Migrate => "migrate",
            Self::Send => "send",
            Self::Identify => "identify",
            Self::Signal => "signal",
            Self::Locate => "locate",
            Self::Probe => "probe",
            Self::History => "history",
            Self::Automate => "automate",
            Self::Ads => "ads",
            Self::Poll => "poll",
        }
    }

    fn may(self, class: RouteClass) -> bool {
        match self {
            Self::Describe | Self::Receive | Self::Prepare | Self::Migrate => false,
            Self::Send => matches!(class, RouteClass::MessageSend | RouteClass::Media | RouteClass::Read),
            Self::Signal => matches!(class, RouteClass::Signal | RouteClass::Read),
            Self::Locate => matches!(class, RouteClass::Media | RouteClass::Read),
            Self::Identify | Self::Automate => {
                matches!(class, RouteClass::Setup | RouteClass::Read)
            }
            Self::Probe | Self::History | Self::Ads | Self::Poll => {
                matches!(class, RouteClass::Read)
            }
        }
    }
}

impl Call {
    /// The allowance of one call: a number of requests, and one message-send if it is a send.
    pub fn new(kind: CallKind) -> Self {
        let sends_left = u32::from(kind == CallKind::Send);
        Self {
            kind,
            requests_left: if kind.is_pure() { 0 } else { limits::REQUESTS_PER_CALL },
            sends_left,
        }
    }

    /// The kind of the call.
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// Whether the permit of this call was used: a message-send request was admitted.
    pub fn has_sent(&self) -> bool {
        self.kind == CallKind::Send && self.sends_left == 0
    }

    /// Counts a request before it is checked, so that refusals are bounded too.
    pub(super) fn take_request(&mut self) -> Result<(), CallRefusal> {
        if self.kind.is_pure() {
            return Err(CallRefusal::NoNetwork {
                call: self.kind.as_str(),
            });
        }
        self.requests_left = self.requests_left.checked_sub(1).ok_or(CallRefusal::TooManyRequests {
            limit: limits::REQUESTS_PER_CALL,
        })?;
        Ok(())
    }

    /// Consumes the cost of a request by this route: the permit, if it sends a message to a person.
    pub(super) fn check_limit(&mut self, route: &Route) -> Result<(), CallRefusal> {
        if !self.kind.may(route.class) {
            return Err(CallRefusal::WrongCall {
                call: self.kind.as_str(),
                class: route.class,
                route: route.id.clone(),
            });
        }
        if route.class == RouteClass::MessageSend {
            self.sends_left = self
                .sends_left
                .checked_sub(1)
                .ok_or_else(|| CallRefusal::NoPermitLeft {
                    route: route.id.clone(),
                })?;
        }
        Ok(())
    }
}
