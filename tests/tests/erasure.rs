//! No data of an erased person is left in the data directory.

mod support;

use std::path::Path;

use anyhow::ensure;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use support::{Connected, text_of};
use weir_tests::until;

type Result<T = ()> = anyhow::Result<T>;

/// Every file below a directory, except the logs of the programs other than the host, as (name, bytes).
fn files(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        } else if !path.ends_with("sandbox.log") {
            all.push((path.display().to_string(), std::fs::read(&path)?));
        }
    }
    Ok(all)
}

/// The files that contain one of these.
fn holding(folder: &Path, canaries: &[(&str, Vec<u8>)]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (file, bytes) in files(folder)? {
        for (what, canary) in canaries {
            if bytes.windows(canary.len()).any(|window| window == canary) {
                found.push(format!("{what} in {file}"));
            }
        }
    }
    Ok(found)
}

/// A picture of the business, that no other is like.
async fn upload(weir: &Connected, bytes: Vec<u8>) -> Result<Value> {
    let form = Form::new().part("file", Part::bytes(bytes).file_name("canary-file-name.jpg"));
    let request = weir.stack.api.request(Method::POST, "/v1/media").multipart(form);
    Ok(weir.stack.api.send(request).await?.expect(201)?["id"].clone())
}

#[tokio::test]
async fn no_byte_of_an_erased_person_is_in_the_data_folder() -> Result {
    let mut weir = Connected::with_endpoints().await?;
    let data = weir.stack.data().to_owned();
    // No server listens there: the deliveries wait, with their attempts.
    let endpoint = json!({"url": "http://127.0.0.1:9/hook"});
    weir.stack.api.post("/v1/endpoints", endpoint).await?.expect(201)?;
    let event = weir.stack.receives(&mut weir.events, "canary-of-the-contact").await?;
    let thread = text_of(&event["data"]["conversation_id"])?;
    let contact = text_of(&event["data"]["contact_id"])?;
    weir.stack.phone.does("write", json!({"type": "image"})).await?;
    weir.events
        .wait_where("message.received", |event| event["data"]["content"]["type"] == "image")
        .await?;
    let mut picture = vec![0xff, 0xd8, 0xff, 0xe0];
    picture.extend(b"canary-picture-of-the-business".repeat(40));
    let media = upload(&weir, picture).await?;
    let image = json!({"content": {"type": "image", "media": {"id": media}}});
    weir.send(&thread, image).await?.expect(202)?;
    let reply = json!({"content": {"type": "text", "text": "canary-of-the-business"}, "reply_to": event["data"]["id"]});
    let path = format!("/v1/conversations/{thread}/messages");
    let request = weir
        .stack
        .api
        .request(Method::POST, &path)
        .header("idempotency-key", "canary");
    weir.stack.api.send(request.json(&reply)).await?.expect(202)?;
    let request = weir
        .stack
        .api
        .request(Method::POST, &format!("/v1/contacts/{contact}/refresh"));
    weir.stack
        .api
        .send(request.header("idempotency-key", "refreshed"))
        .await?;
    weir.stack.phone.does("read", json!({})).await?;
    // Refused, with the facts.
    let long = json!({"content": {"type": "text", "text": "x".repeat(100_000)}});
    ensure!(weir.send(&thread, long).await?.status >= 400, "it is too long");
    // Both of ours are with the platform, and the picture of theirs is here.
    until("the messages and the pictures", async || {
        let messages = weir.messages(&thread).await?;
        let settled = messages
            .iter()
            .all(|message| message["status"] != "queued" && message["status"] != "sending");
        let stored = std::fs::read_dir(data.join("media"))?.count();
        Ok((settled && messages.len() >= 4 && stored == 2).then_some(()))
    })
    .await?;
    let known = weir
        .stack
        .api
        .get(&format!("/v1/contacts/{contact}"))
        .await?
        .expect(200)?;
    let conversation = weir
        .stack
        .api
        .get(&format!("/v1/conversations/{thread}"))
        .await?
        .expect(200)?;
    let bytes = |text: &Value| text_of(text).map(String::into_bytes);
    let canaries = [
        ("their text", b"canary-of-the-contact".to_vec()),
        ("our text", b"canary-of-the-business".to_vec()),
        ("our picture", b"canary-picture-of-the-business".to_vec()),
        ("the picture's name", b"canary-file-name".to_vec()),
        ("their name", bytes(&known["display_name"])?),
        ("their handle", bytes(&known["username"])?),
        ("their id", bytes(&known["platform_id"])?),
        ("the conversation's id", bytes(&conversation["platform_id"])?),
    ];
    let before = holding(&data, &canaries)?;
    for (what, _) in &canaries {
        ensure!(
            before.iter().any(|found| found.starts_with(what)),
            "{what} is nowhere: {before:?}"
        );
    }
    let request = weir
        .stack
        .api
        .request(Method::POST, &format!("/v1/contacts/{contact}/erase"));
    let erased = weir
        .stack
        .api
        .send(request.header("prefer", "return=representation"))
        .await?
        .expect(200)?;
    assert_eq!(
        (&erased["conversations"], &erased["files"]),
        (&json!(1), &json!(2)),
        "{erased}"
    );
    assert_eq!(holding(&data, &canaries)?, Vec::<String>::new());
    assert_eq!(std::fs::read_dir(data.join("media"))?.count(), 0);
    weir.stack.stop_weir().await?;
    assert_eq!(holding(&data, &canaries)?, Vec::<String>::new(), "nor after a stop");
    Ok(())
}
