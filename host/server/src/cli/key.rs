//! `weir key`: API keys.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use url::Url;

use super::Done;
use super::client::Client;
use super::output::{Output, text};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key; it is shown once
    Create(Create),
    /// List keys
    List {
        /// Of this workspace instead of the key's own; for the operator of the host
        #[arg(long, value_name = "NAME")]
        workspace: Option<String>,
    },
    /// Revoke a key
    Revoke {
        /// Its id (key_…)
        id: String,
        /// Of this workspace instead of the key's own; for the operator of the host
        #[arg(long, value_name = "NAME")]
        workspace: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What a person calls it
    name: String,
    /// What it may be used for: admin, read, messages:write, channels:write, events:write, connectors:write, policy:loosen
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Bind it to a channel (chn_…), and to no other unless named too; without any it is for the whole workspace
    #[arg(long = "channel", value_name = "ID")]
    channels: Vec<String>,
    /// The workspace that it acts for, if not the key's own; for the operator of the host
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// When it stops working, like 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
}

impl Key {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        match self {
            Self::Create(create) => {
                let channels = Some(create.channels).filter(|channels| !channels.is_empty());
                let body = json!({
                    "name": create.name, "scopes": create.scopes, "expires_at": create.expires_at,
                    "channel_ids": channels, "workspace_id": create.workspace,
                });
                let key = client.send(Method::POST, client.at(&["v1", "keys"]), body).await?;
                output.show(&key, || {
                    output.line(&text(&key, "/key"));
                    output.note(&format!("This is {}. It is not shown again.", text(&key, "/id")));
                });
            }
            Self::List { workspace } => {
                let keys = client.get(of(client.at(&["v1", "keys"]), workspace)).await?;
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("BEGINS", "/prefix"),
                    ("SCOPES", "/scopes"),
                    ("CHANNELS", "/channel_ids"),
                    ("EXPIRES", "/expires_at"),
                    ("REVOKED", "/revoked_at"),
                ];
                output.list(&keys, &columns, "no key");
            }
            Self::Revoke { id, workspace } => {
                let url = of(client.at(&["v1", "keys", &id]), workspace);
                client.act(Method::DELETE, url).await?;
                output.show(&json!({ "id": id, "revoked": true }), || {
                    output.line(&format!("Revoked {id}"));
                });
            }
        }
        Ok(())
    }
}

/// The URL, about another workspace if one is named.
fn of(mut url: Url, workspace: Option<String>) -> Url {
    if let Some(workspace) = workspace {
        url.query_pairs_mut().append_pair("workspace_id", &workspace);
    }
    url
}
