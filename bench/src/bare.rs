//! The minimal handler with the same guarantee: it checks the signature, inserts one row, and answers after the commit.
//! One writer, group commit, write-ahead log, `synchronous=FULL`: as Weir's database, with one table.

use std::path::Path;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tokio::sync::{mpsc, oneshot};

use crate::load::SECRET;

/// Rows that share one commit, as in Weir.
const GROUP: usize = weir_domain::limits::GROUP_COMMIT;

type Row = (Bytes, oneshot::Sender<bool>);

/// Serves until it is killed, at a free port that it prints.
pub(crate) async fn serve(data: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(data).with_context(|| format!("{} cannot be made", data.display()))?;
    let connection = rusqlite::Connection::open(data.join("bare.db"))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS webhooks (n INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT")?;
    let (rows, waiting) = mpsc::channel(weir_domain::limits::WRITE_QUEUE);
    std::thread::spawn(move || write(&connection, waiting));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("The bare handler is at http://{}", listener.local_addr()?);
    let router = Router::new().route("/hooks/bare", post(hook)).with_state(rows);
    axum::serve(listener, router).await.context("the bare handler ended")
}

async fn hook(State(rows): State<mpsc::Sender<Row>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let signed = headers.get("tiktok-signature").and_then(|value| value.to_str().ok());
    if !signed.is_some_and(|signed| verifies(signed, &body)) {
        return (StatusCode::UNAUTHORIZED, "");
    }
    let (kept, answer) = oneshot::channel();
    if rows.send((body, kept)).await.is_ok() && answer.await.unwrap_or(false) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "")
    }
}

fn verifies(signed: &str, body: &[u8]) -> bool {
    let Some((at, signature)) = signed.strip_prefix("t=").and_then(|rest| rest.split_once(",s=")) else {
        return false;
    };
    let Ok(signature) = hex::decode(signature) else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(at.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&signature).is_ok()
}

fn write(connection: &rusqlite::Connection, mut waiting: mpsc::Receiver<Row>) {
    let mut group: Vec<Row> = Vec::with_capacity(GROUP);
    while let Some(first) = waiting.blocking_recv() {
        group.push(first);
        while group.len() < GROUP
            && let Ok(next) = waiting.try_recv()
        {
            group.push(next);
        }
        let kept = commit(connection, &group).is_ok();
        for (_, answer) in group.drain(..) {
            // A client that hung up does not wait any more.
            let _ = answer.send(kept);
        }
    }
}

fn commit(connection: &rusqlite::Connection, group: &[Row]) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    for (body, _) in group {
        connection
            .prepare_cached("INSERT INTO webhooks (body) VALUES (?1)")?
            .execute([&body[..]])?;
    }
    connection.execute_batch("COMMIT")
}
