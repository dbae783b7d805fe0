//! Messages whose account no version serves.

use std::time::Duration;

use tempfile::TempDir;
use weir_domain::id::{ConversationId, MessageId};
use weir_domain::message::{Content, Message, Origin, Status};
use weir_domain::policy::{CallKind, OriginMap};
use weir_runtime::context::CallEnd;
use weir_store::{ConversationFilter, Enqueued, NewMessage, Page};

use super::*;
use crate::core::worker::Worker;
use crate::testing::{component, damage_components, webhook_at, with_account, with_echo};
use crate::{Config, Host};

const VERSION: &str = "0.1.0";

/// Echo on this machine, where no server listens: a message that is sent has an attempt.
async fn with_conversation(folder: &TempDir) -> (Host, ConversationId) {
    let host = with_echo(folder).await;
    let mut app = host.store().app("echo").await.expect("a database").expect("an app");
    let here = |text: &str| text.parse().expect("an origin");
    app.origins = OriginMap([(here("https://echo.example"), here("http://127.0.0.1:9"))].into());
    host.connectors.apps.put(app).await.expect("an app");
    with_account(&host, "acme", &[]).await;
    let webhook = webhook_at(&host, "hello", host.now().as_millis());
    host.inbound.receive("echo", webhook).await.expect("it is accepted");
    let page = Page { limit: 1, cursor: None };
    let found = host
        .store()
        .conversations("default", ConversationFilter::default(), page);
    let id = found.await.expect("a database").rows[0].id;
    (host, id)
}

/// Puts a text into the outbox, whichever version serves.
async fn queue(host: &Host, conversation_id: ConversationId, text: &str) -> MessageId {
    let new = NewMessage {
        workspace_id: "default".to_owned(),
        conversation_id,
        content: Content::Text { text: text.to_owned() },
        then: Vec::new(),
        reply_to: None,
        client_ref: None,
        origin: Origin::Api,
        claim: None,
    };
    let serving = host.connectors.installed("echo").await.expect("it is installed");
    let queued = host.store().enqueue(new, &serving.policies, host.now()).await;
    match queued.expect("a database") {
        Enqueued::New(messages) => messages[0].id,
        Enqueued::Replayed(_) => panic!("the request is new"),
    }
}

async fn message(host: &Host, id: MessageId) -> Message {
    let found = host.store().message("default", id).await.expect("a database");
    found.expect("a message")
}

async fn tries(host: &Host, id: MessageId) -> usize {
    host.store().attempts("default", id).await.expect("a database").len()
}

/// Runs many rounds of the deliverer, over most of the window; returns how many messages it leased.
async fn hours_pass(host: &Host, deliverer: &Worker<Deliverer>) -> usize {
    let mut taken = 0;
    for half_hour in 0..80 {
        let now = host.now().after(Duration::from_secs(half_hour * 1_800));
        taken += deliverer.round(now).await.expect("a database");
    }
    taken
}

async fn both_wait(host: &Host, one: MessageId, two: MessageId, why: &str) {
    let deliverer = Worker::new(host.deliverer(), 8);
    // The first was leased to find that no version serves it; after that none is leased.
    assert_eq!(hours_pass(host, &deliverer).await, 1);
    for id in [one, two] {
        assert_eq!(message(host, id).await.status, Status::Queued);
        assert_eq!(tries(host, id).await, 0, "no attempt is counted");
    }
    let error = message(host, one).await.error.expect("the failure has an error");
    assert!(error.detail.contains(why), "{error:?}");
    let deliverer = host.deliverer();
    deliverer.unserved.lock().expect("a lock").insert("echo".to_owned());
    assert_eq!(deliverer.next_due().await.expect("a database"), None);
}

async fn one_leaves_first(host: &Host, one: MessageId, two: MessageId) {
    let deliverer = Worker::new(host.deliverer(), 8);
    assert_eq!(deliverer.round(host.now()).await.expect("a database"), 1);
    assert_eq!((tries(host, one).await, tries(host, two).await), (1, 0));
}

#[tokio::test]
async fn messages_of_a_quarantined_version_wait_in_order() {
    let folder = TempDir::new().expect("a directory");
    let (host, thread) = with_conversation(&folder).await;
    let one = queue(&host, thread, "one").await;
    let two = queue(&host, thread, "two").await;
    let end = CallEnd {
        connector: "echo",
        version: VERSION,
        kind: CallKind::Send,
        outcome: "exposed",
        elapsed: Duration::ZERO,
        ticks: 0,
        peak_memory: 0,
        lines_dropped: 0,
        crashed: false,
        honeytoken: Some("a log line"),
    };
    assert!(host.connectors.quarantine.note(&end, host.now()));
    both_wait(&host, one, two, "is quarantined").await;
    host.rollout.promote("echo", VERSION).await.expect("it serves again");
    one_leaves_first(&host, one, two).await;
}

#[tokio::test]
async fn messages_of_a_version_that_does_not_load_wait() {
    let folder = TempDir::new().expect("a directory");
    let (host, thread) = with_conversation(&folder).await;
    let one = queue(&host, thread, "one").await;
    let two = queue(&host, thread, "two").await;
    host.store().close().await;
    drop(host);
    damage_components(folder.path(), "sha256:", None);
    let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
    both_wait(&host, one, two, "no version of the connector").await;
    // It is loaded again.
    let installed = host.connectors.install(component("echo"), None, None, false).await;
    installed.expect("the same version");
    one_leaves_first(&host, one, two).await;
}
