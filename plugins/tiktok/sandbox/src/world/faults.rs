//! Injected faults: the next calls of a name, or the next webhooks, fail in the requested way.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ControlError;
use crate::api::{Api, MEDIA, UPLOAD};
use crate::limits;

/// The fault in a request.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultOrder {
    /// A call's name, `webhook`, or `*` for every call.
    pub on: String,
    /// The fault.
    pub fault: FaultSpec,
    /// How many times; one when absent.
    #[serde(default = "once")]
    pub times: u32,
    /// How many matching calls pass first.
    #[serde(default)]
    pub after: u32,
    /// For webhooks: only this event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

fn once() -> u32 {
    1
}

/// The fault. `delay_ms` can be combined with any other; of the others only one may be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSpec {
    /// TikTok's code, in an envelope; the call is not performed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The message that accompanies the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// A bare HTTP status; the call is not performed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// Milliseconds (system time) before the call is executed; for webhooks virtual ones before delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Executed; then the connection is closed without a response.
    #[serde(skip_serializing_if = "is_false")]
    pub lost: bool,
    /// Not executed; the connection is closed without a response.
    #[serde(skip_serializing_if = "is_false")]
    pub reset: bool,
    /// Not executed; a gateway's HTML page is returned with status 200.
    #[serde(skip_serializing_if = "is_false")]
    pub html: bool,
    /// Executed; half of the JSON is returned.
    #[serde(skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// Executed; these members of the response's `data` are changed, and null ones are removed (RFC 7386).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Map<String, Value>>,
    /// Webhook: sent twice.
    #[serde(skip_serializing_if = "is_false")]
    pub duplicate: bool,
    /// Webhook: the next of its conversation overtakes it.
    #[serde(skip_serializing_if = "is_false")]
    pub reorder: bool,
    /// Webhook: never sent.
    #[serde(skip_serializing_if = "is_false")]
    pub drop: bool,
    /// Webhook: the next send responds only after its echo was delivered.
    #[serde(skip_serializing_if = "is_false")]
    pub early_echo: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A fault of an API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiFault {
    /// Wait this long first.
    pub delay_ms: u64,
    /// Then this fault.
    pub kind: ApiFaultKind,
}

/// The faults of an API call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiFaultKind {
    /// Only delayed.
    Late,
    /// Refused.
    Code(i64, String),
    /// A bare status.
    Status(u16),
    /// Executed, and no response.
    Lost,
    /// Not executed, and no response.
    Reset,
    /// A page instead of JSON.
    Html,
    /// Executed, and half a response.
    Truncated,
    /// Executed, and a response with changed members.
    Answer(Map<String, Value>),
}

impl ApiFaultKind {
    /// Its name in the call log.
    pub fn name(&self) -> String {
        match self {
            Self::Late => "delay".into(),
            Self::Code(code, _) => format!("code {code}"),
            Self::Status(status) => format!("http {status}"),
            Self::Lost => "lost".into(),
            Self::Reset => "reset".into(),
            Self::Html => "html".into(),
            Self::Truncated => "truncated".into(),
            Self::Answer(_) => "answer".into(),
        }
    }
}

/// A fault of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookFault {
    /// Sent twice.
    Duplicate,
    /// Overtaken by the next.
    Reorder,
    /// Never sent.
    Drop,
    /// Sent this many virtual milliseconds later.
    Delay(i64),
}

impl FaultSpec {
    fn for_api(&self) -> Option<ApiFault> {
        let kinds = [
            self.code.map(|code| {
                let text = self
                    .message
                    .clone()
                    .unwrap_or_else(|| "Injected by the sandbox.".into());
                ApiFaultKind::Code(code, text)
            }),
            self.http_status.map(ApiFaultKind::Status),
            self.lost.then_some(ApiFaultKind::Lost),
            self.reset.then_some(ApiFaultKind::Reset),
            self.html.then_some(ApiFaultKind::Html),
            self.truncated.then_some(ApiFaultKind::Truncated),
            self.answer.clone().map(ApiFaultKind::Answer),
        ];
        let mut given = kinds.into_iter().flatten();
        let kind = match (given.next(), self.delay_ms) {
            (Some(kind), _) => kind,
            (None, Some(_)) => ApiFaultKind::Late,
            (None, None) => return None,
        };
        (given.next().is_none() && self.webhook_words() == 0).then(|| ApiFault {
            delay_ms: self.delay_ms.unwrap_or(0),
            kind,
        })
    }

    fn webhook_words(&self) -> usize {
        [self.duplicate, self.reorder, self.drop, self.early_echo]
            .into_iter()
            .filter(|word| *word)
            .count()
    }

    fn for_webhook(&self) -> Option<WebhookFault> {
        let delay = self.delay_ms.and_then(|ms| i64::try_from(ms).ok());
        match (self.duplicate, self.reorder, self.drop, delay) {
            (true, false, false, None) => Some(WebhookFault::Duplicate),
            (false, true, false, None) => Some(WebhookFault::Reorder),
            (false, false, true, None) => Some(WebhookFault::Drop),
            (false, false, false, Some(ms)) => Some(WebhookFault::Delay(ms)),
            _ => None,
        }
    }
}

/// The waiting faults.
#[derive(Debug, Default)]
pub struct Faults {
    orders: VecDeque<FaultOrder>,
}

impl Faults {
    /// Adds a fault.
    ///
    /// # Errors
    /// An unknown name, a fault that does not apply to it, or too many faults.
    pub fn order(&mut self, order: FaultOrder) -> Result<(), ControlError> {
        let invalid = |why: &str| Err(ControlError::Invalid(why.into()));
        let fault = &order.fault;
        let known = if order.on == "webhook" {
            let plain = fault.for_api().is_none() || fault.delay_ms.is_some();
            plain && (fault.for_webhook().is_some() || (fault.early_echo && fault.webhook_words() == 1))
        } else {
            let named = order.on == "*"
                || order.on == UPLOAD.0
                || order.on == MEDIA
                || Api::ALL.iter().any(|api| api.name() == order.on);
            if !named {
                return Err(ControlError::Unknown(format!("call named {}", order.on)));
            }
            fault.for_api().is_some()
        };
        if !known {
            return invalid(
                "set exactly one fault that applies: code, http_status, lost, reset, html, truncated, answer or delay_ms for a call; duplicate, reorder, drop, delay_ms or early_echo for a webhook",
            );
        }
        if fault.delay_ms.is_some_and(|ms| ms > limits::FAULT_DELAY_MS) {
            return invalid("delay_ms is at most 300000");
        }
        if fault.code == Some(0) || fault.http_status.is_some_and(|status| !(200..=599).contains(&status)) {
            return invalid("a code is not 0, and an http_status is 200 to 599");
        }
        if order.times == 0 {
            return invalid("times is at least 1");
        }
        if self.orders.len() >= limits::FAULTS {
            return Err(ControlError::Conflict(format!(
                "at most {} faults can wait",
                limits::FAULTS
            )));
        }
        self.orders.push_back(order);
        Ok(())
    }

    /// The waiting faults.
    pub fn show(&self) -> Value {
        json!({"faults": self.orders})
    }

    /// Clears all faults.
    pub fn clear(&mut self) {
        self.orders.clear();
    }

    /// The fault of this call.
    pub fn take_api(&mut self, name: &str) -> Option<ApiFault> {
        self.take(|order| order.on != "webhook" && (order.on == "*" || order.on == name))
            .and_then(|fault| fault.for_api())
    }

    /// The fault of this webhook.
    pub fn take_webhook(&mut self, event: &str) -> Option<WebhookFault> {
        self.take(|order| {
            order.on == "webhook"
                && !order.fault.early_echo
                && order.event.as_deref().is_none_or(|wanted| wanted == event)
        })
        .and_then(|fault| fault.for_webhook())
    }

    /// Whether this send must wait for its echo.
    pub fn take_early_echo(&mut self) -> bool {
        self.take(|order| order.on == "webhook" && order.fault.early_echo)
            .is_some()
    }

    fn take(&mut self, fits: impl Fn(&FaultOrder) -> bool) -> Option<FaultSpec> {
        let position = self.orders.iter().position(fits)?;
        let order = self.orders.get_mut(position)?;
        if order.after > 0 {
            order.after -= 1;
            return None;
        }
        let fault = order.fault.clone();
        order.times -= 1;
        if order.times == 0 {
            self.orders.remove(position);
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn order(json: Value) -> Result<Faults, ControlError> {
        let mut faults = Faults::default();
        faults.order(serde_json::from_value(json).unwrap())?;
        Ok(faults)
    }

    #[test]
    fn fault_skips_then_strikes_as_ordered() {
        let mut faults = order(json!({"on": "send", "fault": {"code": 51065}, "times": 2, "after": 1})).unwrap();
        let struck: Vec<bool> = (0..4).map(|_| faults.take_api("send").is_some()).collect();
        assert_eq!(struck, [false, true, true, false]);
        assert_eq!(faults.take_api("token"), None);
    }

    #[test]
    fn an_order_that_does_not_fit_is_refused() {
        for wrong in [
            json!({"on": "send", "fault": {}}),
            json!({"on": "send", "fault": {"lost": true, "reset": true}}),
            json!({"on": "send", "fault": {"duplicate": true}}),
            json!({"on": "webhook", "fault": {"code": 1}}),
            json!({"on": "nonsense", "fault": {"lost": true}}),
            json!({"on": "send", "fault": {"lost": true}, "times": 0}),
        ] {
            assert!(order(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
