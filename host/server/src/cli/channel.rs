//! `weir channel`: connected platform accounts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, text};
use super::{Done, Exit, Failure, checked, pair};

/// How often a connect session is polled.
const POLL_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(super) enum Channel {
    /// Connect a platform account: print the link to open, and wait for consent
    Connect(Connect),
    /// List channels
    List,
    /// Show a channel
    Show {
        /// Channel ID (chn_…)
        id: String,
    },
    /// Create a QR code of a channel's link
    Qr(Qr),
    /// Run diagnostics on a channel
    Diagnose {
        /// Channel ID (chn_…)
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// App to connect through
    app: String,
    /// Name of the channel
    #[arg(long)]
    name: Option<String>,
    /// Label to attach to the channel; repeatable
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Country (ISO 3166-1 alpha-2), if the platform does not report it
    #[arg(long, value_name = "XX")]
    country: Option<String>,
    /// Where to send the browser afterwards
    #[arg(long, value_name = "URL")]
    redirect_url: Option<String>,
    /// Print the link and exit
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Qr {
    /// Channel ID (chn_…)
    id: String,
    /// The target of the link
    #[arg(long, default_value = "chat")]
    target: Target,
    /// Text to prefill in the message composer
    #[arg(long)]
    message: Option<String>,
    /// Value to return with the referral
    #[arg(long = "ref", value_name = "VALUE")]
    reference: Option<String>,
    /// File to write, .svg or .png (default: SVG on standard output)
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Target {
    Chat,
    Profile,
}

impl Channel {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        match self {
            Self::Connect(connect) => connect.run(client, output).await,
            Self::Qr(qr) => qr.run(client, output).await,
            Self::List => {
                let channels = client.get(client.at(&["v1", "channels"])).await?;
                let columns = [
                    ("ID", "/id"),
                    ("TYPE", "/type"),
                    ("NAME", "/name"),
                    ("USERNAME", "/username"),
                    ("STATUS", "/status"),
                    ("PAUSED", "/paused"),
                ];
                output.list(
                    &channels,
                    &columns,
                    "no channels; connect one with `weir channel connect APP`",
                );
                Ok(())
            }
            Self::Show { id } => {
                let channel = client.get(client.at(&["v1", "channels", &id])).await?;
                let queue = client.get(client.at(&["v1", "channels", &id, "queue"])).await?;
                output.show(&channel, || show(output, &channel, &queue));
                Ok(())
            }
            Self::Diagnose { id } => diagnose(client, output, &id).await,
        }
    }
}

fn show(output: &Output, channel: &Value, queue: &Value) {
    output.facts(&[
        ("channel", text(channel, "/id")),
        ("name", text(channel, "/name")),
        ("account", text(channel, "/username")),
        ("display name", text(channel, "/display_name")),
        ("platform", text(channel, "/type")),
        ("platform ID", text(channel, "/platform_id")),
        ("country", text(channel, "/country")),
        ("app", text(channel, "/app")),
        ("status", text(channel, "/status")),
        ("paused", text(channel, "/paused")),
        ("reauthorize by", text(channel, "/reauthorize_by")),
        ("queued messages", text(queue, "/depth")),
        ("connected", text(channel, "/created_at")),
    ]);
}

async fn diagnose(client: &Client, output: &Output, id: &str) -> Done {
    let findings = client.get(client.at(&["v1", "channels", id, "diagnostics"])).await?;
    let rows = findings
        .get("data")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut failed = 0;
    for finding in &rows {
        let passed = finding.get("ok").and_then(Value::as_bool) == Some(true);
        failed += u32::from(!passed);
        if output.is_json() {
            output.document(finding);
            continue;
        }
        output.check(passed, &text(finding, "/subject"), &text(finding, "/evidence"));
        if !passed {
            output.line(&format!("      {}", text(finding, "/remedy")));
        }
    }
    checked(failed)
}

impl Connect {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let labels: BTreeMap<_, _> = self.labels.into_iter().collect();
        let body = json!({
            "app": self.app, "name": self.name, "labels": labels, "country": self.country, "redirect_url": self.redirect_url,
        });
        let mut session = client
            .send(Method::POST, client.at(&["v1", "connect-sessions"]), body)
            .await?;
        let id = text(&session, "/id");
        if self.no_wait {
            output.show(&session, || output.line(&text(&session, "/url")));
            return Ok(());
        }
        if text(&session, "/status") == "pending" {
            output.note("Open this link in a browser that is signed in to the account:");
            output.note(&format!("  {}", text(&session, "/url")));
            output.note(&format!(
                "The link expires at {}. Waiting …",
                text(&session, "/expires_at")
            ));
        }
        while text(&session, "/status") == "pending" {
            tokio::time::sleep(POLL_EVERY).await;
            session = client.get(client.at(&["v1", "connect-sessions", &id])).await?;
        }
        match text(&session, "/status").as_str() {
            "succeeded" => {
                let channel = client
                    .get(client.at(&["v1", "channels", &text(&session, "/channel_id")]))
                    .await?;
                output.show(&channel, || {
                    output.line(&format!(
                        "Connected {} as {}",
                        text(&channel, "/name"),
                        text(&channel, "/id")
                    ));
                });
                Ok(())
            }
            "expired" => Err(Failure::failed(
                "the link expired before the account was connected; run the command again",
            )),
            _ => Err(Failure {
                exit: Exit::Refused,
                message: format!("not connected: {}", text(&session, "/problem/detail")),
                problem: Some(session),
            }),
        }
    }
}

impl Qr {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let is_png = self
            .out
            .as_ref()
            .and_then(|path| path.extension())
            .is_some_and(|end| end.eq_ignore_ascii_case("png"));
        let mut url = client.at(&["v1", "channels", &self.id, if is_png { "qr.png" } else { "qr.svg" }]);
        let target = match self.target {
            Target::Chat => "chat",
            Target::Profile => "profile",
        };
        url.query_pairs_mut().append_pair("target", target);
        if let Some(message) = &self.message {
            url.query_pairs_mut().append_pair("message", message);
        }
        if let Some(reference) = &self.reference {
            url.query_pairs_mut().append_pair("ref", reference);
        }
        let image = client.bytes(url).await?;
        match &self.out {
            Some(path) => {
                std::fs::write(path, &image)
                    .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
                output.note(&format!("Wrote {}", path.display()));
            }
            None => output.line(&String::from_utf8_lossy(&image)),
        }
        Ok(())
    }
}
