//! Connect sessions. A session is found by the digest of its OAuth state and stored sealed: a reader of the file cannot
//! complete another person's session.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use weir_domain::credential::{Secret, Tokens};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_domain::time::Timestamp;

use crate::db::{Db, get_id, get_json, json, key, params};
use crate::vault::Place;
use crate::{ConnectEnd, ConnectSession, Result};

/// Long-expired sessions deleted with each new one: more than one, so that they do not accumulate.
const FORGET: i64 = 4;

/// The sealed part of a session.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) workspace_id: String,
    pub(crate) app: String,
    pub(crate) channel_id: Option<ChannelId>,
    pub(crate) name: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) country: Option<String>,
    pub(crate) redirect_url: Option<String>,
    pub(crate) state: Secret,
    pub(crate) browser: Secret,
    pub(crate) verifier: Secret,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

pub(crate) fn place(row: &str) -> Place<'_> {
    Place {
        table: "connect_sessions",
        column: "session",
        row,
    }
}

pub(crate) fn place_of_tokens(row: &str) -> Place<'_> {
    Place {
        table: "connect_sessions",
        column: "tokens",
        row,
    }
}

fn digest(state: &str) -> [u8; 32] {
    Sha256::digest(state.as_bytes()).into()
}

/// The status value that marks sessions that can be claimed, or were claimed and must be completed.
fn status(end: &ConnectEnd) -> &'static str {
    match end {
        ConnectEnd::Pending => "pending",
        ConnectEnd::Taken => "taken",
        _ => "ended",
    }
}

pub(crate) fn insert(db: &Db<'_>, session: ConnectSession) -> Result<()> {
    let a_day_before = session.created_at.before(weir_domain::limits::IDEMPOTENCY);
    db.write(
        "DELETE FROM connect_sessions WHERE id IN
             (SELECT id FROM connect_sessions WHERE expires_at < ?1 AND status <> 'taken' ORDER BY expires_at LIMIT ?2)",
        params![a_day_before.as_millis(), FORGET],
    )?;
    let state_digest = digest(session.state.expose());
    let sealed = Sealed {
        workspace_id: session.workspace_id,
        app: session.app,
        channel_id: session.channel_id,
        name: session.name,
        labels: session.labels,
        country: session.country,
        redirect_url: session.redirect_url,
        state: session.state,
        browser: session.browser,
        verifier: session.verifier,
        created_at: session.created_at,
        expires_at: session.expires_at,
    };
    db.write(
        "INSERT INTO connect_sessions (id, state_digest, status, \"end\", session, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            key(session.id),
            state_digest,
            status(&session.end),
            json(&session.end)?,
            db.seal(&sealed, place(&session.id.to_string()))?,
            sealed.expires_at.as_millis(),
        ],
    )?;
    Ok(())
}

pub(crate) fn one(db: &Db<'_>, id: ConnectSessionId, now: Timestamp) -> Result<Option<ConnectSession>> {
    let found = db.one(
        "SELECT \"end\", session, tokens FROM connect_sessions WHERE id = ?1",
        [key(id)],
        |row| {
            Ok((
                get_json::<ConnectEnd>(row, 0, "connect_sessions.end")?,
                row.get::<Vec<u8>>(1)?,
                row.get::<Option<Vec<u8>>>(2)?,
            ))
        },
    )?;
    let Some((end, sealed, tokens)) = found else {
        return Ok(None);
    };
    let row = id.to_string();
    let sealed: Sealed = db.open(&sealed, place(&row))?;
    let tokens = tokens
        .map(|tokens| db.open(&tokens, place_of_tokens(&row)))
        .transpose()?;
    let over = end == ConnectEnd::Pending && now >= sealed.expires_at;
    Ok(Some(ConnectSession {
        id,
        workspace_id: sealed.workspace_id,
        app: sealed.app,
        channel_id: sealed.channel_id,
        name: sealed.name,
        labels: sealed.labels,
        country: sealed.country,
        redirect_url: sealed.redirect_url,
        state: sealed.state,
        browser: sealed.browser,
        verifier: sealed.verifier,
        created_at: sealed.created_at,
        expires_at: sealed.expires_at,
        end: if over { ConnectEnd::Expired } else { end },
        tokens,
    }))
}

pub(crate) fn take(db: &Db<'_>, state: &str, node: &str, now: Timestamp) -> Result<Option<ConnectSession>> {
    let id: Option<ConnectSessionId> = db.one(
        "SELECT id FROM connect_sessions WHERE state_digest = ?1 AND status = 'pending' AND expires_at > ?2",
        params![digest(state), now.as_millis()],
        |row| get_id(row, 0),
    )?;
    let Some(id) = id else { return Ok(None) };
    finish(db, id, &ConnectEnd::Taken)?;
    db.write(
        "UPDATE connect_sessions SET node = ?2 WHERE id = ?1",
        params![key(id), node],
    )?;
    one(db, id, now)
}

pub(crate) fn of_state(db: &Db<'_>, state: &str, now: Timestamp) -> Result<Option<ConnectSession>> {
    let id: Option<ConnectSessionId> = db.one(
        "SELECT id FROM connect_sessions WHERE state_digest = ?1",
        [digest(state)],
        |row| get_id(row, 0),
    )?;
    id.map_or(Ok(None), |id| one(db, id, now))
}

pub(crate) fn keep_tokens(db: &Db<'_>, id: ConnectSessionId, tokens: &Tokens) -> Result<()> {
    db.write(
        "UPDATE connect_sessions SET tokens = ?2 WHERE id = ?1 AND status = 'taken'",
        params![key(id), db.seal(tokens, place_of_tokens(&id.to_string()))?],
    )?;
    Ok(())
}

/// Whether claimed sessions exist that no living node completes.
pub(crate) fn has_orphans(db: &Db<'_>) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM connect_sessions WHERE status = 'taken'
           AND (node IS NULL OR node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL)) LIMIT 1",
        [],
    )
}

/// Assigns those sessions to `node`.
pub(crate) fn adopt(db: &Db<'_>, node: &str) -> Result<()> {
    db.write(
        "UPDATE connect_sessions SET node = ?1 WHERE status = 'taken'
           AND (node IS NULL OR node NOT IN (SELECT id FROM nodes WHERE ended_at IS NULL))",
        [node],
    )?;
    Ok(())
}

pub(crate) fn taken(db: &Db<'_>, node: &str, now: Timestamp) -> Result<Vec<ConnectSession>> {
    let ids: Vec<ConnectSessionId> = db.all(
        "SELECT id FROM connect_sessions WHERE status = 'taken' AND node = ?1",
        [node],
        |row| get_id(row, 0),
    )?;
    let sessions = ids.into_iter().filter_map(|id| one(db, id, now).transpose());
    sessions.collect()
}

pub(crate) fn finish(db: &Db<'_>, id: ConnectSessionId, end: &ConnectEnd) -> Result<()> {
    db.write(
        "UPDATE connect_sessions SET status = ?2, \"end\" = ?3, tokens = NULL WHERE id = ?1",
        params![key(id), status(end), json(end)?],
    )?;
    Ok(())
}

/// When the first session that was never opened expires.
pub(crate) fn next_over(db: &Db<'_>) -> Result<Option<Timestamp>> {
    db.moment("SELECT min(expires_at) FROM connect_sessions WHERE status = 'pending'")
}

/// Ends the sessions that nobody opened and that expired by `now`; returns their number.
pub(crate) fn end_over(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let expired = db.run(
        "UPDATE connect_sessions SET status = 'ended', \"end\" = ?2 WHERE status = 'pending' AND expires_at <= ?1",
        params![now.as_millis(), json(&ConnectEnd::Expired)?],
    )?;
    Ok(u32::try_from(expired).unwrap_or(u32::MAX))
}
