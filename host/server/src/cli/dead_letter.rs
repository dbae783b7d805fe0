//! `weir dead-letter`: webhooks that a connector could not process.

use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, text};
use super::{Done, Failure};

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetter {
    /// List dead letters, newest first
    List,
    /// Process dead letters again, with the active version
    Replay {
        /// Dead letter IDs (dl_…)
        #[arg(required_unless_present = "all")]
        ids: Vec<String>,
        /// Replay all dead letters, newest first
        #[arg(long, conflicts_with = "ids")]
        all: bool,
    },
    /// Delete dead letters
    Drop {
        /// Dead letter IDs (dl_…)
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

impl DeadLetter {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        match self {
            Self::List => {
                let letters = client.get(client.at(&["v1", "dead-letters"])).await?;
                let columns = [
                    ("ID", "/id"),
                    ("APP", "/app"),
                    ("VERSION", "/version"),
                    ("RECEIVED", "/received_at"),
                    ("REASON", "/reason"),
                ];
                output.list(&letters, &columns, "no dead letters");
                Ok(())
            }
            Self::Replay { ids, all } => {
                let ids = if all { all_ids(client).await? } else { ids };
                replay(client, output, &ids).await
            }
            Self::Drop { ids } => {
                for id in ids {
                    client
                        .act(Method::DELETE, client.at(&["v1", "dead-letters", &id]))
                        .await?;
                    output.show(&json!({ "id": id, "dropped": true }), || {
                        output.line(&format!("Deleted {id}"));
                    });
                }
                Ok(())
            }
        }
    }
}

/// The IDs of all dead letters, newest first.
async fn all_ids(client: &Client) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut url = client.at(&["v1", "dead-letters"]);
        url.query_pairs_mut().append_pair("limit", "200");
        if let Some(cursor) = &cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        let page = client.get(url).await?;
        let rows = page.get("data").and_then(Value::as_array).cloned().unwrap_or_default();
        ids.extend(rows.iter().map(|row| text(row, "/id")));
        cursor = page.get("next_cursor").and_then(Value::as_str).map(ToOwned::to_owned);
        if cursor.is_none() {
            return Ok(ids);
        }
    }
}

async fn replay(client: &Client, output: &Output, ids: &[String]) -> Done {
    let mut failed = 0;
    for id in ids {
        match client
            .act(Method::POST, client.at(&["v1", "dead-letters", id, "replay"]))
            .await
        {
            Ok(replayed) => output.show(&replayed, || {
                output.line(&format!(
                    "{id}  {} stored, {} duplicates",
                    text(&replayed, "/stored"),
                    text(&replayed, "/duplicates")
                ));
            }),
            Err(failure) if failure.problem.is_some() => {
                failed += 1;
                output.note(&format!("{id}  {}", failure.message));
            }
            Err(failure) => return Err(failure),
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::failed(format!(
            "{failed} of {} dead letters could not be replayed",
            ids.len()
        ))),
    }
}
