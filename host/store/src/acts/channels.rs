//! Connects, changes, holds and deletes channels, with the effects on their queued messages.

use std::collections::BTreeMap;

use weir_domain::channel::{Channel, ChannelStatus, PolicyOverride};
use weir_domain::credential::Credential;
use weir_domain::event::{ChannelEventData, EventType};
use weir_domain::id::ChannelId;
use weir_domain::record::About;
use weir_domain::record::states::{self as record, Hold};
use weir_domain::time::Timestamp;

use crate::acts::{events, outbox, states};
use crate::db::{Db, key, ms, params};
use crate::tables::{channels, connect, conversations, state, workspaces};
use crate::{ChannelPatch, ConnectEnd, HeldAccounts, NewChannel, Result};

pub(crate) fn connect(
    db: &Db<'_>,
    new: NewChannel,
    credential: &Credential,
    now: Timestamp,
) -> Result<(Channel, bool)> {
    let known = channels::by_platform_id(db, &new.app, &new.platform_id)?;
    let owner = known.as_ref().map_or(&new.workspace_id, |known| &known.workspace_id);
    workspaces::needs_open(db, owner)?;
    let is_new = known.is_none();
    let (session, writes, set_up_at) = (new.session, new.state.clone(), new.set_up_at);
    let (channel, kind) = match known {
        None => (started(db, new, now), EventType::ChannelConnected),
        Some(known) => {
            let kind = match known.status {
                ChannelStatus::Deleted => EventType::ChannelConnected,
                ChannelStatus::Connected => EventType::ChannelUpdated,
                ChannelStatus::Degraded | ChannelStatus::ReauthorizationRequired => EventType::ChannelRecovered,
            };
            (renewed(known, new, now), kind)
        }
    };
    channels::put(db, &channel)?;
    authorize(db, channel.id, credential, now)?;
    if !states::commit(db, channel.id, &writes)? {
        states::notify_unwritten(db, channel.id, &writes, now)?;
    }
    db.write(
        "UPDATE channels SET set_up_at = ?2, set_up_tries = 0 WHERE id = ?1",
        params![key(channel.id), ms(set_up_at)],
    )?;
    if let Some(session) = session {
        connect::finish(db, session, &ConnectEnd::Succeeded { channel_id: channel.id })?;
    }
    events::append_channel(db, &channel, kind, now)?;
    Ok((channel, is_new))
}

fn started(db: &Db<'_>, new: NewChannel, now: Timestamp) -> Channel {
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

/// The same account again: the platform's data is replaced, the operator's settings stay.
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

pub(crate) fn update(
    db: &Db<'_>,
    workspace: &str,
    id: ChannelId,
    patch: ChannelPatch,
    now: Timestamp,
) -> Result<Option<Channel>> {
    let Some(known) = channels::one(db, workspace, id)? else {
        return Ok(None);
    };
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
    channels::put(db, &channel)?;
    if channel.policy.window_ms != before.window_ms {
        conversations::reschedule(db, &channel, now)?;
    }
    events::append_channel(db, &channel, kind, now)?;
    Ok(Some(channel))
}

pub(crate) fn set_status(
    db: &Db<'_>,
    workspace: &str,
    id: ChannelId,
    status: ChannelStatus,
    reason: &str,
    now: Timestamp,
) -> Result<()> {
    match channels::one(db, workspace, id)? {
        Some(known) => put_status(db, known, status, reason, now),
        None => Ok(()),
    }
}

fn put_status(db: &Db<'_>, known: Channel, status: ChannelStatus, reason: &str, now: Timestamp) -> Result<()> {
    // A deleted channel becomes active only by connecting, and a channel is deleted only by a deletion.
    if known.status == ChannelStatus::Deleted || status == ChannelStatus::Deleted {
        return Ok(());
    }
    if status == ChannelStatus::Connected {
        outbox::release_held(db, known.id, now)?;
    }
    if known.status == status {
        return Ok(());
    }
    let channel = Channel {
        status,
        updated_at: now,
        ..known
    };
    channels::put(db, &channel)?;
    let kind = match status {
        ChannelStatus::Connected => EventType::ChannelRecovered,
        ChannelStatus::Degraded => EventType::ChannelDegraded,
        ChannelStatus::ReauthorizationRequired | ChannelStatus::Deleted => EventType::ChannelReauthorizationRequired,
    };
    let about = About::channel(&channel);
    let data = ChannelEventData {
        channel: channel.into(),
        reason: Some(reason.to_owned()),
        days_left: None,
    };
    events::append(db, &about, kind, &data, now)?;
    Ok(())
}

pub(crate) fn delete(db: &Db<'_>, workspace: &str, id: ChannelId, now: Timestamp) -> Result<Option<Channel>> {
    let Some(known) = channels::one(db, workspace, id)? else {
        return Ok(None);
    };
    if known.status == ChannelStatus::Deleted {
        return Ok(Some(known));
    }
    let channel = Channel {
        status: ChannelStatus::Deleted,
        updated_at: now,
        deleted_at: Some(now),
        ..known
    };
    channels::put(db, &channel)?;
    db.write("DELETE FROM credentials WHERE channel_id = ?1", [key(id)])?;
    outbox::fail_queued(db, id, now)?;
    conversations::reschedule(db, &channel, now)?;
    events::append_channel(db, &channel, EventType::ChannelDeleted, now)?;
    Ok(Some(channel))
}

/// Stores a channel's credential; messages that were held for it are due.
fn authorize(db: &Db<'_>, id: ChannelId, credential: &Credential, now: Timestamp) -> Result<()> {
    channels::put_credential(db, id, credential)?;
    outbox::release_held(db, id, now)
}

/// A renewed credential is a renewed authorization: messages that were held for it are due.
pub(crate) fn put_renewed(
    db: &Db<'_>,
    workspace: &str,
    id: ChannelId,
    old: &Credential,
    renewed: &Credential,
    now: Timestamp,
) -> Result<bool> {
    match channels::credential(db, workspace, id)? {
        // An earlier attempt was committed, and its response was lost.
        Some(there) if there == *renewed => return Ok(true),
        Some(there) if there == *old => authorize(db, id, renewed, now)?,
        _ => return Ok(false),
    }
    let waits = |channel: &Channel| channel.status == ChannelStatus::ReauthorizationRequired;
    if let Some(channel) = channels::one(db, workspace, id)?.filter(waits) {
        put_status(db, channel, ChannelStatus::Connected, "the credential was renewed", now)?;
    }
    Ok(true)
}

/// Holds the accounts whose versions cannot run, with these reasons, and releases the others.
pub(crate) fn hold_accounts(
    db: &Db<'_>,
    connector: &str,
    reasons: &BTreeMap<String, String>,
    now: Timestamp,
) -> Result<HeldAccounts> {
    let mut changed = HeldAccounts::default();
    for owner in state::owners(db, connector)? {
        let (id, why) = (owner.channel_id, reasons.get(&owner.version));
        let channel = channels::needed(db, id)?;
        let (was_held, is_held) = (owner.held.is_some(), why.is_some());
        let waits_for_set_up = was_held && !is_held && channels::waits_for_set_up(db, id)?;
        let hold = record::hold(channel.status, was_held, is_held, waits_for_set_up);
        if hold == Hold::Same {
            continue;
        }
        db.write(
            "UPDATE state_owners SET held = ?2, held_at = ?3 WHERE channel_id = ?1",
            params![key(id), why, why.map(|_| now.as_millis())],
        )?;
        let serves = format!("{connector} {} serves the account", owner.version);
        let reason = why.map_or(serves.as_str(), String::as_str);
        match hold {
            Hold::Same => {}
            Hold::Status(status) => put_status(db, channel, status, reason, now)?,
            Hold::Notify(kind) => states::emit(db, id, kind, reason, now)?,
        }
        changed.held += u32::from(why.is_some());
        changed.freed += u32::from(why.is_none());
    }
    Ok(changed)
}

pub(crate) fn resume_set_ups(db: &Db<'_>, now: Timestamp) -> Result<u32> {
    let cut_off = channels::cut_off(db)?;
    db.write(
        "UPDATE channels SET set_up_at = ?1 WHERE set_up_at > ?1",
        [now.as_millis()],
    )?;
    let reason =
        "the account is connected, but the host ended before its set-up was complete; it is being completed now";
    let count = u32::try_from(cut_off.len()).unwrap_or(u32::MAX);
    for channel in cut_off {
        put_status(db, channel, ChannelStatus::Degraded, reason, now)?;
    }
    Ok(count)
}
