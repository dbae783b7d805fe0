//! `weir why`: a refusal, or what became of a message, in words.

use serde_json::{Value, json};

use super::client::Client;
use super::output::{Output, text};
use super::{Done, Failure};

pub(super) async fn run(client: &Client, output: &Output, id: &str) -> Done {
    match id.split_once('_').map(|(kind, _)| kind) {
        Some("rfs") => refusal(client, output, id).await,
        Some("msg") => message(client, output, id).await,
        _ => Err(Failure::usage(format!(
            "{id} is neither a refusal (rfs_…) nor a message (msg_…)"
        ))),
    }
}

async fn refusal(client: &Client, output: &Output, id: &str) -> Done {
    let refusal = client.get(client.at(&["v1", "refusals", id])).await?;
    output.show(&refusal, || {
        output.facts(&[
            ("refused", text(&refusal, "/about")),
            ("to", text(&refusal, "/whom")),
            ("when", text(&refusal, "/at")),
            ("rule", text(&refusal, "/rule")),
            ("because", text(&refusal, "/detail")),
            ("facts", text(&refusal, "/facts")),
            ("it changes", text(&refusal, "/changes")),
            ("what to do", text(&refusal, "/remedy")),
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
            ("because", text(&message, "/error/detail")),
            ("code", text(&message, "/error/code")),
            ("fault", text(&message, "/error/fault")),
            ("platform's code", text(&message, "/error/platform/code")),
            ("platform's words", text(&message, "/error/platform/message")),
            ("platform's request", text(&message, "/error/platform/request_id")),
        ]);
        let tries = attempts.get("data").and_then(Value::as_array).map_or(0, Vec::len);
        if tries > 0 {
            output.line("");
            let columns = [
                ("TRY", "/number"),
                ("BEGAN", "/started_at"),
                ("OUTCOME", "/outcome"),
                ("ROUTE", "/requests/0/route"),
                ("ANSWER", "/requests/0/status"),
                ("ERROR", "/error/detail"),
            ];
            output.list(&attempts, &columns, "");
        }
    });
    Ok(())
}
