//! Replays: on the version that a transcript is of, nothing differs; on another one, exactly what it does differently.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_domain::grant::Grants;
use weir_domain::message::ContentKind;
use weir_runtime::context::State;
use weir_runtime::{Boundary, Connector, Difference, DifferenceKind, End, Report, Transcript};

use crate::support::{
    Notes, Platform, Reply, TOKEN, component, context, context_of, echo, permit, picture, raw_webhook, runtime, webhook,
};

const TAKEN: Reply = Reply::Answer(200, r#"{"id":"m9"}"#);

/// The transcript of the only call.
fn only(notes: &Notes) -> String {
    let mut transcripts = notes.transcripts.lock().unwrap();
    assert_eq!(transcripts.len(), 1, "{transcripts:?}");
    transcripts.remove(0)
}

async fn differences(echo: &Connector, json: &str) -> Vec<Difference> {
    let boundary = Boundary::granting_all(echo.manifest());
    echo.replay(&Transcript::read(json).unwrap(), &boundary)
        .await
        .differences
}

/// Sends a text, and gives the transcript; the platform is gone afterwards.
async fn sent(echo: &Connector, notes: &Notes, text: &str, replies: Vec<Reply>, state: State) -> String {
    let platform = Platform::that(replies).await;
    let context = context(echo.manifest(), &platform, state);
    let _ = echo.send(permit(echo.manifest(), text), context).await;
    only(notes)
}

#[tokio::test]
async fn same_version_replays_without_network() {
    let (echo, notes) = echo().await;
    notes.transcripts.lock().unwrap().clear();
    let state: State = [("sends".to_owned(), b"41".to_vec())].into();
    let mut transcripts = Vec::new();
    for (text, replies) in [
        ("hello", vec![TAKEN]),
        ("hello", vec![Reply::Answer(500, "{}")]),
        ("hello", vec![Reply::HangUp]),
        ("state", vec![TAKEN]),
        ("hoard", vec![TAKEN]),
        ("twice", vec![TAKEN]),
        ("elsewhere", vec![]),
        ("trap-before", vec![]),
        ("trap-after", vec![TAKEN]),
        ("loop", vec![]),
    ] {
        transcripts.push(sent(&echo, &notes, text, replies, state.clone()).await);
    }
    for text in ["hi", "trap", "grow", "flood", "http", "مرحبا 👋\u{1f3fd}", "a\0b\\\"\n"] {
        let _ = echo.receive(&webhook(text)).await;
        transcripts.push(only(&notes));
    }
    for body in ["no json", r#"{"account":"acme","events":[{"type":"new"}]}"#, "\u{feff}"] {
        let _ = echo.receive(&raw_webhook(body.into())).await;
        transcripts.push(only(&notes));
    }
    for json in &transcripts {
        assert_eq!(differences(&echo, json).await, [], "{json}");
    }
    // Replays are not observed.
    assert!(notes.transcripts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_transcript_holds_what_crossed_and_no_secret() {
    let (echo, notes) = echo().await;
    notes.transcripts.lock().unwrap().clear();
    let json = sent(&echo, &notes, "state", vec![Reply::Repeat], State::new()).await;
    // The platform repeated all that it was sent, including the token, and the settings hold a honeytoken.
    assert!(!json.contains(TOKEN), "{json}");
    assert!(json.contains("sk_planted"), "{json}");
    let transcript: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(transcript["call"], "send");
    assert_eq!(transcript["asked"]["function"], "send_message");
    assert_eq!(
        transcript["exchanges"][0]["request"]["url"],
        "https://echo.example/messages"
    );
    assert_eq!(transcript["writes"], json!({"sends": "1"}));
}

#[tokio::test]
async fn what_differs_is_named() {
    let (echo, notes) = echo().await;
    notes.transcripts.lock().unwrap().clear();
    echo.receive(&webhook("hi")).await.unwrap();
    let received = only(&notes);
    let sent = sent(&echo, &notes, "state", vec![TAKEN], State::new()).await;
    let changed = |json: &str, change: &dyn Fn(&mut Value)| {
        let mut transcript: Value = serde_json::from_str(json).unwrap();
        change(&mut transcript);
        transcript.to_string()
    };

    let other = changed(&received, &|t| {
        let returned = &mut t["end"]["said"]["Ok"][0]["event"]["Message"]["content"]["Text"];
        assert_eq!(*returned, "hi");
        *returned = "HI".into();
    });
    let found = differences(&echo, &other).await;
    let difference = |kind, at: &str, before: Value, after: Value| Difference {
        kind,
        at: at.into(),
        before: Some(before),
        after: Some(after),
    };
    assert_eq!(
        found,
        [difference(
            DifferenceKind::Event,
            "[0].event.Message.content.Text",
            "HI".into(),
            "hi".into()
        )]
    );

    let other = changed(&sent, &|t| {
        let request = &mut t["exchanges"][0]["request"];
        let text = request["body"]["bytes"].as_str().unwrap();
        let mut body: Value = serde_json::from_str(text).unwrap();
        body["text"] = "2".into();
        request["body"]["bytes"] = body.to_string().into();
        t["writes"]["sends"] = "2".into();
    });
    let found = differences(&echo, &other).await;
    assert_eq!(
        found,
        [
            difference(
                DifferenceKind::Request,
                "request[0].body.bytes.text",
                "2".into(),
                "1".into()
            ),
            difference(DifferenceKind::StateWrite, "state.sends", "2".into(), "1".into()),
        ]
    );

    let trapped = changed(&received, &|t| {
        let text = t["asked"]["with"]["webhook"]["body"]
            .as_str()
            .unwrap()
            .replace("\"hi\"", "\"trap\"");
        t["asked"]["with"]["webhook"]["body"] = text.into();
    });
    let boundary = Boundary::granting_all(echo.manifest());
    let replayed = echo.replay(&Transcript::read(&trapped).unwrap(), &boundary).await;
    assert!(
        matches!(&replayed.end, End::Aborted { name, .. } if name == "trapped"),
        "{replayed:?}"
    );
    assert_eq!(replayed.differences[0].kind, DifferenceKind::Trap);
}

#[tokio::test]
async fn a_call_that_broke_off_says_where() {
    let (echo, notes) = echo().await;
    notes.transcripts.lock().unwrap().clear();
    assert!(echo.receive(&webhook("trap")).await.is_err());
    let transcript = Transcript::read(&only(&notes)).unwrap();
    let End::Aborted { name, backtrace, .. } = &transcript.end else {
        panic!("{transcript:?}")
    };
    assert_eq!(name, "trapped");
    assert!(backtrace.contains("wasm"), "{backtrace}");
}

#[tokio::test]
async fn invalid_transcript_is_refused_with_reason() {
    for (file, word) in [
        ("", "not a transcript"),
        ("{}", "not a transcript"),
        (r#"{"format":2}"#, "format 2"),
        (r#"{"format":1,"connector":"echo"}"#, "missing field"),
    ] {
        let refused = Transcript::read(file).unwrap_err();
        assert!(refused.contains(word), "{refused}");
    }
}

/// The refusals of a version that makes the same requests as before.
fn refusals(found: &[Difference]) -> Vec<(&str, &Value)> {
    let refused = found.iter().filter(|one| one.kind == DifferenceKind::Refusal);
    refused
        .map(|one| (one.at.as_str(), one.after.as_ref().unwrap()))
        .collect()
}

#[tokio::test]
async fn pictures_without_a_route_are_refused_in_a_replay() {
    let (runtime, notes) = runtime();
    let tiktok = runtime.load(component("tiktok")).await.unwrap();
    let blind = runtime.load(component("variants/tiktok-no-pictures")).await.unwrap();
    let answer = r#"{"code":0,"message":"OK","data":{"download_url":"https://p16.tiktokcdn.com/picture?x=1"}}"#;
    let mut report = Report::default();
    for _ in 0..3 {
        let platform = Platform::that([Reply::Answer(200, answer)]).await;
        let context = context_of(
            "https://business-api.tiktok.com",
            tiktok.manifest(),
            &platform,
            State::new(),
        );
        let (conversation, media) = picture();
        let located = tiktok
            .locate(context, &conversation, "m1", ContentKind::Image, &media)
            .await;
        assert!(located.result.is_ok(), "{located:?}");
        let transcript = Transcript::read(&only(&notes)).unwrap();
        let same = tiktok
            .replay(&transcript, &Boundary::granting_all(tiktok.manifest()))
            .await;
        assert_eq!(same.differences, []);
        let replayed = blind
            .replay(&transcript, &Boundary::granting_all(blind.manifest()))
            .await;
        assert_eq!(
            refusals(&replayed.differences),
            [(
                "request[1]",
                &json!({
                    "rule": "no_route",
                    "reason": "no route of the manifest covers GET https://p16.tiktokcdn.com/picture",
                    "request": "GET https://p16.tiktokcdn.com/picture",
                })
            )]
        );
        report.add("one", &transcript, replayed);
    }
    assert_eq!((report.calls, report.differ, report.refused), (3, 3, 3));
    let group = report
        .groups
        .iter()
        .find(|group| group.example.kind == DifferenceKind::Refusal);
    assert_eq!(group.unwrap().count, 3);
}

#[tokio::test]
async fn a_replayed_send_is_refused_without_its_grant() {
    let (echo, notes) = echo().await;
    notes.transcripts.lock().unwrap().clear();
    let transcript = sent(&echo, &notes, "hello", vec![TAKEN], State::new()).await;
    let transcript = Transcript::read(&transcript).unwrap();
    let reasons = async |grants: Grants| {
        let boundary = Boundary {
            grants: Arc::new(grants),
            ..Boundary::default()
        };
        let found = echo.replay(&transcript, &boundary).await.differences;
        refusals(&found)
            .iter()
            .map(|(at, after)| format!("{at}: {}, {}", after["rule"], after["reason"]))
            .collect::<Vec<_>>()
    };
    let manifest = echo.manifest();
    assert_eq!(reasons(Grants::to(Grants::wanted_by(manifest))).await, [""; 0]);
    let route = &manifest.routes[0].id;
    assert_eq!(
        reasons(Grants::default()).await,
        [format!(
            r#"request[0]: "not_granted", "the operator has not granted the route {route}""#
        )]
    );
    assert_eq!(
        reasons(Grants::default().answered(manifest, Vec::new())).await,
        [format!(
            r#"request[0]: "withheld", "the operator withholds the route {route} from this connector""#
        )]
    );
}

#[tokio::test]
async fn what_was_refused_then_ends_the_same() {
    let (echo, notes) = echo().await;
    notes.transcripts.lock().unwrap().clear();
    let refused = sent(&echo, &notes, "elsewhere", vec![], State::new()).await;
    assert_eq!(differences(&echo, &refused).await, []);
    // Another version's routes let it through.
    let mut let_through: Value = serde_json::from_str(&refused).unwrap();
    let_through["exchanges"][0]["answer"] = json!({ "Ok": { "status": 200, "headers": [], "body": "" } });
    let found = differences(&echo, &let_through.to_string()).await;
    assert_eq!(
        refusals(&found)[0].1["reason"],
        "no route of the manifest covers GET https://elsewhere.example/"
    );
}
