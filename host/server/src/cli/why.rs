//! `weir why`: the reason of a refusal, or the attempts of a message.

use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, text};
use super::{Done, Failure};

pub(super) async fn run(client: &Client, output: &Output, id: &str) -> Done {
    match id.split_once('_').map(|(kind, _)| kind) {
        Some("rfs") => refusal(client, output, id).await,
        Some("msg") => message(client, output, id).await,
        _ => Err(Failure::usage(format!(
            "{id} is neither a refusal ID (rfs_…) nor a message ID (msg_…)"
        ))),
    }
}

async fn refusal(client: &Client, output: &Output, id: &str) -> Done {
    let refusal = client.get(client.at(&["v1", "refusals", id])).await?;
    output.show(&refusal, || {
        output.facts(&[
            ("refused", text(&refusal, "/about")),
            ("subject", text(&refusal, "/whom")),
            ("time", text(&refusal, "/at")),
            ("rule", text(&refusal, "/rule")),
            ("reason", text(&refusal, "/detail")),
            ("details", text(&refusal, "/facts")),
            ("retryable", text(&refusal, "/changes")),
            ("fix", text(&refusal, "/remedy")),
            ("conversation", text(&refusal, "/conversation_id")),
            ("channel", text(&refusal, "/channel_id")),
        ]);
    });
    Ok(())
}

async fn message(client: &Client, output: &Output, id: &str) -> Done {
    let message = client.get(client.at(&["v1", "messages", id])).await?;
    let attempts = client.get(client.at(&["v1", "messages", id, "attempts"])).await?;
    let both = json!({ "message": message, "attempts": attempts.get("data") });
    output.show(&both, || {
        output.facts(&[
            ("message", id.to_owned()),
            ("direction", text(&message, "/direction")),
            ("status", text(&message, "/status")),
            ("reason", text(&message, "/error/detail")),
            ("error code", text(&message, "/error/code")),
            ("caused by", text(&message, "/error/fault")),
            ("platform code", text(&message, "/error/platform/code")),
            ("platform message", text(&message, "/error/platform/message")),
            ("platform request", text(&message, "/error/platform/request_id")),
        ]);
        let count = attempts.get("data").and_then(Value::as_array).map_or(0, Vec::len);
        if count > 0 {
            output.line("");
            let columns = [
                ("ATTEMPT", "/number"),
                ("STARTED", "/started_at"),
                ("OUTCOME", "/outcome"),
                ("ROUTE", "/requests/0/route"),
                ("RESPONSE", "/requests/0/status"),
                ("ERROR", "/error/detail"),
            ];
            output.list(&attempts, &columns, "");
        }
    });
    Ok(())
}
