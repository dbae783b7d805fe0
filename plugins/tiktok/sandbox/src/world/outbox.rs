//! The webhooks to be sent, and when each is due (TikTok for Developers, Webhooks overview: at least once, exponential
//! backoff for up to 72 hours, until HTTP 200).
//!
//! The deliveries of a conversation wait for each other in a lane unless the settings disable this. No network is used
//! here: `deliver` takes due deliveries and settles each attempt.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::World;
use super::faults::WebhookFault;
use crate::clock::Timestamp;
use crate::limits;

/// The id of a delivery.
pub type DeliveryId = u64;

/// One webhook for one app.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// The app it is for.
    pub client_key: String,
    /// The account it is about.
    pub account: String,
    /// The conversation it is about.
    pub conversation: Option<String>,
    /// The message it is about.
    pub message_id: Option<String>,
    /// The event's name.
    pub event: &'static str,
    /// The bytes to sign and send.
    pub body: Bytes,
    /// When it occurred.
    pub queued: Timestamp,
    /// When it was first attempted.
    pub first_attempt: Option<Timestamp>,
    /// The number of attempts.
    pub attempts: u32,
}

/// A delivery to send now.
#[derive(Debug)]
pub struct Due {
    /// The event.
    pub delivery: Delivery,
    /// Its lane.
    pub lane: String,
    /// The URL.
    pub url: String,
    /// The app's secret.
    pub secret: String,
}

/// The result of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The receiver answered with this status.
    Answered(u16),
    /// No response.
    Failed,
}

/// One line of the webhook log.
#[derive(Debug, Clone, Serialize)]
#[allow(
    missing_docs,
    reason = "the fields of a Delivery under the same names, and the outcome"
)]
pub struct DeliveryRecord {
    pub delivery: DeliveryId,
    pub event: &'static str,
    pub client_key: String,
    pub account: String,
    pub conversation: Option<String>,
    pub message_id: Option<String>,
    /// 1 for the first; 0 if there was no attempt.
    pub attempt: u32,
    /// The receiver's HTTP status.
    pub status: Option<u16>,
    /// `delivered`, `retrying`, `gave_up`, `dropped`.
    pub outcome: &'static str,
    /// When it occurred, in virtual milliseconds.
    pub queued_ms: i64,
    /// When this entry was written, in virtual milliseconds.
    pub time_ms: i64,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Delivery>,
    held: Option<Delivery>,
    flying: bool,
    /// When the head is due; its entry in `Outbox::due`.
    due: Option<(Timestamp, u64)>,
    not_before: Timestamp,
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[allow(missing_docs, reason = "each name describes its count")]
pub struct Totals {
    pub queued: u64,
    pub delivered: u64,
    pub retried: u64,
    pub gave_up: u64,
    pub dropped: u64,
    /// Waiting or in flight now.
    pub pending: usize,
}

/// All webhooks to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    lanes: HashMap<String, Lane>,
    due: BTreeSet<(Timestamp, u64, String)>,
    held: BTreeSet<(Timestamp, String)>,
    awaited: HashSet<DeliveryId>,
    totals: Totals,
    next_id: u64,
    next_number: u64,
}

impl Outbox {
    /// Counts since the start.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// When the next delivery is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        let due = self.due.first().map(|(at, ..)| *at);
        let held = self.held.first().map(|(at, _)| *at);
        [due, held].into_iter().flatten().min()
    }

    /// Registers a waiter for the first attempt of these.
    pub fn watch(&mut self, deliveries: &[DeliveryId]) {
        self.awaited.extend(deliveries);
    }

    /// Whether all of these were attempted (or will never be).
    pub fn were_tried(&self, deliveries: &[DeliveryId]) -> bool {
        deliveries.iter().all(|id| !self.awaited.contains(id))
    }

    /// Stops waiting for these.
    pub fn unwatch(&mut self, deliveries: &[DeliveryId]) {
        for id in deliveries {
            self.awaited.remove(id);
        }
    }

    /// Makes all deliveries that are waiting for a retry due now.
    pub fn retry_all(&mut self, now: Timestamp) {
        let lanes: Vec<String> = self.due.iter().map(|(.., lane)| lane.clone()).collect();
        for name in lanes {
            if let Some(lane) = self.lanes.get_mut(&name) {
                lane.not_before = now;
            }
            self.schedule(&name, now);
        }
    }

    pub(super) fn release_held(&mut self, now: Timestamp) {
        while let Some((at, name)) = self.held.first().cloned()
            && at <= now
        {
            self.held.remove(&(at, name.clone()));
            if let Some(lane) = self.lanes.get_mut(&name)
                && let Some(held) = lane.held.take()
            {
                lane.waiting.push_back(held);
            }
            self.schedule(&name, now);
        }
    }

    fn add(&mut self, name: String, delivery: Delivery, hold: bool, delay_ms: i64, now: Timestamp) {
        let lane = self.lanes.entry(name.clone()).or_default();
        if delay_ms > 0 {
            lane.not_before = lane.not_before.max(now.plus_ms(delay_ms));
        }
        if hold && lane.held.is_none() {
            lane.held = Some(delivery);
            self.held.insert((now.plus_ms(limits::REORDER_WAIT_MS), name.clone()));
        } else {
            lane.waiting.push_back(delivery);
            if let Some(overtaken) = lane.held.take() {
                lane.waiting.push_back(overtaken);
                self.held.retain(|(_, held)| *held != name);
            }
        }
        self.schedule(&name, now);
    }

    fn schedule(&mut self, name: &str, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(name) else {
            return;
        };
        if let Some((at, turn)) = lane.due.take() {
            self.due.remove(&(at, turn, name.to_owned()));
        }
        if lane.flying {
            return;
        }
        if lane.waiting.is_empty() {
            if lane.held.is_none() {
                self.lanes.remove(name);
            }
            return;
        }
        self.next_number += 1;
        let at = lane.not_before.max(now);
        lane.due = Some((at, self.next_number));
        self.due.insert((at, self.next_number, name.to_owned()));
    }

    fn take(&mut self, now: Timestamp) -> Option<(String, Delivery)> {
        let (at, _, name) = self.due.first()?.clone();
        if at > now {
            return None;
        }
        self.due.pop_first();
        let lane = self.lanes.get_mut(&name)?;
        lane.due = None;
        let delivery = lane.waiting.pop_front()?;
        lane.flying = true;
        Some((name, delivery))
    }
}

impl World {
    /// Adds a webhook to the outbox, with the requested faults. `None`: it will not be sent.
    pub(super) fn enqueue(&mut self, mut delivery: Delivery, now: Timestamp) -> Option<DeliveryId> {
        let fault = self.faults.take_webhook(delivery.event);
        if fault == Some(WebhookFault::Drop) || self.outbox.totals.pending >= limits::OUTBOX {
            self.outbox.totals.dropped += 1;
            self.note(&delivery, None, "dropped", now);
            return None;
        }
        let copies = if fault == Some(WebhookFault::Duplicate) { 2 } else { 1 };
        let delay_ms = match fault {
            Some(WebhookFault::Delay(ms)) => ms,
            _ => 0,
        };
        self.outbox.next_id += 1;
        delivery.id = self.outbox.next_id;
        for _ in 0..copies {
            let lane = self.lane_of(&delivery);
            self.outbox.totals.queued += 1;
            self.outbox.totals.pending += 1;
            self.outbox.add(
                lane,
                delivery.clone(),
                fault == Some(WebhookFault::Reorder),
                delay_ms,
                now,
            );
        }
        Some(self.outbox.next_id)
    }

    fn lane_of(&self, delivery: &Delivery) -> String {
        match &delivery.conversation {
            Some(conversation) if self.settings.ordered_webhooks => {
                format!("{}\n{conversation}", delivery.client_key)
            }
            Some(_) => format!("{}\n{}", delivery.client_key, self.outbox.totals.queued),
            None => format!("{}\n{}", delivery.client_key, delivery.account),
        }
    }

    /// The next delivery to send, if one is due.
    pub fn next_delivery(&mut self, now: Timestamp) -> Option<Due> {
        loop {
            let (lane, mut delivery) = self.outbox.take(now)?;
            if let Some((url, secret)) = self.callback(&delivery.client_key) {
                delivery.attempts += 1;
                delivery.first_attempt.get_or_insert(now);
                let (url, secret) = (url.to_owned(), secret.to_owned());
                return Some(Due {
                    delivery,
                    lane,
                    url,
                    secret,
                });
            }
            // There is no subscription any more.
            self.finish(&lane, &delivery, None, "dropped", now);
        }
    }

    /// Records an attempt: done, to be retried, or given up.
    pub fn settle(&mut self, due: Due, attempt: Attempt, now: Timestamp) {
        let Due { delivery, lane, .. } = due;
        self.outbox.awaited.remove(&delivery.id);
        let status = match attempt {
            Attempt::Answered(status) => Some(status),
            Attempt::Failed => None,
        };
        if status == Some(200) {
            self.finish(&lane, &delivery, status, "delivered", now);
            return;
        }
        let doublings = delivery.attempts.saturating_sub(1).min(30);
        let wait = self.settings.retry_first_ms.saturating_mul(1 << doublings);
        let first = delivery.first_attempt.unwrap_or(now);
        if now.plus_ms(wait) > first.plus_ms(limits::RETRY_FOR_MS) {
            self.finish(&lane, &delivery, status, "gave_up", now);
            return;
        }
        self.outbox.totals.retried += 1;
        self.note(&delivery, status, "retrying", now);
        if let Some(entry) = self.outbox.lanes.get_mut(&lane) {
            entry.flying = false;
            entry.not_before = now.plus_ms(wait);
            entry.waiting.push_front(delivery);
        }
        self.outbox.schedule(&lane, now);
    }

    fn finish(&mut self, lane: &str, delivery: &Delivery, status: Option<u16>, outcome: &'static str, now: Timestamp) {
        self.outbox.awaited.remove(&delivery.id);
        let totals = &mut self.outbox.totals;
        totals.pending = totals.pending.saturating_sub(1);
        match outcome {
            "delivered" => totals.delivered += 1,
            "gave_up" => totals.gave_up += 1,
            _ => totals.dropped += 1,
        }
        self.note(delivery, status, outcome, now);
        if let Some(entry) = self.outbox.lanes.get_mut(lane) {
            entry.flying = false;
            entry.not_before = Timestamp::default();
        }
        self.outbox.schedule(lane, now);
    }

    fn note(&mut self, delivery: &Delivery, status: Option<u16>, outcome: &'static str, now: Timestamp) {
        self.deliveries.push(DeliveryRecord {
            delivery: delivery.id,
            event: delivery.event,
            client_key: delivery.client_key.clone(),
            account: delivery.account.clone(),
            conversation: delivery.conversation.clone(),
            message_id: delivery.message_id.clone(),
            attempt: delivery.attempts,
            status,
            outcome,
            queued_ms: delivery.queued.ms(),
            time_ms: now.ms(),
        });
    }

    /// The webhook log after a number, and the totals.
    pub fn show_deliveries(&self, after: u64) -> Value {
        json!({
            "last": self.deliveries.last(),
            "totals": self.outbox.totals(),
            "webhooks": self.deliveries.after(after),
        })
    }
}
