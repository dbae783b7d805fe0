//! The loops of a running host, and their end.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use weir_domain::id::EndpointId;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::StoreError;

use crate::core::clock;
use crate::core::worker::{Work, Worker};
use crate::events::publisher::Publisher;
use crate::host::Host;
use crate::messages::deliverer::Deliverer;
use crate::messages::fetcher::Fetcher;
use crate::messages::history::NOTE_EVERY;
use crate::messages::poller::Poller;

/// How often leases that ran out and windows that close are looked for: a crash and hours are their causes, so seconds do not
/// matter.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often credentials and failures of versions that the record has not taken yet are written again, and how soon after the
/// stop.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(1);
/// How often connecting that was cut off and set-ups that failed are looked for; a start finds them at once.
const CONNECT_EVERY: Duration = Duration::from_secs(10);
/// How often credentials that die soon are looked for; they are renewed hours ahead.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// How often messages in doubt are looked at; the grace time before the first look is two minutes.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// How often what is too old is looked for; ages are counted in days.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// How often the depths of the queues are counted for the metrics.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// How often versions are looked at that finish what they began, or hold out a trial; calls end within seconds.
const ROLL_EVERY: Duration = Duration::from_secs(5);

/// The loops of a running host.
#[must_use = "the loops stop when this is dropped"]
pub struct Loops {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Loops {
    /// Stops taking work, and waits up to `deadline` for what is in hand. What is left then is settled at the next start.
    pub async fn stop(mut self, deadline: Duration) {
        // The loops that have ended already need not hear it.
        let _ = self.stop.send(true);
        let ended = tokio::time::timeout(deadline, async { while self.tasks.join_next().await.is_some() {} }).await;
        if ended.is_err() {
            tracing::warn!(
                "{} loops did not end in {deadline:?}; their work goes on at the next start",
                self.tasks.len()
            );
        }
    }
}

impl Host {
    /// Starts everything that goes on by itself: deliverer, publisher, fetcher, poller, refresher, reconciler, sweeper, and the
    /// look at the clock.
    pub fn start(&self) -> Loops {
        let (stop, stopped) = watch::channel(false);
        let mut loops = Starting {
            host: self,
            tasks: JoinSet::new(),
            stopped,
        };
        let wakes = &self.0.wakes;
        let bounds = &self.config().limits;
        loops.worker(Deliverer::new(self.clone()), bounds.sends_in_flight, &wakes.messages);
        loops.worker(Publisher(self.clone()), bounds.deliveries_in_flight, &wakes.deliveries);
        loops.worker(Fetcher(self.clone()), bounds.fetches_in_flight, &wakes.media);
        loops.worker(Poller::new(self.clone()), limits::POLLS_IN_FLIGHT, &wakes.polls);
        let never = Arc::new(Notify::new());
        loops.rounds("sweeper", SWEEP_EVERY, &wakes.sweep, |host, now| async move {
            host.sweep_round().await?;
            host.endpoints_round(now).await?;
            host.erase_round().await?;
            host.end_connect_sessions(now).await?;
            host.remove_files().await?;
            host.news_round(now).await
        });
        loops.rounds("refresher", REFRESH_EVERY, &wakes.credentials, |host, now| async move {
            host.refresh_round(now).await?;
            host.warn_round(now).await.map(|_| ())
        });
        loops.rounds(
            "reconciler",
            RECONCILE_EVERY,
            &wakes.uncertain,
            |host, now| async move { host.reconcile_round(now).await.map(|_| ()) },
        );
        loops.rounds("counter", COUNT_EVERY, &never, |host, now| async move {
            host.metrics().silence(host.silent_loops().into_iter());
            host.store().empty_long_log().await?;
            host.metrics().depths(&host.store().depths().await?, now);
            Ok(())
        });
        loops.rounds("presence", NOTE_EVERY, &never, |host, now| async move {
            host.note_presence(now).await;
            Ok(())
        });
        loops.rounds("history", NOTE_EVERY, &self.0.asked.wake, |host, _| async move {
            host.history_round().await.map(|_| ())
        });
        let moved = Arc::clone(&self.0.platform_clocks.moved);
        loops.rounds("platform clocks", COUNT_EVERY, &moved, |host, now| async move {
            host.platform_clocks_round(now).await
        });
        loops.rounds("retention", FORGET_EVERY, &wakes.retention, |host, now| async move {
            host.retention_round(host.aged(now).await?).await.map(|_| ())
        });
        loops.notes(&self.0.refusals, |host, refused| async move {
            host.keep_act_refusal(refused).await;
        });
        loops.notes(&self.0.transcribed, |host, taken| async move {
            host.keep_transcript(taken).await;
        });
        loops.rounds("rollout", ROLL_EVERY, &never, |host, now| async move {
            host.rollout_round(now).await
        });
        loops.rounds("connecting", CONNECT_EVERY, &never, |host, now| async move {
            host.connect_round().await?;
            host.set_up_round(now).await
        });
        loops.log();
        loops.credentials();
        loops.version_failures();
        loops.clock();
        Loops {
            stop,
            tasks: loops.tasks,
        }
    }

    /// The loop `name` lives, and says so again within `allowed`.
    fn lives(&self, name: &'static str, allowed: Duration) {
        self.0.pulses.beat(name, allowed, Instant::now());
    }

    /// How long each loop has been silent.
    fn silent_loops(&self) -> Vec<(&'static str, Duration)> {
        self.0.pulses.silence(Instant::now())
    }

    /// Messages whose lease ran out become uncertain, and queued ones past their end fail.
    async fn sweep_round(&self) -> Result<(), StoreError> {
        // A lease is not over because the clock was set.
        let turn = self.look_at_clock(None).await?;
        let swept = self.store().sweep_messages(self.now()).await?;
        drop(turn);
        if swept > 0 {
            self.wake_senders();
            self.0.wakes.uncertain.notify_one();
        }
        Ok(())
    }

    /// Tells of endpoints that fail, and goes on with recoveries whose caller was lost.
    pub(crate) async fn endpoints_round(&self, now: Timestamp) -> Result<(), StoreError> {
        self.store().tell_failing(now).await?;
        for endpoint in self.store().recoveries(now.before(limits::RECOVERY_STEP)).await? {
            self.recover_to_the_end(endpoint).await?;
        }
        Ok(())
    }

    /// Takes the steps of an endpoint's recovery; how many deliveries came of them. Ends when it does: the intent says where it is.
    pub(crate) async fn recover_to_the_end(&self, endpoint: EndpointId) -> Result<u32, StoreError> {
        let mut recovered = 0_u32;
        loop {
            let step = self.store().recover_step(endpoint, self.now()).await?;
            recovered = recovered.saturating_add(step.recovered);
            if step.done {
                self.wake_publisher();
                return Ok(recovered);
            }
        }
    }

    /// Tells which windows close and which conversations ended with their channel, all that is due.
    async fn news_round(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut books = BTreeMap::new();
        for app in self.store().apps().await? {
            // The rules of a version that was set aside hold still.
            if let Ok(serving) = self.installed(&app.name).await {
                books.insert(app.name, serving.book);
            }
        }
        loop {
            let looked = self
                .store()
                .tell_news(books.clone(), limits::CONVERSATIONS_SWEPT, now)
                .await?;
            if looked < limits::CONVERSATIONS_SWEPT {
                return Ok(());
            }
        }
    }
}

struct Starting<'h> {
    host: &'h Host,
    tasks: JoinSet<()>,
    stopped: watch::Receiver<bool>,
}

impl Starting<'_> {
    fn worker<W: Work>(&mut self, work: W, bound: usize, wake: &Arc<Notify>) {
        let host = self.host.clone();
        let name = work.name();
        let worker = Worker::new(work, bound);
        let pulses = self.host.clone();
        let lives = move || pulses.lives(name, limits::LOOP_SILENCE);
        self.tasks
            .spawn(worker.run(move || host.now(), lives, Arc::clone(wake), self.stopped.clone()));
    }

    /// A round now, and one each `every`, or sooner when woken.
    fn rounds<F>(
        &mut self,
        name: &'static str,
        every: Duration,
        wake: &Arc<Notify>,
        round: impl Fn(Host, Timestamp) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), StoreError>> + Send,
    {
        let (host, wake, mut stopped) = (self.host.clone(), Arc::clone(wake), self.stopped.clone());
        self.tasks.spawn(async move {
            while !*stopped.borrow() {
                host.lives(name, every + limits::ROUND);
                if let Err(error) = round(host.clone(), host.now()).await {
                    tracing::error!("The {name} failed, and tries again: {error}");
                }
                tokio::select! {
                    _ = stopped.changed() => {}
                    () = wake.notified() => {}
                    () = tokio::time::sleep(every) => {}
                }
            }
        });
    }

    /// Writes down what calls tell of themselves, which cannot wait for the record; in the end, what waits still.
    fn notes<T: Send + 'static, F>(
        &mut self,
        told: &Mutex<Option<mpsc::Receiver<T>>>,
        keep: impl Fn(Host, T) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let Some(mut told) = told.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let (host, mut stopped) = (self.host.clone(), self.stopped.clone());
        self.tasks.spawn(async move {
            while !*stopped.borrow() {
                tokio::select! {
                    _ = stopped.changed() => {}
                    note = told.recv() => match note {
                        Some(note) => keep(host.clone(), note).await,
                        None => return,
                    },
                }
            }
            while let Ok(note) = told.try_recv() {
                keep(host.clone(), note).await;
            }
        });
    }

    /// Wakes the publisher when the log grows.
    fn log(&mut self) {
        let (host, mut stopped) = (self.host.clone(), self.stopped.clone());
        let mut end = host.store().log_end();
        self.tasks.spawn(async move {
            while !*stopped.borrow() {
                tokio::select! {
                    _ = stopped.changed() => {}
                    grown = end.changed() => match grown {
                        Ok(()) => host.wake_publisher(),
                        Err(_) => return,
                    },
                }
            }
        });
    }

    /// Writes credentials until the record takes them. Ends when there are none and nothing is at work that could bring one.
    fn credentials(&mut self) {
        let (host, mut stopped) = (self.host.clone(), self.stopped.clone());
        self.tasks.spawn(async move {
            let more_may_come = |host: &Host| host.0.unwritten.count() > 0 || !host.0.detached.is_empty();
            while !*stopped.borrow() || more_may_come(&host) {
                host.lives("credentials", limits::LOOP_SILENCE);
                let waiting = host.write_unwritten().await;
                host.metrics().unwritten(waiting);
                let is_stopped = *stopped.borrow();
                tokio::select! {
                    _ = stopped.changed(), if !is_stopped => {}
                    () = host.0.unwritten.wake.notified() => {}
                    () = tokio::time::sleep(WRITE_EVERY) => {}
                }
            }
        });
    }

    /// Marks versions that failed until the record takes it, also after the stop.
    fn version_failures(&mut self) {
        let (host, mut stopped) = (self.host.clone(), self.stopped.clone());
        self.tasks.spawn(async move {
            while !*stopped.borrow() || !host.0.version_failures.is_empty() {
                host.lives("version failures", limits::LOOP_SILENCE);
                host.write_version_failures().await;
                let is_stopped = *stopped.borrow();
                tokio::select! {
                    _ = stopped.changed(), if !is_stopped => {}
                    () = host.0.version_failures.wake.notified() => {}
                    () = tokio::time::sleep(WRITE_EVERY) => {}
                }
            }
        });
    }

    /// Looks at the clock, the system's or the followed one.
    fn clock(&mut self) {
        let url = self.host.config().clock.clone();
        let (host, mut stopped) = (self.host.clone(), self.stopped.clone());
        self.tasks.spawn(async move {
            while !*stopped.borrow() {
                let (said, again) = match &url {
                    None => (Ok(None), clock::LOOK_EVERY),
                    Some(url) => (clock::read(host.egress(), url).await.map(Some), clock::FOLLOW_EVERY),
                };
                match said {
                    Ok(said) => {
                        if let Err(error) = host.look_at_clock(said).await {
                            tracing::error!("The clock was set, and what waits cannot be set right yet: {error}");
                        }
                    }
                    Err(error) => tracing::debug!("The followed clock is not read: {error}"),
                }
                tokio::select! {
                    _ = stopped.changed() => {}
                    () = tokio::time::sleep(again) => {}
                }
            }
        });
    }
}
