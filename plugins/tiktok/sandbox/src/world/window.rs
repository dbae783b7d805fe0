//! The messaging window: how much, and how long, a business may write after a person wrote.
//!
//! TikTok publishes two rules that disagree (its page of the send endpoint, and a newer page of
//! limits), so the rule is a switch. Both agree that a business never writes first.

use serde::{Deserialize, Serialize};

use crate::clock::{HOUR_MS, Timestamp};

/// The window's length.
pub const WINDOW_MS: i64 = 48 * HOUR_MS;
/// Messages in one window.
pub const BUDGET: u32 = 10;
/// Messages that the newer rule allows after the window closed.
pub const LATE_BUDGET: u32 = 3;

/// The rule that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowPolicy {
    /// Ten messages within 48 hours after each message of the person
    /// (TikTok API reference, Send a message).
    TenPerMessage,
    /// Ten within 48 hours of the first message; after a reply any number for 48 hours; after 48
    /// hours of silence three more (TikTok, messaging window limits).
    UnlimitedAfterReply,
}

/// The facts of one chat that the rules use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    last_inbound: Option<Timestamp>,
    business_wrote: bool,
    person_replied: bool,
    sent: u32,
    sent_late: u32,
}

impl Window {
    /// The person wrote: a new window with a whole budget.
    pub fn person_wrote(&mut self, now: Timestamp) {
        self.last_inbound = Some(now);
        self.person_replied |= self.business_wrote;
        self.sent = 0;
        self.sent_late = 0;
    }

    /// The business wrote a message that counts.
    pub fn business_wrote(&mut self, now: Timestamp) {
        self.business_wrote = true;
        if self.is_open(now) {
            self.sent += 1;
        } else {
            self.sent_late += 1;
        }
    }

    /// Whether a message may be sent at `now`.
    pub fn admits(&self, policy: WindowPolicy, now: Timestamp) -> bool {
        if self.last_inbound.is_none() {
            return false;
        }
        match policy {
            WindowPolicy::TenPerMessage => self.is_open(now) && self.sent < BUDGET,
            WindowPolicy::UnlimitedAfterReply if self.is_open(now) => self.person_replied || self.sent < BUDGET,
            WindowPolicy::UnlimitedAfterReply => self.sent_late < LATE_BUDGET,
        }
    }

    /// When the window closes, if the person ever wrote.
    pub fn closes(&self) -> Option<Timestamp> {
        self.last_inbound.map(|at| at.plus_ms(WINDOW_MS))
    }

    /// Messages counted since the person last wrote.
    pub fn sent(&self) -> u32 {
        self.sent + self.sent_late
    }

    fn is_open(&self, now: Timestamp) -> bool {
        self.closes().is_some_and(|closes| now < closes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_ms(1_735_689_600_000);
    const LAST: Timestamp = START.plus_ms(WINDOW_MS - 1);
    const CLOSED: Timestamp = START.plus_ms(WINDOW_MS);

    fn opened() -> Window {
        let mut window = Window::default();
        window.person_wrote(START);
        window
    }

    #[test]
    fn business_never_writes_first() {
        for policy in [WindowPolicy::TenPerMessage, WindowPolicy::UnlimitedAfterReply] {
            assert!(!Window::default().admits(policy, START));
        }
    }

    #[test]
    fn a_window_is_open_to_its_last_millisecond() {
        assert!(opened().admits(WindowPolicy::TenPerMessage, LAST));
        assert!(!opened().admits(WindowPolicy::TenPerMessage, CLOSED));
    }

    #[test]
    fn the_eleventh_message_waits_for_the_person() {
        let mut window = opened();
        for _ in 0..BUDGET {
            assert!(window.admits(WindowPolicy::TenPerMessage, START));
            window.business_wrote(START);
        }
        assert!(!window.admits(WindowPolicy::TenPerMessage, START));
        window.person_wrote(START);
        assert!(window.admits(WindowPolicy::TenPerMessage, START));
    }

    #[test]
    fn newer_rule_lifts_budget_after_reply() {
        let policy = WindowPolicy::UnlimitedAfterReply;
        let mut window = opened();
        for _ in 0..BUDGET {
            window.business_wrote(START);
        }
        assert!(!window.admits(policy, START));
        window.person_wrote(START);
        for _ in 0..BUDGET * 2 {
            assert!(window.admits(policy, LAST));
            window.business_wrote(LAST);
        }
        for _ in 0..LATE_BUDGET {
            assert!(window.admits(policy, CLOSED));
            window.business_wrote(CLOSED);
        }
        assert!(!window.admits(policy, CLOSED));
    }
}
