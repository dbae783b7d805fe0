//! Calls that are asked again: the version that a transcript is of does the same again, whatever it did; another one is shown
//! to differ where it does.

use serde_json::{Value, json};
use weir_runtime::context::State;
use weir_runtime::{Connector, Difference, DifferenceKind, End, Transcript};

use crate::support::{Notes, Platform, Reply, TOKEN, context, echo, permit, raw_webhook, webhook};

const TAKEN: Reply = Reply::Answer(200, r#"{"id":"m9"}"#);

/// The transcript of the only call.
fn only(notes: &Notes) -> String {
    let mut transcripts = notes.transcripts.lock().unwrap();
    assert_eq!(transcripts.len(), 1, "{transcripts:?}");
    transcripts.remove(0)
}

async fn differences(echo: &Connector, json: &str) -> Vec<Difference> {
    echo.replay(&Transcript::read(json).unwrap()).await.differences
}

/// Sends a text, and gives the transcript; the platform is gone afterwards.
async fn sent(echo: &Connector, notes: &Notes, text: &str, replies: Vec<Reply>, state: State) -> String {
    let platform = Platform::that(replies).await;
    let context = context(echo.manifest(), &platform, state);
    let _ = echo.send(permit(echo.manifest(), text), context).await;
    only(notes)
}

#[tokio::test]
async fn the_same_version_does_the_same_again_without_a_network() {
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
    // Nobody is told of what only was asked again.
    assert!(notes.transcripts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_transcript_holds_what_crossed_and_no_secret() {
    let (echo, notes) = echo().await;
    notes.transcripts.lock().unwrap().clear();
    let json = sent(&echo, &notes, "state", vec![Reply::Repeat], State::new()).await;
    // The platform repeated all that it was sent, the token among it; and a canary lies among the settings.
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
        let said = &mut t["end"]["said"]["Ok"][0]["event"]["Message"]["content"]["Text"];
        assert_eq!(*said, "hi");
        *said = "HI".into();
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
    let replayed = echo.replay(&Transcript::read(&trapped).unwrap()).await;
    assert!(
        matches!(&replayed.end, End::Broke { name, .. } if name == "trapped"),
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
    let End::Broke { name, backtrace, .. } = &transcript.end else {
        panic!("{transcript:?}")
    };
    assert_eq!(name, "trapped");
    assert!(backtrace.contains("wasm"), "{backtrace}");
}

#[tokio::test]
async fn a_file_that_is_no_transcript_is_refused_in_words() {
    for (file, word) in [
        ("", "no transcript"),
        ("{}", "no transcript"),
        (r#"{"format":2}"#, "form 2"),
        (r#"{"format":1,"connector":"echo"}"#, "missing field"),
    ] {
        let refused = Transcript::read(file).unwrap_err();
        assert!(refused.contains(word), "{refused}");
    }
}
