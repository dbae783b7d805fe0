//! Events that a connector invents affect only accounts of its own apps.

use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::conversation::Conversation;
use weir_domain::event::{Event, EventFilter};
use weir_domain::grant::Grants;
use weir_domain::id::MessageId;
use weir_domain::limits;
use weir_domain::manifest::Manifest;
use weir_domain::message::{Content, Origin, Status};
use weir_domain::policy::PolicySet;
use weir_store::{App, ConversationFilter, Enqueued, NewChannel, NewMessage, Page};

use super::*;
use crate::Host;
use crate::testing::{account, component, token, webhook, with_account, with_echo};

const SECRET: &str = "the forger's own secret";

async fn events_of(host: &Host) -> Vec<Event> {
    let events = host.store().events("default", 0, &EventFilter::default(), 1_000).await;
    events.expect("a database").rows
}

/// The conversation of an account: an invented event is dated now, and so is first in the list of all.
async fn conversation(host: &Host, channel: &Channel) -> Conversation {
    let page = Page { limit: 1, cursor: None };
    let filter = ConversationFilter {
        channels: [channel.id].into(),
        ..ConversationFilter::default()
    };
    let all = host.store().conversations("default", filter, page);
    all.await.expect("a database").rows.remove(0)
}

/// A message of ours in the victim's conversation that was sent and has no response yet: an invented echo would settle
/// it.
async fn in_flight(host: &Host, channel: &Channel) -> MessageId {
    let new = NewMessage {
        workspace_id: "default".to_owned(),
        conversation_id: conversation(host, channel).await.id,
        content: Content::Text {
            text: "invented echo".to_owned(),
        },
        then: Vec::new(),
        reply_to: None,
        client_ref: None,
        origin: Origin::Api,
        claim: None,
    };
    // The platform's rules do not matter here: the contact's last message is of 1970.
    let serving = host.connectors.serving("echo").await.expect("Echo serves");
    let mut manifest = Manifest::clone(serving.policies.manifest());
    manifest.policies.clear();
    let policy_set = PolicySet::new(Arc::new(manifest), serde_json::json!({}));
    let accepted = host
        .store()
        .enqueue(new, &policy_set, host.now())
        .await
        .expect("it may go");
    let Enqueued::New(messages) = accepted else {
        panic!("{accepted:?}")
    };
    let leased = host
        .store()
        .lease_messages("worker", weir_store::Room::of_all(1), host.now())
        .await;
    assert_eq!(leased.expect("a database").len(), 1);
    messages[0].id
}

/// The forger serves an app of its own, whose webhooks are validly signed.
async fn with_forger(host: &Host) {
    let forge = host
        .connectors
        .install(component("hostile/forge"), None, None, false)
        .await;
    let forge = forge.expect("a connector").manifest;
    let grants = Grants::wanted_by(&forge);
    host.connectors
        .decide_grants(&forge.name, None, grants)
        .await
        .expect("its grants");
    host.rollout
        .promote(&forge.name, &forge.version)
        .await
        .expect("it serves");
    let echo = host.store().app("echo").await.expect("a database").expect("an app");
    let app = App {
        name: "forge".to_owned(),
        connector: forge.name,
        secrets: [("webhook_secret".to_owned(), vec![Secret::new(SECRET)])].into(),
        ..echo
    };
    host.connectors.apps.put(app).await.expect("an app");
}

async fn invents(host: &Host) -> Recorded {
    let webhook = RawWebhook {
        method: "POST".to_owned(),
        query: String::new(),
        headers: vec![("x-secret".to_owned(), SECRET.to_owned())],
        body: "acme".into(),
    };
    match host
        .inbound
        .receive("forge", webhook)
        .await
        .expect("its signature is valid")
    {
        Hook::Accepted(recorded) => recorded,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn c16_invented_events_reach_no_other_app() {
    let folder = tempfile::tempdir().expect("a directory");
    let host = with_echo(&folder).await;
    let victim = with_account(&host, "acme", &[]).await;
    host.inbound
        .receive("echo", webhook(&host, "hi"))
        .await
        .expect("it is accepted");
    let ours = in_flight(&host, &victim).await;
    with_forger(&host).await;
    let unharmed = async |victim: &Channel| {
        let message = host.store().message("default", ours).await.expect("a database");
        assert_eq!(message.expect("it is there").status, Status::Sending);
        let channel = host
            .store()
            .channel("default", victim.id)
            .await
            .expect("a database")
            .expect("a channel");
        assert_eq!(channel.status, ChannelStatus::Connected);
        let thread = conversation(&host, victim).await;
        assert_eq!((thread.unread, thread.contact.platform_id.as_str()), (0, "u1"));
    };
    // The victim's account by its name, from an app that has no such account.
    let before = events_of(&host).await;
    let recorded = invents(&host).await;
    assert_eq!((recorded.stored, recorded.unknown_channel), (0, 4));
    assert_eq!(events_of(&host).await, before);
    unharmed(&victim).await;

    // And from one that has an account, conversation, contact and messages with the same ids.
    let own = NewChannel {
        app: "forge".to_owned(),
        connector: "hostile-forge".to_owned(),
        ..account("acme")
    };
    let own = host.store().connect_channel(own, token(&host), host.now()).await;
    let (own, _) = own.expect("a channel");
    let before = events_of(&host).await.len();
    assert!(invents(&host).await.stored > 0);
    let after = events_of(&host).await.split_off(before);
    assert!(after.iter().all(|event| event.channel_id == Some(own.id)), "{after:#?}");
    unharmed(&victim).await;
}

#[tokio::test]
async fn full_dead_letters_are_answered_503() {
    let folder = tempfile::tempdir().expect("a directory");
    let host = with_echo(&folder).await;
    let taken = host.inbound.receive("echo", webhook(&host, "trap")).await;
    let Ok(Hook::DeadLettered(first)) = taken else {
        panic!("{taken:?}")
    };
    let letter = host
        .store()
        .dead_letter("default", first)
        .await
        .expect("a database")
        .expect("a dead letter");
    let rest: Vec<u32> = (1..limits::DEAD_LETTERS).collect();
    for some in rest.chunks(limits::WRITE_QUEUE / 4) {
        let kept = some.iter().map(|_| {
            let id = host.core.mint.id(host.now());
            host.store().keep_dead_letter(DeadLetter { id, ..letter.clone() })
        });
        futures_util::future::try_join_all(kept)
            .await
            .expect("capacity is left");
    }
    // No fallback: the platform keeps the webhook and redelivers.
    let taken = host.inbound.receive("echo", webhook(&host, "trap")).await;
    assert!(matches!(taken, Err(HookError::Unavailable(_))), "{taken:?}");
    assert!(
        host.store()
            .dead_letter("default", first)
            .await
            .expect("a database")
            .is_some()
    );
    let taken = host.inbound.receive("echo", webhook(&host, "hi")).await;
    assert!(matches!(taken, Ok(Hook::Accepted(_))), "{taken:?}");
    host.store()
        .drop_dead_letter("default", first)
        .await
        .expect("a database");
    let taken = host.inbound.receive("echo", webhook(&host, "trap")).await;
    assert!(matches!(taken, Ok(Hook::DeadLettered(_))), "{taken:?}");
}

/// Time passes for the host and not for the code in it, as on a machine that was paused.
async fn standing_still() {
    loop {
        tokio::task::yield_now().await;
        tokio::time::advance(limits::PURE_WALL).await;
    }
}

#[tokio::test]
async fn a_paused_host_makes_no_dead_letter() {
    let folder = tempfile::tempdir().expect("a directory");
    let host = with_echo(&folder).await;
    let webhook_in = webhook(&host, "loop");
    tokio::time::pause();
    let taken = tokio::select! {
        taken = host.inbound.receive("echo", webhook_in.clone()) => taken,
        () = standing_still() => unreachable!("it never ends"),
    };
    tokio::time::resume();
    let Err(HookError::Busy(reason)) = taken else {
        panic!("{taken:?}")
    };
    assert!(reason.contains("try again"), "{reason}");
    assert_eq!(host.store().depths().await.expect("a database").dead_letters, 0);
    // The connector's own loop is its fault, whatever the machine does.
    let taken = host.inbound.receive("echo", webhook_in).await;
    assert!(matches!(taken, Ok(Hook::DeadLettered(_))), "{taken:?}");
}
