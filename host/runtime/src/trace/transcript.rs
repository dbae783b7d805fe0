//! What crossed the boundary in one call: all that a connector was given, in the order it asked for it, and what it said.
//!
//! A connector sees nothing else, so the same component given the same transcript does the same again; that is what
//! [`Connector::replay`](crate::Connector::replay) rests on. Secrets never reach a connector and so are in no transcript.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use weir_domain::id::ChannelId;
use weir_domain::policy::CallKind;
use weir_domain::signature::RawWebhook;
use weir_domain::time::Timestamp;

use crate::context::{State, StateWrites};
use crate::error::CallError;
use crate::interface::bindings::weir::connector::http;
use crate::interface::bindings::weir::connector::types::Header;
use crate::interface::functions::Asked;
use crate::trace::replay::DifferenceKind;

/// The form that transcripts are written in now. A reader refuses others.
pub const FORMAT: u32 = 1;

/// One call, as it can be asked again. Written as JSON; holds what people wrote, and no secret.
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
    pub(crate) asked: Asked,
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
        let Asked::Receive(receive) = &self.asked else {
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

    /// Of what kind a difference in the answer is.
    pub(crate) fn said_kind(&self) -> DifferenceKind {
        match self.call {
            CallKind::Receive | CallKind::History | CallKind::Poll => DifferenceKind::Event,
            _ => DifferenceKind::Answer,
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

/// Bytes, written as text where they are one and in base64 (RFC 4648) where not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Blob(#[serde(with = "blob")] pub(crate) Vec<u8>);

pub(crate) mod blob {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written<T> {
        Text(T),
        Bytes { base64: String },
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let written = std::str::from_utf8(bytes).map_or_else(
            |_| Written::Bytes {
                base64: STANDARD.encode(bytes),
            },
            Written::Text,
        );
        written.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Written::<String>::deserialize(deserializer)? {
            Written::Text(text) => Ok(text.into_bytes()),
            Written::Bytes { base64 } => STANDARD.decode(base64).map_err(serde::de::Error::custom),
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

// ---- while a call runs --------------------------------------------------------------------------------------------------

/// What runs along with a call.
#[derive(Default)]
pub(crate) enum Tape {
    /// Nobody writes down, and nothing is played.
    #[default]
    Blank,
    /// What crosses is written down.
    Recording(Box<Recorder>),
    /// What crossed before is given again.
    Playing(Box<Player>),
}

/// What was written down so far.
pub(crate) struct Recorder {
    /// Whether it is kept however the call ends; else only if it breaks off.
    pub(crate) wanted: bool,
    pub(crate) at: Timestamp,
    pub(crate) asked: Asked,
    pub(crate) state: Option<State>,
    pub(crate) clock: Vec<u64>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) said: Option<serde_json::Value>,
}

/// What a replay gives, and what it was asked for.
pub(crate) struct Player {
    clock: VecDeque<u64>,
    last: u64,
    answers: VecDeque<Result<Response, http::Error>>,
    pub(crate) requests: Vec<Request>,
    pub(crate) refusals: Vec<RefusedRequest>,
    pub(crate) said: Option<serde_json::Value>,
}

/// A request that the host would refuse.
pub(crate) struct RefusedRequest {
    /// Its place among the call's requests; that after the last for what is fetched where the connector located it.
    pub(crate) place: usize,
    /// Method and URL, without the query.
    pub(crate) request: String,
    pub(crate) rule: &'static str,
    pub(crate) reason: String,
}

impl Player {
    pub(crate) fn of(transcript: &Transcript) -> Self {
        let answers = transcript.exchanges.iter();
        Self {
            clock: transcript.clock.iter().copied().collect(),
            last: u64::try_from(transcript.at.as_millis()).unwrap_or(0),
            answers: answers.map(|exchange| exchange.answer.clone()).collect(),
            requests: Vec::new(),
            refusals: Vec::new(),
            said: None,
        }
    }

    /// The judge's no to the request that is being made.
    pub(crate) fn refused(&mut self, request: String, rule: &'static str, reason: &str) {
        self.refusals.push(RefusedRequest {
            place: self.requests.len(),
            request,
            rule,
            reason: reason.to_owned(),
        });
    }

    /// The answer to the request of the same place in the call: what it asks for may differ, and then is shown to. One that the
    /// judge refuses is answered by that, as it would be.
    pub(crate) fn fetch(
        &mut self,
        request: &http::Request,
        refusal: Option<String>,
    ) -> Result<http::Response, http::Error> {
        if self.requests.len() < weir_domain::limits::REQUESTS_PER_CALL as usize {
            self.requests.push(request.into());
        }
        if let Some(words) = refusal {
            self.answers.pop_front();
            return Err(http::Error::Refused(words));
        }
        let none = || http::Error::Unreachable("the transcript holds no answer to this request".to_owned());
        self.answers.pop_front().ok_or_else(none)?.map(Into::into)
    }
}

impl Tape {
    /// What the connector said.
    pub(crate) fn said(&mut self, said: &impl Serialize) {
        let value = || serde_json::to_value(said).ok();
        match self {
            Self::Recording(recorder) if recorder.wanted => recorder.said = value(),
            Self::Playing(player) => player.said = value(),
            Self::Blank | Self::Recording(_) => {}
        }
    }

    /// What the clock shows: the host's, or what it showed when the call was written down.
    pub(crate) fn clock(&mut self, host: u64) -> u64 {
        match self {
            Self::Blank => host,
            Self::Recording(recorder) => {
                // A guest that does nothing but look is stopped by its ticks; a few looks tell them all.
                if recorder.clock.len() < weir_domain::limits::CLOCK_READINGS {
                    recorder.clock.push(host);
                }
                host
            }
            Self::Playing(player) => {
                player.last = player.clock.pop_front().unwrap_or(player.last);
                player.last
            }
        }
    }

    /// A request, if somebody writes it down.
    pub(crate) fn request(&self, request: &http::Request) -> Option<Request> {
        matches!(self, Self::Recording(_)).then(|| request.into())
    }

    /// The answer to it.
    pub(crate) fn answered(&mut self, request: Request, answer: &Result<http::Response, http::Error>) {
        if let Self::Recording(recorder) = self
            && recorder.exchanges.len() < weir_domain::limits::REQUESTS_PER_CALL as usize
        {
            recorder.exchanges.push(Exchange {
                request,
                answer: answer.as_ref().map(Into::into).map_err(Clone::clone),
            });
        }
    }
}
