//! An erasure leaves no data of a person in the files.

use weir_domain::channel::Channel;
use weir_domain::conversation::Contact;
use weir_domain::inbound::{Fact, ReceiptStatus, ReceiptTarget};
use weir_domain::message::{Direction, MessageError, Origin};

use super::file::{CANARY, fill};
use super::*;
use crate::conformance::world::*;

fn bytes(folder: &tempfile::TempDir) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        all.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    all
}

fn holds(bytes: &[u8], words: &str) -> bool {
    memchr::memmem::find(bytes, words.as_bytes()).is_some()
}

/// Tables from which an erasure deletes a person's rows, or rows that name one.
const ERASED: &[&str] = &[
    "attempts",
    "authors",
    "channels",
    "claims",
    "contacts",
    "conversations",
    "dead_letters",
    "deliveries",
    "delivery_attempts",
    "early_receipts",
    "events",
    "history_gaps",
    "media",
    "media_bytes",
    "messages",
    "moved_states",
    "outbox",
    "referrals",
    "refusals",
    "sent_uploads",
    "state",
    "state_owners",
    "transcripts",
];

/// The others, and why they contain no message, name or platform id.
const OF_NOBODY: &[(&str, &str)] = &[
    ("apps", "the operator's"),
    ("audit", "what keys did, by our ids"),
    ("components", "connectors"),
    ("connect_sessions", "the account's owner's consent, sealed"),
    ("crashes", "versions and moments"),
    ("credentials", "the account's, sealed"),
    ("dead_letter_counts", "numbers"),
    ("duties", "nodes"),
    ("endpoint_recoveries", "places in the log"),
    ("endpoints", "the operator's"),
    ("erasures", "sealed, and gone with the end of the erasure"),
    ("files_to_remove", "our ids"),
    ("grants", "the operator's"),
    ("keys", "the operator's"),
    ("loaded_versions", "nodes and versions"),
    ("meta", "about the database itself"),
    ("platform_clocks", "numbers"),
    ("refusal_counts", "rules, channels and connectors"),
    ("removed_events", "our ids"),
    ("seen", "digests, so that repetitions by the platform restore no one"),
    ("sessions", "digests"),
    ("trial_figures", "figures"),
    ("trials", "rules and figures"),
    ("turns", "numbers"),
    (
        "version_changes",
        "timelines of versions, with reasons of the host and the operator",
    ),
    ("version_intents", "a step of versions"),
    ("versions", "connectors"),
    ("work", "our ids"),
    ("workspaces", "the operator's"),
    ("nodes", "hosts"),
    ("rates", "moments, by app and channel"),
    ("revisions", "numbers"),
];

/// A new table needs a decision: its entry here states what data of people it contains.
#[test]
fn every_table_is_searched_or_exempt() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let file = Connection::open(folder.path().join("weir.db")).unwrap();
    let mut tables = file
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name")
        .unwrap();
    let tables = tables.query_map([], |row| row.get(0)).unwrap();
    let tables: Vec<String> = tables.collect::<Result<_, _>>().unwrap();
    let mut known: Vec<&str> = ERASED
        .iter()
        .chain(OF_NOBODY.iter().map(|(table, _)| table))
        .copied()
        .collect();
    known.sort_unstable();
    assert_eq!(tables, known);
    let sources = [
        include_str!("../../acts/erasure.rs"),
        include_str!("../../tables/channels.rs"),
        include_str!("../../tables/early.rs"),
        include_str!("../../tables/gaps.rs"),
        include_str!("../../tables/media.rs"),
        include_str!("../../tables/outbox.rs"),
        include_str!("../../tables/state.rs"),
    ]
    .concat();
    for table in ERASED {
        let is_named = [format!("DELETE FROM {table} "), format!("UPDATE {table} ")]
            .iter()
            .any(|sql| sources.contains(sql));
        assert!(is_named, "no erasure reaches {table}");
    }
}

/// Enough rows that pages are split, merged and freed while the erased text is between others' texts.
#[test]
fn no_byte_of_an_erased_person_is_in_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        fill(&store).await;
        let policies = weir_domain::policy::PolicySet::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        let app = app("example");
        for n in 0..400 {
            let (thread, who) = if n % 3 == 0 {
                ("thread".to_owned(), CANARY)
            } else {
                (format!("other-{}", n % 40), "other")
            };
            let words = format!("{who} says {n} {}", "and so on ".repeat(n % 90));
            let mut events = thread_message(
                &thread,
                &format!("m{n}-{who}"),
                weir_domain::message::Direction::Inbound,
                weir_domain::message::Origin::Contact,
                &words,
                10,
            );
            events.contact.display_name = Some(format!("{who} by name"));
            store
                .record_inbound(&app, vec![message(events)], crate::Source::Webhook, &policies, at(10))
                .await
                .unwrap();
        }
        assert!(holds(&bytes(&folder), CANARY));
        let all = store
            .conversations(DEFAULT, crate::ConversationFilter::default(), page())
            .await
            .unwrap();
        let hers = all
            .rows
            .into_iter()
            .find(|found| found.platform_id == "thread")
            .unwrap();
        store
            .erase_contact(DEFAULT, hers.contact.id, at(20))
            .await
            .unwrap()
            .unwrap();
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        let left = bytes(&folder);
        assert!(!holds(&left, &format!("{CANARY} says")), "the person's messages");
        assert!(!holds(&left, &format!("{CANARY} by name")), "her name");
        assert!(holds(&left, "other says"));
    });
}

/// A platform and a connector may return any text, and a connector may store any: a name or a message without an id.
#[test]
fn no_explanation_repeats_an_erased_person() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&folder));
    block_on(async {
        let channel = fill(&store).await;
        let policies = weir_domain::policy::PolicySet::new(Arc::new(manifest("1.0.0", 1)), serde_json::json!({}));
        let app = app("example");
        let mint = Mint::from_seed([9; 32]);
        let (hers, name) = (format!("{CANARY}-id"), format!("{CANARY} by name"));
        let words = format!("{CANARY} says: where is my order? It was due on Monday");
        let repeated = format!("cannot take over \"{}…\"", &words[..30]);
        let by = |thread: &str, id: &str, author: &str, text: &str, second| {
            let (direction, origin) = (Direction::Inbound, Origin::Contact);
            let mut events = thread_message(thread, id, direction, origin, text, second);
            events.contact.platform_id = author.into();
            events.contact.username = None;
            events.contact.display_name = Some(if author == hers { name.clone() } else { "Other".into() });
            events
        };
        let mut answered = by("shared", "m3", "other", "to both", 12);
        answered.platform_data = Some(serde_json::json!({ "quoted": hers }));
        let mut ours = by("shared", "e1", "other", "ours", 13);
        (ours.direction, ours.origin) = (Direction::Outbound, Origin::App);
        let failed = Fact::Receipt {
            conversation: "shared".into(),
            status: ReceiptStatus::Failed,
            target: ReceiptTarget::Messages(vec!["e1".into()]),
            at: at(14),
            error: Some(MessageError {
                detail: repeated.clone(),
                ..error("not_delivered")
            }),
        };
        let mut facts: Vec<_> = [
            by("thread", "m1", &hers, &words, 10),
            by("shared", "m2", "other", "hello", 11),
            answered,
            ours,
            by("shared", "m4", &hers, &words, 14),
            by("elsewhere", "m5", "somebody", "hello", 14),
        ]
        .map(message)
        .into();
        facts.push(event("r1", failed));
        store
            .record_inbound(&app, facts, crate::Source::Webhook, &policies, at(15))
            .await
            .unwrap();
        let write = |key: &str, value: &str| crate::StateWrite {
            by: "1.0.0".into(),
            key: key.into(),
            value: Some(value.into()),
        };
        let state = vec![write("draft", &words), write("kept", "what is nobody's")];
        assert!(store.commit_state(DEFAULT, channel.id, state).await.unwrap());
        store
            .hold_state("example", channel.id, "1.0.0", &repeated, at(16))
            .await
            .unwrap();
        let reasons = [("1.0.0".to_owned(), repeated.clone())].into();
        store.hold_accounts("example", reasons, at(16)).await.unwrap();
        let before = store.state(DEFAULT, channel.id).await.unwrap().entries;
        let moved = crate::StateMove {
            channel_id: channel.id,
            from: "1.0.0".into(),
            to: "2.0.0".into(),
            after: before.clone(),
            before,
        };
        assert!(store.move_stored_state("example", moved).await.unwrap());
        store
            .hold_state("example", channel.id, "2.0.0", &repeated, at(17))
            .await
            .unwrap();
        let cursor = format!("{{\"after\":\"{name}\"}}");
        store
            .keep_poll_cursor(DEFAULT, channel.id, Some(cursor.clone()))
            .await
            .unwrap();
        let gap = crate::HistoryGap {
            channel: channel.id,
            conversation: "another".into(),
            contact: None,
            answered: false,
            since: at(1),
            attempts: 1,
            due_at: Some(at(60)),
            detail: repeated.clone(),
        };
        store.keep_history_gap(DEFAULT, gap).await.unwrap();
        store
            .set_channel_status(
                DEFAULT,
                channel.id,
                ChannelStatus::ReauthorizationRequired,
                &repeated,
                at(17),
            )
            .await
            .unwrap();
        let refusal = crate::RefusalRecord {
            id: mint.id(at(18)),
            workspace_id: DEFAULT.into(),
            channel_id: Some(channel.id),
            conversation_id: None,
            message_id: None,
            about: crate::RefusedWhat::State,
            whom: "example".into(),
            rule: "state_quota".into(),
            detail: repeated.clone(),
            facts: serde_json::json!({ "key": name }),
            changes: String::new(),
            remedy: String::new(),
            at: at(18),
        };
        store.keep_refusal(refusal).await.unwrap();
        let letter = crate::DeadLetter {
            id: mint.id(at(18)),
            app: "example".into(),
            version: "1.0.0".into(),
            reason: format!("{hers} is unknown"),
            received_at: at(18),
            webhook: weir_domain::signature::RawWebhook {
                method: "POST".into(),
                query: String::new(),
                headers: Vec::new(),
                body: "{}".into(),
            },
        };
        store.keep_dead_letter(letter).await.unwrap();
        let claim = World::claim(&format!("for {hers}"), "print");
        store.claim(claim, "owner", at(18)).await.unwrap();

        let conversations = store
            .conversations(DEFAULT, crate::ConversationFilter::default(), page())
            .await
            .unwrap()
            .rows;
        let erase = async |thread: &str| {
            let found = conversations.iter().find(|found| found.platform_id == thread).unwrap();
            let erased = store.erase_contact(DEFAULT, found.contact.id, at(20)).await.unwrap();
            assert!(erased.is_some());
            while store.erase_on().await.unwrap() == crate::Erasing::More {}
        };
        erase("elsewhere").await;
        assert_eq!(store.poll_cursor(DEFAULT, channel.id).await.unwrap(), Some(cursor));
        let held = store.state_owners("example").await.unwrap().remove(0);
        assert_eq!(held.reason.as_deref(), Some(repeated.as_str()));
        erase("thread").await;
        let left = bytes(&folder);
        for canary in [&format!("{CANARY} says"), &name, &hers] {
            assert!(!holds(&left, canary), "{canary}");
        }
        assert!(holds(&left, "to both"), "another person's message");
        // Polling starts from the beginning.
        assert_eq!(store.poll_cursor(DEFAULT, channel.id).await.unwrap(), None);
        let state = store.state(DEFAULT, channel.id).await.unwrap().entries;
        assert_eq!(state.keys().collect::<Vec<_>>(), ["kept"]);
        let held = store.state_owners("example").await.unwrap().remove(0);
        assert!(held.reason.is_some_and(|reason| reason.contains("erased")));
        let gaps = store.history_gaps(DEFAULT, channel.id).await.unwrap();
        assert_eq!(gaps.len(), 1, "another conversation's history is still requested");
    });
}

/// Creates a contact of a channel.
async fn known(store: &SqliteStore, channel: &Channel) -> Contact {
    let known = store.update_contact(DEFAULT, channel.id, jane(), at(1)).await;
    known.unwrap().unwrap()
}

#[test]
fn a_reader_outside_delays_an_erasure_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    block_on(async {
        let channel = fill(&store).await;
        let contact = known(&store, &channel).await;
        let backup = Connection::open(folder.path().join("weir.db")).unwrap();
        backup.execute_batch("BEGIN; SELECT count(*) FROM contacts").unwrap();
        let _: i64 = backup
            .query_row("SELECT count(*) FROM contacts", [], |row| row.get(0))
            .unwrap();
        store.erase_contact(DEFAULT, contact.id, at(2)).await.unwrap().unwrap();
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::Waits);
        // Other requests are served meanwhile.
        store.ping().await.unwrap();
        store.probe().await.unwrap();
        drop(backup);
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::Over);
        assert!(!holds(&bytes(&folder), "jane_doe"));
    });
}

#[test]
fn an_erasure_that_was_cut_off_goes_on_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    block_on(async {
        let store = open(&folder);
        let channel = fill(&store).await;
        let contact = known(&store, &channel).await;
        store.erase_contact(DEFAULT, contact.id, at(2)).await.unwrap().unwrap();
        store.erase_on().await.unwrap();
    });
    let store = open(&folder);
    block_on(async {
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::More);
        while store.erase_on().await.unwrap() == crate::Erasing::More {}
        assert_eq!(store.erase_on().await.unwrap(), crate::Erasing::Over);
    });
    assert!(!holds(&bytes(&folder), "jane_doe"));
}
