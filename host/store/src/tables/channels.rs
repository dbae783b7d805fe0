//! Channels, their credentials and their connectors' state.

use std::collections::BTreeSet;

use weir_domain::channel::{Channel, ChannelStatus, PolicyOverride};
use weir_domain::credential::Credential;
use weir_domain::delivery::backoff;
use weir_domain::event::{ChannelTold, EventType};
use weir_domain::id::ChannelId;
use weir_domain::limits;
use weir_domain::record::About;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, cursor_id, fetch, get_id, get_json, get_time_if, json, key, listed, ms, params, word};
use crate::tables::events;
use crate::tables::{connect, conversations, outbox, state, workspaces};
use crate::vault::Place;
use crate::{ChannelPatch, ConnectEnd, Listed, NewChannel, Page, Result, acts};

fn read(row: &Row<'_>) -> Result<Channel> {
    get_json(row, 0, "channels.channel")
}

pub(crate) fn one(db: &Db<'_>, id: ChannelId) -> Result<Option<Channel>> {
    db.one("SELECT channel FROM channels WHERE id = ?1", [key(id)], read)
}

/// The channel that a row points to; that it is gone means that the record is damaged.
pub(crate) fn needed(db: &Db<'_>, id: ChannelId) -> Result<Channel> {
    one(db, id)?.ok_or_else(|| crate::StoreError::Damaged {
        place: format!("channels, row {id}"),
        reason: "another row points to it, and it is not there".to_owned(),
    })
}

pub(crate) fn by_platform_id(db: &Db<'_>, app: &str, platform_id: &str) -> Result<Option<Channel>> {
    db.one(
        "SELECT channel FROM channels WHERE app = ?1 AND platform_id = ?2",
        [app, platform_id],
        read,
    )
}

/// The channels of accounts of apps, by the platform's ids.
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
             WHERE workspace_id = ?1 AND (?2 OR status <> 'deleted') AND id < ?3
             ORDER BY id DESC LIMIT ?4",
            params![workspace, deleted, cursor, fetch(page)],
            read,
        )?
    } else {
        let mut rows = Vec::new();
        for id in these.iter().rev().filter(|id| key(**id) < cursor) {
            let found = one(db, *id)?.filter(|found| found.workspace_id == workspace);
            rows.extend(found.filter(|found| deleted || found.status != ChannelStatus::Deleted));
        }
        rows
    };
    Ok(listed(page, rows, |last| last.id.to_string()))
}

/// Writes a channel, and lets its queue know whether anything may leave.
pub(crate) fn put(db: &Db<'_>, channel: &Channel) -> Result<()> {
    db.run(
        "INSERT INTO channels (id, workspace_id, app, platform_id, status, channel) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET status = ?5, channel = ?6",
        params![
            key(channel.id),
            channel.workspace_id,
            channel.app,
            channel.platform_id,
            word(channel.status)?,
            json(channel)?,
        ],
    )?;
    let works = matches!(channel.status, ChannelStatus::Connected | ChannelStatus::Degraded);
    outbox::hold_channel(db, channel, channel.paused || !works)
}

pub(crate) fn connect(
    db: &Db<'_>,
    new: NewChannel,
    credential: &Credential,
    now: Timestamp,
) -> Result<(Channel, bool)> {
    let known = by_platform_id(db, &new.app, &new.platform_id)?;
    let owner = known.as_ref().map_or(&new.workspace_id, |known| &known.workspace_id);
    workspaces::needs_open(db, owner)?;
    let is_new = known.is_none();
    let (session, writes, set_up_at) = (new.session, new.state.clone(), new.set_up_at);
    let (channel, kind) = match known {
        None => (begun(db, new, now), EventType::ChannelConnected),
        Some(known) => {
            let kind = match known.status {
                ChannelStatus::Deleted => EventType::ChannelConnected,
                ChannelStatus::Connected => EventType::ChannelUpdated,
                ChannelStatus::Degraded | ChannelStatus::ReauthorizationRequired => EventType::ChannelRecovered,
            };
            (renewed(known, new, now), kind)
        }
    };
    put(db, &channel)?;
    put_credential(db, channel.id, credential, now)?;
    if !state::commit(db, channel.id, &writes)? {
        state::tell_unwritten(db, channel.id, &writes, now)?;
    }
    db.run(
        "UPDATE channels SET set_up_at = ?2, set_up_tries = 0 WHERE id = ?1",
        params![key(channel.id), ms(set_up_at)],
    )?;
    if let Some(session) = session {
        connect::finish(db, session, &ConnectEnd::Succeeded { channel_id: channel.id })?;
    }
    events::append_channel(db, &channel, kind, now)?;
    Ok((channel, is_new))
}

fn begun(db: &Db<'_>, new: NewChannel, now: Timestamp) -> Channel {
    let own_name = new.display_name.as_ref().or(new.username.as_ref());
    Channel {
        id: db.mint(now),
        name: new
            .name
            .or_else(|| own_name.cloned())
            .unwrap_or_else(|| new.platform_id.clone()),
        workspace_id: new.workspace_id,
        app: new.app,
        connector: new.connector,
        platform: new.platform,
        platform_id: new.platform_id,
        labels: new.labels,
        username: new.username,
        display_name: new.display_name,
        avatar_url: new.avatar_url,
        country: new.country,
        status: ChannelStatus::Connected,
        paused: false,
        policy: PolicyOverride::default(),
        scopes: new.scopes,
        reauthorize_by: new.reauthorize_by,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
}

/// The same account again: what the platform says of it is new, what the operator said of it stays.
fn renewed(known: Channel, new: NewChannel, now: Timestamp) -> Channel {
    Channel {
        connector: new.connector,
        platform: new.platform,
        username: new.username.or(known.username),
        display_name: new.display_name.or(known.display_name),
        avatar_url: new.avatar_url.or(known.avatar_url),
        country: new.country.or(known.country),
        status: ChannelStatus::Connected,
        scopes: new.scopes,
        reauthorize_by: new.reauthorize_by,
        updated_at: now,
        deleted_at: None,
        ..known
    }
}

pub(crate) fn update(db: &Db<'_>, id: ChannelId, patch: ChannelPatch, now: Timestamp) -> Result<Option<Channel>> {
    let Some(known) = one(db, id)? else { return Ok(None) };
    let paused = patch.paused.unwrap_or(known.paused);
    let kind = if paused && !known.paused {
        EventType::ChannelPaused
    } else {
        EventType::ChannelUpdated
    };
    let before = known.policy.clone();
    let channel = Channel {
        name: patch.name.unwrap_or(known.name),
        labels: patch.labels.unwrap_or(known.labels),
        country: patch.country.or(known.country),
        policy: patch.policy.unwrap_or(known.policy),
        paused,
        updated_at: now,
        ..known
    };
    put(db, &channel)?;
    if channel.policy.window_ms != before.window_ms {
        conversations::reschedule(db, &channel, now)?;
    }
    events::append_channel(db, &channel, kind, now)?;
    Ok(Some(channel))
}

/// Whether its set-up at the platform is not done.
pub(crate) fn waits_for_set_up(db: &Db<'_>, id: ChannelId) -> Result<bool> {
    db.exists(
        "SELECT 1 FROM channels WHERE id = ?1 AND set_up_at IS NOT NULL",
        [key(id)],
    )
}

pub(crate) fn set_status(
    db: &Db<'_>,
    id: ChannelId,
    status: ChannelStatus,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    let Some(known) = one(db, id)? else { return Ok(()) };
    // A deleted channel comes back only by being connected, and goes only by being deleted.
    if known.status == ChannelStatus::Deleted || status == ChannelStatus::Deleted {
        return Ok(());
    }
    if status == ChannelStatus::Connected {
        acts::outbox::release_held(db, id, now)?;
    }
    if known.status == status {
        return Ok(());
    }
    let channel = Channel {
        status,
        updated_at: now,
        ..known
    };
    put(db, &channel)?;
    let kind = match status {
        ChannelStatus::Connected => EventType::ChannelRecovered,
        ChannelStatus::Degraded => EventType::ChannelDegraded,
        ChannelStatus::ReauthorizationRequired | ChannelStatus::Deleted => EventType::ChannelReauthorizationRequired,
    };
    let told = ChannelTold {
        channel,
        reason: Some(reason.to_owned()),
        days_left: None,
    };
    events::append(db, &About::channel(&told.channel), kind, &told, now)?;
    Ok(())
}

pub(crate) fn delete(db: &Db<'_>, id: ChannelId, now: Timestamp) -> Result<Option<Channel>> {
    let Some(known) = one(db, id)? else { return Ok(None) };
    if known.status == ChannelStatus::Deleted {
        return Ok(Some(known));
    }
    let channel = Channel {
        status: ChannelStatus::Deleted,
        updated_at: now,
        deleted_at: Some(now),
        ..known
    };
    put(db, &channel)?;
    db.run("DELETE FROM credentials WHERE channel_id = ?1", [key(id)])?;
    acts::outbox::fail_queued(db, id, now)?;
    conversations::reschedule(db, &channel, now)?;
    events::append_channel(db, &channel, EventType::ChannelDeleted, now)?;
    Ok(Some(channel))
}

// ---- credentials -----------------------------------------------------------------------------------------------------

pub(crate) fn place(channel: &str) -> Place<'_> {
    Place {
        table: "credentials",
        column: "sealed",
        row: channel,
    }
}

pub(crate) fn credential(db: &Db<'_>, id: ChannelId) -> Result<Option<Credential>> {
    let sealed: Option<Vec<u8>> = db.one(
        "SELECT sealed FROM credentials WHERE channel_id = ?1",
        [key(id)],
        |row| row.get(0),
    )?;
    sealed
        .map(|sealed| db.open(&sealed, place(&id.to_string())))
        .transpose()
}

/// A deleted channel takes none, so that a renewal that was under way cannot undo the deletion.
fn put_credential(db: &Db<'_>, id: ChannelId, credential: &Credential, now: Timestamp) -> Result<()> {
    db.run(
        "INSERT INTO credentials (channel_id, sealed, expires_at)
         SELECT id, ?2, ?3 FROM channels WHERE id = ?1 AND status <> 'deleted'
         ON CONFLICT (channel_id) DO UPDATE SET sealed = ?2, expires_at = ?3, renewing_since = NULL",
        params![
            key(id),
            db.seal(credential, place(&id.to_string()))?,
            ms(credential.expires_at),
        ],
    )?;
    acts::outbox::release_held(db, id, now)
}

/// A renewed credential is the renewed authorization: what was held for it is due.
pub(crate) fn put_renewed(
    db: &Db<'_>,
    id: ChannelId,
    old: &Credential,
    renewed: &Credential,
    now: Timestamp,
) -> Result<bool> {
    match credential(db, id)? {
        // The commit of an earlier try stood, and its answer was lost.
        Some(there) if there == *renewed => return Ok(true),
        Some(there) if there == *old => put_credential(db, id, renewed, now)?,
        _ => return Ok(false),
    }
    if one(db, id)?.is_some_and(|channel| channel.status == ChannelStatus::ReauthorizationRequired) {
        let reason = "the credential was renewed";
        set_status(db, id, ChannelStatus::Connected, reason, now)?;
    }
    Ok(true)
}

pub(crate) fn note_renewal(db: &Db<'_>, id: ChannelId, begun: Option<Timestamp>) -> Result<()> {
    db.run(
        "UPDATE credentials SET renewing_since = ?2 WHERE channel_id = ?1",
        params![key(id), ms(begun)],
    )?;
    Ok(())
}

pub(crate) fn renewal_begun(db: &Db<'_>, id: ChannelId) -> Result<Option<Timestamp>> {
    let begun = db.one(
        "SELECT renewing_since FROM credentials WHERE channel_id = ?1",
        [key(id)],
        |row| get_time_if(row, 0),
    )?;
    Ok(begun.flatten())
}

pub(crate) fn credentials_due(db: &Db<'_>, before: Timestamp, limit: u32) -> Result<Vec<ChannelId>> {
    db.all(
        "SELECT k.channel_id FROM credentials k JOIN channels c ON c.id = k.channel_id
         WHERE (k.expires_at < ?1 OR k.renewing_since IS NOT NULL) AND c.status <> 'reauthorization_required'
         ORDER BY k.expires_at LIMIT ?2",
        params![before.as_millis(), limit],
        |row| get_id(row, 0),
    )
}

// ---- set-ups ---------------------------------------------------------------------------------------------------------

pub(crate) fn set_up_done(db: &Db<'_>, id: ChannelId) -> Result<()> {
    db.run(
        "UPDATE channels SET set_up_at = NULL, set_up_tries = 0 WHERE id = ?1 AND set_up_at IS NOT NULL",
        [key(id)],
    )?;
    Ok(())
}

pub(crate) fn set_up_failed(db: &Db<'_>, id: ChannelId, now: Timestamp) -> Result<()> {
    let tries: Option<u32> = db.one("SELECT set_up_tries FROM channels WHERE id = ?1", [key(id)], |row| {
        row.get(0)
    })?;
    let Some(tries) = tries else { return Ok(()) };
    let tries = tries.saturating_add(1);
    let again = now.after(backoff(limits::SET_UP_RETRY, tries, 1.0));
    db.run(
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

pub(crate) fn resume_set_ups(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let cut_off: Vec<ChannelId> = db.all(
        "SELECT id FROM channels WHERE set_up_at IS NOT NULL AND status = 'connected'",
        [],
        |row| get_id(row, 0),
    )?;
    db.run(
        "UPDATE channels SET set_up_at = ?1 WHERE set_up_at > ?1",
        [now.as_millis()],
    )?;
    let reason = "the account is connected, but the host ended before its set-up was done; it is being done now";
    for id in &cut_off {
        set_status(db, *id, ChannelStatus::Degraded, reason, now)?;
    }
    Ok(u32::try_from(cut_off.len()).unwrap_or(u32::MAX))
}

// ---- polling ---------------------------------------------------------------------------------------------------------

pub(crate) fn poll_cursor(db: &Db<'_>, id: ChannelId) -> Result<Option<String>> {
    let cursor = db.one("SELECT poll_cursor FROM channels WHERE id = ?1", [key(id)], |row| {
        row.get::<Option<String>>(0)
    })?;
    Ok(cursor.flatten())
}

pub(crate) fn keep_poll_cursor(db: &Db<'_>, id: ChannelId, cursor: Option<&str>) -> Result<()> {
    db.run(
        "UPDATE channels SET poll_cursor = ?2 WHERE id = ?1",
        params![key(id), cursor],
    )?;
    Ok(())
}
