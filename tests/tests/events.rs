//! All events are in one log, in the form that its catalog declares, and a reader that was disconnected resumes at its
//! position.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Connected, python, text_of};
use weir_tests::HOUR_MS;

type Result = anyhow::Result<()>;

/// All events of the log.
async fn log(weir: &Connected) -> anyhow::Result<Vec<Value>> {
    let page = weir.stack.api.get("/v1/events?limit=200").await?.expect(200)?;
    assert_eq!(page["has_more"], false);
    Ok(page["data"].as_array().cloned().unwrap_or_default())
}

/// A run in which as much as possible happens.
async fn eventful() -> anyhow::Result<Connected> {
    let mut weir = Connected::begin().await?;
    let phone = weir.stack.phone.clone();
    let thread = weir.conversation().await?;
    weir.say(&thread, "sent").await?;
    phone.does("read", json!({})).await?;
    weir.events.wait_for("message.read").await?;
    for kind in [
        json!({"type": "image"}),
        json!({"type": "sticker"}),
        json!({"type": "share_post"}),
    ] {
        phone.does("write", kind).await?;
        weir.events.wait_for("message.received").await?;
    }
    for operation in ["ADD", "REMOVE"] {
        let reaction = json!({"type": "reaction", "emoji": "👍", "operation": operation});
        phone.does("write", reaction).await?;
    }
    weir.events.wait_for("reaction.removed").await?;
    phone
        .does("app-reply", json!({"type": "text", "text": "From the app"}))
        .await?;
    weir.events.wait_for("message.echoed").await?;
    phone.does("ad-click", json!({"campaign": "manual"})).await?;
    phone.writes("I saw your ad").await?;
    weir.events.wait_for("referral.received").await?;
    // Another person, who is forgotten again.
    let kenji = phone.of("kenji").writes("Hello").await?;
    let received = weir
        .events
        .wait_where("message.received", |event| {
            event["data"]["platform_id"] == kenji["message_id"]
        })
        .await?;
    let contact = text_of(&received["data"]["contact_id"])?;
    weir.stack
        .api
        .post(&format!("/v1/contacts/{contact}/erase"), json!({}))
        .await?;
    weir.events.wait_for("contact.erased").await?;
    phone
        .order_fault(json!({"on": "send", "fault": {"code": 40064}}))
        .await?;
    weir.stack.api.say(&thread, "refused").await?.expect(202)?;
    weir.events.wait_for("message.failed").await?;
    phone
        .order_fault(json!({"on": "send", "fault": {"reset": true}}))
        .await?;
    weir.stack.api.say(&thread, "uncertain").await?.expect(202)?;
    weir.events.wait_for("message.uncertain").await?;
    phone.of("lena").writes("Hallo!").await?;
    weir.events.wait_for("channel.inbound_withheld").await?;
    let channel = format!("/v1/channels/{}", text_of(&weir.channel["id"])?);
    for paused in [true, false] {
        weir.stack
            .api
            .patch(&channel, json!({"paused": paused}))
            .await?
            .expect(200)?;
    }
    weir.stack.api.delete(&channel).await?;
    weir.events.wait_for("channel.deleted").await?;
    Ok(weir)
}

#[tokio::test]
async fn every_event_of_a_run_is_as_its_schema_says() -> Result {
    let weir = eventful().await?;
    let api = &weir.stack.api;
    let mut schemas = serde_json::Map::new();
    for kind in api.get("/v1/event-types").await?.expect(200)?["data"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let name = text_of(&kind["type"])?;
        let schema = api.get(&format!("/v1/event-types/{name}")).await?.expect(200)?;
        schemas.insert(name, schema);
    }
    assert_eq!(
        api.get("/v1/event-types/nothing.happened").await?.problem(404)?,
        "not_found"
    );
    let events = log(&weir).await?;
    let kinds: BTreeSet<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert!(kinds.len() >= 20, "{kinds:?}");
    // An event with the data of another type must not pass, or the schemas have no effect.
    let script = "
import json, sys
from jsonschema import Draft202012Validator as Validator
given = json.load(sys.stdin)
judges = {}
for name, schema in given['schemas'].items():
    Validator.check_schema(schema)
    judges[name] = Validator(schema)
for event in given['events']:
    for error in judges[event['type']].iter_errors(event):
        print(event['type'], error.json_path, error.message)
    if judges[event['type']].is_valid({**event, 'data': {'name': 'another thing'}}):
        print(event['type'], 'takes anything')
";
    let given = json!({"schemas": schemas, "events": events});
    assert_eq!(python(script, &given.to_string()).await?, "");
    Ok(())
}

#[tokio::test]
async fn a_stream_goes_on_where_it_broke_off_even_over_a_restart() -> Result {
    let mut weir = Connected::begin().await?;
    let thread = weir.conversation().await?;
    let last = weir.say(&thread, "before").await?;
    let seen = weir.events.seen().last().cloned().unwrap_or_default();
    assert_eq!(seen["data"]["id"], last["id"]);
    weir.stack.kill_weir().await?;
    weir.stack.start_weir().await?;
    weir.stack.api.say(&thread, "while disconnected").await?.expect(202)?;
    weir.stack.time_passes(HOUR_MS).await?;
    let mut again = weir.stack.api.listen_after(seen["id"].as_str()).await?;
    let sent = again
        .wait_where("message.sent", |event| {
            event["data"]["content"]["text"] == "while disconnected"
        })
        .await?;
    let after = |event: &Value| event["sequence"].as_i64() > seen["sequence"].as_i64();
    let logged: Vec<Value> = log(&weir).await?.into_iter().filter(after).collect();
    let logged: Vec<&Value> = logged
        .iter()
        .take_while(|event| event["id"] != sent["id"])
        .chain([&sent])
        .collect();
    assert_eq!(again.seen().iter().collect::<Vec<_>>(), logged);
    Ok(())
}
