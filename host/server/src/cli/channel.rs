//! `weir channel`: connected accounts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, text};
use super::{Done, Exit, Failure, pair};

/// Between two looks at a connect session.
const LOOK: Duration = Duration::from_secs(2);

#[derive(Debug, Subcommand)]
pub(super) enum Channel {
    /// Connect an account: prints the link to open, and waits until it is done
    Connect(Connect),
    /// List channels
    List,
    /// Show a channel
    Show {
        /// Its id (chn_…)
        id: String,
    },
    /// Draw a channel's link as a QR code
    Qr(Qr),
    /// Look at a channel from all sides
    Diagnose {
        /// Its id (chn_…)
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Connect {
    /// The app to connect through
    app: String,
    /// Your name for the channel
    #[arg(long)]
    name: Option<String>,
    /// Your own words, for sorting
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Where the account is registered, as two letters, where its platform does not tell
    #[arg(long, value_name = "XX")]
    country: Option<String>,
    /// Where the browser goes in the end
    #[arg(long, value_name = "URL")]
    redirect_url: Option<String>,
    /// Print the link and end
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Qr {
    /// The channel's id (chn_…)
    id: String,
    /// What it opens
    #[arg(long, default_value = "chat")]
    target: Target,
    /// A message that is put into the composer
    #[arg(long)]
    message: Option<String>,
    /// Your own value, which comes back with the referral
    #[arg(long = "ref", value_name = "VALUE")]
    reference: Option<String>,
    /// Where to write it, as .svg or .png; SVG on standard output if left out
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
                    "no channel yet; `weir channel connect APP` makes one",
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
        ("shown as", text(channel, "/display_name")),
        ("platform", text(channel, "/type")),
        ("platform id", text(channel, "/platform_id")),
        ("country", text(channel, "/country")),
        ("app", text(channel, "/app")),
        ("status", text(channel, "/status")),
        ("paused", text(channel, "/paused")),
        ("authorise again by", text(channel, "/reauthorize_by")),
        ("messages that wait", text(queue, "/depth")),
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
    let mut amiss = 0;
    for finding in &rows {
        let is_well = finding.get("ok").and_then(Value::as_bool) == Some(true);
        amiss += u32::from(!is_well);
        if output.is_json() {
            output.document(finding);
            continue;
        }
        output.check(is_well, &text(finding, "/subject"), &text(finding, "/evidence"));
        if !is_well {
            output.line(&format!("     {}", text(finding, "/remedy")));
        }
    }
    if amiss > 0 {
        return Err(Failure::failed(format!(
            "{amiss} of {} checks are not well",
            rows.len()
        )));
    }
    Ok(())
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
            output.note("Open this link in a browser where the account's owner is signed in:");
            output.note(&format!("  {}", text(&session, "/url")));
            output.note(&format!("It works until {}. Waiting …", text(&session, "/expires_at")));
        }
        while text(&session, "/status") == "pending" {
            tokio::time::sleep(LOOK).await;
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
            "expired" => Err(Failure::failed("nobody came in time; run the command again")),
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
        let drawing = client.bytes(url).await?;
        match &self.out {
            Some(path) => {
                let cannot = |error| Failure::failed(format!("{} cannot be written: {error}", path.display()));
                std::fs::write(path, &drawing).map_err(cannot)?;
                output.note(&format!("Wrote {}", path.display()));
            }
            None => output.line(&String::from_utf8_lossy(&drawing)),
        }
        Ok(())
    }
}
