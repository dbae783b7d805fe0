//! `weir connector`: components, from where they are published to one that serves.

mod available;

use std::path::PathBuf;

use base64::Engine;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, clean, text};
use super::rollout::Rollout;
use super::source::{Access, Repository, Source};
use super::{Common, Done, Exit, Failure};
use crate::Config;
use crate::registry::inspect;

#[derive(Debug, Subcommand)]
pub(super) enum Connector {
    /// Read a component without a host: what it says of itself, and what it asks for
    Inspect(Component),
    /// Install a component; nobody is served by it until it is promoted
    Install(Install),
    /// List connectors, or what a registry has of one
    List(List),
    /// Let a version serve
    Promote(Promote),
    #[command(flatten)]
    Rollout(Rollout),
}

/// A component, and where it comes from.
#[derive(Debug, Args)]
pub(super) struct Component {
    /// A file, https://…, or oci://HOST/REPOSITORY:TAG (or @sha256:… in place of the tag)
    #[arg(value_name = "FILE|URL")]
    source: Source,
    /// Its signature, as minisign wrote it; the one that stands beside the component, if there is one, when left out
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(super) struct Install {
    #[command(flatten)]
    component: Component,
    /// Take it although a newer release is or was here
    #[arg(long)]
    allow_downgrade: bool,
    /// Say yes to everything that it asks for, and let it serve
    #[arg(long)]
    promote: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// List what this repository has instead, and what of it is newer than what is installed; each that something was
    /// installed from, if none is named
    #[arg(long, value_name = "oci://HOST/REPOSITORY", num_args = 0..=1)]
    available: Option<Option<Repository>>,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The connector
    name: String,
    /// The version
    version: String,
    /// Say yes to everything that it asks for
    #[arg(long)]
    grant: bool,
    /// … but not to this route; it is told so when it asks
    #[arg(long, value_name = "ROUTE", requires = "grant")]
    withhold: Vec<String>,
}

impl Connector {
    pub(super) async fn run(self, common: &Common, output: &Output) -> Done {
        match self {
            Self::Inspect(component) => component.inspect(common, output).await,
            Self::Install(install) => install.run(&Client::new(common)?, output).await,
            Self::Promote(promote) => promote.run(&Client::new(common)?, output).await,
            Self::Rollout(rollout) => rollout.run(common, output).await,
            Self::List(list) => list.run(&Client::new(common)?, output).await,
        }
    }
}

impl List {
    async fn run(self, client: &Client, output: &Output) -> Done {
        if let Some(repository) = &self.available {
            return available::list(repository.as_ref(), &self.access, client, output).await;
        }
        let connectors = client.get(client.at(&["v1", "connectors"])).await?;
        let columns = [
            ("NAME", "/name"),
            ("PLATFORM", "/platform"),
            ("SERVES", "/active_version"),
            ("NEWEST", "/versions/0/version"),
            ("NEWEST IS", "/versions/0/state"),
        ];
        output.list(
            &connectors,
            &columns,
            "no connector yet; `weir connector install FILE` installs one",
        );
        Ok(())
    }
}

impl Component {
    async fn inspect(self, common: &Common, output: &Output) -> Done {
        let env = |name: &str| std::env::var(name).ok();
        let config = Config::load(common.config.as_deref(), env)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
        let obtained = self
            .source
            .obtain(&self.access, self.signature.as_deref(), output)
            .await?;
        let inspection = inspect(obtained.bytes, obtained.signature.as_deref(), &config.trusted_keys)
            .await
            .map_err(|error| Failure::new(Exit::Refused, error.to_string()))?;
        let document = serde_json::to_value(&inspection).map_err(|error| Failure::failed(error.to_string()))?;
        output.show(&document, || {
            output.facts(&[
                ("connector", text(&document, "/manifest/name")),
                ("version", text(&document, "/manifest/version")),
                ("platform", text(&document, "/manifest/platform")),
                ("about", text(&document, "/manifest/description")),
                ("digest", text(&document, "/digest")),
                ("size", text(&document, "/size")),
                ("signature", text(&document, "/signature/status")),
                ("signed by", text(&document, "/signature/key")),
            ]);
            output.line("");
            wanted(output, document.get("wanted"));
        });
        Ok(())
    }
}

/// What a component asks for, in words that a person can judge.
fn wanted(output: &Output, asked: Option<&Value>) {
    let asked = asked.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if asked.is_empty() {
        output.line("It asks for nothing.");
    }
    for asked in asked {
        output.heading(&format!("{} ({})", text(asked, "/route"), text(asked, "/class")));
        output.line(&format!("  {}", clean(&text(asked, "/words"))));
        output.line(&format!("  Why: {}", clean(&text(asked, "/why"))));
        for change in asked.get("changes").and_then(Value::as_array).into_iter().flatten() {
            output.line(&format!(
                "  Otherwise than before: {} was {}, and would be {}",
                text(change, "/member"),
                clean(&text(change, "/before")),
                clean(&text(change, "/after")),
            ));
        }
    }
}

impl Install {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let mut url = client.at(&["v1", "connectors"]);
        if self.allow_downgrade {
            url.query_pairs_mut().append_pair("allow_downgrade", "true");
        }
        let Component {
            source,
            signature,
            access,
        } = &self.component;
        let obtained = source.obtain(access, signature.as_deref(), output).await?;
        if let Some(source) = &obtained.source {
            url.query_pairs_mut().append_pair("source", source);
        }
        let signature = obtained.signature.as_deref();
        let signature = signature.map(|text| base64::engine::general_purpose::STANDARD.encode(text));
        let headers = signature.as_deref().map(|text| ("component-signature", text));
        let version = client.upload(url, "application/wasm", headers, obtained.bytes).await?;
        let (name, number) = (text(&version, "/name"), text(&version, "/version"));
        if self.promote {
            return Promote {
                name,
                version: number,
                grant: true,
                withhold: Vec::new(),
            }
            .run(client, output)
            .await;
        }
        output.show(&version, || {
            output.line(&format!("Staged {name} {number}: nobody is served by it yet."));
            output.line("");
            if version.get("missing_grants").and_then(Value::as_array).is_some_and(Vec::is_empty) {
                output.line(&format!(
                    "It asks for nothing that was not decided before. `weir connector promote {name} {number}` lets it serve."
                ));
                return;
            }
            output.line("It asks for what nobody has decided about yet:");
            wanted(output, version.get("missing_grants"));
            output.line("");
            output.line(&format!(
                "`weir connector promote {name} {number} --grant` says yes to all of it, and lets it serve; \
                 `--grant --withhold ROUTE` to all but that."
            ));
        });
        Ok(())
    }
}

impl Promote {
    /// To what this version asks for, beside what was granted before: until it serves, the version before needs that.
    async fn say_yes(&self, client: &Client) -> Done {
        let (name, number) = (&self.name, &self.version);
        let connector = client.get(client.at(&["v1", "connectors", name])).await?;
        let version = client
            .get(client.at(&["v1", "connectors", name, "versions", number]))
            .await?;
        let list = |document: &Value, member: &str| {
            document
                .get(member)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let wanted = list(&version, "wanted_grants");
        for route in &self.withhold {
            if !wanted.iter().any(|grant| text(grant, "/route") == *route) {
                return Err(Failure::usage(format!("{name} {number} asks for no route {route}")));
            }
        }
        let mut grants = list(&connector, "grants");
        grants.extend(wanted);
        grants.retain(|grant| !self.withhold.contains(&text(grant, "/route")));
        let body = json!({ "version": number, "grants": grants });
        client
            .send(Method::PUT, client.at(&["v1", "connectors", name, "grants"]), body)
            .await?;
        Ok(())
    }

    async fn run(self, client: &Client, output: &Output) -> Done {
        let (name, number) = (&self.name, &self.version);
        if self.grant {
            self.say_yes(client).await?;
        }
        let promoted = client
            .act(
                Method::POST,
                client.at(&["v1", "connectors", name, "versions", number, "promote"]),
            )
            .await;
        let promoted = promoted.map_err(|mut failure| {
            if failure
                .problem
                .as_ref()
                .is_some_and(|problem| problem.get("missing").is_some())
            {
                failure
                    .message
                    .push_str("; --grant says yes to all that it asks for, --withhold ROUTE to all but that");
            }
            failure
        })?;
        output.show(&promoted, || output.line(&format!("{name} {number} serves.")));
        Ok(())
    }
}
