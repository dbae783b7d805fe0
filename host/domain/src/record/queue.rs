//! The outbox as a queue for each conversation: which message may be sent, and when; and the turns of channels.
//!
//! At most one message of a conversation is in flight, and only the head, the oldest that waits, has a due time. An
//! uncertain message blocks those behind it until its bound. A message that is requeued keeps its position. Channels
//! take turns: each lease moves the channel to the last turn position.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{ChannelId, ConversationId, MessageId};
use crate::limits;
use crate::record::Tracked;
use crate::time::Timestamp;

/// The state of an unsettled message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueState {
    Queued {
        not_before: Timestamp,
        /// It waits for the channel's authorization, without a bound.
        held: bool,
    },
    Sending {
        owner: String,
        /// When the lease expires.
        until: Timestamp,
    },
    Uncertain {
        /// Until when those behind it wait.
        until: Timestamp,
    },
}

/// An unsettled message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// The order of acceptance. The store assigns it to a new row.
    pub place: i64,
    pub message: MessageId,
    pub channel: ChannelId,
    pub conversation: ConversationId,
    pub state: QueueState,
    /// When it may be sent; `None` while another message blocks it.
    pub due_at: Option<Timestamp>,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// Attempts that count toward the bound.
    pub tries: u32,
    /// The number of the last attempt.
    pub epoch: i64,
    /// When the last attempt began.
    pub dispatched_at: Option<Timestamp>,
}

impl QueuedMessage {
    pub fn is_in_flight(&self) -> bool {
        matches!(self.state, QueueState::Sending { .. })
    }

    /// Whether this lease of it is still valid.
    pub fn is_leased(&self, to: &str, epoch: i64) -> bool {
        matches!(&self.state, QueueState::Sending { owner, .. } if owner == to) && self.epoch == epoch
    }

    /// Requeues it at its old position.
    pub fn requeue(&mut self, not_before: Timestamp, held: bool) {
        self.state = QueueState::Queued { not_before, held };
    }

    pub fn mark_uncertain(&mut self, now: Timestamp) {
        self.state = QueueState::Uncertain {
            until: now.after(limits::UNCERTAIN_WAIT),
        };
    }
}

/// The unsettled messages of a conversation in the order of acceptance: those that are uncertain or in flight, and at
/// least the oldest two that wait, so that the next head is among them whatever happens to the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConversationQueue {
    entries: Vec<Tracked<QueuedMessage>>,
    removed: Vec<i64>,
    /// The head's due time as stored.
    was_due: Option<Timestamp>,
}

/// The changes of a conversation's queue.
#[derive(Debug, PartialEq)]
pub struct QueueChanges {
    /// Positions to delete.
    pub removed: Vec<i64>,
    /// New or changed entries; a new head comes after the old one.
    pub entries: Vec<Tracked<QueuedMessage>>,
    pub due: DueChange,
}

/// The effect of a queue change on the time at which something of its channel is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueChange {
    Nothing,
    /// Then, or earlier.
    By(Timestamp),
    /// The earliest due time was removed or moved later: the minimum must be recomputed.
    Later,
}

impl DueChange {
    /// Combines two changes in the same channel.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Later, _) | (_, Self::Later) => Self::Later,
            (Self::By(one), Self::By(two)) => Self::By(one.min(two)),
            (change, Self::Nothing) | (Self::Nothing, change) => change,
        }
    }
}

impl ConversationQueue {
    /// `entries` are in the order of their positions.
    pub fn loaded(entries: Vec<QueuedMessage>) -> Self {
        Self {
            was_due: entries.iter().find_map(|entry| entry.due_at),
            entries: entries.into_iter().map(Tracked::loaded).collect(),
            removed: Vec::new(),
        }
    }

    /// The position of the head and its due time, if a message may be sent.
    pub fn head(&self) -> Option<(i64, Timestamp)> {
        // A message that was uncertain and is requeued is older than the one that was sent meanwhile.
        if self.entries.iter().any(|entry| entry.is_in_flight()) {
            return None;
        }
        let mut wait = Timestamp::default();
        for entry in &self.entries {
            match entry.state {
                // Those behind it wait, up to its bound.
                QueueState::Uncertain { until } => wait = wait.max(until),
                QueueState::Queued { held: true, .. } | QueueState::Sending { .. } => return None,
                QueueState::Queued { not_before, .. } => return Some((entry.place, not_before.max(wait))),
            }
        }
        None
    }

    pub fn get(&self, message: MessageId) -> Option<&QueuedMessage> {
        self.entries
            .iter()
            .map(|entry| &**entry)
            .find(|entry| entry.message == message)
    }

    /// Those in flight or uncertain.
    pub fn unanswered(&self) -> impl Iterator<Item = &QueuedMessage> {
        let left = |entry: &&QueuedMessage| !matches!(entry.state, QueueState::Queued { .. });
        self.entries.iter().map(|entry| &**entry).filter(left)
    }

    pub fn edit(&mut self, message: MessageId) -> Option<&mut QueuedMessage> {
        self.entries
            .iter_mut()
            .find(|entry| entry.message == message)
            .map(Tracked::edit)
    }

    /// Appends a message.
    pub fn push(&mut self, entry: QueuedMessage) {
        let place = self.entries.last().map_or(0, |last| last.place) + 1;
        self.entries.push(Tracked::new(QueuedMessage { place, ..entry }));
    }

    /// Removes a settled message.
    pub fn remove(&mut self, message: MessageId) {
        if let Some(n) = self.entries.iter().position(|entry| entry.message == message) {
            self.removed.push(self.entries.remove(n).place);
        }
    }

    /// The changes to be stored; only the head has a due time.
    pub fn changes(mut self) -> QueueChanges {
        let head = self.head();
        for entry in &mut self.entries {
            let due_at = head
                .filter(|(place, _)| *place == entry.place)
                .map(|(_, due_at)| due_at);
            if entry.due_at != due_at {
                entry.edit().due_at = due_at;
            }
        }
        let due = match (self.was_due, head) {
            (None, None) => DueChange::Nothing,
            (Some(was), Some((_, due_at))) if was == due_at => DueChange::Nothing,
            (Some(was), Some((_, due_at))) if was < due_at => DueChange::Later,
            (_, Some((_, due_at))) => DueChange::By(due_at),
            (Some(_), None) => DueChange::Later,
        };
        // Stable: those without a due time first.
        self.entries.sort_by_key(|entry| entry.due_at.is_some());
        QueueChanges {
            removed: self.removed,
            entries: self.entries,
            due,
        }
    }
}

// ---- turns ---------------------------------------------------------------------------------------------------------

/// The number of messages that may be leased: an app that is at its rate limit must not use the capacity of all.
#[derive(Clone, Debug)]
pub struct Room {
    /// In total.
    pub all: u32,
    /// Per app; an app that is missing here has no bound of its own.
    pub of: BTreeMap<String, u32>,
}

impl Room {
    /// Capacity for this many, of any app.
    pub fn of_all(all: u32) -> Self {
        Self {
            all,
            of: BTreeMap::new(),
        }
    }

    /// Apps without capacity.
    pub fn full(&self) -> Vec<&str> {
        let full = self.of.iter().filter(|(_, left)| **left == 0);
        full.map(|(app, _)| app.as_str()).collect()
    }

    /// Takes capacity for a message of this app, if any is left.
    fn take(&mut self, app: &str) -> bool {
        let of_app = self.of.get_mut(app);
        if self.all == 0 || of_app.as_ref().is_some_and(|left| **left == 0) {
            return false;
        }
        self.all -= 1;
        if let Some(left) = of_app {
            *left -= 1;
        }
        true
    }
}

/// A channel with due messages.
#[derive(Clone, Debug)]
pub struct QueuedChannel {
    pub channel: ChannelId,
    pub app: String,
    /// The positions of its conversations' heads, the longest due first.
    pub due: VecDeque<i64>,
}

/// The leases of one round.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Positions of messages, in the order of turns.
    pub places: Vec<i64>,
    /// The channels that had a turn, in their new order at the end of the turns.
    pub channels: Vec<ChannelId>,
}

/// Gives each channel its turns until nothing is due or no capacity is left. `row` starts with the channel that waited
/// longest for a turn.
pub fn round_robin(row: Vec<QueuedChannel>, room: &mut Room) -> Round {
    let mut row: VecDeque<QueuedChannel> = row.into();
    let mut round = Round::default();
    let mut last_places = BTreeMap::new();
    while let Some(mut turn) = row.pop_front() {
        // Capacity only shrinks: a channel that finds none now finds none later.
        if turn.due.is_empty() || !room.take(&turn.app) {
            continue;
        }
        round.places.extend(turn.due.pop_front());
        last_places.insert(turn.channel, round.places.len());
        row.push_back(turn);
    }
    round.channels = last_places.keys().copied().collect();
    round.channels.sort_by_key(|channel| last_places[channel]);
    round
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::id::Id;
    use crate::record::change::Write;
    use crate::record::message::tests::at;

    fn id<I: Id>(n: i64) -> I {
        I::from_uuid(uuid::Uuid::from_u128(n.unsigned_abs().into()))
    }

    fn waiting(n: i64, now: i64) -> QueuedMessage {
        QueuedMessage {
            place: n,
            message: id(n),
            channel: id(1),
            conversation: id(1),
            state: QueueState::Queued {
                not_before: at(now),
                held: false,
            },
            due_at: None,
            expires_at: None,
            tries: 0,
            epoch: 0,
            dispatched_at: None,
        }
    }

    /// The outbox of one conversation as a store keeps it: rows by position.
    #[derive(Default)]
    struct Rows {
        rows: BTreeMap<i64, QueuedMessage>,
        accepted: i64,
        channel_due: Option<Timestamp>,
    }

    impl Rows {
        /// No more than a store loads: those in flight or uncertain, and the oldest two that wait.
        fn load(&self) -> ConversationQueue {
            let mut queued = 0;
            let front = self.rows.values().filter(|row| {
                let is_queued = matches!(row.state, QueueState::Queued { .. });
                queued += i32::from(is_queued);
                !is_queued || queued <= 2
            });
            ConversationQueue::loaded(front.cloned().collect())
        }

        fn apply(&mut self, queue: ConversationQueue) {
            let changes = queue.changes();
            for place in changes.removed {
                self.rows.remove(&place);
            }
            for entry in &changes.entries {
                match entry.write() {
                    Write::Insert(row) => {
                        self.accepted += 1;
                        let place = self.accepted;
                        self.rows.insert(place, QueuedMessage { place, ..row.clone() });
                    }
                    Write::Update { after, .. } => drop(self.rows.insert(after.place, after.clone())),
                    Write::Nothing => {}
                }
                // As the database's unique indexes enforce, row by row.
                assert!(self.rows.values().filter(|row| row.due_at.is_some()).count() <= 1);
                assert!(self.rows.values().filter(|row| row.is_in_flight()).count() <= 1);
            }
            let earliest = self.rows.values().filter_map(|row| row.due_at).min();
            match changes.due {
                DueChange::Nothing => {}
                DueChange::By(due_at) => {
                    self.channel_due = Some(self.channel_due.map_or(due_at, |known| known.min(due_at)));
                }
                DueChange::Later => self.channel_due = earliest,
            }
            assert_eq!(self.channel_due, earliest);
        }

        fn pick(&self, n: usize, of: impl Fn(&QueuedMessage) -> bool) -> Option<MessageId> {
            let those: Vec<&QueuedMessage> = self.rows.values().filter(|row| of(row)).collect();
            Some(those.get(n % those.len().max(1))?.message)
        }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Accept,
        Lease,
        Sent,
        Retry(i64),
        Hold,
        Uncertain,
        Found(usize),
        Absent(usize),
        Cancel(usize),
        Release,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => Just(Act::Accept),
            4 => Just(Act::Lease),
            3 => Just(Act::Sent),
            1 => (0..100i64).prop_map(Act::Retry),
            1 => Just(Act::Hold),
            2 => Just(Act::Uncertain),
            1 => (0..5usize).prop_map(Act::Found),
            2 => (0..5usize).prop_map(Act::Absent),
            1 => (0..5usize).prop_map(Act::Cancel),
            1 => Just(Act::Release),
        ]
    }

    /// One act on the queue, as the decisions perform it.
    fn play(rows: &mut Rows, act: Act, now: i64) {
        let in_flight = rows.pick(0, QueuedMessage::is_in_flight);
        let uncertain = |row: &QueuedMessage| matches!(row.state, QueueState::Uncertain { .. });
        let mut queue = rows.load();
        match act {
            Act::Accept => queue.push(waiting(rows.accepted + 1, now)),
            Act::Lease => {
                let head = rows
                    .rows
                    .values_mut()
                    .find(|row| row.due_at.is_some_and(|due| due <= at(now)));
                if let Some(head) = head {
                    assert!(in_flight.is_none());
                    let until = at(now).after(limits::LEASE);
                    head.state = QueueState::Sending {
                        owner: "worker".into(),
                        until,
                    };
                    head.epoch += 1;
                    head.due_at = None;
                    rows.channel_due = None;
                }
                return;
            }
            Act::Sent => queue.remove(in_flight.unwrap_or(id(0))),
            Act::Retry(wait) => {
                if let Some(entry) = in_flight.and_then(|id| queue.edit(id)) {
                    entry.requeue(at(now + wait), false);
                }
            }
            Act::Hold => {
                if let Some(entry) = in_flight.and_then(|id| queue.edit(id)) {
                    entry.requeue(at(now), true);
                }
            }
            Act::Uncertain => {
                if let Some(entry) = in_flight.and_then(|id| queue.edit(id)) {
                    entry.mark_uncertain(at(now));
                }
            }
            Act::Found(n) => queue.remove(rows.pick(n, uncertain).unwrap_or(id(0))),
            Act::Absent(n) => {
                if let Some(entry) = rows.pick(n, uncertain).and_then(|id| queue.edit(id)) {
                    entry.requeue(at(now), false);
                }
            }
            Act::Cancel(n) => {
                // Any waiting message: the store loads it with the front.
                let Some(id) = rows.pick(n, |row| matches!(row.state, QueueState::Queued { .. })) else {
                    return;
                };
                if queue.get(id).is_none() {
                    rows.rows.retain(|_, row| row.message != id);
                }
                queue.remove(id);
            }
            Act::Release => {
                for entry in rows.rows.values_mut() {
                    if let QueueState::Queued { held, .. } = &mut entry.state {
                        *held = false;
                    }
                }
                queue = rows.load();
            }
        }
        rows.apply(queue);
    }

    proptest! {
        #[test]
        fn one_message_is_in_flight_and_the_head_alone_is_due(acts in prop::collection::vec(act(), 1..60)) {
            let mut rows = Rows::default();
            for (now, act) in (0..).step_by(20).zip(acts) {
                let places: Vec<i64> = rows.rows.keys().copied().collect();
                play(&mut rows, act, now);
                // Whatever happens, no message overtakes another.
                prop_assert!(rows.rows.keys().copied().filter(|place| places.contains(place)).is_sorted());
                let in_flight = rows.rows.values().filter(|row| row.is_in_flight()).count();
                let due: Vec<&QueuedMessage> = rows.rows.values().filter(|row| row.due_at.is_some()).collect();
                prop_assert!(in_flight + due.len() <= 1);
                let mut waits = rows.rows.values().filter(|row| matches!(row.state, QueueState::Queued { .. }));
                let head = waits.next();
                match due.first() {
                    Some(due) => {
                        prop_assert_eq!(Some(*due), head);
                        // It waits for each older uncertain message, until that one's bound.
                        for older in rows.rows.values().take_while(|row| row.place < due.place) {
                            if let QueueState::Uncertain { until } = older.state {
                                prop_assert!(due.due_at >= Some(until));
                            }
                        }
                    }
                    // A message blocks the queue, and that ends by a timeout or a person's decision.
                    None => {
                        let is_held = |row: &QueuedMessage| matches!(row.state, QueueState::Queued { held: true, .. });
                        prop_assert!(in_flight == 1 || head.is_none_or(is_held));
                    }
                }
            }
        }

        #[test]
        fn turns_are_fair_and_keep_to_the_room(
            due in prop::collection::vec(0..6i64, 1..6),
            all in 0..12u32,
            of_first in prop::option::of(0..4u32),
        ) {
            let channels: Vec<(i64, i64)> = (0..).zip(due).collect();
            let row: Vec<QueuedChannel> = channels
                .iter()
                .map(|(n, count)| QueuedChannel {
                    channel: id(*n),
                    app: if *n == 0 { "first".into() } else { "other".into() },
                    due: (0..*count).map(|k| n * 10 + k).collect(),
                })
                .collect();
            let mut room = Room { all, of: of_first.map(|left| ("first".to_owned(), left)).into_iter().collect() };
            let round = round_robin(row, &mut room);
            let leased = |n: i64| round.places.iter().copied().filter(|place| place / 10 == n).collect::<Vec<i64>>();
            // What a channel would send with unlimited capacity.
            let wants = |(n, count): &(i64, i64)| match of_first {
                Some(bound) if *n == 0 => usize::try_from(*count).expect("it is small").min(bound as usize),
                _ => usize::try_from(*count).expect("it is small"),
            };
            prop_assert_eq!(round.places.len(), channels.iter().map(wants).sum::<usize>().min(all as usize));
            for channel in &channels {
                prop_assert!(leased(channel.0).is_sorted());
                for other in &channels {
                    // No channel is more than one turn ahead of another that still had something to send.
                    let (has, others) = (leased(channel.0).len(), leased(other.0).len());
                    prop_assert!(others == wants(other) || has <= others + 1);
                }
            }
        }
    }

    #[test]
    fn a_message_waits_for_an_uncertain_one_until_its_bound() {
        let mut first = waiting(1, 0);
        first.mark_uncertain(at(10));
        let queue = ConversationQueue::loaded(vec![first, waiting(2, 11)]);
        assert_eq!(queue.head(), Some((2, at(10).after(limits::UNCERTAIN_WAIT))));
    }

    #[test]
    fn a_retry_keeps_its_place() {
        let mut first = waiting(1, 0);
        first.requeue(at(60), false);
        let changes = ConversationQueue::loaded(vec![first, waiting(2, 11)]).changes();
        assert_eq!(changes.due, DueChange::By(at(60)));
        let due: Vec<i64> = changes
            .entries
            .iter()
            .filter(|entry| entry.due_at.is_some())
            .map(|entry| entry.place)
            .collect();
        assert_eq!(due, [1]);
    }

    #[test]
    fn a_held_head_holds_up_all() {
        let mut first = waiting(1, 0);
        first.requeue(at(5), true);
        assert_eq!(ConversationQueue::loaded(vec![first, waiting(2, 0)]).head(), None);
    }
}
