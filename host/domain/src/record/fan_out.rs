//! Which endpoints receive an event, and which of the deliveries is due. For an endpoint that keeps order, only the
//! oldest unsettled event of a conversation is.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{EventFilter, EventType};
use crate::id::{ConversationId, EndpointId};
use crate::record::About;

/// An endpoint that receives events.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub endpoint: EndpointId,
    pub filter: EventFilter,
    /// Whether events of one conversation keep their order.
    pub ordered: bool,
}

/// An event that was appended.
#[derive(Clone, Debug)]
pub struct AppendedEvent {
    pub about: About,
    pub kind: EventType,
    /// Its position in the log.
    pub place: i64,
}

/// A conversation whose order an endpoint keeps.
pub type Lane = (EndpointId, ConversationId);

/// A delivery to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedDelivery {
    pub workspace: String,
    pub endpoint: EndpointId,
    /// The event's position in the log.
    pub place: i64,
    /// The conversation whose order it keeps.
    pub lane: Option<ConversationId>,
    /// Whether no older delivery blocks it.
    pub is_due: bool,
}

impl OwedDelivery {
    /// The endpoint and conversation whose order it keeps.
    pub fn lane(&self) -> Option<Lane> {
        Some((self.endpoint, self.lane?))
    }
}

/// The deliveries of events to the endpoints of their workspace that subscribed to them, except to an endpoint that the
/// event concerns. All are due; [`hold_back`] decides which are not.
pub fn fan_out(events: &[AppendedEvent], subscribers: &BTreeMap<String, Vec<Subscriber>>) -> Vec<OwedDelivery> {
    let mut owed = Vec::new();
    for AppendedEvent { about, kind, place } in events {
        let of_workspace = subscribers.get(&about.workspace).into_iter().flatten();
        for subscriber in of_workspace {
            if Some(subscriber.endpoint) != about.endpoint && subscriber.filter.wants(*kind, about.channel) {
                owed.push(OwedDelivery {
                    workspace: about.workspace.clone(),
                    endpoint: subscriber.endpoint,
                    place: *place,
                    lane: about.conversation.filter(|_| subscriber.ordered),
                    is_due: true,
                });
            }
        }
    }
    owed
}

/// Holds deliveries behind an older unsettled event of their conversation: one in `busy`, or an earlier one here.
pub fn hold_back(owed: &mut [OwedDelivery], mut busy: BTreeSet<Lane>) {
    for delivery in owed {
        if let Some(lane) = delivery.lane() {
            delivery.is_due = busy.insert(lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{ChannelId, Id};

    fn id<I: Id>(n: u128) -> I {
        I::from_uuid(uuid::Uuid::from_u128(n))
    }

    fn subscriber(n: u128, ordered: bool) -> Subscriber {
        Subscriber {
            endpoint: id(n),
            filter: EventFilter::default(),
            ordered,
        }
    }

    fn event(place: i64, conversation: u128) -> AppendedEvent {
        AppendedEvent {
            about: About {
                channel: Some(id::<ChannelId>(1)),
                conversation: Some(id(conversation)),
                ..About::workspace("default")
            },
            kind: EventType::MessageReceived,
            place,
        }
    }

    fn due(owed: &[OwedDelivery]) -> Vec<(i64, bool)> {
        owed.iter().map(|one| (one.place, one.is_due)).collect()
    }

    #[test]
    fn event_skips_the_endpoint_it_concerns() {
        let mut uninterested = subscriber(3, true);
        uninterested.filter.types.insert("channel.connected".to_owned());
        let subscribers = [subscriber(1, true), subscriber(2, false), uninterested];
        let subscribers = BTreeMap::from([("default".to_owned(), subscribers.to_vec())]);
        let mut elsewhere = event(2, 9);
        elsewhere.about.workspace = "another".to_owned();
        let mut itself = event(3, 9);
        itself.about.endpoint = Some(id(1));
        let owed = fan_out(&[event(1, 9), elsewhere, itself], &subscribers);
        let owed: Vec<_> = owed.iter().map(|one| (one.place, one.endpoint, one.lane)).collect();
        assert_eq!(owed, [(1, id(1), Some(id(9))), (1, id(2), None), (3, id(2), None)]);
    }

    #[test]
    fn ordered_conversation_has_one_due_event() {
        let ordered = BTreeMap::from([("default".to_owned(), vec![subscriber(1, true)])]);
        let events = [event(1, 8), event(2, 9), event(3, 8), event(4, 9)];
        let mut owed = fan_out(&events, &ordered);
        hold_back(&mut owed, BTreeSet::from([(id(1), id(9))]));
        assert_eq!(due(&owed), [(1, true), (2, false), (3, false), (4, false)]);
        let free = BTreeMap::from([("default".to_owned(), vec![subscriber(1, false)])]);
        let mut owed = fan_out(&events, &free);
        hold_back(&mut owed, BTreeSet::new());
        assert!(owed.iter().all(|one| one.is_due));
    }
}
