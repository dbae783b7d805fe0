//! What crossed the boundary in one call: all that a connector was given, in the order it asked for it, and what it said.
//!
//! A connector sees nothing else, so the same component given the same transcript does the same again; that is what
//! [`Connector::replay`](crate::Connector::replay) rests on. Secrets never reach a connector and so are in no transcript.

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

/// The form that transcripts are written in now. A reader refuses others.
pub const FORMAT: u32 = 1;

/// One call, as it can be asked again. RecordedTranscript as JSON; holds what people wrote, and no secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Transcript {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// The connector.
    pub connector: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of that version's bytes, in lower-case hex.
    pub digest: String,
    /// What it was asked to do.
    pub call: CallKind,
    /// The channel in the host's record; none in a call without one.
    pub channel_id: Option<ChannelId>,
    /// When the call began.
    pub at: Timestamp,
    /// The function, and what it was called with.
    pub(crate) asked: RecordedCall,
    /// The channel's state before the call; none in a call without one.
    pub(crate) state: Option<BTreeMap<String, Blob>>,
    /// The host's clock, at each look.
    pub(crate) clock: Vec<u64>,
    /// The requests that it made, and the answers as it saw them.
    pub(crate) exchanges: Vec<Exchange>,
    /// What it wrote to its state.
    pub(crate) writes: BTreeMap<String, Option<Blob>>,
    /// How it ended.
    pub end: End,
    /// What it took.
    pub cost: Cost,
}

impl Transcript {
    /// Reads a transcript that somebody wrote, or sent.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(json: &str) -> Result<Self, String> {
        let form = serde_json::from_str::<Form>(json).map_err(|error| format!("it is no transcript: {error}"))?;
        if form.format != FORMAT {
            return Err(format!(
                "it is of form {}, and this host reads form {FORMAT}",
                form.format
            ));
        }
        serde_json::from_str(json).map_err(|error| format!("it is no transcript: {error}"))
    }

    /// The state before the call.
    pub(crate) fn state(&self) -> Option<State> {
        let entries = self.state.as_ref()?.iter();
        Some(entries.map(|(key, value)| (key.clone(), value.0.clone())).collect())
    }

    /// The webhook that was to be translated; none of any other call.
    pub fn webhook(&self) -> Option<RawWebhook> {
        let RecordedCall::Receive(receive) = &self.asked else {
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

    /// The words by which the host refused the request of this place when the call was written down; none if it did not.
    pub(crate) fn refused_at(&self, place: usize) -> Option<&str> {
        match (self.exchanges.get(place), &self.end) {
            (Some(exchange), _) => match &exchange.answer {
                Err(http::Error::Refused(words)) => Some(words),
                _ => None,
            },
            (None, End::Broke { name, words, .. }) if name == "refused" => Some(words),
            _ => None,
        }
    }
}

/// The member by which the others are read.
#[derive(Deserialize)]
struct Form {
    format: u32,
}

/// How a call ended, as it crossed the boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The connector said something, be it that it failed.
    Said(serde_json::Value),
    /// It broke off, was stopped, or said what is not taken.
    Broke {
        /// The kind: `trapped`, `out_of_time`, as in metrics.
        name: String,
        /// In words.
        words: String,
        /// Where in its code, innermost first; empty if nobody knows.
        backtrace: String,
    },
}

impl End {
    pub(crate) fn of(said: Option<serde_json::Value>, error: Option<&CallError>) -> Self {
        let broke = |error: &CallError| Self::Broke {
            name: error.name().to_owned(),
            words: error.to_string(),
            backtrace: match error {
                CallError::Trapped { backtrace, .. } => backtrace.clone(),
                _ => String::new(),
            },
        };
        match (said, error) {
            // A failure in the connector's own words is something said; what cannot be taken, or not be fetched, is not.
            (Some(_), Some(error @ (CallError::Output(_) | CallError::Refused(_)))) | (None, Some(error)) => {
                broke(error)
            }
            (said, _) => Self::Said(said.unwrap_or_default()),
        }
    }
}

/// What a call took of the machine that it ran on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// From the first instruction to the end, waiting for the network included, in microseconds.
    pub elapsed_us: u64,
    /// The most memory that its instance held, in bytes.
    pub peak_memory: u64,
}

/// A request, and its answer as the connector saw it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) request: Request,
    pub(crate) answer: Result<Response, http::Error>,
}

/// A request in the connector's words: before any secret is set in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Request {
    method: String,
    url: String,
    /// By name, in lower case: their order means nothing.
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

/// An answer as the connector saw it.
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
