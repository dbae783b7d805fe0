//! No secret is found where it does not belong: not in the record, the logs, the events, the errors, the metrics.

mod support;

use std::path::Path;

use serde_json::json;
use support::Connected;

type Result = anyhow::Result<()>;

fn holding(folder: &Path, secret: &[u8], found: &mut Vec<String>) -> Result {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            holding(&path, secret, found)?;
        } else if std::fs::read(&path)?
            .windows(secret.len())
            .any(|window| window == secret)
        {
            found.push(path.display().to_string());
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_apps_secret_is_nowhere_in_the_folder_and_in_no_answer() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    weir.say(&thread, "an answer").await?;
    let fault =
        json!({"on": "send", "fault": {"code": 40105, "message": "Access token is incorrect or has been revoked."}});
    weir.stack.phone.order_fault(fault).await?;
    weir.stack.api.say(&thread, "with a dead token").await?.expect(202)?;
    weir.events
        .wait_where("message.sent", |event| {
            event["data"]["content"]["text"] == "with a dead token"
        })
        .await?;
    for path in [
        "/v1/apps/tiktok",
        "/v1/apps",
        "/v1/events?limit=200",
        "/v1/audit-log",
        "/metrics",
        "/v1/connectors/tiktok",
    ] {
        let answer = weir.stack.api.get(path).await?;
        assert_eq!(answer.status, 200, "{path}: {:#}", answer.body);
        assert!(!answer.body.to_string().contains(support::SECRET), "{path}");
    }
    let mut found = Vec::new();
    holding(weir.stack.data(), support::SECRET.as_bytes(), &mut found)?;
    assert_eq!(found, Vec::<String>::new());
    // The search itself can find something: the customer's words are in the record.
    holding(weir.stack.data(), b"an answer", &mut found)?;
    assert!(!found.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_customer_who_writes_a_secrets_name_gets_that_text() -> Result {
    let mut weir = Connected::begin().await?;
    for text in [
        "{access_token}",
        "{{client_secret}}",
        "$ACCESS_TOKEN",
        "header:Access-Token",
    ] {
        let heard = weir.stack.hears(&mut weir.events, text).await?;
        let thread = heard["data"]["conversation_id"].as_str().unwrap_or_default().to_owned();
        weir.say(&thread, text).await?;
        assert_eq!(weir.on_phone().await?.last().map(String::as_str), Some(text));
    }
    Ok(())
}
