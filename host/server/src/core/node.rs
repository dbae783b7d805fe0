//! This host as a node of the database: the name under which it leases and claims, whether it is still valid, and its
//! duties.
//!
//! With PostgreSQL a node reports by a heartbeat that it is alive. A node without a heartbeat for [`limits::NODE_DEAD`]
//! is ended by the others, which take over its work. It therefore stops earlier, at [`limits::NODE_FENCED`], measured
//! by a [`Moment`] that neither a clock set back nor a suspended machine can delay: it leases nothing, and its calls
//! send no request. A SQLite database has one host, by the lock on its data directory, and needs none of this.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use weir_domain::limits;
use weir_domain::time::Timestamp;
use weir_runtime::context::Fence;
use weir_store::{EndedNodes, Store, StoreError};

/// The duties that one node at a time performs for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Duty {
    /// Counts the queue depths for the metrics, so that the sum over all nodes is right.
    Counter,
    /// Evaluates canaries, promotes them and retires versions.
    Rollout,
    /// Deletes data past its retention.
    Retention,
    /// Sets up channels at their platforms whose set-up failed when they were connected.
    SetUps,
    /// Warns of expiring credentials.
    Warnings,
}

impl Duty {
    const ALL: [Self; 5] = [
        Self::Counter,
        Self::Rollout,
        Self::Retention,
        Self::SetUps,
        Self::Warnings,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Rollout => "rollout",
            Self::Retention => "retention",
            Self::SetUps => "set-ups",
            Self::Warnings => "warnings",
        }
    }
}

/// A moment by two clocks, of which the more advanced one counts: the monotonic clock, which cannot be set and pauses
/// while the machine is suspended (`man 2 clock_gettime`, `CLOCK_MONOTONIC`), and the system's, which does not pause.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    steady: Instant,
    system: SystemTime,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            steady: Instant::now(),
            system: SystemTime::now(),
        }
    }

    fn after(self, span: Duration) -> Self {
        Self {
            steady: self.steady + span,
            system: self.system + span,
        }
    }

    fn is_before(self, other: Self) -> bool {
        self.steady < other.steady && self.system < other.system
    }

    /// The elapsed time by the monotonic clock.
    pub(crate) fn elapsed(self) -> Duration {
        self.steady.elapsed()
    }
}

/// One epoch of this node. Work leased under it may be done only while it is valid.
#[derive(Debug)]
pub(crate) struct Registration {
    /// The owner of leases, claims and duties.
    pub(crate) id: String,
    /// When it was registered.
    pub(crate) began: Moment,
    /// Until when the host may act under it, unless a heartbeat succeeds; `None` if no other host can use the database.
    valid_until: Option<Mutex<Moment>>,
}

impl Registration {
    /// Whether the host may act under it at `now`.
    pub(crate) fn is_valid(&self, now: Moment) -> bool {
        self.valid_until
            .as_ref()
            .is_none_or(|until| now.is_before(*lock(until)))
    }

    /// For a node with a heartbeat at `sent`.
    fn shared(id: String, sent: Moment) -> Self {
        Self {
            id,
            began: sent,
            valid_until: Some(Mutex::new(sent.after(limits::NODE_FENCED))),
        }
    }

    /// For a host that shares its database with no other.
    fn alone(id: String, began: Moment) -> Self {
        Self {
            id,
            began,
            valid_until: None,
        }
    }

    /// A heartbeat sent at that time reached the database.
    fn extend_from(&self, sent: Moment) {
        if let Some(until) = &self.valid_until {
            let (mut until, next) = (lock(until), sent.after(limits::NODE_FENCED));
            // Responses may arrive in a different order.
            if until.steady < next.steady {
                *until = next;
            }
        }
    }

    /// The others ended it, or this host is about to stop.
    pub(crate) fn end(&self, now: Moment) {
        if let Some(until) = &self.valid_until {
            *lock(until) = now;
        }
    }
}

impl Fence for Registration {
    fn withheld(&self) -> Option<String> {
        (!self.is_valid(Moment::now())).then(|| {
            "this node could not write its heartbeat to the database, and another may have taken over its work"
                .to_owned()
        })
    }
}

/// This host as a node of the database.
#[derive(Debug)]
pub(crate) struct ThisNode {
    name: String,
    /// Whether other hosts can use the database.
    is_shared: bool,
    current: Mutex<Arc<Registration>>,
    /// When each duty was taken or renewed last.
    duties: Mutex<BTreeMap<Duty, Moment>>,
}

impl ThisNode {
    /// Registers this start, and releases the work of dead nodes. `node_time` is the time by the clock that all nodes
    /// share.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn register(
        store: &dyn Store,
        name: String,
        is_shared: bool,
        node_time: Timestamp,
        now: Timestamp,
    ) -> Result<(Self, EndedNodes), StoreError> {
        let sent = Moment::now();
        let id = store
            .register_node(&name, env!("CARGO_PKG_VERSION"), node_time)
            .await?
            .id;
        let ended = if is_shared {
            store.end_dead_nodes(&id, node_time, now).await?
        } else {
            // The lock on the data directory excludes other hosts.
            store.end_other_nodes(&id, node_time, now).await?
        };
        let node = Self {
            current: Mutex::new(Arc::new(if is_shared {
                Registration::shared(id, sent)
            } else {
                Registration::alone(id, sent)
            })),
            name,
            is_shared,
            duties: Mutex::default(),
        };
        Ok((node, ended))
    }

    /// A node that shares its database with no other.
    #[cfg(test)]
    pub(crate) fn alone(id: &str) -> Self {
        Self {
            name: id.to_owned(),
            is_shared: false,
            current: Mutex::new(Arc::new(Registration::alone(id.to_owned(), Moment::now()))),
            duties: Mutex::default(),
        }
    }

    pub(crate) fn current(&self) -> Arc<Registration> {
        Arc::clone(&lock(&self.current))
    }

    /// The owner of leases, claims and duties.
    pub(crate) fn id(&self) -> String {
        self.current().id.clone()
    }

    /// The registration under which work may be leased now; `None` while the node is fenced.
    pub(crate) fn valid(&self) -> Option<Arc<Registration>> {
        Some(self.current()).filter(|current| current.is_valid(Moment::now()))
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Writes this node's heartbeat. A node that the others ended continues under a new epoch. Returns whether it was
    /// fenced before.
    ///
    /// # Errors
    /// The database failed; the next heartbeat follows soon.
    pub(crate) async fn beat(&self, store: &dyn Store, now: Timestamp) -> Result<bool, StoreError> {
        let (current, sent) = (self.current(), Moment::now());
        let was_fenced = !current.is_valid(sent);
        if store.beat(&current.id, now).await? {
            current.extend_from(sent);
            if was_fenced {
                tracing::warn!("Heartbeat restored: this node resumes work");
            }
            return Ok(was_fenced);
        }
        current.end(sent);
        let id = store
            .register_node(&self.name, env!("CARGO_PKG_VERSION"), now)
            .await?
            .id;
        tracing::warn!("The other nodes ended {}; this node resumes as {id}", current.id);
        *lock(&self.current) = Arc::new(Registration::shared(id, sent));
        lock(&self.duties).clear();
        Ok(true)
    }

    /// Renews this node's duties, and takes free ones.
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn take_duties(&self, store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
        let (current, sent) = (self.current(), Moment::now());
        let held = store
            .hold_duties(Duty::ALL.map(Duty::name).to_vec(), &current.id, now)
            .await?;
        let held = Duty::ALL.into_iter().filter(|duty| held.contains(&duty.name()));
        let mut duties = lock(&self.duties);
        // The others may have ended this epoch while the response was on its way.
        if Arc::ptr_eq(&current, &self.current()) {
            *duties = held.map(|duty| (duty, sent)).collect();
        }
        Ok(())
    }

    /// Whether this node has a duty at `now`.
    pub(crate) fn has(&self, duty: Duty, now: Moment) -> bool {
        // Released before another node can take it.
        let held = |taken: &Moment| now.is_before(taken.after(limits::DUTY - limits::DUTY_RENEWED));
        !self.is_shared || self.current().is_valid(now) && lock(&self.duties).get(&duty).is_some_and(held)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(at: Moment) -> ThisNode {
        ThisNode {
            is_shared: true,
            current: Mutex::new(Arc::new(Registration::shared("weir.1".to_owned(), at))),
            ..ThisNode::alone("weir")
        }
    }

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn a_silent_node_stops_before_others_take_over() {
        let begin = Moment::now();
        let node = shared(begin);
        let late = begin.after(limits::NODE_FENCED);
        assert!(node.current().is_valid(begin.after(limits::NODE_FENCED - MOMENT)));
        assert!(!node.current().is_valid(late));
        node.current().extend_from(begin.after(limits::NODE_BEAT));
        assert!(node.current().is_valid(late));
        // A heartbeat whose response is delayed counts from when it was sent.
        node.current().extend_from(begin);
        assert!(node.current().is_valid(late.after(limits::NODE_BEAT - MOMENT)));
        assert!(limits::NODE_FENCED + limits::NODE_BEAT < limits::NODE_DEAD);
        // A node that was ended is no longer valid.
        node.current().end(late);
        assert!(!node.current().is_valid(late));
        let alone = ThisNode::alone("weir");
        assert!(alone.current().is_valid(late.after(Duration::from_secs(3_600))));
    }

    #[test]
    fn a_node_whose_machine_was_suspended_stops() {
        let begin = Moment::now();
        let node = shared(begin);
        let awake = Moment {
            system: begin.after(limits::NODE_FENCED).system,
            ..begin.after(MOMENT)
        };
        assert!(!node.current().is_valid(awake));
        // The system's clock may be set back, which does not reduce the elapsed time.
        let set_back = Moment {
            system: begin.system - limits::NODE_DEAD,
            ..begin.after(limits::NODE_FENCED)
        };
        assert!(!node.current().is_valid(set_back));
        node.current().extend_from(set_back);
        assert!(node.current().is_valid(set_back.after(limits::NODE_FENCED - MOMENT)));
    }

    #[test]
    fn a_duty_ends_before_another_node_can_take_it() {
        let begin = Moment::now();
        let node = shared(begin);
        assert!(!node.has(Duty::Counter, begin));
        lock(&node.duties).insert(Duty::Counter, begin);
        let later = begin.after(limits::DUTY_RENEWED);
        assert!(node.has(Duty::Counter, later));
        assert!(!node.has(Duty::Retention, later));
        node.current().extend_from(begin.after(limits::DUTY));
        assert!(!node.has(Duty::Counter, begin.after(limits::DUTY - limits::DUTY_RENEWED)));
        // A node that is fenced has none.
        let far = begin.after(3 * limits::DUTY);
        lock(&node.duties).insert(Duty::Counter, far);
        assert!(!node.has(Duty::Counter, far));
        assert!(ThisNode::alone("weir").has(Duty::Counter, begin));
    }
}
