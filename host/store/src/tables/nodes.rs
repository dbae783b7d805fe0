//! Nodes and their duties. Rows that a node works on have its id as their owner, and are released when it ends.

use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::db::{Db, get_time, get_time_if, params};
use crate::tables::{claims, clock, deliveries, outbox, work};
use crate::{EndedNodes, Node, Result, StoreError};

/// The name of the last epoch in `meta`, a decimal number.
const EPOCH: &str = "node_epoch";

/// Registers a start of the node `name`, and deletes those that ended long ago.
pub(crate) fn register(db: &Db<'_>, name: &str, version: &str, now: Timestamp) -> Result<Node> {
    db.write(
        "DELETE FROM nodes WHERE ended_at < ?1",
        [now.before(limits::NODE_LISTED).as_millis()],
    )?;
    let epoch = next_epoch(db)?;
    let node = Node {
        id: format!("{name}.{epoch}"),
        name: name.to_owned(),
        epoch,
        version: version.to_owned(),
        started_at: now,
        beat_at: now,
        ended_at: None,
        duties: Vec::new(),
    };
    db.write(
        "INSERT INTO nodes (id, name, epoch, version, started_at, beat_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
        params![node.id, node.name, node.epoch, node.version, now.as_millis()],
    )?;
    Ok(node)
}

/// Not the maximum of the table: a node whose row was deleted may still be running.
fn next_epoch(db: &Db<'_>) -> Result<i64> {
    let last: Option<Vec<u8>> = db.one("SELECT value FROM meta WHERE name = ?1", [EPOCH], |row| row.get(0))?;
    let epoch = match last {
        None => 1,
        Some(last) => {
            let last: Option<i64> = std::str::from_utf8(&last).ok().and_then(|last| last.parse().ok());
            last.ok_or_else(|| StoreError::Damaged {
                place: format!("meta, row {EPOCH}"),
                reason: "it is not a number".to_owned(),
            })? + 1
        }
    };
    db.write(
        "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![EPOCH, epoch.to_string().into_bytes()],
    )?;
    Ok(epoch)
}

/// Whether a node has not been ended.
pub(crate) fn is_alive(db: &Db<'_>, id: &str) -> Result<bool> {
    db.exists("SELECT 1 FROM nodes WHERE id = ?1 AND ended_at IS NULL", [id])
}

/// Stores a heartbeat. Returns false if the node was ended. A heartbeat that was in transit while the clock was set
/// forward does not make the node appear longer silent than it is.
pub(crate) fn beat(db: &Db<'_>, id: &str, now: Timestamp) -> Result<bool> {
    let sql = if clock::was_set_back(db)? {
        "UPDATE nodes SET beat_at = ?2 WHERE id = ?1 AND ended_at IS NULL"
    } else {
        "UPDATE nodes SET beat_at = CASE WHEN beat_at > ?2 THEN beat_at ELSE ?2 END WHERE id = ?1 AND ended_at IS NULL"
    };
    Ok(db.run(sql, params![id, now.as_millis()])? > 0)
}

/// The number of nodes with a heartbeat after `silent_since` that were not ended.
pub(crate) fn count_alive(db: &Db<'_>, silent_since: Timestamp) -> Result<u32> {
    let count: Option<i64> = db.one(
        "SELECT count(*) FROM nodes WHERE ended_at IS NULL AND beat_at > ?1",
        [silent_since.as_millis()],
        |row| row.get(0),
    )?;
    Ok(u32::try_from(count.unwrap_or_default()).unwrap_or(u32::MAX))
}

pub(crate) fn all(db: &Db<'_>) -> Result<Vec<Node>> {
    let mut nodes = db.all(
        "SELECT id, name, epoch, version, started_at, beat_at, ended_at FROM nodes ORDER BY name, epoch",
        [],
        |row| {
            Ok(Node {
                id: row.get(0)?,
                name: row.get(1)?,
                epoch: row.get(2)?,
                version: row.get(3)?,
                started_at: get_time(row, 4)?,
                beat_at: get_time(row, 5)?,
                ended_at: get_time_if(row, 6)?,
                duties: Vec::new(),
            })
        },
    )?;
    let duties: Vec<(String, String)> = db.all("SELECT node, name FROM duties ORDER BY name", [], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    for (node, duty) in duties {
        if let Some(node) = nodes
            .iter_mut()
            .find(|known| known.id == node && known.ended_at.is_none())
        {
            node.duties.push(duty);
        }
    }
    Ok(nodes)
}

/// The nodes except `own` that count as alive and were silent since `silent_since`.
pub(crate) fn silent(db: &Db<'_>, own: &str, silent_since: Timestamp) -> Result<Vec<String>> {
    db.all(
        "SELECT id FROM nodes WHERE ended_at IS NULL AND id <> ?1 AND beat_at <= ?2",
        params![own, silent_since.as_millis()],
        |row| row.get(0),
    )
}

/// All nodes except `own` that count as alive.
pub(crate) fn others(db: &Db<'_>, own: &str) -> Result<Vec<String>> {
    db.all(
        "SELECT id FROM nodes WHERE ended_at IS NULL AND id <> ?1",
        [own],
        |row| row.get(0),
    )
}

/// Whether a node that is not alive owns any work: it was ended between finding and claiming it.
pub(crate) fn has_orphans(db: &Db<'_>, now: Timestamp) -> Result<bool> {
    Ok(outbox::has_leases_of_dead(db, now)?
        || deliveries::has_leases_of_dead(db, now)?
        || claims::has_dead(db)?
        || work::has_dead(db)?)
}

/// Ends these nodes, and releases all work that no living node owns.
pub(crate) fn end(db: &Db<'_>, nodes: Vec<String>, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes> {
    db.write(
        "UPDATE nodes SET ended_at = ?2 WHERE ended_at IS NULL AND id IN (SELECT value FROM json_each(?1))",
        params![nodes, node_time.as_millis()],
    )?;
    db.write(
        "DELETE FROM duties WHERE node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [],
    )?;
    Ok(EndedNodes {
        nodes,
        leases: outbox::end_leases_of_dead(db, now)?
            + deliveries::end_leases_of_dead(db, now)?
            + work::end_of_dead(db, now)?,
        requests: claims::interrupt_dead(db)?,
    })
}

/// A node stops: deletes its row and releases its work.
pub(crate) fn remove(db: &Db<'_>, id: &str, node_time: Timestamp, now: Timestamp) -> Result<EndedNodes> {
    let ended = end(db, vec![id.to_owned()], node_time, now)?;
    db.write("DELETE FROM nodes WHERE id = ?1", [id])?;
    Ok(ended)
}

/// Acquires or renews duties for a node; returns those that it then has. A duty that another node has is left out; all
/// are if the node was ended.
pub(crate) fn hold_duties(
    db: &Db<'_>,
    duties: &[&'static str],
    node: &str,
    now: Timestamp,
) -> Result<Vec<&'static str>> {
    let mut held = Vec::with_capacity(duties.len());
    if !is_alive(db, node)? {
        return Ok(held);
    }
    for duty in duties.iter().copied() {
        let taken = db.run(
            "INSERT INTO duties (name, node, epoch, until) VALUES (?1, ?2, 1, ?3)
             ON CONFLICT (name) DO UPDATE SET node = ?2, until = ?3,
                 epoch = duties.epoch + CASE WHEN duties.node = ?2 THEN 0 ELSE 1 END
             WHERE duties.node = ?2 OR duties.until <= ?4",
            params![duty, node, now.after(limits::DUTY).as_millis(), now.as_millis()],
        )?;
        if taken > 0 {
            held.push(duty);
        }
    }
    Ok(held)
}
