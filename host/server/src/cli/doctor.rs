//! `weir doctor`: checks the prerequisites of a host, and a running one through its API.

use std::cmp::Ordering;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use weir_domain::clock::{ClockOffset, DEGRADED};
use weir_domain::credential::Secret;
use weir_domain::limits;
use weir_store::{PostgresStore, ServerFacts, SqliteStore};

use super::client::{Client, key_file};
use super::output::{Output, text};
use super::{Common, Done, checked};
use crate::Config;
use crate::connectors::forged::RefusedWebhooks;
use crate::core::config::{MediaKeep, StoreConfig};
use crate::core::folder;
use crate::core::platform_clocks::describe_offset;

/// Above this the clocks of this machine and the database server are too far apart, in milliseconds.
const CLOCKS_APART_MS: i64 = 1_000;

/// Prints each check, and counts those that failed.
struct Report<'o> {
    output: &'o Output,
    failed: u32,
}

impl Report<'_> {
    fn add(&mut self, subject: &str, result: Result<String, String>) {
        let passed = result.is_ok();
        let evidence = result.unwrap_or_else(|reason| reason);
        self.failed += u32::from(!passed);
        if self.output.is_json() {
            self.output
                .document(&json!({ "subject": subject, "ok": passed, "evidence": evidence }));
        } else {
            // Scripts depend on the names in JSON.
            let label = match subject {
                "data folder" => "data directory",
                "record" => "database",
                "log" => "database log",
                "key" => "API key",
                subject => subject,
            };
            self.output.check(passed, &format!("{label:<14}"), &evidence);
        }
    }
}

pub(super) async fn run(common: &Common, output: &Output) -> Done {
    let mut report = Report { output, failed: 0 };
    match common.load() {
        Err(error) => report.add("configuration", Err(error.to_string())),
        Ok(config) => {
            report.add(
                "configuration",
                Ok(format!(
                    "listen address {}, public URL {}",
                    config.listen, config.public_url
                )),
            );
            report.add("data folder", data_directory(&config));
            report.add("master key", master_key(&config));
            match &config.store {
                StoreConfig::Sqlite => {
                    report.add("schema", schema(&config));
                    report.add("log", Ok(log(&config)));
                }
                StoreConfig::Postgres(url) => server(&mut report, url),
            }
            report.add("admin key", admin_key(&config));
            report.add("clock", clock());
        }
    }
    match Client::new(common) {
        Err(failure) => report.add("API", Err(failure.message)),
        Ok(client) => running(&mut report, &client, common).await,
    }
    checked(report.failed)
}

/// Checks a running host: its database, connectors, webhooks and channels.
async fn running(report: &mut Report<'_>, client: &Client, common: &Common) {
    if let Err(failure) = client.get(client.at(&["healthz"])).await {
        report.add("API", Err(failure.message));
        report.add("port", port(common).await);
        return;
    }
    report.add("API", Ok(format!("reachable at {}", client.base())));
    let ready = client.get(client.at(&["readyz"])).await;
    report.add(
        "record",
        ready
            .map(|_| "readable and writable".to_owned())
            .map_err(|failure| failure.message),
    );
    match client.get(client.at(&["v1", "connectors"])).await {
        Err(failure) => report.add("key", Err(failure.message)),
        Ok(connectors) => {
            let rows = connectors
                .get("data")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            if rows.is_empty() {
                report.add(
                    "connectors",
                    Err("none installed; run `weir connector install FILE`".to_owned()),
                );
            }
            for row in rows {
                let name = text(&row, "/name");
                report.add(
                    "connector",
                    match (text(&row, "/active_version"), text(&row, "/load_error")) {
                        (version, _) if version.is_empty() => {
                            Err(format!("{name}: no active version; run `weir connector promote`"))
                        }
                        (version, error) if error.is_empty() => Ok(format!("{name} {version} is active")),
                        (version, error) => Err(format!(
                            "{name} {version} cannot be loaded: {error}; install the same file again with `weir connector install`"
                        )),
                    },
                );
            }
        }
    }
    if let Ok(nodes) = client.get(client.at(&["v1", "nodes"])).await {
        let nodes = nodes.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        for node in &nodes {
            report.add("node", Ok(node_state(node)));
        }
        let alive = nodes.iter().filter(|node| text(node, "/state") == "alive").count();
        if alive > 1
            && let Ok(config) = common.load()
        {
            report.add("media", shared_media(config.media, alive));
        }
    }
    if let Ok(apps) = client.get(client.at(&["v1", "apps"])).await {
        let rows = apps.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        for row in rows {
            report.add("webhooks", webhooks(&row));
            let offset = row.get("clock_offset_ms").and_then(Value::as_i64).unwrap_or_default();
            let offset = ClockOffset::from_millis(offset);
            let evidence = describe_offset(&text(&row, "/name"), offset);
            report.add(
                "platform clock",
                if offset.is_degraded() {
                    Err(format!("{evidence} Synchronize this machine's clock with NTP."))
                } else {
                    Ok(evidence)
                },
            );
        }
    }
    if let Ok(channels) = client.get(client.at(&["v1", "channels"])).await {
        for channel in channels
            .get("data")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
        {
            let (id, status) = (text(&channel, "/id"), text(&channel, "/status"));
            let evidence = format!("{}: {status}", text(&channel, "/name"));
            report.add(
                "channel",
                if status == "connected" {
                    Ok(evidence)
                } else {
                    Err(format!("{evidence}; run `weir channel diagnose {id}`"))
                },
            );
        }
    }
}

/// The finding about a node; a dead one needs none, since the others took over its work.
fn node_state(node: &Value) -> String {
    format!(
        "{}: {}, version {}, last heartbeat {}",
        text(node, "/id"),
        text(node, "/state"),
        text(node, "/version"),
        text(node, "/last_beat_at")
    )
}

/// Whether every node finds the attachments and uploads of all.
fn shared_media(keep: MediaKeep, nodes: usize) -> Result<String, String> {
    match keep {
        MediaKeep::Database => Ok("attachments and uploads are in the database".to_owned()),
        MediaKeep::Folder => Err(format!(
            "each of the {nodes} nodes keeps attachments and uploads in its own data directory, and finds no others; set \
             `[media] keep = \"database\"` (WEIR_MEDIA_KEEP) on all of them"
        )),
    }
}

/// Whether an app's webhooks are authentic.
fn webhooks(app: &Value) -> Result<String, String> {
    let name = text(app, "/name");
    let Some(refused) = app.get("refused_webhooks").filter(|refused| !refused.is_null()) else {
        return Ok(format!("{name}: none rejected"));
    };
    let evidence = format!(
        "{name}: {} rejected since the host started, most recently at {}: {}",
        text(refused, "/count"),
        text(refused, "/last_at"),
        text(refused, "/reason")
    );
    if refused.get("accepted_since") == Some(&Value::Bool(true)) {
        Ok(format!("{evidence}; valid ones have been received since"))
    } else {
        Err(format!("{evidence}. {}", RefusedWebhooks::REMEDY))
    }
}

fn data_directory(config: &Config) -> Result<String, String> {
    let folder = &config.data;
    if !folder.exists() {
        return Ok(format!("{} will be created at the first start", folder.display()));
    }
    let probe = folder.join(".doctor");
    folder::private()
        .open(&probe)
        .and_then(|mut file| file.write_all(b"x"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| format!("{} is writable", folder.display()))
        .map_err(|error| {
            format!(
                "cannot write to {} ({error}); make the user that runs weir its owner",
                folder.display()
            )
        })
}

fn schema(config: &Config) -> Result<String, String> {
    let record = folder::record(&config.data);
    if !record.exists() {
        return Ok("will be created at the first start".to_owned());
    }
    let (number, newest) = SqliteStore::schema_of(&record).map_err(|error| error.to_string())?;
    compared(number, newest)
}

/// The finding about a database's schema, compared with the newest one that this Weir knows.
fn compared(number: i64, newest: i64) -> Result<String, String> {
    match number.cmp(&newest) {
        Ordering::Equal => Ok(format!("version {number}, current")),
        Ordering::Less => Ok(format!(
            "version {number}; `weir serve` will migrate it to {newest}, so back up first"
        )),
        Ordering::Greater => Err(format!(
            "version {number} is newer than this Weir supports ({newest}); run a newer Weir"
        )),
    }
}

/// Checks the database server.
fn server(report: &mut Report<'_>, url: &Secret) {
    let found = match PostgresStore::inspect(url.expose()) {
        Err(error) => return report.add("server", Err(error.to_string())),
        Ok(found) => found,
    };
    let version = format!("PostgreSQL {}", found.version);
    report.add(
        "server",
        match &found.unfit {
            Some(reason) => Err(format!("{version}: {reason}")),
            None => Ok(version),
        },
    );
    report.add("pooler", pooler(&found));
    report.add("commits", commits(&found));
    report.add("connections", connections(&found));
    report.add("server clock", server_clock(found.clock_ahead_ms));
    report.add(
        "schema",
        match found.schema {
            0 => Ok("will be created at the first start".to_owned()),
            number => compared(number, found.newest_schema),
        },
    );
}

fn pooler(found: &ServerFacts) -> Result<String, String> {
    if found.is_pooled {
        Err(
            "a pooler in transaction mode is in between, and Weir needs sessions; name the server itself, or a pool in session mode"
                .to_owned(),
        )
    } else {
        Ok("sessions are kept".to_owned())
    }
}

/// Whether the server, or its standby, has all confirmed transactions.
fn commits(found: &ServerFacts) -> Result<String, String> {
    let set = &found.synchronous_commit;
    if set == "off" {
        return Err("synchronous_commit is off, so the server may lose confirmed writes; set it to on".to_owned());
    }
    let receivers = found.receivers;
    if receivers > 0 && (found.synchronous_standby_names.is_empty() || set == "local") {
        return Err(format!(
            "no commit waits for one of the {receivers} connected standbys, so a failover may lose confirmed writes; name them in \
             synchronous_standby_names and set synchronous_commit to on, or do not fail over to these receivers"
        ));
    }
    Ok(match receivers {
        0 => format!("synchronous_commit is {set}"),
        _ => format!("synchronous_commit is {set}, for {}", found.synchronous_standby_names),
    })
}

fn connections(found: &ServerFacts) -> Result<String, String> {
    let (allowed, others, needed) = (
        found.connections_allowed,
        found.connections_of_others,
        found.connections_needed,
    );
    let hosts = (allowed - others).max(0) / needed;
    let evidence = format!("{allowed} are allowed, other programs have {others}, and each host needs {needed}");
    if hosts == 0 {
        Err(format!(
            "{evidence}; raise the server's max_connections, or the limit of the database or the role"
        ))
    } else {
        Ok(format!("{evidence}: enough for {hosts}"))
    }
}

fn server_clock(ahead_ms: i64) -> Result<String, String> {
    let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let evidence = format!("{} ms {side} this machine's", ahead_ms.abs());
    if ahead_ms.abs() > CLOCKS_APART_MS {
        Err(format!(
            "{evidence}; Weir takes the time from the server, so windows, tokens and signatures follow that clock: \
             synchronize both with NTP"
        ))
    } else {
        Ok(evidence)
    }
}

fn log(config: &Config) -> String {
    let bytes = std::fs::metadata(folder::log(&config.data)).map_or(0, |log| log.len());
    format!(
        "weir.db-wal has {bytes} bytes; it is truncated from {} bytes on",
        limits::LOG_BYTES
    )
}

fn master_key(config: &Config) -> Result<String, String> {
    let file = config.data.join("master.key");
    if config.master_key.is_some() {
        Ok("set by WEIR_MASTER_KEY".to_owned())
    } else if matches!(config.store, StoreConfig::Postgres(_)) {
        Err("WEIR_MASTER_KEY is not set; with PostgreSQL it is required, the same on every node".to_owned())
    } else if file.exists() {
        private(&file).map(|()| format!("stored in {}; back it up separately", file.display()))
    } else if folder::record(&config.data).exists() {
        Err(format!(
            "{} is missing; restore the one that the database was encrypted with",
            file.display()
        ))
    } else {
        Ok("will be created at the first start".to_owned())
    }
}

fn admin_key(config: &Config) -> Result<String, String> {
    let file = key_file(config);
    if config.admin_key.is_some() {
        Ok("set by WEIR_ADMIN_KEY".to_owned())
    } else if file.exists() {
        private(&file).map(|()| format!("stored in {}", file.display()))
    } else if folder::record(&config.data).exists() {
        Ok("not in the data directory; existing API keys still work".to_owned())
    } else {
        Ok("will be created at the first start".to_owned())
    }
}

fn private(file: &Path) -> Result<(), String> {
    let mode = std::fs::metadata(file)
        .map_err(|error| format!("{}: {error}", file.display()))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(format!(
            "{} is readable by other users; run chmod 600 on it",
            file.display()
        ))
    }
}

/// Whether the clock is set at all; its offset shows only against a platform's.
fn clock() -> Result<String, String> {
    // The first release of this program: no correct clock is before it.
    const RELEASED: u64 = 1_767_225_600;
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if seconds >= RELEASED {
        Ok(format!(
            "set; keep NTP on: above {} s of offset from a platform's clock, Weir is degraded",
            DEGRADED.as_secs()
        ))
    } else {
        Err("years behind; set it, or webhooks and tokens will fail".to_owned())
    }
}

/// Whether a host could listen on the configured address, if none is reachable.
async fn port(common: &Common) -> Result<String, String> {
    let config = common.load().map_err(|error| error.to_string())?;
    match TcpListener::bind(config.listen).await {
        Ok(_) => Ok(format!("{} is free for `weir serve`", config.listen)),
        Err(error) => Err(format!("{} is in use by another program ({error})", config.listen)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            version: "15.18".to_owned(),
            unfit: None,
            is_pooled: false,
            synchronous_commit: "on".to_owned(),
            synchronous_standby_names: String::new(),
            receivers: 0,
            connections_allowed: 97,
            connections_of_others: 3,
            connections_needed: 18,
            clock_ahead_ms: 0,
            schema: 4,
            newest_schema: 4,
        }
    }

    #[test]
    fn nodes_that_keep_files_apart_are_reported() {
        assert!(shared_media(MediaKeep::Database, 2).is_ok());
        let evidence = shared_media(MediaKeep::Folder, 2).expect_err("one node does not have the other's files");
        assert!(evidence.contains("keep = \"database\""), "{evidence}");
    }

    #[test]
    fn a_server_is_judged_with_a_remedy() {
        let ok = facts();
        assert_eq!(commits(&ok).as_deref(), Ok("synchronous_commit is on"));
        assert!(connections(&ok).is_ok_and(|finding| finding.ends_with("enough for 5")));
        assert!(pooler(&ok).is_ok() && server_clock(-999).is_ok());
        let refused = [
            commits(&ServerFacts {
                synchronous_commit: "off".to_owned(),
                ..facts()
            }),
            commits(&ServerFacts {
                receivers: 1,
                ..facts()
            }),
            connections(&ServerFacts {
                connections_of_others: 90,
                ..facts()
            }),
            pooler(&ServerFacts {
                is_pooled: true,
                ..facts()
            }),
            server_clock(-61_000),
        ];
        let remedies = [
            "set it to on",
            "synchronous_standby_names",
            "max_connections",
            "session mode",
            "NTP",
        ];
        for (refused, remedy) in refused.into_iter().zip(remedies) {
            let finding = refused.expect_err(remedy);
            assert!(finding.contains(remedy), "{finding}");
        }
        let named = ServerFacts {
            receivers: 1,
            synchronous_standby_names: "standby".to_owned(),
            ..facts()
        };
        assert!(commits(&named).is_ok());
    }
}
