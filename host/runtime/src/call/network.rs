//! The network access of a call, and the record of its requests.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;
use weir_domain::credential::Secrets;
use weir_domain::grant::Grants;
use weir_domain::id::MediaId;
use weir_domain::manifest::{Manifest, RouteClass};
use weir_domain::policy::{Call, CallRefusal, EgressPermit, OriginMap, Request, may_call};
use weir_egress::Departure;

use crate::context::{AnswerDates, Fence, Pacer, RequestOutcome, RequestRecord};

/// The network access of a call.
pub(crate) struct Network {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) secrets: Secrets,
    pub(crate) grants: Arc<Grants>,
    pub(crate) origins: Arc<OriginMap>,
    pub(crate) pacer: Arc<dyn Pacer>,
    pub(crate) dates: Arc<dyn AnswerDates>,
    pub(crate) fence: Arc<dyn Fence>,
    /// The stored media that a request body may reference: that of the draft, and nothing else.
    pub(crate) attachments: Vec<MediaId>,
    pub(crate) call: Call,
    pub(crate) ledger: Ledger,
}

impl Network {
    pub(crate) fn judge(&mut self, request: Request) -> Result<EgressPermit, CallRefusal> {
        may_call(
            &mut self.call,
            &self.manifest.routes,
            &self.grants,
            &self.origins,
            request,
        )
    }
}

/// The record of a call's requests. Outlives the call, however that ends.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Seen>>);

/// What a ledger holds.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) requests: Vec<RequestRecord>,
    /// A message-send request left, or may have left.
    pub(crate) sent: bool,
    /// Its response arrived completely.
    pub(crate) answered: bool,
    /// The wait for the platform's rate limit, if it was too long for the message-send request.
    pub(crate) no_turn: Option<Duration>,
}

impl Ledger {
    fn with<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        // A panic in a writer does not make what was recorded wrong.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what was recorded; the ledger is empty afterwards.
    pub(crate) fn take(&self) -> Seen {
        self.with(std::mem::take)
    }

    pub(crate) fn begin(&self, record: RequestRecord) -> RequestEntry {
        let is_send = record.class == Some(RouteClass::MessageSend);
        let index = self.with(|seen| {
            seen.requests.push(record);
            seen.requests.len() - 1
        });
        RequestEntry {
            ledger: self.clone(),
            index,
            is_send,
            started: Instant::now(),
        }
    }
}

/// A permitted request in progress.
pub(crate) struct RequestEntry {
    ledger: Ledger,
    index: usize,
    is_send: bool,
    started: Instant,
}

impl RequestEntry {
    /// The departure of the request: it records that the request leaves, from when on it may have left.
    pub(crate) fn departure(&self, fence: Arc<dyn Fence>, turn: Option<Box<dyn Departure>>) -> Box<dyn Departure> {
        Box::new(RecordedDeparture {
            fence,
            sends: self.is_send.then(|| self.ledger.clone()),
            turn,
        })
    }

    pub(crate) fn end(self, outcome: RequestOutcome, may_have_left: bool) {
        self.ledger.with(|seen| {
            if self.is_send {
                seen.sent = may_have_left;
                seen.answered = matches!(outcome, RequestOutcome::Answered(_));
                if let RequestOutcome::NoTurn { wait } = outcome {
                    seen.no_turn = Some(wait);
                }
            }
            if let Some(record) = seen.requests.get_mut(self.index) {
                record.elapsed = self.started.elapsed();
                record.outcome = outcome;
            }
        });
    }
}

/// Records in the ledger that the request leaves, before its first byte does.
struct RecordedDeparture {
    fence: Arc<dyn Fence>,
    sends: Option<Ledger>,
    turn: Option<Box<dyn Departure>>,
}

impl Departure for RecordedDeparture {
    fn withheld(&self) -> Option<String> {
        self.fence.withheld()
    }

    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(turn) = &mut self.turn {
            ready!(turn.poll_leave(context));
        }
        if let Some(ledger) = &self.sends {
            ledger.with(|seen| seen.sent = true);
        }
        Poll::Ready(())
    }

    fn left(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.left();
        }
    }

    fn answered(&mut self) {
        if let Some(turn) = &mut self.turn {
            turn.answered();
        }
    }
}
