//! `weir doctor`: everything that a host needs, looked at from the outside.

use std::cmp::Ordering;
use std::io::Write;
use std::time::SystemTime;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use weir_domain::clock::{ClockOffset, DEGRADED};
use weir_domain::limits;
use weir_store::SqliteStore;

use super::client::{Client, key_file};
use super::output::{Output, text};
use super::{Common, Done, Failure};
use crate::forged::RefusedWebhooks;
use crate::platform_clocks::apart;
use crate::{Config, folder};

/// Collects what was looked at.
struct Report<'o> {
    output: &'o Output,
    amiss: u32,
}

impl Report<'_> {
    fn say(&mut self, subject: &str, found: Result<String, String>) {
        let is_well = found.is_ok();
        let words = found.unwrap_or_else(|words| words);
        self.amiss += u32::from(!is_well);
        if self.output.is_json() {
            self.output
                .document(&json!({ "subject": subject, "ok": is_well, "evidence": words }));
        } else {
            self.output.check(is_well, &format!("{subject:<14}"), &words);
        }
    }
}

pub(super) async fn run(common: &Common, output: &Output) -> Done {
    let mut report = Report { output, amiss: 0 };
    match Config::load(common.config.as_deref(), |name| std::env::var(name).ok()) {
        Err(error) => report.say("configuration", Err(error.to_string())),
        Ok(config) => {
            report.say(
                "configuration",
                Ok(format!(
                    "listens at {}, shown to the outside as {}",
                    config.listen, config.public_url
                )),
            );
            report.say("data folder", data_folder(&config));
            report.say("master key", master_key(&config));
            report.say("schema", schema(&config));
            report.say("log", Ok(log(&config)));
            report.say("admin key", admin_key(&config));
            report.say("clock", clock());
        }
    }
    match Client::new(common) {
        Err(failure) => report.say("API", Err(failure.message)),
        Ok(client) => running(&mut report, &client, common).await,
    }
    match report.amiss {
        0 => Ok(()),
        amiss => Err(Failure::failed(format!("{amiss} checks are not well"))),
    }
}

/// What only a running host can say: its record, its connectors, its channels.
async fn running(report: &mut Report<'_>, client: &Client, common: &Common) {
    if let Err(failure) = client.get(client.at(&["healthz"])).await {
        report.say("API", Err(failure.message));
        report.say("port", port(common).await);
        return;
    }
    report.say("API", Ok(format!("answers at {}", client.base())));
    let ready = client.get(client.at(&["readyz"])).await;
    report.say(
        "record",
        ready
            .map(|_| "reads and writes".to_owned())
            .map_err(|failure| failure.message),
    );
    match client.get(client.at(&["v1", "connectors"])).await {
        Err(failure) => report.say("key", Err(failure.message)),
        Ok(connectors) => {
            let rows = connectors
                .get("data")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            if rows.is_empty() {
                report.say(
                    "connectors",
                    Err("none is installed; `weir connector install FILE`".to_owned()),
                );
            }
            for row in rows {
                let name = text(&row, "/name");
                report.say(
                    "connector",
                    match (text(&row, "/active_version"), text(&row, "/load_error")) {
                        (version, _) if version.is_empty() => {
                            Err(format!("{name}: no version serves; `weir connector promote`"))
                        }
                        (version, error) if error.is_empty() => Ok(format!("{name} {version} serves")),
                        (version, error) => Err(format!(
                            "{name} {version} cannot be loaded: {error}; `weir connector install` the same file again"
                        )),
                    },
                );
            }
        }
    }
    if let Ok(apps) = client.get(client.at(&["v1", "apps"])).await {
        let rows = apps.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        for row in rows {
            report.say("webhooks", webhooks(&row));
            let offset = row.get("clock_offset_ms").and_then(Value::as_i64).unwrap_or_default();
            let offset = ClockOffset::from_millis(offset);
            let words = apart(&text(&row, "/name"), offset);
            report.say(
                "platform clock",
                if offset.is_degraded() {
                    Err(format!("{words} Synchronize this machine's clock (NTP)"))
                } else {
                    Ok(words)
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
            let words = format!("{} {status}", text(&channel, "/name"));
            report.say(
                "channel",
                if status == "connected" {
                    Ok(words)
                } else {
                    Err(format!("{words}; `weir channel diagnose {id}`"))
                },
            );
        }
    }
}

/// Whether the webhooks of an app prove themselves.
fn webhooks(app: &Value) -> Result<String, String> {
    let name = text(app, "/name");
    let Some(refused) = app.get("refused_webhooks").filter(|refused| !refused.is_null()) else {
        return Ok(format!("{name}: none was refused"));
    };
    let words = format!(
        "{name}: {} were refused since the host started, the last at {}: {}",
        text(refused, "/count"),
        text(refused, "/last_at"),
        text(refused, "/reason")
    );
    if refused.get("accepted_since") == Some(&Value::Bool(true)) {
        Ok(format!("{words}; genuine ones have come since"))
    } else {
        Err(format!("{words}. {}", RefusedWebhooks::REMEDY))
    }
}

fn data_folder(config: &Config) -> Result<String, String> {
    let folder = &config.data;
    if !folder.exists() {
        return Ok(format!("{} is made at the first start", folder.display()));
    }
    let probe = folder.join(".doctor");
    folder::private()
        .open(&probe)
        .and_then(|mut file| file.write_all(b"x"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| format!("{} can be written", folder.display()))
        .map_err(|error| {
            format!(
                "{} cannot be written ({error}); give it to the user that runs weir",
                folder.display()
            )
        })
}

fn schema(config: &Config) -> Result<String, String> {
    let record = folder::record(&config.data);
    if !record.exists() {
        return Ok("is made at the first start".to_owned());
    }
    let (number, newest) = SqliteStore::schema_of(&record).map_err(|error| error.to_string())?;
    match number.cmp(&newest) {
        Ordering::Equal => Ok(format!("{number}, the newest that this Weir knows")),
        Ordering::Less => Ok(format!(
            "{number}; `weir serve` migrates it to {newest}, so make a backup before"
        )),
        Ordering::Greater => Err(format!(
            "{number}, and this Weir knows {newest}: the record was written by a newer one; start that version"
        )),
    }
}

fn log(config: &Config) -> String {
    let bytes = std::fs::metadata(folder::log(&config.data)).map_or(0, |log| log.len());
    format!(
        "weir.db-wal has {bytes} bytes; it is emptied from {} on",
        limits::LOG_BYTES
    )
}

fn master_key(config: &Config) -> Result<String, String> {
    let file = config.data.join("master.key");
    if config.master_key.is_some() {
        Ok("comes from WEIR_MASTER_KEY".to_owned())
    } else if file.exists() {
        private(&file).map(|()| format!("is in {}; keep a copy elsewhere", file.display()))
    } else if folder::record(&config.data).exists() {
        Err(format!(
            "{} is missing; put the one back that the record was written with",
            file.display()
        ))
    } else {
        Ok("is made at the first start".to_owned())
    }
}

fn admin_key(config: &Config) -> Result<String, String> {
    let file = key_file(config);
    if config.admin_key.is_some() {
        Ok("comes from WEIR_ADMIN_KEY".to_owned())
    } else if file.exists() {
        private(&file).map(|()| format!("is in {}", file.display()))
    } else if folder::record(&config.data).exists() {
        Ok("is not in the data folder; keys made before still work".to_owned())
    } else {
        Ok("is made at the first start".to_owned())
    }
}

#[cfg(unix)]
fn private(file: &std::path::Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(file)
        .map_err(|error| format!("{}: {error}", file.display()))?
        .permissions()
        .mode();
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(format!("{} can be read by others; chmod 600 it", file.display()))
    }
}

#[cfg(not(unix))]
fn private(_: &std::path::Path) -> Result<(), String> {
    Ok(())
}

/// Whether the clock is one at all; how far it is off shows only against a platform.
fn clock() -> Result<String, String> {
    // The first release of this program: no right clock is before it.
    const RELEASED: u64 = 1_767_225_600;
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if seconds >= RELEASED {
        Ok(format!(
            "is set; keep NTP on: more than {} s from a platform's clock is degraded",
            DEGRADED.as_secs()
        ))
    } else {
        Err("is years behind; set it, or webhooks and tokens fail".to_owned())
    }
}

/// Whether the address could be listened at, when nobody answers there.
async fn port(common: &Common) -> Result<String, String> {
    let config =
        Config::load(common.config.as_deref(), |name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
    match TcpListener::bind(config.listen).await {
        Ok(_) => Ok(format!("{} is free; `weir serve` can have it", config.listen)),
        Err(error) => Err(format!("{} is taken by another program ({error})", config.listen)),
    }
}
