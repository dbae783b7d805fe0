//! `weir workspace`: tenants of the host.

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::Done;
use super::client::Client;
use super::output::{Output, text};

#[derive(Debug, Subcommand)]
pub(super) enum Workspace {
    /// Make a workspace; `weir key create --workspace` makes its keys
    Create {
        /// Its name: a letter, then lower-case letters, digits and hyphens
        name: String,
    },
    /// List workspaces
    List,
    /// Show a workspace
    Show {
        /// Its name
        name: String,
    },
    /// Remove a workspace that has no channels, with its keys, endpoints, apps and history
    Remove {
        /// Its name
        name: String,
    },
}

impl Workspace {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        let all = ["v1", "workspaces"];
        match self {
            Self::Create { name } => {
                let made = client
                    .send(Method::POST, client.at(&all), json!({ "id": name }))
                    .await?;
                output.show(&made, || output.line(&format!("Created {}", text(&made, "/id"))));
            }
            Self::List => {
                let workspaces = client.get(client.at(&all)).await?;
                output.list(
                    &workspaces,
                    &[("NAME", "/id"), ("CREATED", "/created_at")],
                    "no workspace",
                );
            }
            Self::Show { name } => {
                let one = client.get(client.at(&["v1", "workspaces", &name])).await?;
                output.show(&one, || {
                    output.line(&format!(
                        "{} · created {}",
                        text(&one, "/id"),
                        text(&one, "/created_at")
                    ));
                });
            }
            Self::Remove { name } => {
                client
                    .act(Method::DELETE, client.at(&["v1", "workspaces", &name]))
                    .await?;
                output.show(&json!({ "id": name, "removed": true }), || {
                    output.line(&format!("Removed {name}"));
                });
            }
        }
        Ok(())
    }
}
