//! Endpoints: the operator's URLs that receive events.

use weir_domain::id::EndpointId;
use weir_domain::limits;
use weir_domain::record::fan_out::Subscriber;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, cursor_id, fetch, get_id, get_json, get_time, get_time_if, json, key, listed, ms, params};
use crate::vault::Place;
use crate::{Endpoint, Listed, Page, Result};

const ENDPOINT: &str = "id, workspace_id, url, description, filter, ordered, enabled, disabled_reason, secrets,
    old_secret_until, failing_since, created_at, updated_at, max_in_flight, max_per_second, missed";

pub(crate) fn place(row: &str) -> Place<'_> {
    Place {
        table: "endpoints",
        column: "secrets",
        row,
    }
}

/// The endpoint without its secrets, and the secrets as stored.
fn read(row: &Row<'_>) -> Result<(Endpoint, Vec<u8>)> {
    let endpoint = Endpoint {
        id: get_id(row, 0)?,
        workspace_id: row.get(1)?,
        url: row.get(2)?,
        description: row.get(3)?,
        filter: get_json(row, 4, "endpoints.filter")?,
        ordered: row.get(5)?,
        enabled: row.get(6)?,
        disabled_reason: row.get(7)?,
        secrets: Vec::new(),
        old_secret_until: get_time_if(row, 9)?,
        failing_since: get_time_if(row, 10)?,
        created_at: get_time(row, 11)?,
        updated_at: get_time(row, 12)?,
        max_in_flight: row.get(13)?,
        max_per_second: row.get(14)?,
        missed: row.get::<i64>(15)?.unsigned_abs(),
    };
    Ok((endpoint, row.get(8)?))
}

fn opened(db: &Db<'_>, (mut endpoint, sealed): (Endpoint, Vec<u8>)) -> Result<Endpoint> {
    endpoint.secrets = db.open(&sealed, place(&endpoint.id.to_string()))?;
    Ok(endpoint)
}

/// Writes an endpoint; a new one receives the events from now on.
pub(crate) fn put(db: &Db<'_>, endpoint: &Endpoint) -> Result<()> {
    db.write(
        &format!(
            "INSERT INTO endpoints ({ENDPOINT}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
             ON CONFLICT (id) DO UPDATE SET url = ?3, description = ?4, filter = ?5, ordered = ?6, enabled = ?7,
                 disabled_reason = ?8, secrets = ?9, old_secret_until = ?10, failing_since = ?11, updated_at = ?13,
                 max_in_flight = ?14, max_per_second = ?15, 
                 failing_told = CASE WHEN ?11 IS NULL THEN 0 ELSE endpoints.failing_told END"
        ),
        params![
            key(endpoint.id),
            endpoint.workspace_id,
            endpoint.url,
            endpoint.description,
            json(&endpoint.filter)?,
            endpoint.ordered,
            endpoint.enabled,
            endpoint.disabled_reason,
            db.seal(&endpoint.secrets, place(&endpoint.id.to_string()))?,
            ms(endpoint.old_secret_until),
            ms(endpoint.failing_since),
            endpoint.created_at.as_millis(),
            endpoint.updated_at.as_millis(),
            endpoint.max_in_flight,
            endpoint.max_per_second,
            endpoint.missed.cast_signed(),
        ],
    )?;
    Ok(())
}

pub(crate) fn by_id(db: &Db<'_>, id: EndpointId) -> Result<Option<Endpoint>> {
    db.one(
        &format!("SELECT {ENDPOINT} FROM endpoints WHERE id = ?1"),
        [key(id)],
        read,
    )?
    .map(|found| opened(db, found))
    .transpose()
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: EndpointId) -> Result<Option<Endpoint>> {
    Ok(by_id(db, id)?.filter(|endpoint| endpoint.workspace_id == workspace))
}

pub(crate) fn all(db: &Db<'_>, workspace: &str, page: &Page) -> Result<Listed<Endpoint>> {
    let rows = db.all(
        &format!("SELECT {ENDPOINT} FROM endpoints WHERE workspace_id = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3"),
        params![workspace, cursor_id::<EndpointId>(page), fetch(page)],
        read,
    )?;
    let rows = rows.into_iter().map(|found| opened(db, found)).collect::<Result<_>>()?;
    Ok(listed(page, rows, |last: &Endpoint| last.id.to_string()))
}

/// The endpoints that receive events of a workspace.
pub(crate) fn subscribers(db: &Db<'_>, workspace: &str) -> Result<Vec<Subscriber>> {
    db.all(
        "SELECT id, filter, ordered FROM endpoints WHERE workspace_id = ?1 AND enabled = 1",
        [workspace],
        |row| {
            Ok(Subscriber {
                endpoint: get_id(row, 0)?,
                filter: get_json(row, 1, "endpoints.filter")?,
                ordered: row.get(2)?,
            })
        },
    )
}

/// Enabled endpoints whose deliveries have failed for long enough to be reported, and were not reported yet.
const FAILING: &str = "FROM endpoints INDEXED BY endpoints_failing
    WHERE failing_since IS NOT NULL AND failing_told = 0 AND enabled = 1 AND failing_since <= ?1";

pub(crate) fn any_failing(db: &Db<'_>, now: Timestamp) -> Result<bool> {
    let since = now.before(limits::ENDPOINT_FAILING).as_millis();
    db.exists(&format!("SELECT 1 {FAILING} LIMIT 1"), [since])
}

/// The failing endpoints that were not reported yet.
pub(crate) fn failing(db: &Db<'_>, now: Timestamp) -> Result<Vec<EndpointId>> {
    let since = now.before(limits::ENDPOINT_FAILING).as_millis();
    db.all(&format!("SELECT id {FAILING}"), [since], |row| get_id(row, 0))
}

/// Counts deliveries that a disabled endpoint never received and that are past their retention.
pub(crate) fn missed(db: &Db<'_>, id: EndpointId, count: u32) -> Result<()> {
    db.write(
        "UPDATE endpoints SET missed = missed + ?2 WHERE id = ?1",
        params![key(id), count],
    )?;
    Ok(())
}

pub(crate) fn delete(db: &Db<'_>, workspace: &str, id: EndpointId) -> Result<bool> {
    let gone = db.run(
        "DELETE FROM endpoints WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace],
    )? > 0;
    if gone {
        db.write(
            "DELETE FROM deliveries WHERE endpoint_id = ?1 AND status = 'pending'",
            [key(id)],
        )?;
        db.write("DELETE FROM endpoint_recoveries WHERE endpoint_id = ?1", [key(id)])?;
    }
    Ok(gone)
}
