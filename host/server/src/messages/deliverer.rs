//! Sends messages through their connectors, one at a time in each conversation.
//!
//! Guarantees: a message is checked again right before it is sent; the result of a send is decided by whether its
//! request was sent, and a send without a response is never blindly repeated. The store orders messages, and stores an
//! attempt before its request is sent. While no version serves an account its messages wait, in order, for as long as
//! necessary; only the end of the messaging window fails them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tracing::{Instrument, field, trace_span};
use weir_domain::delivery::{Next, Outcome, Verdict, settle};
use weir_domain::id::MessageId;
use weir_domain::limits;
use weir_domain::message::MessageError;
use weir_domain::policy::{Refusal, Stage, may_send};
use weir_domain::problem::Fault;
use weir_domain::time::Timestamp;
use weir_runtime::SendReport;
use weir_runtime::context::{Fence, RequestOutcome, RequestRecord as Made};
use weir_store::{MessageLease, RequestRecord, Room, StateWrite, StoreError};

use crate::accounts::Accounts;
use crate::accounts::calls::{Ready, hold_if_throttled, reauthorization_required, state_writes};
use crate::accounts::renewal::Renewal;
use crate::connectors::Connectors;
use crate::connectors::pacing::ChannelPacer;
use crate::connectors::serving::{NotServed, Serving};
use crate::connectors::state_locks::StateUse;
use crate::core::Core;
use crate::core::in_flight::InFlight;
use crate::core::node::Registration;
use crate::core::persist::persist;
use crate::core::worker::Work;

/// Sends messages through their connectors.
pub(crate) struct Deliverer {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
    /// Apps without a version that serves when a message was due. Their messages are not leased until there is one:
    /// they keep their places, and no attempt is counted.
    unserved: Mutex<BTreeSet<String>>,
    in_flight: InFlight<MessageId>,
}

impl Deliverer {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>, accounts: Arc<Accounts>) -> Self {
        Self {
            core,
            connectors,
            accounts,
            unserved: Mutex::default(),
            in_flight: InFlight::default(),
        }
    }

    /// The apps that still have no version that serves.
    async fn unserved(&self) -> Result<Vec<String>, StoreError> {
        let lock = || self.unserved.lock().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<String> = lock().iter().cloned().collect();
        let mut unserved = Vec::new();
        for app in known {
            if self.connectors.is_served(&app).await? {
                lock().remove(&app);
            } else {
                unserved.push(app);
            }
        }
        Ok(unserved)
    }

    /// The result for a message that no version can send: nothing was sent, and no attempt was made.
    async fn waits(&self, lease: &MessageLease, why: &NotServed) -> Result<Next, StoreError> {
        let (app, now) = (&lease.channel.app, self.core.now());
        let at = if self.connectors.is_served(app).await? {
            now.after(limits::UNSERVED_WAIT)
        } else {
            self.unserved
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(app.clone());
            now
        };
        Ok(Next::unserved(at, &why.to_string()))
    }
}

/// A message that is ready to be sent.
pub(crate) struct Leased {
    lease: MessageLease,
    /// The version that serves its channel, and its turn at the platform.
    served: Result<(Serving, Arc<ChannelPacer>), NotServed>,
    /// The registration of its lease: a message that another node may send again is not sent.
    registration: Arc<Registration>,
}

/// The result of one attempt.
struct Tried {
    next: Next,
    requests: Vec<RequestRecord>,
    writes: Vec<StateWrite>,
    /// Held until they are in the database.
    state_use: Option<StateUse>,
}

impl Tried {
    fn without_requests(next: Next) -> Self {
        Self {
            next,
            requests: Vec::new(),
            writes: Vec::new(),
            state_use: None,
        }
    }
}

#[async_trait]
impl Work for Deliverer {
    type Item = Leased;

    fn name(&self) -> &'static str {
        "deliverer"
    }

    async fn lease(&self, limit: u32, now: Timestamp) -> Result<Vec<Leased>, StoreError> {
        let mut room = Room {
            all: limit,
            of: self.connectors.pacers.room(),
        };
        room.of.extend(self.unserved().await?.into_iter().map(|app| (app, 0)));
        let Some(registration) = self.core.node.valid() else {
            return Ok(Vec::new());
        };
        let leases = self.core.store.lease_messages(&registration.id, room, now).await;
        let leases = self.in_flight.lease(leases, |lease| lease.message.id)?;
        let mut leased = Vec::with_capacity(leases.len());
        for lease in leases {
            let served = self.connectors.serving_of(&lease.channel).await.map(|serving| {
                let pacer = self.connectors.pacer(&serving, &lease.channel);
                // Leases come in the order of the channels' turns; preparing them concurrently would lose that order.
                pacer.keep_turn();
                (serving, pacer)
            });
            leased.push(Leased {
                lease,
                served,
                registration: Arc::clone(&registration),
            });
        }
        Ok(leased)
    }

    async fn next_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let (store, node) = (self.core.store(), self.core.node.id());
        self.in_flight
            .free_others(|ours| store.free_messages(&node, ours, self.core.now()))
            .await?;
        store.next_message_due(self.unserved().await?).await
    }

    async fn work(&self, leased: Leased) {
        let Leased {
            lease,
            served,
            registration,
        } = leased;
        let id = lease.message.id;
        let span = trace_span!("send", message.id = %id, attempt = lease.attempt, outcome = field::Empty);
        let tried = match self
            .deliver(&lease, served, registration)
            .instrument(span.clone())
            .await
        {
            Ok(tried) => tried,
            // The database failed before any request was sent.
            Err(error) => {
                tracing::error!(message.id = %id, "The message {id} could not be prepared: {error}");
                Tried::without_requests(requeue(&lease, &self.core, &error.to_string()))
            }
        };
        let name = name_of(&tried.next);
        span.record("outcome", name);
        let settling = trace_span!(parent: &span, "settle");
        let settled = self.write_down(&lease, tried).instrument(settling).await;
        if settled.is_ok() {
            self.in_flight.settle(id);
        }
        match settled {
            Ok(true) => {
                self.core.metrics.send(name);
                if name == "uncertain" {
                    self.core.wakes.uncertain.notify_one();
                }
                tracing::info!(message.id = %id, attempt = lease.attempt, "The message {id} is settled: {name}");
            }
            Ok(false) => {
                self.core.metrics.send("lost_lease");
                tracing::warn!(message.id = %id, "The lease of the message {id} was lost before it was settled");
            }
            // It may have been sent, so it stays in flight: the lease expires with an open attempt, and the message
            // becomes uncertain.
            Err(error) => {
                tracing::error!(message.id = %id, "The result of the message {id} could not be stored: {error}");
            }
        }
    }
}

impl Deliverer {
    async fn deliver(
        &self,
        lease: &MessageLease,
        served: Result<(Serving, Arc<ChannelPacer>), NotServed>,
        registration: Arc<Registration>,
    ) -> Result<Tried, StoreError> {
        let (mut serving, pacer) = match served {
            Ok(served) => served,
            Err(NotServed::Store(error)) => return Err(error),
            Err(error) => return Ok(Tried::without_requests(self.waits(lease, &error).await?)),
        };
        let rules = serving.policies.rules(&lease.channel);
        let mut requests = Vec::new();
        let mut is_second = false;
        loop {
            let now = self.core.now();
            // A permit cannot be stored: a message from the outbox is checked again.
            let draft = lease.draft.clone();
            let judged = trace_span!("permit")
                .in_scope(|| may_send(&rules, &lease.channel, &lease.conversation, draft, Stage::Dispatch, now));
            let permit = match judged {
                Ok(permit) => permit,
                Err(refusal) => {
                    self.core
                        .keep_send_refusal(
                            &lease.channel,
                            Some(lease.conversation.id),
                            Some(lease.message.id),
                            &refusal,
                        )
                        .await;
                    return Ok(Tried {
                        next: Next::Failed {
                            error: refused(&refusal),
                        },
                        requests,
                        writes: Vec::new(),
                        state_use: None,
                    });
                }
            };
            let ready = match self.accounts.context(&mut serving, &lease.channel, &pacer).await {
                Ok(ready) => ready,
                Err(NotServed::Store(error)) => return Err(error),
                Err(error) => return Ok(Tried::without_requests(self.waits(lease, &error).await?)),
            };
            let Some(Ready {
                mut context,
                token,
                state_use,
            }) = ready
            else {
                return Ok(Tried::without_requests(Next::Held {
                    error: reauthorization_required("the channel has no credential"),
                }));
            };
            context.fence = Arc::clone(&registration) as Arc<dyn Fence>;
            let SendReport {
                outcome,
                error,
                requests: made,
                writes,
            } = serving.connector.send(permit, context).await;
            if let Some(error) = error {
                tracing::warn!(
                    message.id = %lease.message.id,
                    connector = serving.policies.manifest().name,
                    version = serving.version(),
                    "The connector did not return from a send: {error}"
                );
            }
            let writes = state_writes(writes, serving.version());
            requests.extend(made.into_iter().map(|made| record(made, now)));
            let Outcome::Failed { verdict, error } = &outcome else {
                return Ok(self.settled(lease, timed(outcome, now), requests, writes, state_use));
            };
            hold_if_throttled(&pacer, *verdict, error);
            if *verdict == Verdict::Reauthorize {
                let renewal = if is_second {
                    Renewal::NeedsPerson
                } else {
                    self.accounts.renewer.renew_refused(&lease.channel, &token).await?
                };
                match renewal {
                    // A rejected credential is a response: the platform did nothing, and a repetition creates no second
                    // copy.
                    Renewal::Renewed => {
                        is_second = true;
                        continue;
                    }
                    Renewal::NeedsPerson => {
                        self.accounts
                            .credentials
                            .needs_reauthorization(&lease.channel, &error.detail)
                            .await?;
                    }
                    Renewal::Later => {
                        let verdict = Verdict::Retry {
                            after_ms: None,
                            counts: true,
                        };
                        let error = error.clone();
                        return Ok(self.settled(
                            lease,
                            Outcome::Failed { verdict, error },
                            requests,
                            writes,
                            state_use,
                        ));
                    }
                }
            }
            return Ok(self.settled(lease, outcome, requests, writes, state_use));
        }
    }

    fn settled(
        &self,
        lease: &MessageLease,
        outcome: Outcome,
        requests: Vec<RequestRecord>,
        writes: Vec<StateWrite>,
        state_use: StateUse,
    ) -> Tried {
        Tried {
            next: settle(
                outcome,
                lease.attempt,
                lease.expires_at,
                self.core.jitter(),
                self.core.now(),
            ),
            requests,
            writes,
            state_use: Some(state_use),
        }
    }

    /// Stores the result of an attempt; retries a failing database, since the result is known only here.
    async fn write_down(&self, lease: &MessageLease, tried: Tried) -> Result<bool, StoreError> {
        let Tried {
            next,
            requests,
            writes,
            state_use,
        } = tried;
        let settled = persist(|| {
            let (next, requests, writes) = (next.clone(), requests.clone(), writes.clone());
            let now = self.core.now();
            self.core
                .store
                .settle_message(&lease.token, next, requests, writes, now)
        })
        .await;
        drop(state_use);
        if matches!(settled, Ok(true)) {
            self.connectors.state_written(&lease.channel, &writes);
        }
        settled
    }
}

/// No request was sent, for a reason on our side: retried later. The attempt counts, so that retries end.
fn requeue(lease: &MessageLease, core: &Core, detail: &str) -> Next {
    let outcome = Outcome::of_silence(false, detail);
    settle(outcome, lease.attempt, lease.expires_at, core.jitter(), core.now())
}

/// If a platform does not report a message's time, it accepted the message after it was sent: with that time a read
/// receipt applies to it, even if it arrives before the echo.
fn timed(outcome: Outcome, left_at: Timestamp) -> Outcome {
    match outcome {
        Outcome::Sent { platform_id, at } => Outcome::Sent {
            platform_id,
            at: at.or(Some(left_at)),
        },
        failed @ Outcome::Failed { .. } => failed,
    }
}

fn refused(refusal: &Refusal) -> MessageError {
    MessageError {
        code: refusal.code().to_owned(),
        detail: refusal.to_string(),
        fault: Fault::Platform,
        retryable: false,
        platform: None,
    }
}

fn name_of(next: &Next) -> &'static str {
    match next {
        Next::Sent { .. } => "sent",
        Next::RetryAt { .. } => "retry",
        Next::Held { .. } | Next::Unserved { .. } => "held",
        Next::Uncertain { .. } => "uncertain",
        Next::Failed { .. } => "failed",
    }
}

/// A request, as stored.
fn record(made: Made, at: Timestamp) -> RequestRecord {
    let (status, error) = match made.outcome {
        RequestOutcome::Answered(status) => (Some(status), None),
        RequestOutcome::Refused { rule, detail } => (None, Some(format!("refused by {rule}: {detail}"))),
        RequestOutcome::NoTurn { wait } => (
            None,
            Some(format!("the rate limit allowed no request for {} ms", wait.as_millis())),
        ),
        RequestOutcome::Unreachable(reason) => (None, Some(format!("unreachable: {reason}"))),
        RequestOutcome::NoAnswer(reason) => (None, Some(format!("no response: {reason}"))),
        RequestOutcome::TooLarge => (None, Some("the response was too large".to_owned())),
        RequestOutcome::Abandoned => (None, Some("the call ended before the response arrived".to_owned())),
    };
    RequestRecord {
        route: made.route.unwrap_or_default(),
        method: made.method,
        url: made.url,
        at,
        status,
        elapsed_ms: u64::try_from(made.elapsed.as_millis()).unwrap_or(u64::MAX),
        error,
    }
}

#[cfg(test)]
mod tests;
