//! Departures under each rate that several hosts share.

use std::time::Duration;

use weir_domain::limits;
use weir_domain::policy::rate::Departures;

use crate::db::{Db, get_json, json, params};
use crate::{Leave, Result, SharedRate};

/// A rate without departures for this long is deleted: far longer than any rule's span and any pause.
const FORGET_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Unused rates deleted with each new one: more than one, so that they do not accumulate.
const FORGET: u32 = 4;

/// The largest difference between two hosts' clocks: each knows the server's time to less than a second.
const FUTURE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Row {
    is_known: bool,
    departures: Departures,
    held_until: i64,
    left_at: i64,
}

impl Row {
    /// The row as valid at `now`. A departure in the future is from before the server's clock was set back, or from
    /// another server's clock: its real time is unknown.
    fn believed(self, now: Duration) -> Self {
        if self.left_at > micros(now + FUTURE) {
            return Self {
                is_known: self.is_known,
                ..Self::default()
            };
        }
        Self {
            held_until: self.held_until.min(micros(now + limits::PLATFORM_PAUSE)),
            ..self
        }
    }
}

fn load(db: &Db<'_>, bucket: &str) -> Result<Row> {
    let known = db.one(
        "SELECT departures, held_until, left_at FROM rates WHERE bucket = ?1",
        [bucket],
        |row| {
            Ok(Row {
                is_known: true,
                departures: get_json(row, 0, "rates.departures")?,
                held_until: row.get(1)?,
                left_at: row.get(2)?,
            })
        },
    )?;
    Ok(known.unwrap_or_default())
}

/// Admits a request that all these rates count, or returns when to try again.
pub(crate) fn leave(db: &Db<'_>, rates: &[SharedRate], now: Duration) -> Result<Leave> {
    let rows = rates
        .iter()
        .map(|rate| Ok(load(db, &rate.bucket)?.believed(now)))
        .collect::<Result<Vec<_>>>()?;
    let free_at = rates.iter().zip(&rows).map(|(rate, row)| {
        let free_at = row.departures.free_at(rate.permits, rate.per, now);
        free_at.max(Duration::from_micros(u64::try_from(row.held_until).unwrap_or_default()))
    });
    let free_at = free_at.max().unwrap_or(now);
    if free_at > now {
        return Ok(Leave::At(free_at));
    }
    let mut numbers = Vec::with_capacity(rates.len());
    for (rate, mut row) in rates.iter().zip(rows) {
        if !row.is_known {
            forget(db, now)?;
        }
        let number = row.departures.leave(rate.permits, rate.per, now);
        // Counted as departed at once, so that a request of a host that dies is not counted forever.
        row.departures.left(number, now);
        numbers.push(number);
        db.write(
            "INSERT INTO rates (bucket, departures, left_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (bucket) DO UPDATE SET departures = excluded.departures, left_at = excluded.left_at",
            params![rate.bucket, json(&row.departures)?, micros(now)],
        )?;
    }
    Ok(Leave::Now(numbers))
}

/// Requests arrived no later than `by`.
pub(crate) fn arrived(db: &Db<'_>, departures: &[(SharedRate, u64)], by: Duration) -> Result<()> {
    for (rate, number) in departures {
        let mut row = load(db, &rate.bucket)?;
        row.departures.arrived(*number, by);
        db.write(
            "UPDATE rates SET departures = ?2 WHERE bucket = ?1",
            params![rate.bucket, json(&row.departures)?],
        )?;
    }
    Ok(())
}

/// The platform requested a pause until `until`.
pub(crate) fn hold(db: &Db<'_>, rates: &[SharedRate], until: Duration) -> Result<()> {
    for rate in rates {
        db.write(
            "INSERT INTO rates (bucket, departures, held_until) VALUES (?1, ?2, ?3)
             ON CONFLICT (bucket) DO UPDATE SET held_until = excluded.held_until
             WHERE rates.held_until < excluded.held_until",
            params![rate.bucket, json(&Departures::default())?, micros(until)],
        )?;
    }
    Ok(())
}

fn forget(db: &Db<'_>, now: Duration) -> Result<()> {
    db.write(
        "DELETE FROM rates WHERE bucket IN
            (SELECT bucket FROM rates WHERE left_at < ?1 AND held_until < ?1 ORDER BY left_at LIMIT ?2)",
        params![micros(now.saturating_sub(FORGET_AFTER)), FORGET],
    )?;
    Ok(())
}

fn micros(moment: Duration) -> i64 {
    i64::try_from(moment.as_micros()).unwrap_or(i64::MAX)
}
