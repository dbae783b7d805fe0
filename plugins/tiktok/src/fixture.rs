//! The hand-written documents in `fixtures/`, and their channel and conversation.

#![allow(clippy::unwrap_used)]

use weir_sdk::testkit::Host;
use weir_sdk::types::{Channel, Conversation};

use crate::manifest;

/// The approximate time of the fixtures.
pub(crate) const NOW: u64 = 1_735_689_700_000;

/// A document of `fixtures/`.
pub(crate) fn text(name: &str) -> String {
    let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The business account of every fixture.
pub(crate) fn channel() -> Channel {
    Channel {
        platform_id: "B".into(),
        username: Some("acme_store".into()),
        country: None,
        settings: "{}".into(),
        callback_url: "https://weir.example/hooks/tiktok".into(),
    }
}

/// The conversation of every fixture, whose id has the plus sign that TikTok's ids have.
pub(crate) fn conversation(answered: bool) -> Conversation {
    Conversation {
        platform_id: "C+1==".into(),
        contact_id: Some("U".into()),
        answered,
    }
}

/// A host that refuses what the manifest does not declare, with one permit.
pub(crate) fn host() -> Host {
    let host = Host::at(NOW);
    host.enforce(&manifest::manifest());
    host.permit_one();
    host
}

/// A successful response.
pub(crate) fn ok(data: &str) -> String {
    format!(r#"{{"code":0,"message":"OK","request_id":"r1","data":{data}}}"#)
}

/// A refusal.
pub(crate) fn no(code: u32, message: &str) -> String {
    format!(r#"{{"code":{code},"message":"{message}","request_id":"r1","data":{{}}}}"#)
}
