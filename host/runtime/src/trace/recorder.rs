//! What runs along with a call: the recorder of what crosses the boundary, or the source that a replay is answered
//! from.

use std::collections::VecDeque;

use serde::Serialize;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::context::State;
use crate::interface::bindings::weir::connector::http;
use crate::interface::functions::RecordedCall;
use crate::trace::transcript::{Exchange, Request, Response, Transcript};

/// Whether a call is recorded, or replayed.
#[derive(Default)]
pub(crate) enum CallTrace {
    /// Neither.
    #[default]
    Off,
    /// What crosses the boundary is recorded.
    Recording(Box<Recorder>),
    /// What crosses the boundary comes from a transcript.
    Replaying(Box<ReplaySource>),
}

/// What was recorded so far.
pub(crate) struct Recorder {
    /// Whether it is kept however the call ends; otherwise only if the call crashes.
    pub(crate) keep_always: bool,
    pub(crate) at: Timestamp,
    pub(crate) call: RecordedCall,
    pub(crate) state: Option<State>,
    pub(crate) clock: Vec<u64>,
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) returned: Option<serde_json::Value>,
}

/// What a replay is answered from, and what it did.
pub(crate) struct ReplaySource {
    clock: VecDeque<u64>,
    last: u64,
    answers: VecDeque<Result<Response, http::Error>>,
    pub(crate) requests: Vec<Request>,
    pub(crate) refusals: Vec<RefusedRequest>,
    pub(crate) returned: Option<serde_json::Value>,
}

/// A request that the host would refuse.
pub(crate) struct RefusedRequest {
    /// Its index among the call's requests; one past the last for the fetch of located media.
    pub(crate) place: usize,
    /// Method and URL, without the query.
    pub(crate) request: String,
    pub(crate) rule: &'static str,
    pub(crate) reason: String,
}

impl ReplaySource {
    pub(crate) fn of(transcript: &Transcript) -> Self {
        let answers = transcript.exchanges.iter();
        Self {
            clock: transcript.clock.iter().copied().collect(),
            last: u64::try_from(transcript.at.as_millis()).unwrap_or(0),
            answers: answers.map(|exchange| exchange.answer.clone()).collect(),
            requests: Vec::new(),
            refusals: Vec::new(),
            returned: None,
        }
    }

    /// The policy refused the request that is being made.
    pub(crate) fn refused(&mut self, request: String, rule: &'static str, reason: &str) {
        self.refusals.push(RefusedRequest {
            place: self.requests.len(),
            request,
            rule,
            reason: reason.to_owned(),
        });
    }

    /// The response to the request at the same index in the recorded call, whatever the request is: a different request
    /// is reported as a difference. A request that the policy refuses now gets that refusal.
    pub(crate) fn fetch(
        &mut self,
        request: &http::Request,
        refusal: Option<String>,
    ) -> Result<http::Response, http::Error> {
        if self.requests.len() < limits::REQUESTS_PER_CALL as usize {
            self.requests.push(request.into());
        }
        if let Some(message) = refusal {
            self.answers.pop_front();
            return Err(http::Error::Refused(message));
        }
        let none = || http::Error::Unreachable("the transcript holds no answer to this request".to_owned());
        self.answers.pop_front().ok_or_else(none)?.map(Into::into)
    }
}

impl CallTrace {
    /// What the connector returned.
    pub(crate) fn returned(&mut self, raw: &impl Serialize) {
        let value = || serde_json::to_value(raw).ok();
        match self {
            Self::Recording(recorder) if recorder.keep_always => recorder.returned = value(),
            Self::Replaying(source) => source.returned = value(),
            Self::Off | Self::Recording(_) => {}
        }
    }

    /// What the clock shows: the host's time, or the recorded one.
    pub(crate) fn clock(&mut self, host: u64) -> u64 {
        match self {
            Self::Off => host,
            Self::Recording(recorder) => {
                // A guest that reads the clock in a loop is stopped by its ticks; a few readings are enough to replay
                // it.
                if recorder.clock.len() < limits::CLOCK_READINGS {
                    recorder.clock.push(host);
                }
                host
            }
            Self::Replaying(source) => {
                source.last = source.clock.pop_front().unwrap_or(source.last);
                source.last
            }
        }
    }

    /// A request, if the call is recorded.
    pub(crate) fn request(&self, request: &http::Request) -> Option<Request> {
        matches!(self, Self::Recording(_)).then(|| request.into())
    }

    /// The response to it.
    pub(crate) fn responded(&mut self, request: Request, answer: &Result<http::Response, http::Error>) {
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
