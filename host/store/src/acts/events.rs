//! Appends events: an event and its deliveries are written together.

use std::collections::{BTreeMap, BTreeSet};

use weir_domain::channel::Channel;
use weir_domain::event::{self, EventData, EventType};
use weir_domain::id::EventId;
use weir_domain::record::fan_out::{self, AppendedEvent, Lane, OwedDelivery};
use weir_domain::record::{About, NewEvent};
use weir_domain::time::Timestamp;

use crate::db::Db;
use crate::tables::{deliveries, endpoints, events};
use crate::{Result, StoreError};

/// Appends an event with a delivery to each endpoint that subscribed to it. Returns its id and its position in the log.
pub(crate) fn append(
    db: &Db<'_>,
    about: &About,
    kind: EventType,
    data: &impl EventData,
    now: Timestamp,
) -> Result<(EventId, i64)> {
    append_one(db, NewEvent::of(about.clone(), kind, data), now)
}

pub(crate) fn append_one(db: &Db<'_>, event: NewEvent, now: Timestamp) -> Result<(EventId, i64)> {
    let appended = append_all(db, vec![event], now)?;
    appended
        .first()
        .copied()
        .ok_or_else(|| StoreError::Database("an event was not appended".to_owned()))
}

/// Appends events in order, each with deliveries to the endpoints that subscribed to it. Returns their ids and
/// positions.
pub(crate) fn append_all(db: &Db<'_>, events: Vec<NewEvent>, now: Timestamp) -> Result<Vec<(EventId, i64)>> {
    let kinds: Vec<(About, EventType)> = events.iter().map(|event| (event.about.clone(), event.kind)).collect();
    let ids: Vec<EventId> = events.iter().map(|_| db.mint(now)).collect();
    let places = events::insert_all(db, ids.iter().copied().zip(events).collect(), now)?;
    let appended: Vec<AppendedEvent> = kinds
        .into_iter()
        .zip(&places)
        .map(|((about, kind), place)| AppendedEvent {
            about,
            kind,
            place: *place,
        })
        .collect();
    let mut subscribers = BTreeMap::new();
    for AppendedEvent { about, .. } in &appended {
        if !subscribers.contains_key(&about.workspace) {
            subscribers.insert(about.workspace.clone(), endpoints::subscribers(db, &about.workspace)?);
        }
    }
    let mut owed = fan_out::fan_out(&appended, &subscribers);
    let lanes: BTreeSet<Lane> = owed.iter().filter_map(OwedDelivery::lane).collect();
    fan_out::hold_back(&mut owed, deliveries::busy(db, lanes)?);
    deliveries::insert_all(db, &owed, now)?;
    Ok(ids.into_iter().zip(places).collect())
}

/// Appends an event with a channel's data.
pub(crate) fn append_channel(db: &Db<'_>, channel: &Channel, kind: EventType, now: Timestamp) -> Result<()> {
    append(
        db,
        &About::channel(channel),
        kind,
        &event::Channel::from(channel.clone()),
        now,
    )?;
    Ok(())
}
