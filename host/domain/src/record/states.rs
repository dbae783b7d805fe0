//! Whose an account's state is: the version of its connector that writes it, and no other.

use std::collections::BTreeMap;

use crate::channel::ChannelStatus;
use crate::event::EventType;

/// A state, as a connector keeps it.
pub type Entries = BTreeMap<String, Vec<u8>>;

/// Who writes to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Owner,
    /// The state was nobody's; it is the writer's from now on.
    First,
    /// Another version owns it. Nothing is written: the state has another shape.
    Stranger,
}

/// Who a version is that writes to a state of this owner.
pub fn writer(owner: Option<&str>, version: &str) -> Writer {
    match owner {
        Some(owner) if owner == version => Writer::Owner,
        Some(_) => Writer::Stranger,
        None => Writer::First,
    }
}

/// Whether a state may be handed over by `from` as what was made of `before`: nothing was written to it meanwhile, and nobody
/// else took it.
pub fn may_hand_over(owner: Option<&str>, now: &Entries, from: &str, before: &Entries) -> bool {
    now == before && owner.is_none_or(|owner| owner == from)
}

/// What follows for an account when the version that owns its state stops or begins to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Nothing changed; another reason of the same is no news.
    Same,
    /// The channel's status changes, which is told.
    Status(ChannelStatus),
    /// It is told, and the status stays: what it says is more urgent.
    Told(EventType),
}

/// Decides whether an account is held, that was or was not, as long as its version cannot run.
pub fn hold(status: ChannelStatus, was_held: bool, is_held: bool, waits_for_set_up: bool) -> Hold {
    match (is_held, status) {
        _ if was_held == is_held => Hold::Same,
        (_, ChannelStatus::Deleted) => Hold::Same,
        (true, ChannelStatus::Connected) => Hold::Status(ChannelStatus::Degraded),
        // A person is asked for already, or the channel is not set up.
        (true, _) => Hold::Told(EventType::ChannelDegraded),
        (false, ChannelStatus::Degraded) if !waits_for_set_up => Hold::Status(ChannelStatus::Connected),
        (false, _) => Hold::Told(EventType::ChannelRecovered),
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
    fn a_state_that_was_written_to_is_not_handed_over() {
        let before = Entries::from([("cursor".to_owned(), vec![1])]);
        let written = Entries::from([("cursor".to_owned(), vec![2])]);
        assert!(may_hand_over(None, &before, "1.0.0", &before));
        assert!(may_hand_over(Some("1.0.0"), &before, "1.0.0", &before));
        assert!(!may_hand_over(Some("1.1.0"), &before, "1.0.0", &before));
        assert!(!may_hand_over(Some("1.0.0"), &written, "1.0.0", &before));
    }

    #[test]
    fn a_hold_leaves_what_is_more_urgent() {
        use ChannelStatus::{Connected, Degraded, Deleted, ReauthorizationRequired};
        assert_eq!(hold(Connected, false, true, false), Hold::Status(Degraded));
        assert_eq!(hold(Connected, true, true, false), Hold::Same);
        assert_eq!(hold(Deleted, false, true, false), Hold::Same);
        let told = Hold::Told(EventType::ChannelDegraded);
        assert_eq!(hold(ReauthorizationRequired, false, true, false), told);
        assert_eq!(hold(Degraded, true, false, false), Hold::Status(Connected));
        let told = Hold::Told(EventType::ChannelRecovered);
        assert_eq!(hold(Degraded, true, false, true), told);
        assert_eq!(hold(ReauthorizationRequired, true, false, false), told);
    }
}
