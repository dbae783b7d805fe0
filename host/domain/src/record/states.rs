//! The owner of an account's state: the one version of its connector that may write it.

use std::collections::BTreeMap;

use crate::channel::ChannelStatus;
use crate::event::EventType;

/// A state, as a connector stores it.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// The relation of a version to a state that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Owner,
    /// The state had no owner; the writer owns it from now on.
    First,
    /// Another version owns it. Nothing is written: the state has another format.
    Stranger,
}

/// The relation of a version to a state with this owner.
pub fn writer(owner: Option<&str>, version: &str) -> Writer {
    match owner {
        Some(owner) if owner == version => Writer::Owner,
        Some(_) => Writer::Stranger,
        None => Writer::First,
    }
}

/// Whether `from` may hand a state over that was translated from `before`: it was not written since, and no other
/// version took it.
pub fn may_move(owner: Option<&str>, now: &Entries, from: &str, before: &Entries) -> bool {
    now == before && owner.is_none_or(|owner| owner == from)
}

/// The effect on an account when the version that owns its state stops or starts to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing changed; a new reason alone is not reported.
    Same,
    /// The channel's status changes, with an event.
    Status(ChannelStatus),
    /// An event without a change of status: the present status is more urgent.
    Notify(EventType),
}

/// Decides whether an account is held while its version cannot run, given whether it was.
pub fn hold(status: ChannelStatus, was_held: bool, is_held: bool, waits_for_set_up: bool) -> Hold {
    match (is_held, status) {
        _ if was_held == is_held => Hold::Same,
        (_, ChannelStatus::Deleted) => Hold::Same,
        (true, ChannelStatus::Connected) => Hold::Status(ChannelStatus::Degraded),
        // A person is needed already, or the channel is not set up.
        (true, _) => Hold::Notify(EventType::ChannelDegraded),
        (false, ChannelStatus::Degraded) if !waits_for_set_up => Hold::Status(ChannelStatus::Connected),
        (false, _) => Hold::Notify(EventType::ChannelRecovered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_writes_after_the_first() {
        assert_eq!(writer(None, "1.0.0"), Writer::First);
        assert_eq!(writer(Some("1.0.0"), "1.0.0"), Writer::Owner);
        assert_eq!(writer(Some("1.1.0"), "1.0.0"), Writer::Stranger);
    }

    #[test]
    fn written_state_is_not_moved() {
        let before = Entries::from([("cursor".to_owned(), vec![1])]);
        let written = Entries::from([("cursor".to_owned(), vec![2])]);
        assert!(may_move(None, &before, "1.0.0", &before));
        assert!(may_move(Some("1.0.0"), &before, "1.0.0", &before));
        assert!(!may_move(Some("1.1.0"), &before, "1.0.0", &before));
        assert!(!may_move(Some("1.0.0"), &written, "1.0.0", &before));
    }

    #[test]
    fn a_hold_leaves_what_is_more_urgent() {
        use ChannelStatus::{Connected, Degraded, Deleted, ReauthorizationRequired};
        assert_eq!(hold(Connected, false, true, false), Hold::Status(Degraded));
        assert_eq!(hold(Connected, true, true, false), Hold::Same);
        assert_eq!(hold(Deleted, false, true, false), Hold::Same);
        let expected = Hold::Notify(EventType::ChannelDegraded);
        assert_eq!(hold(ReauthorizationRequired, false, true, false), expected);
        assert_eq!(hold(Degraded, true, false, false), Hold::Status(Connected));
        let expected = Hold::Notify(EventType::ChannelRecovered);
        assert_eq!(hold(Degraded, true, false, true), expected);
        assert_eq!(hold(ReauthorizationRequired, true, false, false), expected);
    }
}
