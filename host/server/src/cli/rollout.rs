//! `weir connector`: replays, canaries, rollbacks and the history of versions.

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use weir_domain::limits;
use weir_runtime::{Boundary, Report, Transcript};

use super::client::Client;
use super::output::{Output, clean, text};
use super::source::read;
use super::{Common, Done, Exit, Failure};
use crate::connectors::install::load_alone;

#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Replay recorded calls against a version, offline, and show what differs
    Replay(Replay),
    /// Start a canary: serve a share of the accounts with a version
    Canary(Canary),
    /// Stop a canary, or roll back to the previous version
    Rollback {
        /// Name of the connector
        name: String,
        /// Version to roll back
        version: String,
        /// Reason to record in the timeline
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Retire a version that serves no account
    Retire {
        /// Name of the connector
        name: String,
        /// Version to retire
        version: String,
    },
    /// Show the metrics and the outcome of a canary
    Trial {
        /// Name of the connector
        name: String,
        /// Version of the canary
        version: String,
    },
    /// Compare a version's manifest with the active version's
    Changes {
        /// Name of the connector
        name: String,
        /// Version to compare
        version: String,
    },
    /// Show the rollout history of a connector
    Timeline {
        /// Name of the connector
        name: String,
    },
    /// List recorded calls of a connector
    Transcripts {
        /// Name of the connector
        name: String,
        /// Only calls that crashed
        #[arg(long, alias = "broke-off")]
        crashed: bool,
    },
    /// Print the transcript of a call as JSON, for `weir connector replay --file`
    Transcript {
        /// Name of the connector
        name: String,
        /// Transcript ID
        id: String,
        /// Include message texts and names (default: redacted)
        #[arg(long)]
        with_people: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Name of the connector
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// Version to replay the calls against
    #[arg(required_unless_present = "file")]
    version: Option<String>,
    /// Number of calls to replay, newest first
    #[arg(long, value_name = "N", default_value_t = limits::REPLAY_CALLS)]
    last: u32,
    /// Only calls recorded with this version
    #[arg(long, value_name = "VERSION")]
    against: Option<String>,
    /// Transcript file to replay without a host; repeatable
    #[arg(long, value_name = "FILE", requires = "component", conflicts_with_all = ["name", "version", "against", "last"])]
    file: Vec<PathBuf>,
    /// Component file to replay the transcripts against
    #[arg(long, value_name = "FILE", requires = "file")]
    component: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Canary {
    /// Name of the connector
    name: String,
    /// Version to start
    version: String,
    /// Percentage of accounts to serve; 0 only shadows the active version
    #[arg(long, value_name = "N")]
    percent: u8,
    /// Number of crashes allowed before it is rolled back
    #[arg(long, alias = "breaks", value_name = "N", default_value_t = 0)]
    max_crashes: u64,
    /// Allowed increase in failure rate over the active version, in percentage points
    #[arg(long, value_name = "POINTS", default_value_t = 5)]
    margin: u8,
    /// Number of calls before failure rates are compared
    #[arg(long, value_name = "N", default_value_t = 20)]
    calls: u64,
    /// Bake time, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    bake: u32,
    /// Promote automatically after the bake time
    #[arg(long)]
    promote: bool,
}

impl Rollout {
    pub(super) async fn run(self, common: &Common, output: &Output) -> Done {
        let client = || Client::new(common);
        match self {
            Self::Replay(replay) if !replay.file.is_empty() => replay.offline(output).await,
            Self::Replay(replay) => replay.run(&client()?, output).await,
            Self::Canary(canary) => canary.run(&client()?, output).await,
            Self::Rollback { name, version, reason } => {
                let client = client()?;
                let url = client.at(&["v1", "connectors", &name, "versions", &version, "rollback"]);
                let now = client.send(Method::POST, url, json!({ "reason": reason })).await?;
                output.show(&now, || {
                    output.line(&format!(
                        "Rolled back {name} {version}; {} is {}",
                        text(&now, "/version"),
                        text(&now, "/state")
                    ));
                });
                Ok(())
            }
            Self::Retire { name, version } => {
                let client = client()?;
                let url = client.at(&["v1", "connectors", &name, "versions", &version, "retire"]);
                let retired = client.act(Method::POST, url).await?;
                output.show(&retired, || output.line(&format!("Retired {name} {version}")));
                Ok(())
            }
            Self::Trial { name, version } => {
                let client = client()?;
                let canary = client
                    .get(client.at(&["v1", "connectors", &name, "versions", &version, "trial"]))
                    .await?;
                output.show(&canary, || show_canary(&canary, &format!("{name} {version}"), output));
                Ok(())
            }
            Self::Changes { name, version } => {
                let client = client()?;
                let changes = client
                    .get(client.at(&["v1", "connectors", &name, "versions", &version, "changes"]))
                    .await?;
                output.show(&changes, || {
                    show_changes(&changes, &format!("{name} {version}"), output);
                });
                Ok(())
            }
            Self::Timeline { name } => {
                let client = client()?;
                let steps = client.get(client.at(&["v1", "connectors", &name, "timeline"])).await?;
                let columns = [
                    ("TIME", "/at"),
                    ("VERSION", "/version"),
                    ("STAGE", "/state"),
                    ("REASON", "/reason"),
                ];
                output.list(&steps, &columns, "no history");
                Ok(())
            }
            Self::Transcripts { name, crashed } => {
                let client = client()?;
                let mut url = client.at(&["v1", "connectors", &name, "transcripts"]);
                url.query_pairs_mut()
                    .append_pair("limit", &limits::PAGE.to_string())
                    .append_pair("broke_off", if crashed { "true" } else { "false" });
                let found = client.get(url).await?;
                let columns = [
                    ("TIME", "/at"),
                    ("ID", "/id"),
                    ("VERSION", "/version"),
                    ("CALL", "/call"),
                    ("CRASHED", "/broke_off"),
                ];
                output.list(&found, &columns, "no recorded calls");
                Ok(())
            }
            Self::Transcript { name, id, with_people } => {
                let client = client()?;
                let mut url = client.at(&["v1", "connectors", &name, "transcripts", &id]);
                let scrub = if with_people { "false" } else { "true" };
                url.query_pairs_mut().append_pair("scrub", scrub);
                output.document(&client.get(url).await?);
                Ok(())
            }
        }
    }
}

impl Replay {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let (name, version) = (self.name.unwrap_or_default(), self.version.unwrap_or_default());
        let url = client.at(&["v1", "connectors", &name, "versions", &version, "replay"]);
        let body = json!({ "last": self.last, "against": self.against });
        let report = client.send(Method::POST, url, body).await?;
        output.show(&report, || show_report(&report, output));
        verdict(&report)
    }

    /// Replays transcript files against a component file, without a host.
    async fn offline(self, output: &Output) -> Done {
        let component = self.component.unwrap_or_default();
        let connector = load_alone(read(&component)?)
            .await
            .map_err(|error| Failure::new(Exit::Refused, error.to_string()))?;
        let boundary = Boundary::granting_all(connector.manifest());
        let mut report = Report::default();
        for file in &self.file {
            let transcript = transcript(&read(file)?)
                .map_err(|reason| Failure::new(Exit::Refused, format!("{}: {reason}", file.display())))?;
            let replayed = connector.replay(&transcript, &boundary).await;
            if let weir_runtime::End::Aborted { message, backtrace, .. } = &replayed.end
                && !output.is_json()
            {
                output.heading(&format!("{}: {}", file.display(), clean(message)));
                backtrace.lines().for_each(|line| output.line(&clean(line)));
                output.line("");
            }
            report.add(&file.display().to_string(), &transcript, replayed);
        }
        let report = serde_json::to_value(&report).map_err(|error| Failure::failed(error.to_string()))?;
        output.show(&report, || show_report(&report, output));
        verdict(&report)
    }
}

fn transcript(bytes: &Bytes) -> Result<Transcript, String> {
    if bytes.len() > limits::TRANSCRIPT_BYTES {
        return Err(format!(
            "a transcript has at most {} bytes; this file has more",
            limits::TRANSCRIPT_BYTES
        ));
    }
    Transcript::read(std::str::from_utf8(bytes).map_err(|_| "it is not a transcript: it is not UTF-8".to_owned())?)
}

/// Fails if any call differs, for scripts.
fn verdict(report: &Value) -> Done {
    match report.get("differ").and_then(Value::as_u64) {
        Some(0) => Ok(()),
        _ => Err(Failure::new(
            Exit::Refused,
            format!("{} of {} calls differ", text(report, "/differ"), text(report, "/calls")),
        )),
    }
}

fn show_report(report: &Value, output: &Output) {
    let number = |pointer| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let (calls, differ) = (number("/calls"), number("/differ"));
    output.check(
        differ == 0,
        "replay",
        &match (calls, differ) {
            (0, _) => "no recorded calls".to_owned(),
            (calls, 0) => format!("0 of {calls} calls differ"),
            (calls, differ) => format!("{differ} of {calls} calls differ"),
        },
    );
    let refused = number("/refused");
    if refused > 0 {
        output.line(&format!(
            "      The host would refuse requests of this version in {refused} of them."
        ));
    }
    if calls > 0 {
        output.line(&format!(
            "      Mean time per call: {:.2} ms before, {:.2} ms now; peak memory: {} KiB before, {} KiB now",
            number("/before/elapsed_us") as f64 / calls as f64 / 1e3,
            number("/after/elapsed_us") as f64 / calls as f64 / 1e3,
            number("/before/peak_memory") / 1024,
            number("/after/peak_memory") / 1024,
        ));
    }
    for group in report.get("groups").and_then(Value::as_array).into_iter().flatten() {
        output.line("");
        output.heading(&format!(
            "{} × {} in `{}`: {}",
            text(group, "/count"),
            text(group, "/kind"),
            text(group, "/call"),
            text(group, "/at"),
        ));
        match group
            .pointer("/after/reason")
            .filter(|_| text(group, "/kind") == "refusal")
        {
            Some(_) => {
                let request = text(group, "/after/request");
                output.line(&format!("      refused  {}", clean(&text(group, "/after/reason"))));
                if !request.is_empty() {
                    output.line(&format!("      request  {}", clean(&request)));
                }
            }
            None => show_difference(group, output),
        }
        output.line(&format!("      example  {}", text(group, "/transcript")));
    }
}

fn show_difference(difference: &Value, output: &Output) {
    let shown = |member| match difference.get(member) {
        None | Some(Value::Null) => "none".to_owned(),
        Some(value) => clean(&value.to_string()),
    };
    output.line(&format!("      before   {}", shown("before")));
    output.line(&format!("      now      {}", shown("after")));
}

fn show_changes(changes: &Value, version: &str, output: &Output) {
    let active = text(changes, "/active_version");
    let differences = changes.get("manifest").and_then(Value::as_array);
    let differences = differences.map_or(&[][..], Vec::as_slice);
    if active.is_empty() {
        output.line("No version is active; everything in the manifest is new.");
    } else if differences.is_empty() {
        output.line(&format!("The manifests of {version} and {active} are the same."));
    }
    for difference in differences {
        output.heading(&clean(&text(difference, "/at")));
        show_difference(difference, output);
    }
}

fn show_canary(canary: &Value, version: &str, output: &Output) {
    output.facts(&[
        ("canary", version.to_owned()),
        ("accounts", format!("{}%", text(canary, "/canary/percent"))),
        ("started", text(canary, "/canary/since")),
        ("ended", text(canary, "/end/at")),
        ("reason", text(canary, "/end/reason")),
    ]);
    output.line("");
    let rows = json!({ "data": [
        { "role": "canary", "figures": canary.get("on_trial") },
        { "role": "active", "figures": canary.get("active") },
    ]});
    let columns = [
        ("VERSION", "/role"),
        ("CALLS", "/figures/calls"),
        ("FAILED", "/figures/failed"),
        ("CRASHED", "/figures/broke_off"),
        ("P50 MS", "/figures/p50_ms"),
        ("P99 MS", "/figures/p99_ms"),
    ];
    output.list(&rows, &columns, "");
    output.line("");
    if let Some(shadow) = canary.get("shadow") {
        show_report(shadow, output);
    }
}

impl Canary {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let (name, version) = (&self.name, &self.version);
        let url = client.at(&["v1", "connectors", name, "versions", version, "canary"]);
        let body = json!({
            "percent": self.percent,
            "rule": {
                "breaks": self.max_crashes, "margin": self.margin, "calls": self.calls,
                "bake_s": self.bake, "promote": self.promote,
            },
        });
        let started = client.send(Method::POST, url, body).await?;
        output.show(&started, || {
            if self.percent == 0 {
                output.line(&format!(
                    "Started canary {name} {version}: it shadows the active version"
                ));
            } else {
                output.line(&format!(
                    "Started canary {name} {version} with {}% of the accounts",
                    self.percent
                ));
            }
            output.line(&format!(
                "To see its metrics, run `weir connector trial {name} {version}`."
            ));
        });
        Ok(())
    }
}
