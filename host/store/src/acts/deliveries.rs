//! Settles deliveries, with the effects on the conversation's next delivery and on the endpoint.

use weir_domain::time::Timestamp;

use crate::acts::endpoints;
use crate::db::{Db, key, params};
use crate::tables::deliveries;
use crate::{DeliveryAttempt, DeliveryLease, DeliveryNext, Result};

pub(crate) fn settle(
    db: &Db<'_>,
    lease: &DeliveryLease,
    attempt: DeliveryAttempt,
    next: &DeliveryNext,
    now: Timestamp,
) -> Result<bool> {
    let (status, due_at) = match next {
        DeliveryNext::Delivered => ("delivered", None),
        DeliveryNext::RetryAt(at) => ("pending", Some(at.as_millis())),
        // It waits until the endpoint is enabled again, and goes first then.
        DeliveryNext::Disable { .. } => ("pending", Some(now.as_millis())),
        DeliveryNext::Failed => ("failed", None),
    };
    let ours = db.run(
        "UPDATE deliveries SET status = ?4, due_at = ?5, attempts = attempts + 1, owner = NULL
         WHERE id = ?1 AND status = 'pending' AND owner = ?2 AND epoch = ?3",
        params![key(lease.delivery), lease.owner, lease.epoch, status, due_at],
    )? == 1;
    if !ours {
        return Ok(false);
    }
    deliveries::keep_attempt(db, lease.delivery, attempt)?;
    let endpoint = lease.endpoint.id;
    let (n, lane) = db
        .one(
            "SELECT n, lane FROM deliveries WHERE id = ?1",
            [key(lease.delivery)],
            |row| Ok((row.get::<i64>(0)?, row.get::<Option<[u8; 16]>>(1)?)),
        )?
        .unwrap_or_default();
    if let Some(lane) = lane {
        // An older one that was recovered while this one was in flight goes first.
        if status == "pending" && deliveries::head(db, endpoint, lane)? != Some(n) {
            db.write("UPDATE deliveries SET due_at = NULL WHERE n = ?1", [n])?;
        }
        deliveries::release(db, endpoint, lane, now)?;
    }
    endpoints::note(db, endpoint, *next == DeliveryNext::Delivered, now)?;
    if let DeliveryNext::Disable { reason } = next {
        endpoints::disable(db, endpoint, reason, now)?;
    }
    Ok(true)
}
