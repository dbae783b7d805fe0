//! What a connector was asked to do, and what is left of its allowance.

use serde::{Deserialize, Serialize};

use super::CallRefusal;
use crate::limits;
use crate::manifest::{Route, RouteClass};

/// The call of a connector that a request is made in. Carries what is left of its allowance.
#[derive(Clone, Debug)]
pub struct Call {
    kind: CallKind,
    requests_left: u32,
    sends_left: u32,
}

/// What a connector was asked to do; decides which classes of request it may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    /// Say what it is.
    Describe,
    /// Translate a webhook.
    Receive,
    /// Judge a draft.
    Prepare,
    /// Migrate a channel's state.
    Migrate,
    /// Send one message, under a permit.
    Send,
    /// Say who an account is, set it up, check it.
    Identify,
    /// Show typing or a read mark.
    Signal,
    /// Say where an attachment's bytes are.
    Locate,
    /// Say what a conversation can carry.
    Probe,
    /// Read the platform's record.
    History,
    /// Manage automatic messages.
    Automate,
    /// Show an ad.
    Ads,
    /// Ask for news.
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

    /// What the connector was asked to do.
    pub fn kind(&self) -> CallKind {
        self.kind
    }

    /// Whether the permit of this call was spent: a message-send request was let through.
    pub fn has_sent(&self) -> bool {
        self.kind == CallKind::Send && self.sends_left == 0
    }

    /// Counts a request before it is judged, so that refusals are bounded too.
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

    /// Takes what a request by this route costs: the permit, if it puts a message before a person.
    pub(super) fn take_turn(&mut self, route: &Route) -> Result<(), CallRefusal> {
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
