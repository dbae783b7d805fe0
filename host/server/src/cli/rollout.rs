//! `weir connector`: proof before a swap, the swap, and the way back.

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
use crate::registry::load_alone;

#[derive(Debug, Subcommand)]
pub(super) enum Rollout {
    /// Ask real calls again, of another version, and show what would change; nothing leaves
    Replay(Replay),
    /// Put a version on trial, for a share of the accounts
    Canary(Canary),
    /// Take a version back: one on trial, or the one that serves for the one before it
    Rollback {
        /// The connector
        name: String,
        /// The version that goes back
        version: String,
        /// Why, for the timeline
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Retire a version that serves nobody
    Retire {
        /// The connector
        name: String,
        /// The version
        version: String,
    },
    /// Show how a version does on trial, or did
    Trial {
        /// The connector
        name: String,
        /// The version
        version: String,
    },
    /// Show what a version would change in its manifest: policy, routes, contents
    Changes {
        /// The connector
        name: String,
        /// The version
        version: String,
    },
    /// List the steps of a connector's versions
    Timeline {
        /// The connector
        name: String,
    },
    /// List what was written down of a connector's calls
    Transcripts {
        /// The connector
        name: String,
        /// Only calls that broke off
        #[arg(long)]
        broke_off: bool,
    },
    /// Print what crossed the boundary in one call, for `weir connector replay --file`
    Transcript {
        /// The connector
        name: String,
        /// The transcript's id
        id: String,
        /// With what people wrote and are called; left out otherwise
        #[arg(long)]
        with_people: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The connector
    #[arg(required_unless_present = "file")]
    name: Option<String>,
    /// The version that is asked
    #[arg(required_unless_present = "file")]
    version: Option<String>,
    /// The newest so many calls
    #[arg(long, default_value_t = limits::REPLAY_CALLS)]
    last: u32,
    /// Only calls that this version answered
    #[arg(long, value_name = "VERSION")]
    against: Option<String>,
    /// A transcript from a file, without a host
    #[arg(long, value_name = "FILE", requires = "component", conflicts_with_all = ["name", "version", "against", "last"])]
    file: Vec<PathBuf>,
    /// The component that is asked, without a host
    #[arg(long, value_name = "FILE", requires = "file")]
    component: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Canary {
    /// The connector
    name: String,
    /// The version
    version: String,
    /// How many of a hundred accounts it serves; with 0 it follows along and serves none
    #[arg(long)]
    percent: u8,
    /// How often it may break off before it goes back
    #[arg(long, default_value_t = 0)]
    breaks: u64,
    /// By how many points of a hundred more of its calls may fail than of the active version's
    #[arg(long, default_value_t = 5)]
    margin: u8,
    /// How many calls it takes before that is compared
    #[arg(long, default_value_t = 20)]
    calls: u64,
    /// How long it has to hold, in seconds
    #[arg(long, default_value_t = 3600)]
    bake: u32,
    /// Promote it by itself when it held so long
    #[arg(long)]
    promote: bool,
}

impl Rollout {
    pub(super) async fn run(self, common: &Common, output: &Output) -> Done {
        let client = || Client::new(common);
        match self {
            Self::Replay(replay) if !replay.file.is_empty() => replay.alone(output).await,
            Self::Replay(replay) => replay.run(&client()?, output).await,
            Self::Canary(canary) => canary.run(&client()?, output).await,
            Self::Rollback { name, version, reason } => {
                let client = client()?;
                let url = client.at(&["v1", "connectors", &name, "versions", &version, "rollback"]);
                let now = client.send(Method::POST, url, json!({ "reason": reason })).await?;
                output.show(&now, || {
                    output.line(&format!(
                        "{name} {version} goes back. {} is {}.",
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
                output.show(&retired, || output.line(&format!("{name} {version} is retired.")));
                Ok(())
            }
            Self::Trial { name, version } => {
                let client = client()?;
                let trial = client
                    .get(client.at(&["v1", "connectors", &name, "versions", &version, "trial"]))
                    .await?;
                output.show(&trial, || show_trial(&trial, &format!("{name} {version}"), output));
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
                    ("WHEN", "/at"),
                    ("VERSION", "/version"),
                    ("IS", "/state"),
                    ("WHY", "/reason"),
                ];
                output.list(&steps, &columns, "nothing yet");
                Ok(())
            }
            Self::Transcripts { name, broke_off } => {
                let client = client()?;
                let mut url = client.at(&["v1", "connectors", &name, "transcripts"]);
                url.query_pairs_mut()
                    .append_pair("limit", &limits::PAGE.to_string())
                    .append_pair("broke_off", if broke_off { "true" } else { "false" });
                let found = client.get(url).await?;
                let columns = [
                    ("WHEN", "/at"),
                    ("TRANSCRIPT", "/id"),
                    ("VERSION", "/version"),
                    ("CALL", "/call"),
                    ("BROKE OFF", "/broke_off"),
                ];
                output.list(&found, &columns, "no call was written down");
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

    /// Without a host: transcripts from files, of a component from a file.
    async fn alone(self, output: &Output) -> Done {
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
        return Err(format!("a transcript has at most {} bytes", limits::TRANSCRIPT_BYTES));
    }
    Transcript::read(std::str::from_utf8(bytes).map_err(|_| "it is not a transcript: it is not UTF-8".to_owned())?)
}

/// Whether a script may go on: not if anything differs.
fn verdict(report: &Value) -> Done {
    match report.get("differ").and_then(Value::as_u64) {
        Some(0) => Ok(()),
        differ => Err(Failure::new(
            Exit::Refused,
            format!("{} calls differ", differ.unwrap_or_default()),
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
            (0, _) => "no call was written down yet".to_owned(),
            (calls, 0) => format!("{calls} calls, and all end the same"),
            (calls, differ) => format!("{differ} of {calls} calls differ"),
        },
    );
    let refused = number("/refused");
    if refused > 0 {
        output.line(&format!(
            "    The host would refuse what this version does in {refused} of them."
        ));
    }
    if calls > 0 {
        output.line(&format!(
            "    {:.2} ms a call before, {:.2} ms now; {} and {} KiB of memory at most",
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
                output.line(&format!("    refused {}", clean(&text(group, "/after/reason"))));
                if !request.is_empty() {
                    output.line(&format!("    request {}", clean(&request)));
                }
            }
            None => show_difference(group, output),
        }
        output.line(&format!("    as in {}", text(group, "/transcript")));
    }
}

fn show_difference(difference: &Value, output: &Output) {
    let shown = |member| match difference.get(member) {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(value) => clean(&value.to_string()),
    };
    output.line(&format!("    before  {}", shown("before")));
    output.line(&format!("    now     {}", shown("after")));
}

fn show_changes(changes: &Value, version: &str, output: &Output) {
    let active = text(changes, "/active_version");
    let differences = changes.get("manifest").and_then(Value::as_array);
    let differences = differences.map_or(&[][..], Vec::as_slice);
    if active.is_empty() {
        output.line("No version serves; everything of it is new.");
    } else if differences.is_empty() {
        output.line(&format!("{version} says of itself what {active} does."));
    }
    for difference in differences {
        output.heading(&clean(&text(difference, "/at")));
        show_difference(difference, output);
    }
}

fn show_trial(trial: &Value, version: &str, output: &Output) {
    let (percent, since) = (text(trial, "/canary/percent"), text(trial, "/canary/since"));
    let ended = text(trial, "/end/at");
    output.line(&if ended.is_empty() {
        format!("{version} is on trial since {since} and serves {percent} of 100 accounts.")
    } else {
        let reason = clean(&text(trial, "/end/reason"));
        format!("The trial of {version}, of {percent} of 100 accounts since {since}, ended at {ended}: {reason}")
    });
    output.line("");
    let rows = json!({ "data": [
        { "who": "on trial", "figures": trial.get("on_trial") },
        { "who": "active", "figures": trial.get("active") },
    ]});
    let columns = [
        ("", "/who"),
        ("CALLS", "/figures/calls"),
        ("FAILED", "/figures/failed"),
        ("BROKE OFF", "/figures/broke_off"),
        ("P50 MS", "/figures/p50_ms"),
        ("P99 MS", "/figures/p99_ms"),
    ];
    output.list(&rows, &columns, "");
    output.line("");
    if let Some(shadow) = trial.get("shadow") {
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
                "breaks": self.breaks, "margin": self.margin, "calls": self.calls,
                "bake_s": self.bake, "promote": self.promote,
            },
        });
        let on_trial = client.send(Method::POST, url, body).await?;
        output.show(&on_trial, || {
            if self.percent == 0 {
                output.line(&format!(
                    "{name} {version} follows along: what the active version does is asked of it again."
                ));
            } else {
                output.line(&format!("{name} {version} serves {} of 100 accounts.", self.percent));
            }
            output.line(&format!("`weir connector trial {name} {version}` shows how it does."));
        });
        Ok(())
    }
}
