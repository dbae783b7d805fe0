//! Conditions at a start: a database of an earlier version, a missing key, a missing component.

use std::path::Path;

use axum::http::StatusCode;
use rusqlite::Connection;
use serde_json::json;
use tempfile::TempDir;
use weir_domain::credential::Secret;

use super::Api;
use crate::testing::{component, damage_components, damage_files, serving_echo, webhook, webhook_at, with_echo};
use crate::{Config, Host};

const KEY: &str = "a-key-of-the-operator-that-is-long-enough";

/// Configured as by the environment, with the master key of the store's fixtures.
fn config(folder: &Path) -> Config {
    Config {
        master_key: Some(Secret::new("02".repeat(32))),
        admin_key: Some(Secret::new(KEY)),
        ..Config::for_testing(folder)
    }
}

#[tokio::test]
async fn every_older_record_is_served() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/fixtures");
    for fixture in std::fs::read_dir(fixtures).expect("the store's fixtures") {
        let path = fixture.expect("a fixture").path();
        let sql = std::fs::read_to_string(&path).expect("SQL");
        let folder = TempDir::new().expect("a directory");
        let record = Connection::open(folder.path().join("weir.db")).expect("a file");
        record.execute_batch(&sql).expect("a database");
        drop(record);
        let host = serving_echo(config(folder.path())).await;
        let recorded = host
            .inbound
            .receive("echo", webhook_at(&host, "again", host.now().as_millis()))
            .await;
        recorded.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let api = Api::over(folder, host, KEY);
        assert_eq!(api.get("/readyz").await.status, StatusCode::OK, "{}", path.display());
        let listed = api.get("/v1/conversations").await;
        let conversation = listed.body["data"][0]["id"]
            .as_str()
            .expect("the stored conversation")
            .to_owned();
        assert_eq!(
            listed.body["data"].as_array().map(Vec::len),
            Some(1),
            "{}",
            path.display()
        );
        let messages = format!("/v1/conversations/{conversation}/messages");
        let sent = api
            .json(
                "POST",
                &messages,
                json!({"content": {"type": "text", "text": "hello again"}}),
            )
            .await;
        assert_eq!(sent.status, StatusCode::ACCEPTED, "{}: {sent:?}", path.display());
        let texts = api.get(&messages).await.body["data"].as_array().map(Vec::len);
        assert_eq!(texts, Some(7), "{}", path.display());
    }
}

#[tokio::test]
async fn missing_master_key_is_not_replaced() {
    let folder = TempDir::new().expect("a directory");
    drop(Host::open(Config::for_testing(folder.path())).await.expect("a host"));
    let key = folder.path().join("master.key");
    std::fs::rename(&key, folder.path().join("elsewhere")).expect("a file");
    let refused = Host::open(Config::for_testing(folder.path()))
        .await
        .err()
        .expect("no key");
    assert!(format!("{refused:#}").contains("the master key of"), "{refused:#}");
    assert!(!key.exists());
    let other = Host::open(config(folder.path())).await.err().expect("another key");
    assert!(
        format!("{other:#}").contains("sealed with another master key"),
        "{other:#}"
    );
    std::fs::rename(folder.path().join("elsewhere"), &key).expect("a file");
    Host::open(Config::for_testing(folder.path()))
        .await
        .expect("the right key");
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_node() {
    let folder = TempDir::new().expect("a directory");
    let config = Config {
        admin_key: Some(Secret::new("too short")),
        ..Config::for_testing(folder.path())
    };
    let refused = Host::open(config).await.err().expect("a refusal");
    assert!(
        format!("{refused:#}").contains("WEIR_ADMIN_KEY must have"),
        "{refused:#}"
    );
    let record = Connection::open(folder.path().join("weir.db")).expect("a file");
    let nodes = record.query_row("SELECT count(*) FROM nodes", [], |row| row.get::<_, i64>(0));
    assert_eq!(nodes.expect("a table"), 0);
}

#[tokio::test]
async fn a_replaced_admin_key_opens_nothing() {
    let folder = TempDir::new().expect("a directory");
    let status = async |config: Config, key: &str| {
        let host = Host::open(config).await.expect("a host");
        let api = Api::over(TempDir::new().expect("a directory"), host, key);
        let answered = api.get("/v1/channels").await.status;
        api.host.store().close().await;
        answered
    };
    let with = |key: Option<&str>| Config {
        admin_key: key.map(Secret::new),
        ..Config::for_testing(folder.path())
    };
    let next = "the-next-key-of-the-operator-is-another";
    assert_eq!(status(with(Some(KEY)), KEY).await, StatusCode::OK);
    assert_eq!(status(with(Some(next)), KEY).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(with(Some(next)), next).await, StatusCode::OK);
    assert_eq!(status(with(None), next).await, StatusCode::UNAUTHORIZED);
    // The remaining user has a key all the same.
    let made = std::fs::read_to_string(folder.path().join("admin.key")).expect("a key");
    assert_eq!(status(with(None), made.trim()).await, StatusCode::OK);
    assert_eq!(status(with(Some(KEY)), KEY).await, StatusCode::OK);
}

#[tokio::test]
async fn component_files_sync_with_database() {
    let folder = TempDir::new().expect("a directory");
    let host = with_echo(&folder).await;
    let digest = host.store().versions().await.expect("a database")[0].digest.clone();
    host.store().close().await;
    for broken in [None, Some(&b"other bytes"[..])] {
        damage_files(folder.path(), "", broken);
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        assert!(host.ready().await.is_ok());
        host.store().close().await;
    }
    // As left by a Weir whose database contained no components.
    let record = Connection::open(folder.path().join("weir.db")).expect("a file");
    record.execute("DELETE FROM components", []).expect("a table");
    drop(record);
    let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
    assert!(host.ready().await.is_ok());
    assert!(host.store().component(&digest).await.expect("a database").is_some());
}

#[tokio::test]
async fn missing_component_recovers_by_itself() {
    let component = component("echo");
    for broken in [None, Some(&b"other bytes"[..])] {
        let folder = TempDir::new().expect("a directory");
        with_echo(&folder).await.store().close().await;
        damage_components(folder.path(), "sha256:", broken);
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let key = std::fs::read_to_string(folder.path().join("admin.key")).expect("the first key");
        let api = Api::over(folder, host, key.trim());
        let answered = api.get("/readyz").await;
        assert_eq!(answered.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answered.problem(), "connector_not_loaded");
        let error = api.get("/v1/connectors/echo").await.body["load_error"].clone();
        assert!(
            error
                .as_str()
                .is_some_and(|error| error.contains("install its file again")),
            "{error}"
        );
        let refused = api.host.inbound.receive("echo", webhook(&api.host, "lost?")).await;
        assert!(refused.is_err(), "the platform redelivers it");
        api.host
            .connectors
            .install(component.clone(), None, None, false)
            .await
            .expect("the same bytes");
        assert_eq!(api.get("/readyz").await.status, StatusCode::OK);
        api.host
            .inbound
            .receive("echo", webhook(&api.host, "lost?"))
            .await
            .expect("it serves");
    }
}
