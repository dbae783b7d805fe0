//! API keys, the sessions started with them, and apps with their secrets.

use weir_domain::caller::{Key, Session};
use weir_domain::id::KeyId;
use weir_domain::limits;
use weir_domain::time::Timestamp;

use crate::db::{Db, Row, get_id, get_json, get_json_if, get_time, get_time_if, json, key, ms, params};
use crate::tables::{revisions, workspaces};
use crate::vault::Place;
use crate::{App, Result, Revised};

const KEY: &str = "id, workspace_id, name, prefix, digest, scopes, created_at, expires_at, revoked_at, channels";

fn read_key(row: &Row<'_>) -> Result<Key> {
    Ok(Key {
        id: get_id(row, 0)?,
        workspace_id: row.get(1)?,
        name: row.get(2)?,
        prefix: row.get(3)?,
        digest: row.get(4)?,
        scopes: get_json(row, 5, "keys.scopes")?,
        created_at: get_time(row, 6)?,
        expires_at: get_time_if(row, 7)?,
        revoked_at: get_time_if(row, 8)?,
        channels: get_json_if(row, 9, "keys.channels")?.unwrap_or_default(),
    })
}

pub(crate) fn insert(db: &Db<'_>, new: &Key) -> Result<()> {
    workspaces::needs_open(db, &new.workspace_id)?;
    db.write(
        &format!("INSERT INTO keys ({KEY}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
        params![
            key(new.id),
            new.workspace_id,
            new.name,
            new.prefix,
            new.digest,
            json(&new.scopes)?,
            new.created_at.as_millis(),
            ms(new.expires_at),
            ms(new.revoked_at),
            (!new.channels.is_empty()).then(|| json(&new.channels)).transpose()?,
        ],
    )?;
    Ok(())
}

pub(crate) fn by_prefix(db: &Db<'_>, prefix: &str) -> Result<Option<Key>> {
    db.one(&format!("SELECT {KEY} FROM keys WHERE prefix = ?1"), [prefix], read_key)
}

pub(crate) fn all(db: &Db<'_>, workspace: &str) -> Result<Vec<Key>> {
    db.all(
        &format!("SELECT {KEY} FROM keys WHERE workspace_id = ?1 ORDER BY id"),
        [workspace],
        read_key,
    )
}

pub(crate) fn revoke(db: &Db<'_>, workspace: &str, id: KeyId, now: Timestamp) -> Result<bool> {
    let changed = db.run(
        "UPDATE keys SET revoked_at = coalesce(revoked_at, ?3) WHERE workspace_id = ?1 AND id = ?2",
        params![workspace, key(id), now.as_millis()],
    )?;
    revisions::bump(db, Revised::Keys, revisions::ENDED)?;
    Ok(changed > 0)
}

/// Replaces the key of this name by the one from the operator's configuration. Sessions of a different key end.
pub(crate) fn configure(db: &Db<'_>, new: &Key, now: Timestamp) -> Result<()> {
    let mut named = all(db, &new.workspace_id)?;
    named.retain(|known| known.name == new.name || known.digest == new.digest);
    let kept = named.iter().position(|known| known.digest == new.digest).unwrap_or(0);
    for (place, known) in named.iter().enumerate() {
        if known.digest != new.digest || known.revoked_at.is_some() {
            db.write("DELETE FROM sessions WHERE key_id = ?1", [key(known.id)])?;
            revisions::bump(db, Revised::Keys, revisions::ENDED)?;
        }
        if place == kept {
            db.write(
                "UPDATE keys SET prefix = ?2, digest = ?3, revoked_at = NULL WHERE id = ?1",
                params![key(known.id), new.prefix, new.digest],
            )?;
        } else {
            revoke(db, &new.workspace_id, known.id, now)?;
        }
    }
    if named.is_empty() { insert(db, new) } else { Ok(()) }
}

pub(crate) fn begin_session(
    db: &Db<'_>,
    digest: [u8; 32],
    of: KeyId,
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    db.write("DELETE FROM sessions WHERE expires_at <= ?1", [now.as_millis()])?;
    db.write(
        "INSERT INTO sessions (digest, key_id, expires_at) VALUES (?1, ?2, ?3)",
        params![digest, key(of), expires_at.as_millis()],
    )?;
    db.write(
        "DELETE FROM sessions WHERE key_id = ?1 AND digest NOT IN
           (SELECT digest FROM sessions WHERE key_id = ?1 ORDER BY expires_at DESC LIMIT ?2)",
        params![key(of), limits::SESSIONS_PER_KEY],
    )?;
    Ok(())
}

pub(crate) fn session(db: &Db<'_>, digest: [u8; 32]) -> Result<Option<Session>> {
    let found = db.one(
        "SELECT key_id, expires_at FROM sessions WHERE digest = ?1",
        [digest],
        |row| Ok((get_id::<KeyId>(row, 0)?, get_time(row, 1)?)),
    )?;
    let Some((id, expires_at)) = found else {
        return Ok(None);
    };
    let key = db.one(&format!("SELECT {KEY} FROM keys WHERE id = ?1"), [key(id)], read_key)?;
    Ok(key.map(|key| Session {
        digest,
        key,
        expires_at,
    }))
}

pub(crate) fn end_session(db: &Db<'_>, digest: [u8; 32]) -> Result<()> {
    db.write("DELETE FROM sessions WHERE digest = ?1", [digest])?;
    revisions::bump(db, Revised::Keys, revisions::ENDED)
}

const APP: &str =
    "name, workspace_id, connector, settings, secrets, origins, created_at, updated_at, old_secrets_until";

/// The app of a workspace that is being removed accepts no more webhooks.
const IS_OPEN: &str = "workspace_id NOT IN (SELECT id FROM workspaces WHERE removed_at IS NOT NULL)";

pub(crate) fn secrets_of(app: &str) -> Place<'_> {
    Place {
        table: "apps",
        column: "secrets",
        row: app,
    }
}

/// The app without its secrets, and the secrets as stored.
fn read_app(row: &Row<'_>) -> Result<(App, Vec<u8>)> {
    let app = App {
        name: row.get(0)?,
        workspace_id: row.get(1)?,
        connector: row.get(2)?,
        settings: get_json(row, 3, "apps.settings")?,
        secrets: Default::default(),
        origins: get_json(row, 5, "apps.origins")?,
        created_at: get_time(row, 6)?,
        updated_at: get_time(row, 7)?,
        old_secrets_until: get_time_if(row, 8)?,
    };
    Ok((app, row.get(4)?))
}

fn opened(db: &Db<'_>, (mut app, sealed): (App, Vec<u8>)) -> Result<App> {
    app.secrets = db.open(&sealed, secrets_of(&app.name))?;
    Ok(app)
}

pub(crate) fn put_app(db: &Db<'_>, app: &App) -> Result<()> {
    let owner = db.one("SELECT workspace_id FROM apps WHERE name = ?1", [&app.name], |row| {
        row.get::<String>(0)
    })?;
    workspaces::needs_open(db, owner.as_deref().unwrap_or(&app.workspace_id))?;
    workspaces::needs_open(db, &app.workspace_id)?;
    db.write(
        &format!(
            "INSERT INTO apps ({APP}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (name) DO UPDATE SET workspace_id = ?2, connector = ?3, settings = ?4, secrets = ?5, origins = ?6,
                 updated_at = ?8, old_secrets_until = ?9"
        ),
        params![
            app.name,
            app.workspace_id,
            app.connector,
            json(&app.settings)?,
            db.seal(&app.secrets, secrets_of(&app.name))?,
            json(&app.origins)?,
            app.created_at.as_millis(),
            app.updated_at.as_millis(),
            app.old_secrets_until.map(Timestamp::as_millis),
        ],
    )?;
    revisions::bump(db, Revised::App, &app.name)
}

pub(crate) fn app(db: &Db<'_>, name: &str) -> Result<Option<App>> {
    db.one(
        &format!("SELECT {APP} FROM apps WHERE name = ?1 AND {IS_OPEN}"),
        [name],
        read_app,
    )?
    .map(|found| opened(db, found))
    .transpose()
}

pub(crate) fn apps(db: &Db<'_>) -> Result<Vec<App>> {
    db.all(
        &format!("SELECT {APP} FROM apps WHERE {IS_OPEN} ORDER BY name"),
        [],
        read_app,
    )?
    .into_iter()
    .map(|found| opened(db, found))
    .collect()
}
