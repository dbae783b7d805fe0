//! `weir workspace`: tenants of the host.

use clap::Subcommand;
use http::Method;
use serde_json::json;

use super::Done;
use super::client::Client;
use super::output::{Output, text};

#[derive(Debug, Subcommand)]
pub(super) enum Workspace {
    /// Create a workspace; create its keys with `weir key create --workspace`
    Create {
        /// Name: lowercase letters, digits and hyphens, starting with a letter
        name: String,
    },
    /// List workspaces
    List,
    /// Show a workspace
    Show {
        /// Name of the workspace
        name: String,
    },
    /// Remove a workspace without channels, with its keys, endpoints, apps and history
    Remove {
        /// Name of the workspace
        name: String,
    },
}

impl Workspace {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        let all = ["v1", "workspaces"];
        match self {
            Self::Create { name } => {
                let created = client
                    .send(Method::POST, client.at(&all), json!({ "id": name }))
                    .await?;
                output.show(&created, || output.line(&format!("Created {}", text(&created, "/id"))));
            }
            Self::List => {
                let workspaces = client.get(client.at(&all)).await?;
                output.list(
                    &workspaces,
                    &[("NAME", "/id"), ("CREATED", "/created_at")],
                    "no workspaces",
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
