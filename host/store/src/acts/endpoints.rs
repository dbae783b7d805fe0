//! Changes endpoints and tracks whether their deliveries succeed, and appends the events about both.

use weir_domain::event::{EndpointEventData, EventType};
use weir_domain::id::EndpointId;
use weir_domain::limits;
use weir_domain::record::About;
use weir_domain::time::Timestamp;

use crate::acts::events;
use crate::db::{Db, get_time_if, key, ms, params};
use crate::tables::endpoints;
use crate::{Endpoint, EndpointPatch, Result};

pub(crate) fn update(
    db: &Db<'_>,
    workspace: &str,
    id: EndpointId,
    patch: EndpointPatch,
    now: Timestamp,
) -> Result<Option<Endpoint>> {
    let Some(mut endpoint) = endpoints::one(db, workspace, id)? else {
        return Ok(None);
    };
    let was_enabled = endpoint.enabled;
    endpoint.url = patch.url.unwrap_or(endpoint.url);
    endpoint.description = patch.description.unwrap_or(endpoint.description);
    endpoint.filter = patch.filter.unwrap_or(endpoint.filter);
    endpoint.ordered = patch.ordered.unwrap_or(endpoint.ordered);
    endpoint.max_in_flight = patch.max_in_flight.unwrap_or(endpoint.max_in_flight);
    endpoint.max_per_second = patch.max_per_second.unwrap_or(endpoint.max_per_second);
    endpoint.enabled = patch.enabled.unwrap_or(endpoint.enabled);
    if let Some((secrets, old_until)) = patch.secrets {
        endpoint.secrets = secrets;
        endpoint.old_secret_until = old_until;
    }
    if endpoint.enabled && !was_enabled {
        endpoint.disabled_reason = None;
        endpoint.failing_since = None;
    } else {
        endpoint.disabled_reason = patch.disabled_reason.or(endpoint.disabled_reason);
    }
    endpoint.updated_at = now;
    endpoints::put(db, &endpoint)?;
    if was_enabled && !endpoint.enabled && endpoint.disabled_reason.is_some() {
        emit(db, &endpoint, EventType::EndpointDisabled, now)?;
    }
    Ok(Some(endpoint))
}

/// Appends an event about an endpoint, without its secrets; it is not delivered to that endpoint.
pub(crate) fn emit(db: &Db<'_>, endpoint: &Endpoint, kind: EventType, now: Timestamp) -> Result<()> {
    let about = About {
        endpoint: Some(endpoint.id),
        ..About::workspace(&endpoint.workspace_id)
    };
    let data = EndpointEventData {
        id: endpoint.id,
        url: endpoint.url.clone(),
        description: endpoint.description.clone(),
        enabled: endpoint.enabled,
        disabled_reason: endpoint.disabled_reason.clone(),
        failing_since: endpoint.failing_since,
    };
    events::append(db, &about, kind, &data, now)?;
    Ok(())
}

/// Tracks the result of an attempt. Continuous failure is reported after a while, and so is the success that ends it.
pub(crate) fn note(db: &Db<'_>, id: EndpointId, went_through: bool, now: Timestamp) -> Result<()> {
    let known = db.one(
        "SELECT failing_since, failing_told FROM endpoints WHERE id = ?1",
        [key(id)],
        |row| Ok((get_time_if(row, 0)?, row.get::<bool>(1)?)),
    )?;
    let Some((failing_since, is_reported)) = known else {
        return Ok(());
    };
    let (since, change) = match (failing_since, went_through) {
        (None, true) => return Ok(()),
        (None, false) => (Some(now), None),
        (Some(_), true) => (None, is_reported.then_some(EventType::EndpointRecovered)),
        (Some(since), false) => {
            let is_due = !is_reported && now.since(since) >= limits::ENDPOINT_FAILING;
            (Some(since), is_due.then_some(EventType::EndpointFailing))
        }
    };
    db.write(
        "UPDATE endpoints SET failing_since = ?2,
             failing_told = CASE WHEN ?2 IS NULL THEN 0 WHEN ?3 = 1 THEN 1 ELSE failing_told END WHERE id = ?1",
        params![key(id), ms(since), change.is_some()],
    )?;
    if let Some(kind) = change
        && let Some(endpoint) = endpoints::by_id(db, id)?
    {
        emit(db, &endpoint, kind, now)?;
    }
    Ok(())
}

/// Reports the failing endpoints, without waiting for their next attempt, which may be hours away; returns their
/// number.
pub(crate) fn notify_failing(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let failing = endpoints::failing(db, now)?;
    for id in &failing {
        db.write("UPDATE endpoints SET failing_told = 1 WHERE id = ?1", [key(*id)])?;
        if let Some(endpoint) = endpoints::by_id(db, *id)? {
            emit(db, &endpoint, EventType::EndpointFailing, now)?;
        }
    }
    Ok(u32::try_from(failing.len()).unwrap_or(u32::MAX))
}

/// Disables an endpoint because of its failures.
pub(crate) fn disable(db: &Db<'_>, id: EndpointId, reason: &str, now: Timestamp) -> Result<()> {
    let Some(mut endpoint) = endpoints::by_id(db, id)?.filter(|endpoint| endpoint.enabled) else {
        return Ok(());
    };
    endpoint.enabled = false;
    endpoint.disabled_reason = Some(reason.to_owned());
    endpoint.updated_at = now;
    endpoints::put(db, &endpoint)?;
    emit(db, &endpoint, EventType::EndpointDisabled, now)
}
