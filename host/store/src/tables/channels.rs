//! Channels, their credentials and their connectors' state.

use std::collections::BTreeSet;

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::Credential;
use weir_domain::delivery::backoff;
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::record::erase::Erasure;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, cursor_id, enum_text, fetch, get_id, get_json, get_time_if, json, key, listed, ms, params};
use crate::tables::{CHANNEL, outbox};
use crate::vault::Place;
use crate::{Listed, Page, Result};

fn read(row: &Row<'_>) -> Result<Channel> {
    get_json(row, 0, "channels.channel")
}

pub(crate) fn one(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<Option<Channel>> {
    db.one(
        "SELECT channel FROM channels WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace],
        read,
    )
}

pub(crate) fn of_any(db: &Db<'_>, id: ChannelId) -> Result<Option<Channel>> {
    db.one("SELECT channel FROM channels WHERE id = ?1", [key(id)], read)
}

pub(crate) fn is_of(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM channels WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace],
    )
}

/// The channel that a row references; if it is missing, the database is damaged.
pub(crate) fn needed(db: &Db<'_>, id: ChannelId) -> Result<Channel> {
    of_any(db, id)?.ok_or_else(|| crate::StoreError::Damaged {
        place: format!("channels, row {id}"),
        reason: "another row references it, and it is missing".to_owned(),
    })
}

pub(crate) fn by_platform_id(db: &Db<'_>, app: &str, platform_id: &str) -> Result<Option<Channel>> {
    db.one(
        "SELECT channel FROM channels WHERE app = ?1 AND platform_id = ?2",
        [app, platform_id],
        read,
    )
}

/// The channels of accounts of apps, by platform id.
pub(crate) fn named<'a>(db: &Db<'_>, names: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<Channel>> {
    db.wanted(
        names
            .into_iter()
            .map(|(app, name)| [app.to_owned().into(), name.to_owned().into()]),
        &[],
        "SELECT channel FROM wanted CROSS JOIN channels ON app = w1 AND platform_id = w2",
        read,
    )
}

pub(crate) fn all(
    db: &Db<'_>,
    workspace: &str,
    these: &BTreeSet<ChannelId>,
    deleted: bool,
    page: &Page,
) -> Result<Listed<Channel>> {
    let cursor = cursor_id::<ChannelId>(page);
    let rows = if these.is_empty() {
        db.all(
            "SELECT channel FROM channels
             WHERE workspace_id = ?1 AND (?2 = 1 OR status <> 'deleted') AND id < ?3
             ORDER BY id DESC LIMIT ?4",
            params![workspace, deleted, cursor, fetch(page)],
            read,
        )?
    } else {
        let mut rows = Vec::new();
        for id in these.iter().rev().filter(|id| key(**id) < cursor) {
            let found = one(db, workspace, *id)?;
            rows.extend(found.filter(|found| deleted || found.status != ChannelStatus::Deleted));
        }
        rows
    };
    Ok(listed(page, rows, |last| last.id.to_string()))
}

/// Writes a channel, and updates whether its queue is held.
pub(crate) fn put(db: &Db<'_>, channel: &Channel) -> Result<()> {
    db.write(
        "INSERT INTO channels (id, workspace_id, app, platform_id, status, channel) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET status = ?5, channel = ?6",
        params![
            key(channel.id),
            channel.workspace_id,
            channel.app,
            channel.platform_id,
            enum_text(channel.status)?,
            json(channel)?,
        ],
    )?;
    let works = matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded);
    outbox::hold_channel(db, channel, channel.paused || !works)
}

/// Whether the channel's set-up at the platform is not complete.
pub(crate) fn waits_for_set_up(db: &Db<'_>, id: ChannelId) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM channels WHERE id = ?1 AND set_up_at IS NOT NULL",
        [key(id)],
    )
}

// ---- credentials ---------------------------------------------------------------------------------------------------

pub(crate) fn place(channel: &str) -> Place<'_> {
    Place {
        table: "credentials",
        column: "sealed",
        row: channel,
    }
}

pub(crate) fn credential(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<Option<Credential>> {
    let sealed: Option<Vec<u8>> = db.one(
        &format!("SELECT sealed FROM credentials WHERE channel_id = {CHANNEL}"),
        params![key(id), workspace],
        |row| row.get(0),
    )?;
    sealed
        .map(|sealed| db.open(&sealed, place(&id.to_string())))
        .transpose()
}

/// A deleted channel accepts none, so that a renewal in progress cannot undo the deletion.
pub(crate) fn put_credential(db: &Db<'_>, id: ChannelId, credential: &Credential) -> Result<()> {
    db.write(
        "INSERT INTO credentials (channel_id, sealed, expires_at)
         SELECT id, ?2, ?3 FROM channels WHERE id = ?1 AND status <> 'deleted'
         ON CONFLICT (channel_id) DO UPDATE SET sealed = ?2, expires_at = ?3, renewing_since = NULL",
        params![
            key(id),
            db.seal(credential, place(&id.to_string()))?,
            ms(credential.expires_at),
        ],
    )?;
    Ok(())
}

pub(crate) fn note_renewal(db: &Db<'_>, workspace: &str, id: ChannelId, started: Option<Timestamp>) -> Result<()> {
    db.write(
        &format!("UPDATE credentials SET renewing_since = ?3 WHERE channel_id = {CHANNEL}"),
        params![key(id), workspace, ms(started)],
    )?;
    Ok(())
}

pub(crate) fn renewal_started(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<Option<Timestamp>> {
    let started = db.one(
        &format!("SELECT renewing_since FROM credentials WHERE channel_id = {CHANNEL}"),
        params![key(id), workspace],
        |row| get_time_if(row, 0),
    )?;
    Ok(started.flatten())
}

pub(crate) fn credentials_due(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<Vec<(String, ChannelId)>> {
    db.all(
        "SELECT c.workspace_id, k.channel_id FROM credentials k JOIN channels c ON c.id = k.channel_id
         WHERE (k.expires_at < ?1 OR k.renewing_since IS NOT NULL) AND c.status <> 'reauthorization_required'
         ORDER BY k.expires_at LIMIT ?2",
        params![before.as_millis(), limit],
        |row| Ok((row.get(0)?, get_id(row, 1)?)),
    )
}

// ---- set-ups -------------------------------------------------------------------------------------------------------

pub(crate) fn set_up_done(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<()> {
    db.write(
        "UPDATE channels SET set_up_at = NULL, set_up_tries = 0
         WHERE id = ?1 AND workspace_id = ?2 AND set_up_at IS NOT NULL",
        params![key(id), workspace],
    )?;
    Ok(())
}

pub(crate) fn set_up_failed(db: &Db<'_>, workspace: &str, id: ChannelId, now: Timestamp) -> Result<()> {
    let tries: Option<u32> = db.one(
        "SELECT set_up_tries FROM channels WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace],
        |row| row.get(0),
    )?;
    let Some(tries) = tries else { return Ok(()) };
    let tries = tries.saturating_add(1);
    let again = now.after(backoff(limits::SET_UP_RETRY, tries, 1.0));
    db.write(
        "UPDATE channels SET set_up_at = ?2, set_up_tries = ?3 WHERE id = ?1",
        params![key(id), again.as_millis(), tries],
    )?;
    Ok(())
}

/// A channel without a good authorization is set up once it has one again.
pub(crate) fn set_ups_due(db: &Db<'_>, now: Timestamp, limit: u32) -> Result<Vec<Channel>> {
    db.all(
        "SELECT channel FROM channels WHERE set_up_at <= ?1 AND status IN ('connected', 'degraded')
         ORDER BY set_up_at LIMIT ?2",
        params![now.as_millis(), limit],
        read,
    )
}

/// The channels whose set-up began and has no reported end.
pub(crate) fn cut_off(db: &Db<'_>) -> Result<Vec<Channel>> {
    db.all(
        "SELECT channel FROM channels WHERE set_up_at IS NOT NULL AND status = 'connected'",
        [],
        read,
    )
}

// ---- polling -------------------------------------------------------------------------------------------------------

pub(crate) fn poll_cursor(db: &Db<'_>, workspace: &str, id: ChannelId) -> Result<Option<String>> {
    let cursor = db.one(
        "SELECT poll_cursor FROM channels WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace],
        |row| row.get::<Option<String>>(0),
    )?;
    Ok(cursor.flatten())
}

/// Deletes the polling cursor if it contains data of an erased person. Only the connector can read a cursor, so no part
/// of it can be removed: the next poll starts from the beginning, and facts that it returns again are recognized by
/// their keys, an erased person's too.
pub(crate) fn forget_cursor(db: &Db<'_>, workspace: &str, id: ChannelId, erasure: &Erasure) -> Result<()> {
    match poll_cursor(db, workspace, id)? {
        Some(cursor) if erasure.takes_cursor(&cursor) => keep_poll_cursor(db, workspace, id, None),
        _ => Ok(()),
    }
}

pub(crate) fn keep_poll_cursor(db: &Db<'_>, workspace: &str, id: ChannelId, cursor: Option<&str>) -> Result<()> {
    db.write(
        "UPDATE channels SET poll_cursor = ?3 WHERE id = ?1 AND workspace_id = ?2",
        params![key(id), workspace, cursor],
    )?;
    Ok(())
}
