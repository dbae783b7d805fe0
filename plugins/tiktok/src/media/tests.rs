#![allow(clippy::unwrap_used)]

use weir_sdk::types::Verdict;

use super::*;
use crate::fixture::{self, channel, conversation, ok};

fn media(kind: MediaKind) -> Media {
    Media {
        kind,
        reference: "v0d0".into(),
        mime_type: None,
        size: None,
        filename: None,
        caption: None,
    }
}

#[test]
fn pictures_and_videos_are_located() {
    for (kind, name) in [(MediaKind::Image, "IMAGE"), (MediaKind::Video, "VIDEO")] {
        let host = fixture::host();
        host.answer(
            "POST",
            &wire::url(wire::DOWNLOAD),
            200,
            ok(r#"{"download_url":"https://p16.tiktokcdn.com/x"}"#),
        );
        let location = TikTok::locate(channel(), conversation(true), "M1==".into(), media(kind)).unwrap();
        assert_eq!(location.url, "https://p16.tiktokcdn.com/x");
        // The host sets the token.
        assert_eq!(location.headers, []);
        assert_eq!(
            host.json_body(0),
            json!({ "business_id": "B", "conversation_id": "C+1==", "message_id": "M1==", "media_id": "v0d0", "media_type": name })
        );
    }
}

#[test]
fn what_tiktok_does_not_lend_is_not_asked_for() {
    let failure = TikTok::locate(channel(), conversation(true), "M1==".into(), media(MediaKind::Sticker)).unwrap_err();
    assert_eq!(failure.verdict, Verdict::Permanent);
}

#[test]
fn capability_query_tries_both_types() {
    for (answered, replies, asked_as, keep_ms) in [
        (false, &[true][..], &["STRANGER"][..], KEEP_YES_MS),
        (true, &[true], &["SINGLE"], KEEP_YES_MS),
        (true, &[false, true], &["SINGLE", "STRANGER"], KEEP_YES_MS),
        (false, &[false, false], &["STRANGER", "SINGLE"], KEEP_NO_MS),
    ] {
        let host = fixture::host();
        for allowed in replies {
            let infos =
                format!(r#"{{"capability_infos":[{{"capability_result":{allowed},"capability_type":"IMAGE_SEND"}}]}}"#);
            host.answer("GET", &wire::url(wire::CAPABILITIES), 200, ok(&infos));
        }
        let found = TikTok::probe(channel(), conversation(answered)).unwrap();
        assert_eq!(
            found,
            [Capability {
                kind: ContentKind::Image,
                allowed: replies.contains(&true),
                keep_ms
            }]
        );
        let requests = host.requests();
        assert_eq!(requests.len(), asked_as.len());
        for (request, name) in requests.iter().zip(asked_as) {
            assert!(
                request.url.contains(&format!("conversation_type={name}")),
                "{}",
                request.url
            );
            assert!(request.url.contains("conversation_id=C%2B1%3D%3D"), "{}", request.url);
        }
    }
}

#[test]
fn missing_image_flag_is_no_capability() {
    let host = fixture::host();
    host.answer("GET", &wire::url(wire::CAPABILITIES), 200, ok("{}"));
    assert_eq!(TikTok::probe(channel(), conversation(true)).unwrap(), []);
}
