//! What runs along with a call: what writes down what crosses the boundary, or gives what crossed before.

use std::collections::VecDeque;

use serde::Serialize;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::context::State;
use crate::interface::bindings::weir::connector::http;
use crate::interface::functions::RecordedCall;
use crate::trace::transcript::{Exchange, Request, Response, Transcript};

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
    pub(crate) asked: RecordedCall,
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
        if self.requests.len() < limits::REQUESTS_PER_CALL as usize {
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
                if recorder.clock.len() < limits::CLOCK_READINGS {
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
            && recorder.exchanges.len() < limits::REQUESTS_PER_CALL as usize
        {
            recorder.exchanges.push(Exchange {
                request,
                answer: answer.as_ref().map(Into::into).map_err(Clone::clone),
            });
        }
    }
}
