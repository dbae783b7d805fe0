//! `weir connector`: components, from where they are published to an active version.

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
use crate::connectors::install::inspect;

#[derive(Debug, Subcommand)]
pub(super) enum Connector {
    /// Show a component's manifest, requested grants and signature, without a host
    Inspect(Component),
    /// Install a component as a staged version
    Install(Install),
    /// List connectors, or the versions in a registry
    List(List),
    /// Make a version active
    Promote(Promote),
    #[command(flatten)]
    Rollout(Rollout),
}

/// A component and its source.
#[derive(Debug, Args)]
pub(super) struct Component {
    /// Component: a file, https://…, or oci://HOST/REPOSITORY:TAG (or @sha256:… instead of the tag)
    #[arg(value_name = "FILE|URL")]
    source: Source,
    /// Path to a minisign signature (default: the one published with the component, such as FILE.minisig)
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(super) struct Install {
    #[command(flatten)]
    component: Component,
    /// Allow a version older than the newest one installed so far
    #[arg(long)]
    allow_downgrade: bool,
    /// Grant everything that it requests, and make it active
    #[arg(long)]
    promote: bool,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// List the versions in a repository, compared with those installed (default: every repository that a version was
    /// installed from)
    #[arg(long, value_name = "oci://HOST/REPOSITORY", num_args = 0..=1)]
    available: Option<Option<Repository>>,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// Name of the connector
    name: String,
    /// Version to make active
    version: String,
    /// Grant everything that it requests
    #[arg(long)]
    grant: bool,
    /// Route to withhold from the grants; repeatable
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
            ("ACTIVE", "/active_version"),
            ("NEWEST", "/versions/0/version"),
            ("NEWEST STAGE", "/versions/0/state"),
        ];
        output.list(
            &connectors,
            &columns,
            "no connectors; install one with `weir connector install FILE`",
        );
        Ok(())
    }
}

impl Component {
    async fn inspect(self, common: &Common, output: &Output) -> Done {
        let config = common.load()?;
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
                ("description", text(&document, "/manifest/description")),
                ("digest", text(&document, "/digest")),
                ("size", text(&document, "/size")),
                ("signature", text(&document, "/signature/status")),
                ("signed by", text(&document, "/signature/key")),
            ]);
            output.line("");
            requested(output, document.get("wanted"));
        });
        Ok(())
    }
}

/// Lists the grants that a component requests, with the reasons that it gives.
fn requested(output: &Output, grants: Option<&Value>) {
    let grants = grants.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if grants.is_empty() {
        output.line("It requests no grants.");
    }
    for grant in grants {
        output.heading(&format!("{} ({})", text(grant, "/route"), text(grant, "/class")));
        output.line(&format!("  {}", clean(&text(grant, "/words"))));
        output.line(&format!("  Reason: {}", clean(&text(grant, "/why"))));
        for change in grant.get("changes").and_then(Value::as_array).into_iter().flatten() {
            output.line(&format!(
                "  Changed: {} from {} to {}",
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
            output.line(&format!("Staged {name} {number}"));
            output.line("");
            let missing = version.get("missing_grants");
            if missing.and_then(Value::as_array).is_some_and(Vec::is_empty) {
                output.line(&format!(
                    "It requests no new grants. To make it active, run `weir connector promote {name} {number}`."
                ));
                return;
            }
            output.line("It requests new grants:");
            requested(output, missing);
            output.line("");
            output.line(&format!(
                "To grant all of them and make it active, run `weir connector promote {name} {number} --grant`; to withhold a \
                 route, add `--withhold ROUTE`."
            ));
        });
        Ok(())
    }
}

impl Promote {
    /// Grants what this version requests, and keeps the earlier grants: the active version needs them until it is
    /// replaced.
    async fn grant(&self, client: &Client) -> Done {
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
        let requested = list(&version, "wanted_grants");
        for route in &self.withhold {
            if !requested.iter().any(|grant| text(grant, "/route") == *route) {
                return Err(Failure::usage(format!(
                    "{name} {number} does not request the route {route}"
                )));
            }
        }
        let mut grants = list(&connector, "grants");
        grants.extend(requested);
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
            self.grant(client).await?;
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
                    .push_str("; use --grant to grant all that it requests, and --withhold ROUTE to leave one out");
            }
            failure
        })?;
        output.show(&promoted, || output.line(&format!("{name} {number} is active")));
        Ok(())
    }
}
