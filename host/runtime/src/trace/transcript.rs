//! Transcripts: all that crossed the boundary in one call, the connector's input in the order in which it asked for it,
//! and its output.
//!
//! A connector sees nothing else, so the same component with the same input does the same again, which is what
//! [`Connector::replay`](crate::Connector::replay) relies on. Secrets never reach a connector and so are in no
//! transcript.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_domain::id::ChannelId;
use weir_domain::policy::CallKind;
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

use crate::context::{State, StateWrites};
use crate::error::CallError;
use crate::interface::bindings::weir::connector::http;
use crate::interface::bindings::weir::connector::types::Header;
use crate::interface::functions::RecordedCall;
use crate::trace::blob::Blob;

/// The version of the format. Others cannot be read.
pub const FORMAT: u32 = 1;

/// A recorded call, which can be replayed. Stored as JSON; holds what people wrote, and no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transcript {
    /// [`FORMAT`] of the host that recorded it.
    pub format: u32,
    /// The connector.
    pub connector: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of that version's bytes, in lower-case hex.
    pub digest: String,
    /// The kind of call.
    pub call: CallKind,
    /// The channel's id; none in a call without a channel.
    pub channel_id: Option<ChannelId>,
    /// When the call began.
    pub at: Timestamp,
    /// The function and its arguments.
    #[serde(rename = "asked")]
    pub(crate) arguments: RecordedCall,
    /// The channel's state before the call; none in a call without state.
    pub(crate) state: Option<BTreeMap<String, Blob>>,
    /// The host's clock at each reading, in milliseconds.
    pub(crate) clock: Vec<u64>,
    /// Its requests, and the responses as it saw them.
    pub(crate) exchanges: Vec<Exchange>,
    /// Its writes to the channel's state.
    pub(crate) writes: BTreeMap<String, Option<Blob>>,
    /// How it ended.
    pub end: End,
    /// What it cost.
    pub cost: Cost,
}

impl Transcript {
    /// Parses an untrusted transcript.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(json: &str) -> Result<Self, String> {
        let form = serde_json::from_str::<Form>(json).map_err(|error| format!("it is not a transcript: {error}"))?;
        if form.format != FORMAT {
            return Err(format!(
                "it has format {}, and this host reads format {FORMAT}",
                form.format
            ));
        }
        serde_json::from_str(json).map_err(|error| format!("it is not a transcript: {error}"))
    }

    /// The state before the call.
    pub(crate) fn state(&self) -> Option<State> {
        let entries = self.state.as_ref()?.iter();
        Some(entries.map(|(key, value)| (key.clone(), value.0.clone())).collect())
    }

    /// The webhook of a call of `receive`; none of any other call.
    pub fn webhook(&self) -> Option<RawWebhook> {
        let RecordedCall::Receive(receive) = &self.arguments else {
            return None;
        };
        let webhook = receive.webhook.clone();
        let headers = webhook.headers.into_iter();
        Some(RawWebhook {
            method: webhook.method,
            query: webhook.query,
            headers: headers.map(|header| (header.name, header.value)).collect(),
            body: webhook.body.into(),
        })
    }

    /// The message with which the host refused the request at this index in the recorded call; none if it did not.
    pub(crate) fn refusal_at(&self, place: usize) -> Option<&str> {
        match (self.exchanges.get(place), &self.end) {
            (Some(exchange), _) => match &exchange.answer {
                Err(http::Error::Refused(message)) => Some(message),
                _ => None,
            },
            (None, End::Aborted { name, message, .. }) if name == "refused" => Some(message),
            _ => None,
        }
    }
}

/// The member that identifies the format of the others.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// How a call ended, as seen at the boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The connector returned, a value or an error.
    #[serde(rename = "said")]
    Returned(serde_json::Value),
    /// The call was aborted, or its output was invalid.
    #[serde(rename = "broke")]
    Aborted {
        /// The error's name: `trapped`, `out_of_time`, as in metrics.
        name: String,
        /// The error's message.
        #[serde(rename = "words")]
        message: String,
        /// The stack, innermost frame first; empty if unknown.
        backtrace: String,
    },
}

impl End {
    pub(crate) fn of(returned: Option<serde_json::Value>, error: Option<&CallError>) -> Self {
        let aborted = |error: &CallError| Self::Aborted {
            name: error.name().to_owned(),
            message: error.to_string(),
            backtrace: match error {
                CallError::Trapped { backtrace, .. } => backtrace.clone(),
                _ => String::new(),
            },
        };
        match (returned, error) {
            // A failure that the connector returned is a value; invalid output, or media that may not be fetched, is an
            // error.
            (Some(_), Some(error @ (CallError::Output(_) | CallError::Refused(_)))) | (None, Some(error)) => {
                aborted(error)
            }
            (returned, _) => Self::Returned(returned.unwrap_or_default()),
        }
    }
}

/// The cost of a call, on the machine that it ran on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// From the first instruction to the end, including waits for the network, in microseconds.
    pub elapsed_us: u64,
    /// Peak memory of its instance, in bytes.
    pub peak_memory: u64,
}

/// A request, and its response as the connector saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) answer: Result<Response, http::Error>,
}

/// A request as the connector made it, before secrets are injected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    method: String,
    url: String,
    /// By lower-case name: their order does not matter.
    headers: BTreeMap<String, Vec<String>>,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Body {
    None,
    Bytes(Blob),
    Stored(String),
    Multipart(Vec<(String, http::PartContent)>),
}

impl From<&http::Request> for Request {
    fn from(request: &http::Request) -> Self {
        let mut headers = BTreeMap::<_, Vec<_>>::new();
        for Header { name, value } in &request.headers {
            headers
                .entry(name.to_ascii_lowercase())
                .or_default()
                .push(value.clone());
        }
        Self {
            method: request.method.clone(),
            url: request.url.clone(),
            headers,
            body: match &request.body {
                http::Body::None => Body::None,
                http::Body::Bytes(bytes) => Body::Bytes(Blob(bytes.clone())),
                http::Body::Stored(id) => Body::Stored(id.clone()),
                http::Body::Multipart(parts) => Body::Multipart(
                    parts
                        .iter()
                        .map(|part| (part.name.clone(), part.content.clone()))
                        .collect(),
                ),
            },
        }
    }
}

/// A response as the connector saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Blob,
}

impl From<&http::Response> for Response {
    fn from(response: &http::Response) -> Self {
        let headers = response.headers.iter();
        Self {
            status: response.status,
            headers: headers
                .map(|header| (header.name.clone(), header.value.clone()))
                .collect(),
            body: Blob(response.body.clone()),
        }
    }
}

impl From<Response> for http::Response {
    fn from(response: Response) -> Self {
        let headers = response.headers.into_iter();
        Self {
            status: response.status,
            headers: headers.map(|(name, value)| Header { name, value }).collect(),
            body: response.body.0,
        }
    }
}

pub(crate) fn written(state: &State) -> BTreeMap<String, Blob> {
    let entries = state.iter();
    entries.map(|(key, value)| (key.clone(), Blob(value.clone()))).collect()
}

pub(crate) fn writes(writes: &StateWrites) -> BTreeMap<String, Option<Blob>> {
    let writes = writes.0.iter();
    writes
        .map(|(key, value)| (key.clone(), value.clone().map(Blob)))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    /// A transcript as every host of this format writes it.
    fn written(call: &str, imports: &Value, end: &Value) -> Value {
        json!({
            "format": 1, "connector": "echo", "version": "1.0.0", "digest": "d", "call": call, "channel_id": null, "at": "2026-01-01T00:00:00.000Z",
            "asked": imports, "state": {"sends": "1", "raw": {"base64": "/w=="}}, "clock": [7],
            "exchanges": [{
                "request": {"method": "POST", "url": "https://echo.example/", "headers": {"a": ["b"]}, "body": {"bytes": "{}"}},
                "answer": {"Ok": {"status": 200, "headers": [["c", "d"]], "body": "yes"}},
            }, {
                "request": {"method": "GET", "url": "https://echo.example/", "headers": {}, "body": "none"},
                "answer": {"Err": {"Refused": "no route"}},
            }],
            "writes": {"sends": "2", "raw": null}, "end": end, "cost": {"elapsed_us": 1, "peak_memory": 2},
        })
    }

    #[test]
    fn stored_transcripts_stay_readable() {
        let webhook = json!({"function": "receive", "with": {"webhook": {
            "method": "POST", "query": "", "headers": [{"name": "a", "value": "b"}], "body": "hi",
        }}});
        let polled = json!({"function": "poll", "with": {
            "channel": {"platform_id": "p", "username": null, "country": null, "settings": "{}", "callback_url": "u"},
            "cursor": "c",
        }});
        let ended = json!({"said": {"Ok": []}});
        let broke = json!({"broke": {"name": "trapped", "words": "the connector broke off: x", "backtrace": "0: f"}});
        for stored in [written("receive", &webhook, &broke), written("poll", &polled, &ended)] {
            let read = Transcript::read(&stored.to_string()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), stored);
        }
    }
}
