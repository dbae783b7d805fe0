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
    /// Create an API key; it is shown only once
    Create(Create),
    /// List API keys
    List {
        /// Workspace to list the keys of (default: your own; for operators of the host)
        #[arg(long, value_name = "NAME")]
        workspace: Option<String>,
    },
    /// Revoke an API key
    Revoke {
        /// Key ID (key_…)
        id: String,
        /// Workspace of the key (default: your own; for operators of the host)
        #[arg(long, value_name = "NAME")]
        workspace: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// Name of the key
    name: String,
    /// Scope: admin, read, messages:write, channels:write, events:write, connectors:write or policy:loosen; repeatable
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Channel ID (chn_…) to restrict the key to; repeatable (default: all channels of the workspace)
    #[arg(long = "channel", value_name = "ID")]
    channels: Vec<String>,
    /// Workspace to create the key in (default: your own; for operators of the host)
    #[arg(long, value_name = "NAME")]
    workspace: Option<String>,
    /// Expiration time, such as 2027-01-01T00:00:00Z (default: never)
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
                    output.note(&format!(
                        "Created {}. Store the key now; it is not shown again.",
                        text(&key, "/id")
                    ));
                });
            }
            Self::List { workspace } => {
                let keys = client.get(in_workspace(client.at(&["v1", "keys"]), workspace)).await?;
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("PREFIX", "/prefix"),
                    ("SCOPES", "/scopes"),
                    ("CHANNELS", "/channel_ids"),
                    ("EXPIRES", "/expires_at"),
                    ("REVOKED", "/revoked_at"),
                ];
                output.list(&keys, &columns, "no keys");
            }
            Self::Revoke { id, workspace } => {
                let url = in_workspace(client.at(&["v1", "keys", &id]), workspace);
                client.act(Method::DELETE, url).await?;
                output.show(&json!({ "id": id, "revoked": true }), || {
                    output.line(&format!("Revoked {id}"));
                });
            }
        }
        Ok(())
    }
}

/// The URL, with a workspace if one is named.
fn in_workspace(mut url: Url, workspace: Option<String>) -> Url {
    if let Some(workspace) = workspace {
        url.query_pairs_mut().append_pair("workspace_id", &workspace);
    }
    url
}
