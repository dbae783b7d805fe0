//! A core without services, and a host with the built Echo connector, for unit tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::TempDir;
use weir_domain::channel::Channel;
use weir_domain::credential::{Credential, Secret};
use weir_domain::grant::Grants;
use weir_domain::id::Mint;
use weir_domain::policy::OriginMap;
use weir_domain::signature::RawWebhook;
use weir_egress::Egress;
use weir_store::{App, MasterKey, NewChannel, SqliteStore, StateWrite};

use crate::core::clock::HostClock;
use crate::core::node::ThisNode;
use crate::core::platform_clocks::PlatformClocks;
use crate::core::{Core, folder};
use crate::{Config, Host};

/// The dependencies of services, without any service: neither runtime nor connector.
pub(crate) fn core(folder: &TempDir) -> Arc<Core> {
    let config = Config::for_testing(folder.path());
    folder::furnish(&config.data, &config.store).expect("its folders");
    let mint = Arc::new(Mint::from_seed([1; 32]));
    let store = SqliteStore::open(
        folder::record(&config.data),
        &MasterKey::new([1; 32]),
        Arc::clone(&mint),
    );
    let egress = Egress::new(weir_egress::Config::default()).expect("outgoing network");
    Arc::new(Core::new(
        config,
        Arc::new(store.expect("a database")),
        mint,
        Arc::new(HostClock::system()),
        PlatformClocks::new(BTreeMap::new()),
        egress,
        ThisNode::alone("node"),
    ))
}

/// The built component of this name.
pub(crate) fn component(name: &str) -> Bytes {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| format!("{root}/target"));
    let built = std::env::var("WEIR_CONNECTORS_DIR").unwrap_or_else(|_| format!("{target}/connectors"));
    let bytes = std::fs::read(format!("{built}/{name}.wasm"));
    bytes
        .expect("the connectors are built first, with `cargo xtask build-connectors`")
        .into()
}

/// Replaces these components (all whose digests start with `digests`) by other bytes, in the database and on the disk;
/// `None` removes them.
pub(crate) fn damage_components(data: &Path, digests: &str, bytes: Option<&[u8]>) {
    let record = rusqlite::Connection::open(folder::record(data)).expect("a database");
    let these = format!("{digests}%");
    let damaged = match bytes {
        Some(bytes) => record.execute("UPDATE components SET bytes = ?2 WHERE digest LIKE ?1", (these, bytes)),
        None => record.execute("DELETE FROM components WHERE digest LIKE ?1", [these]),
    };
    assert_ne!(damaged.expect("a table"), 0, "there are such");
    damage_files(data, digests.trim_start_matches("sha256:"), bytes);
}

/// The same, only on the disk.
pub(crate) fn damage_files(data: &Path, names: &str, bytes: Option<&[u8]>) {
    for file in std::fs::read_dir(data.join("components")).expect("a directory") {
        let path = file.expect("a file").path();
        let is_meant = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(names));
        match bytes {
            _ if !is_meant => {}
            None => std::fs::remove_file(path).expect("a file"),
            Some(bytes) => std::fs::write(path, bytes).expect("a file"),
        }
    }
}

const SECRET: &str = "echo-webhook-secret";

/// A host with Echo serving the app `echo`.
pub(crate) async fn with_echo(folder: &TempDir) -> Host {
    serving_echo(Config::for_testing(folder.path())).await
}

/// The same, with this configuration.
pub(crate) async fn serving_echo(config: Config) -> Host {
    let echo = component("echo");
    let host = Host::open(config).await.expect("a host");
    let version = host
        .connectors
        .install(echo, None, None, false)
        .await
        .expect("a connector");
    let grants = Grants::wanted_by(&version.manifest);
    host.connectors
        .decide_grants("echo", None, grants)
        .await
        .expect("its grants");
    host.rollout
        .promote("echo", &version.manifest.version)
        .await
        .expect("a version that serves");
    let app = App {
        name: "echo".to_owned(),
        workspace_id: "default".to_owned(),
        connector: "echo".to_owned(),
        settings: serde_json::json!({}),
        secrets: [("webhook_secret".to_owned(), vec![Secret::new(SECRET)])].into(),
        old_secrets_until: None,
        origins: OriginMap::default(),
        created_at: host.now(),
        updated_at: host.now(),
    };
    host.connectors.apps.put(app).await.expect("an app");
    host
}

/// A webhook of Echo, signed, with one message.
pub(crate) fn webhook(host: &Host, text: &str) -> RawWebhook {
    webhook_at(host, text, 1)
}

/// The same, with a message written at this time, in milliseconds.
pub(crate) fn webhook_at(host: &Host, text: &str, written_at: i64) -> RawWebhook {
    let body = serde_json::json!({"account": "acme", "events": [{"type": "message", "id": text,
        "conversation": "c1", "contact": {"id": "u1"}, "text": text, "at": written_at}]})
    .to_string();
    let at = host.now().as_secs();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(format!("{at}.{body}").as_bytes());
    let proof = format!("t={at},s={}", hex::encode(mac.finalize().into_bytes()));
    RawWebhook {
        method: "POST".to_owned(),
        query: String::new(),
        headers: vec![("echo-signature".to_owned(), proof)],
        body: body.into(),
    }
}

/// An account to be connected through the app `echo`.
pub(crate) fn account(platform_id: &str) -> NewChannel {
    NewChannel {
        workspace_id: "default".to_owned(),
        app: "echo".to_owned(),
        connector: "echo".to_owned(),
        platform: "echo".to_owned(),
        platform_id: platform_id.to_owned(),
        name: None,
        labels: BTreeMap::new(),
        username: None,
        display_name: None,
        avatar_url: None,
        country: None,
        scopes: Vec::new(),
        reauthorize_by: None,
        state: Vec::new(),
        session: None,
        set_up_at: None,
    }
}

/// A credential that cannot be renewed.
pub(crate) fn token(host: &Host) -> Credential {
    Credential {
        access_token: Secret::new("token"),
        refresh_token: None,
        expires_at: None,
        refresh_expires_at: None,
        renewed_at: host.now(),
    }
}

/// An account of the app `echo`, connected without calling a platform, with this state.
pub(crate) async fn with_account(host: &Host, platform_id: &str, state: &[(&str, &str)]) -> Channel {
    let connected = host
        .store()
        .connect_channel(account(platform_id), token(host), host.now())
        .await;
    let (channel, _) = connected.expect("a database");
    let writes = state.iter().map(|(key, value)| StateWrite {
        by: "0.1.0".to_owned(),
        key: (*key).to_owned(),
        value: Some(value.as_bytes().to_vec()),
    });
    let kept = host
        .store()
        .commit_state(&channel.workspace_id, channel.id, writes.collect())
        .await;
    kept.expect("a database");
    channel
}
