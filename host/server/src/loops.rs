//! The background tasks of a running host, and their shutdown.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_store::StoreError;

use crate::accounts::credentials::WRITE_EVERY;
use crate::connectors::caches::CHECK_INTERVAL;
use crate::core::clock;
use crate::core::node::{Duty, Moment};
use crate::core::wakes::Wakes;
use crate::core::worker::{Work, Worker};
use crate::events::publisher::Publisher;
use crate::host::Host;
use crate::messages::deliverer::Deliverer;
use crate::messages::fetcher::Fetcher;
use crate::messages::history::NOTE_EVERY;
use crate::messages::poller::Poller;

/// Interval of checks for expired leases and closing windows: their causes are crashes and periods of hours, so seconds
/// do not matter.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Interval of checks for dead nodes: their work waits for it.
const NODES_EVERY: Duration = Duration::from_secs(1);
/// Interval of checks for interrupted connect sessions and failed set-ups; a start checks immediately.
const CONNECT_EVERY: Duration = Duration::from_secs(10);
/// Interval of checks for credentials that expire soon; they are renewed hours ahead.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// Interval of checks of uncertain messages; the grace time before the first check is two minutes.
const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// Interval of the retention sweep; ages are counted in days.
const FORGET_EVERY: Duration = Duration::from_secs(600);
/// Interval of counting the queue depths for the metrics.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// The delay after a failed round.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Interval of checks of draining versions and canaries; calls end within seconds.
const ROLL_EVERY: Duration = Duration::from_secs(5);

/// The background tasks of a running host.
#[must_use = "the loops stop when this is dropped"]
pub struct Loops {
    host: Host,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    /// Sends heartbeats until everything else has ended.
    heartbeat: JoinSet<()>,
}

impl Loops {
    /// Stops leasing work, and waits up to `deadline` for work in progress, including detached work. The rest is
    /// settled at the next start, or by another node.
    pub async fn stop(mut self, deadline: Duration) {
        self.stop.cancel();
        let ended = tokio::time::timeout(deadline, async { while self.tasks.join_next().await.is_some() {} });
        let (ended, ()) = tokio::join!(ended, self.host.core.finish_detached(deadline));
        if ended.is_err() {
            tracing::warn!(
                "{} background tasks did not end within {deadline:?}; their work continues at the next start",
                self.tasks.len()
            );
        }
        // Work that others are about to take over must not continue here.
        self.tasks.shutdown().await;
        self.heartbeat.shutdown().await;
        self.host.core.leave_nodes().await;
    }
}

impl Host {
    /// Starts all background tasks: the workers that send, deliver, fetch and poll, the periodic rounds, the clock
    /// check, and the heartbeat if several nodes may use the database.
    pub fn start(&self) -> Loops {
        let mut loops = Loops {
            host: self.clone(),
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
            heartbeat: JoinSet::new(),
        };
        let never = Arc::new(Notify::new());
        if self.core.node.is_shared() {
            loops.heartbeat();
            loops.rounds("nodes", NODES_EVERY, &never, |host, _| async move {
                host.nodes_round().await
            });
            loops.rounds("duties", limits::DUTY_RENEWED, &never, |host, _| async move {
                host.core.node.take_duties(host.store(), host.core.node_time()).await
            });
        }
        let wakes = &self.core.wakes;
        let bounds = &self.config().limits;
        loops.worker(self.deliverer(), bounds.sends_in_flight, &wakes.messages);
        loops.worker(self.publisher(), bounds.deliveries_in_flight, &wakes.deliveries);
        loops.worker(self.fetcher(), bounds.fetches_in_flight, &wakes.media);
        loops.worker(self.poller(), limits::POLLS_IN_FLIGHT, &wakes.polls);
        loops.rounds("sweeper", SWEEP_EVERY, &wakes.sweep, |host, now| async move {
            host.sweep_round().await?;
            host.events.endpoints_round(now).await?;
            host.media.erase_round().await?;
            host.store().end_connect_sessions(now).await?;
            host.media.remove_files().await?;
            host.events.window_event_round(now).await
        });
        loops.rounds("refresher", REFRESH_EVERY, &wakes.credentials, |host, now| async move {
            host.accounts.refresh_round(now).await?;
            host.accounts
                .warn_round(now, host.has_duty(Duty::Warnings))
                .await
                .map(|_| ())
        });
        loops.rounds(
            "reconciler",
            RECONCILE_EVERY,
            &wakes.uncertain,
            |host, now| async move { host.reconciler.reconcile_round(now).await.map(|_| ()) },
        );
        loops.rounds("counter", COUNT_EVERY, &never, |host, now| async move {
            host.core.metrics.silence(host.silent_loops().into_iter());
            host.store().empty_long_log().await?;
            if host.has_duty(Duty::Counter) {
                host.core.metrics.depths(&host.store().depths().await?, now);
            } else {
                host.core.metrics.forget_depths();
            }
            Ok(())
        });
        loops.rounds("presence", NOTE_EVERY, &never, |host, now| async move {
            host.history.note_presence(now).await;
            Ok(())
        });
        loops.rounds("history", NOTE_EVERY, &wakes.history, |host, _| async move {
            host.history.history_round().await.map(|_| ())
        });
        let moved = Arc::clone(&self.core.platform_clocks.moved);
        loops.rounds("platform clocks", COUNT_EVERY, &moved, |host, now| async move {
            host.core.platform_clocks_round(now).await
        });
        loops.rounds("retention", FORGET_EVERY, &wakes.retention, |host, now| async move {
            if !host.has_duty(Duty::Retention) {
                // Files are local to each node.
                return host.retention.remove_leftovers().await;
            }
            host.retention
                .retention_round(host.retention.aged(now).await?)
                .await
                .map(|_| ())
        });
        loops.notes(&self.connectors.refused, |host, refused| async move {
            host.core.keep_act_refusal(refused).await;
        });
        loops.notes(&self.connectors.transcribed, |host, taken| async move {
            host.connectors.keep_transcript(taken).await;
        });
        loops.rounds("rollout", ROLL_EVERY, &never, |host, now| async move {
            host.rollout.rollout_round(now, host.has_duty(Duty::Rollout)).await
        });
        loops.rounds("caches", CHECK_INTERVAL, &wakes.revisions, |host, now| async move {
            host.caches.refresh(Instant::now()).await?;
            host.rollout.share_counts(now).await
        });
        loops.rounds("connecting", CONNECT_EVERY, &never, |host, now| async move {
            host.accounts.connect_round().await?;
            if !host.has_duty(Duty::SetUps) {
                return Ok(());
            }
            host.accounts.set_up_round(now).await
        });
        loops.log();
        loops.credentials();
        loops.version_failures();
        loops.clock();
        loops
    }

    pub(crate) fn deliverer(&self) -> Deliverer {
        Deliverer::new(
            Arc::clone(&self.core),
            Arc::clone(&self.connectors),
            Arc::clone(&self.accounts),
        )
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.core), Arc::clone(&self.media))
    }

    fn fetcher(&self) -> Fetcher {
        Fetcher::new(
            Arc::clone(&self.core),
            Arc::clone(&self.connectors),
            Arc::clone(&self.accounts),
            Arc::clone(&self.media),
        )
    }

    pub(crate) fn poller(&self) -> Poller {
        Poller::new(
            Arc::clone(&self.core),
            Arc::clone(&self.connectors),
            Arc::clone(&self.accounts),
            Arc::clone(&self.inbound),
            Arc::clone(&self.dead_letters),
        )
    }

    /// The task `name` is alive, and reports again within `allowed`.
    fn lives(&self, name: &'static str, allowed: Duration) {
        self.pulses.beat(name, allowed, Instant::now());
    }

    /// How long each task has been silent.
    fn silent_loops(&self) -> Vec<(&'static str, Duration)> {
        self.pulses.silence(Instant::now())
    }

    fn has_duty(&self, duty: Duty) -> bool {
        self.core.node.has(duty, Moment::now())
    }

    /// Ends dead nodes, and redistributes shared work.
    async fn nodes_round(&self) -> Result<(), StoreError> {
        // A step of the clock must not declare a node dead.
        let guard = self.core.check_clock(None).await?;
        let (own, node_time) = (self.core.node.current(), self.core.node_time());
        let ended = self.store().end_dead_nodes(&own.id, node_time, self.now()).await?;
        drop(guard);
        self.report_ended(&ended, 0);
        let alive = self.store().count_nodes(node_time).await?;
        // Until the others have detected this node they use its share.
        if own.began.elapsed() > 2 * NODES_EVERY {
            self.connectors.pacers.divide_among(alive);
        }
        Ok(())
    }

    /// Messages with an expired lease become uncertain, and queued ones past their deadline fail.
    async fn sweep_round(&self) -> Result<(), StoreError> {
        // A step of the clock must not expire a lease.
        let guard = self.core.check_clock(None).await?;
        let swept = self.store().sweep_messages(self.now()).await?;
        drop(guard);
        if swept > 0 {
            self.core.wakes.messages.notify_one();
            self.core.wakes.uncertain.notify_one();
        }
        Ok(())
    }
}

impl Loops {
    fn worker<W: Work>(&mut self, work: W, bound: usize, wake: &Arc<Notify>) {
        let host = self.host.clone();
        let name = work.name();
        let worker = Worker::new(work, bound);
        let pulses = self.host.clone();
        let lives = move || pulses.lives(name, limits::LOOP_SILENCE);
        self.tasks
            .spawn(worker.run(move || host.now(), lives, Arc::clone(wake), self.stop.clone()));
    }

    /// Reports that the host is alive, also while the other tasks end.
    fn heartbeat(&mut self) {
        let host = self.host.clone();
        self.heartbeat.spawn(async move {
            loop {
                host.lives("heartbeat", limits::LOOP_SILENCE);
                if let Err(error) = host.beat().await {
                    tracing::error!("The heartbeat failed, and is retried: {error}");
                }
                tokio::time::sleep(limits::NODE_BEAT).await;
            }
        });
    }

    /// One round now, and one every `every`, or sooner when woken.
    fn rounds<F>(
        &mut self,
        name: &'static str,
        every: Duration,
        wake: &Arc<Notify>,
        round: impl Fn(Host, Timestamp) -> F + Send + 'static,
    ) where
        F: Future<Output = Result<(), StoreError>> + Send,
    {
        let (host, wake, stop) = (self.host.clone(), Arc::clone(wake), self.stop.clone());
        self.tasks.spawn(async move {
            while !stop.is_cancelled() {
                host.lives(name, every + limits::ROUND);
                if let Err(error) = round(host.clone(), host.now()).await {
                    tracing::error!("The {name} failed, and is retried: {error}");
                    // Whatever wakes it: failed work is still due.
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(RETRY_AFTER.min(every)) => {}
                    }
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = wake.notified() => {}
                    () = tokio::time::sleep(every) => {}
                }
            }
        });
    }

    /// Stores what calls report, since calls cannot wait for the database; at the end, also what is still queued.
    fn notes<T: Send + 'static, F>(
        &mut self,
        receiver: &Mutex<Option<mpsc::Receiver<T>>>,
        keep: impl Fn(Host, T) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let Some(mut receiver) = receiver.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        let (host, stop) = (self.host.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            while !stop.is_cancelled() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    note = receiver.recv() => match note {
                        Some(note) => keep(host.clone(), note).await,
                        None => return,
                    },
                }
            }
            while let Ok(note) = receiver.try_recv() {
                keep(host.clone(), note).await;
            }
        });
    }

    /// Wakes the publisher when the log grows, and other workers that may have work from another host's write.
    fn log(&mut self) {
        self.follow(self.host.store().log_end(), |wakes| wakes.deliveries.notify_one());
        self.follow(self.host.store().log_end_of_others(), Wakes::written_elsewhere);
    }

    fn follow(&mut self, mut end: watch::Receiver<i64>, wake: fn(&Wakes)) {
        let (host, stop) = (self.host.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            while !stop.is_cancelled() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    grown = end.changed() => match grown {
                        Ok(()) => wake(&host.core.wakes),
                        Err(_) => return,
                    },
                }
            }
        });
    }

    /// Stores credentials until the database accepts them. Ends when there are none and no work in progress could
    /// produce one.
    fn credentials(&mut self) {
        let (host, stop) = (self.host.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let more_may_come = |host: &Host| host.accounts.credentials.count() > 0 || !host.core.detached.is_empty();
            while !stop.is_cancelled() || more_may_come(&host) {
                host.lives("credentials", limits::LOOP_SILENCE);
                let waiting = host.accounts.credentials.write_unwritten().await;
                host.core.metrics.unwritten(waiting);
                tokio::select! {
                    () = stop.cancelled(), if !stop.is_cancelled() => {}
                    () = host.accounts.credentials.wake.notified() => {}
                    () = tokio::time::sleep(WRITE_EVERY) => {}
                }
            }
        });
    }

    /// Marks failed versions until the database accepts it, also after the stop.
    fn version_failures(&mut self) {
        let (host, stop) = (self.host.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            while !stop.is_cancelled() || !host.connectors.version_failures.is_empty() {
                host.lives("version failures", limits::LOOP_SILENCE);
                host.rollout.write_version_failures().await;
                tokio::select! {
                    () = stop.cancelled(), if !stop.is_cancelled() => {}
                    () = host.connectors.version_failures.wake.notified() => {}
                    () = tokio::time::sleep(WRITE_EVERY) => {}
                }
            }
        });
    }

    /// Reads the clock: the followed one, the database server's, or the system's.
    fn clock(&mut self) {
        let url = self.host.config().clock.clone();
        let (host, stop) = (self.host.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            while !stop.is_cancelled() {
                let (reading, again) = match &url {
                    None => (Ok(None), clock::CHECK_INTERVAL),
                    Some(url) => (clock::read(&host.core.egress, url).await.map(Some), clock::FOLLOW_EVERY),
                };
                match reading {
                    Ok(reading) => {
                        if let Err(error) = host.core.check_clock(reading).await {
                            tracing::error!("The clock was set, and scheduled work cannot be adjusted yet: {error}");
                        }
                    }
                    Err(error) => tracing::debug!("The followed clock cannot be read: {error}"),
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(again) => {}
                }
            }
        });
    }
}
