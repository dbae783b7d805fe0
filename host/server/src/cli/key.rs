//! `weir key`: API keys.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;

use super::Done;
use super::client::Client;
use super::output::{Output, text};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Make a key; it is shown once
    Create(Create),
    /// List keys
    List,
    /// Revoke a key
    Revoke {
        /// Its id (key_…)
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What a person calls it
    name: String,
    /// What it may be used for: admin, read, messages:write, channels:write, events:write, connectors:write, policy:loosen
    #[arg(long = "scope", required = true, value_name = "SCOPE")]
    scopes: Vec<String>,
    /// When it stops working, like 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
}

impl Key {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        match self {
            Self::Create(create) => {
                let body = json!({ "name": create.name, "scopes": create.scopes, "expires_at": create.expires_at });
                let key = client.send(Method::POST, client.at(&["v1", "keys"]), body).await?;
                output.show(&key, || {
                    output.line(&text(&key, "/key"));
                    output.note(&format!("This is {}. It is not shown again.", text(&key, "/id")));
                });
            }
            Self::List => {
                let keys = client.get(client.at(&["v1", "keys"])).await?;
                let columns = [
                    ("ID", "/id"),
                    ("NAME", "/name"),
                    ("BEGINS", "/prefix"),
                    ("SCOPES", "/scopes"),
                    ("EXPIRES", "/expires_at"),
                    ("REVOKED", "/revoked_at"),
                ];
                output.list(&keys, &columns, "no key");
            }
            Self::Revoke { id } => {
                client.act(Method::DELETE, client.at(&["v1", "keys", &id])).await?;
                output.show(&json!({ "id": id, "revoked": true }), || {
                    output.line(&format!("Revoked {id}"));
                });
            }
        }
        Ok(())
    }
}
