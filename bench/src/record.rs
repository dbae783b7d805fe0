//! A database filled without Weir: channels and conversations through the store, as Weir does; millions of messages by
//! copying rows, since a database grows over years and a measurement cannot take as long.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rusqlite::{Connection, OpenFlags, params};
use serde_json::json;
use tokio::task::JoinSet;
use weir_domain::channel::Channel;
use weir_domain::credential::{Credential, Secret};
use weir_domain::id::Mint;
use weir_domain::inbound::{Fact, InboundEvent, InboundMessage, Person};
use weir_domain::limits;
use weir_domain::manifest::Manifest;
use weir_domain::message::{Content, Direction, Origin};
use weir_domain::policy::{OriginMap, PolicySet};
use weir_domain::time::Timestamp;
use weir_store::{App, ConversationFilter, MasterKey, NewChannel, Page, Source, SqliteStore, Store};

use crate::load;
use crate::rig::MASTER_KEY;

/// Concurrent writes while a database is filled.
const AT_ONCE: usize = 256;

/// An open database, and the policies by which it is written.
pub(crate) struct Record {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) app: App,
    pub(crate) policies: PolicySet,
}

impl Record {
    /// Opens the database at `path`, or creates it, with the TikTok app in it.
    pub(crate) async fn open(path: &Path, manifest: Arc<Manifest>) -> anyhow::Result<Self> {
        let mint = Arc::new(Mint::from_seed([3; 32]));
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(path, &MasterKey::new(MASTER_KEY), mint)?);
        let app = match store.app("tiktok").await? {
            Some(app) => app,
            None => {
                let app = App {
                    name: "tiktok".to_owned(),
                    workspace_id: "default".to_owned(),
                    connector: manifest.name.clone(),
                    settings: json!({}),
                    secrets: [("client_secret".to_owned(), vec![Secret::new(load::SECRET)])].into(),
                    old_secrets_until: None,
                    origins: OriginMap::default(),
                    created_at: now(),
                    updated_at: now(),
                };
                store.put_app(app.clone()).await?;
                app
            }
        };
        let policies = PolicySet::new(manifest, app.settings.clone());
        Ok(Self { store, app, policies })
    }

    /// Connects accounts `shop_0` … and returns them.
    pub(crate) async fn connect(&self, count: usize) -> anyhow::Result<Vec<Channel>> {
        let mut channels = Vec::with_capacity(count);
        let mut tasks = JoinSet::new();
        for n in 0..count {
            if tasks.len() >= AT_ONCE
                && let Some(done) = tasks.join_next().await
            {
                channels.push(done??);
            }
            let (store, app) = (Arc::clone(&self.store), self.app.clone());
            tasks.spawn(async move {
                let new = NewChannel {
                    workspace_id: app.workspace_id,
                    app: app.name,
                    connector: app.connector,
                    platform: "tiktok".to_owned(),
                    platform_id: format!("shop_{n}"),
                    name: None,
                    labels: [].into(),
                    username: Some(format!("shop_{n}")),
                    display_name: Some(format!("Shop {n}")),
                    avatar_url: None,
                    country: Some("ID".to_owned()),
                    scopes: vec!["message.list.send".to_owned(), "message.list.read".to_owned()],
                    reauthorize_by: None,
                    state: Vec::new(),
                    session: None,
                    set_up_at: None,
                };
                anyhow::Ok(store.connect_channel(new, credential(n), now()).await?.0)
            });
        }
        while let Some(done) = tasks.join_next().await {
            channels.push(done??);
        }
        Ok(channels)
    }

    /// Lets the `n`th message come in, written by `person` to `account`.
    pub(crate) async fn receive_webhook(&self, account: &str, person: usize, n: usize) -> anyhow::Result<()> {
        let event = writes(account, person, n);
        let recorded = self
            .store
            .record_inbound(&self.app, vec![event], Source::Webhook, &self.policies, now())
            .await?;
        anyhow::ensure!(recorded.stored == 1, "message {n} was not stored: {recorded:?}");
        Ok(())
    }

    /// One message each from people 0 … to the accounts in turn.
    pub(crate) async fn everybody_writes(self: &Arc<Self>, accounts: &[Channel], people: usize) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        for person in 0..people {
            if tasks.len() >= AT_ONCE
                && let Some(done) = tasks.join_next().await
            {
                done??;
            }
            let account = accounts[person % accounts.len()].platform_id.clone();
            let record = Arc::clone(self);
            tasks.spawn(async move { record.receive_webhook(&account, person, person).await });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(())
    }

    /// So many conversations, of all channels.
    pub(crate) async fn conversations(
        &self,
        count: usize,
    ) -> anyhow::Result<Vec<weir_domain::conversation::Conversation>> {
        let mut found = Vec::with_capacity(count);
        let mut cursor = None;
        while found.len() < count {
            let page = Page {
                limit: limits::PAGE,
                cursor,
            };
            let filter = ConversationFilter::default();
            let listed = self.store.conversations("default", filter, page).await?;
            found.extend(listed.rows);
            cursor = listed.next;
            anyhow::ensure!(
                cursor.is_some() || found.len() >= count,
                "{} of {count} conversations",
                found.len()
            );
        }
        found.truncate(count);
        Ok(found)
    }
}

/// Now, by the system.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
}

fn credential(n: usize) -> Credential {
    Credential {
        access_token: Secret::new(format!("access-{n}")),
        refresh_token: Some(Secret::new(format!("refresh-{n}"))),
        // Fresh: nothing is to be renewed while Weir is idle.
        expires_at: Some(now().after(std::time::Duration::from_secs(24 * 3600))),
        refresh_expires_at: None,
        renewed_at: now(),
    }
}

fn writes(account: &str, person: usize, n: usize) -> InboundEvent {
    let reported = InboundMessage {
        platform_id: format!("M{n}"),
        part: 0,
        conversation: format!("C{person}"),
        contact: Person {
            platform_id: format!("U{person}"),
            username: Some(format!("person_{person}")),
            display_name: None,
            avatar_url: None,
        },
        direction: Direction::Inbound,
        origin: Origin::Contact,
        sent_at: now(),
        content: Content::Text { text: load::text(n) },
        reply_to: None,
        referral: None,
        answers: None,
        platform_data: None,
    };
    InboundEvent {
        channel_platform_id: account.to_owned(),
        // As TikTok's connector makes it: an event that its own row identifies needs no separate key.
        key: format!("M{n}"),
        fact: Fact::Message(Box::new(reported)),
    }
}

/// The number of messages in a database.
pub(crate) fn messages(path: &Path) -> anyhow::Result<u64> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let count: i64 = connection.query_row("SELECT count(*) FROM messages", [], |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Adds so many messages to every conversation of a closed database, each with its event: copies of its first message
/// under ids of their own, older than that.
pub(crate) fn multiply(path: &Path, copies: u32) -> anyhow::Result<()> {
    let connection = Connection::open(path)?;
    // No other process has it open, and a broken one is discarded.
    connection.pragma_update_and_check(None, "journal_mode", "OFF", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "cache_size", -(1 << 20))?;
    let started = connection.query_row("SELECT max(n) FROM messages", [], |row| row.get::<_, i64>(0))?;
    connection.execute_batch("BEGIN")?;
    for copy in 1..=copies {
        // Sixteen bytes each: six of time, so that they lie as ids lie that were made in turn; then a number of their
        // own.
        connection
            .prepare_cached(
                "INSERT INTO messages (id, workspace_id, channel_id, conversation_id, contact_id, sequence, direction, origin,
                     status, content, platform_id, part, extras, counted, sent_at, stands_at, created_at)
                 SELECT unhex(printf('%012x%020x', created_at - ?1, n * 1048576 + ?1)), workspace_id, channel_id, conversation_id,
                     contact_id, sequence + ?1, direction, origin, status, content, printf('B%d.%d', n, ?1), part, extras,
                     counted, sent_at - ?1, sent_at - ?1, created_at - ?1
                 FROM messages WHERE n <= ?2",
            )?
            .execute(params![copy, started])?;
        connection
            .prepare_cached(
                "INSERT INTO events (id, workspace_id, channel_id, conversation_id, type, at, data)
                 SELECT unhex(printf('%012x%020x', at - ?1, sequence * 1048576 + ?1)), workspace_id, channel_id, conversation_id,
                     type, at - ?1, data
                 FROM events WHERE type = 'message.received' AND sequence <= ?2 ORDER BY sequence LIMIT ?3",
            )?
            .execute(params![copy, started * 8, started])?;
    }
    connection.execute("UPDATE conversations SET sequence = sequence + ?1", [copies])?;
    connection.execute_batch("COMMIT")?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection
        .close()
        .map_err(|(_, error)| error)
        .context("the filled database cannot be closed")
}
