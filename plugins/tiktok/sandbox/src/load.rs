//! Many people writing at a rate, for load tests: bounded in people, rate, number and backlog.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::http::Shared;
use crate::limits;
use crate::world::ControlError;

/// A request for a load.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadOrder {
    /// The recipient.
    pub account: String,
    /// How many people write, in turn.
    pub people: usize,
    /// Messages per second.
    pub per_second: u32,
    /// Messages in all.
    pub count: u64,
}

/// The state of a load.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LoadState {
    /// Whether it is running.
    pub running: bool,
    /// Number of messages requested.
    pub count: u64,
    /// Messages written so far.
    pub written: u64,
    /// System time in milliseconds since it started, or its total duration.
    pub took_ms: u64,
    /// Why it ended early.
    pub error: Option<String>,
    #[serde(skip)]
    stop: bool,
}

impl LoadState {
    /// Stops it at its next step.
    pub fn stop(&mut self) {
        self.stop = true;
    }
}

const STEP: Duration = Duration::from_millis(10);

/// Starts a load in the background.
///
/// # Errors
/// Out of bounds, an unknown account, or another load is running.
pub fn begin(shared: &Arc<Shared>, order: LoadOrder) -> Result<(), ControlError> {
    let within = (1..=limits::LOAD_PEOPLE).contains(&order.people)
        && (1..=limits::LOAD_PER_SECOND).contains(&order.per_second)
        && (1..=limits::LOAD_COUNT).contains(&order.count);
    if !within {
        return Err(ControlError::Invalid(format!(
            "a load has 1 to {} people, {} messages per second, {} messages",
            limits::LOAD_PEOPLE,
            limits::LOAD_PER_SECOND,
            limits::LOAD_COUNT
        )));
    }
    shared.with(|world, _| {
        if !world.knows_account(&order.account) {
            return Err(ControlError::Unknown(format!("account {}", order.account)));
        }
        if !world.has_room_for(order.people) {
            return Err(ControlError::Conflict("there is no capacity for so many people".into()));
        }
        Ok(())
    })?;
    {
        let mut state = shared.load();
        if state.running {
            return Err(ControlError::Conflict("a load is running".into()));
        }
        *state = LoadState {
            running: true,
            count: order.count,
            ..LoadState::default()
        };
    }
    tokio::spawn(run(Arc::clone(shared), order));
    Ok(())
}

async fn run(shared: Arc<Shared>, order: LoadOrder) {
    let began = Instant::now();
    let mut written = 0_u64;
    let mut error = None;
    let mut pace = tokio::time::interval(STEP);
    while written < order.count && error.is_none() {
        pace.tick().await;
        let due = (began.elapsed().as_secs_f64() * f64::from(order.per_second)) as u64;
        while written < due.min(order.count) && error.is_none() {
            // A few under one lock, then the lock is free for the API.
            let until = (written + 16).min(due).min(order.count);
            let done = shared.with(|world, now| {
                if world.outbox.totals().pending >= limits::LOAD_BACKLOG {
                    return Ok(written);
                }
                for number in written..until {
                    let person = usize::try_from(number).unwrap_or(0) % order.people;
                    world.write_load(&order.account, person, format!("load {number}"), now)?;
                }
                Ok(until)
            });
            match done {
                Ok(reached) if reached == written => break,
                Ok(reached) => written = reached,
                Err(why) => error = Some(ControlError::to_string(&why)),
            }
        }
        let mut state = shared.load();
        state.written = written;
        state.took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if state.stop {
            error = Some("stopped".into());
        }
    }
    let mut state = shared.load();
    state.running = false;
    state.error = error;
}
