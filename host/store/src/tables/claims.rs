//! Claims of idempotency keys, and the responses stored under them. Old claims are deleted as new ones arrive.

use weir_domain::claim::{Claim, Claimed, Progress};
use weir_domain::id::ContactId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::db::{Db, key, key_if, params};
use crate::{HeldClaim, Result, StoreError, StoredResponse};

/// Old claims deleted with each new one: more than one, so that they do not accumulate.
const FORGET: u32 = 4;

/// Claims a key for a request that `owner` processes; changes nothing if the key is claimed already.
pub(crate) fn claim(db: &Db<'_>, claim: &Claim, owner: &str, now: Timestamp) -> Result<Claimed<StoredResponse>> {
    let claimed = judge(db, claim, now)?;
    if claimed == Claimed::New {
        insert(db, claim, now)?;
        db.write(
            "UPDATE claims SET owner = ?4 WHERE workspace_id = ?1 AND api_key = ?2 AND key = ?3",
            params![claim.workspace_id, key(claim.api_key), claim.key, owner],
        )?;
    }
    Ok(claimed)
}

/// The outcome that a claim would have, without claiming anything.
pub(crate) fn judge(db: &Db<'_>, claim: &Claim, now: Timestamp) -> Result<Claimed<StoredResponse>> {
    // Sends from the first schema have no API key, so no key can match them.
    let known = db.one(
        "SELECT fingerprint, owner IS NOT NULL, status, body FROM claims
         WHERE workspace_id = ?1 AND key = ?3 AND (api_key = ?2 OR length(api_key) = 0 AND fingerprint = ?5) AND claimed_at > ?4
         ORDER BY api_key DESC",
        params![
            claim.workspace_id,
            key(claim.api_key),
            claim.key,
            now.before(limits::IDEMPOTENCY).as_millis(),
            claim.fingerprint,
        ],
        |row| {
            let progress = match row.get(2)? {
                Some(status) => Progress::Answered(StoredResponse {
                    status,
                    body: row.get(3)?,
                }),
                None if row.get(1)? => Progress::AtWork,
                None => Progress::Interrupted,
            };
            Ok((row.get(0)?, progress))
        },
    )?;
    Ok(claim.judge(known))
}

fn insert(db: &Db<'_>, claim: &Claim, now: Timestamp) -> Result<()> {
    forget_old(db, 1, now)?;
    // A row that exists here is too old to count.
    db.write(
        "INSERT INTO claims (workspace_id, api_key, key, fingerprint, claimed_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (workspace_id, api_key, key) DO UPDATE SET fingerprint = ?4, claimed_at = ?5, owner = NULL, acted = 0,
             status = NULL, body = NULL, contact_id = NULL",
        params![
            claim.workspace_id,
            key(claim.api_key),
            claim.key,
            claim.fingerprint,
            now.as_millis(),
        ],
    )?;
    Ok(())
}

/// Deletes more old claims than the given number of new ones.
pub(crate) fn forget_old(db: &Db<'_>, new: u32, now: Timestamp) -> Result<()> {
    db.write(
        "DELETE FROM claims WHERE rowid IN
             (SELECT rowid FROM claims WHERE claimed_at <= ?1 ORDER BY claimed_at LIMIT ?2)",
        params![now.before(limits::IDEMPOTENCY).as_millis(), new.saturating_mul(FORGET)],
    )?;
    Ok(())
}

/// Claims a key and stores the response, within the act's transaction. The caller deletes old claims.
pub(crate) fn insert_with_response(
    db: &Db<'_>,
    claim: &Claim,
    answer: &StoredResponse,
    about: Option<ContactId>,
    now: Timestamp,
) -> Result<()> {
    db.write(
        "INSERT INTO claims (workspace_id, api_key, key, fingerprint, claimed_at, acted, status, body, contact_id)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8)
         ON CONFLICT (workspace_id, api_key, key) DO UPDATE SET fingerprint = ?4, claimed_at = ?5, owner = NULL, acted = 1,
             status = ?6, body = ?7, contact_id = ?8",
        params![
            claim.workspace_id,
            key(claim.api_key),
            claim.key,
            claim.fingerprint,
            now.as_millis(),
            answer.status,
            answer.body,
            key_if(about),
        ],
    )?;
    Ok(())
}

/// Stores the response of a request that succeeded, and the person whom it concerns.
pub(crate) fn answer(
    db: &Db<'_>,
    HeldClaim { claim, node }: &HeldClaim,
    answer: &StoredResponse,
    about: Option<ContactId>,
) -> Result<()> {
    db.write(
        "UPDATE claims SET owner = NULL, acted = 1, status = ?5, body = ?6, contact_id = ?7
         WHERE workspace_id = ?1 AND api_key = ?2 AND key = ?3 AND owner = ?4",
        params![
            claim.workspace_id,
            key(claim.api_key),
            claim.key,
            node,
            answer.status,
            answer.body,
            key_if(about),
        ],
    )?;
    Ok(())
}

/// Releases the key of a request that was refused.
pub(crate) fn release(db: &Db<'_>, HeldClaim { claim, node }: &HeldClaim) -> Result<()> {
    db.write(
        "DELETE FROM claims WHERE workspace_id = ?1 AND api_key = ?2 AND key = ?3 AND owner = ?4 AND status IS NULL",
        params![claim.workspace_id, key(claim.api_key), claim.key, node],
    )?;
    Ok(())
}

/// Marks that something was written for this claim.
///
/// # Errors
/// [`StoreError::Unavailable`] if the claim no longer belongs to its node: another node may process the request.
pub(crate) fn mark(db: &Db<'_>, HeldClaim { claim, node }: &HeldClaim) -> Result<()> {
    let marked = db.run(
        "UPDATE claims SET acted = 1 WHERE workspace_id = ?1 AND api_key = ?2 AND key = ?3 AND owner = ?4 AND acted = 0",
        params![claim.workspace_id, key(claim.api_key), claim.key, node],
    )?;
    if marked > 0 {
        return Ok(());
    }
    let is_held = db.exists(
        "SELECT 1 FROM claims WHERE workspace_id = ?1 AND api_key = ?2 AND key = ?3 AND owner = ?4",
        params![claim.workspace_id, key(claim.api_key), claim.key, node],
    )?;
    if is_held {
        return Ok(());
    }
    Err(StoreError::Unavailable {
        reason: "this node was declared dead while it processed the request".to_owned(),
    })
}

/// Ends a claim that no request processes any more: released if nothing was written for it.
pub(crate) fn interrupt(db: &Db<'_>, HeldClaim { claim, node }: &HeldClaim) -> Result<()> {
    for sql in [
        "DELETE FROM claims WHERE workspace_id = ?1 AND api_key = ?2 AND key = ?3 AND owner = ?4 AND acted = 0",
        "UPDATE claims SET owner = NULL WHERE workspace_id = ?1 AND api_key = ?2 AND key = ?3 AND owner = ?4",
    ] {
        db.write(sql, params![claim.workspace_id, key(claim.api_key), claim.key, node])?;
    }
    Ok(())
}

/// Does the same for all claims of dead nodes; returns their number.
pub(crate) fn interrupt_dead(db: &Db<'_>) -> Result<u32> {
    let released = db.run(
        "DELETE FROM claims WHERE acted = 0 AND owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [],
    )?;
    let left = db.run(
        "UPDATE claims SET owner = NULL WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)",
        [],
    )?;
    Ok(u32::try_from(released + left).unwrap_or(u32::MAX))
}

pub(crate) fn has_dead(db: &Db<'_>) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM claims WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL) LIMIT 1",
        [],
    )
}
