//! Properties that apply to any sequence of operations.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use weir_domain::conversation::OpenedBy;
use weir_domain::delivery::Next;
use weir_domain::event::Event;
use weir_domain::id::{EndpointId, MessageId};
use weir_domain::inbound::{InboundEvent, ReceiptStatus};
use weir_domain::limits;
use weir_domain::message::{Content, Direction, Origin, Status};
use weir_domain::time::Timestamp;

use super::world::*;
use super::{Factory, events, run};
use crate::{DeliveriesOf, DeliveryAttempt, DeliveryLease, DeliveryNext, EndpointPatch, MessageLease, Resolution};

/// Databases tried for each property: each is on a disk.
const WORLDS: u32 = 24;

fn runner() -> TestRunner {
    TestRunner::new(Config {
        cases: WORLDS,
        failure_persistence: None,
        ..Config::default()
    })
}

/// An operation.
#[derive(Clone, Debug)]
enum Step {
    ContactWrites,
    OldMessage,
    AppWrites,
    Send,
    Lease,
    Settle(usize, AttemptOutcome),
    Echo(usize),
    Read,
    Sweep(i64),
    Resolve(usize, usize),
    Cancel(usize),
    Retry(usize),
    Wait(i64),
}

#[derive(Clone, Copy, Debug)]
enum AttemptOutcome {
    Sent,
    Failed,
    Retry,
    Uncertain,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        Just(AttemptOutcome::Sent),
        Just(AttemptOutcome::Failed),
        Just(AttemptOutcome::Retry),
        Just(AttemptOutcome::Uncertain)
    ];
    prop_oneof![
        2 => Just(Step::ContactWrites),
        1 => Just(Step::OldMessage),
        1 => Just(Step::AppWrites),
        5 => Just(Step::Send),
        5 => Just(Step::Lease),
        5 => (0..4usize, outcome).prop_map(|(n, outcome)| Step::Settle(n, outcome)),
        2 => (0..9usize).prop_map(Step::Echo),
        1 => Just(Step::Read),
        1 => (0..300i64).prop_map(Step::Sweep),
        2 => (0..9usize, 0..3usize).prop_map(|(n, found)| Step::Resolve(n, found)),
        1 => (0..9usize).prop_map(Step::Cancel),
        1 => (0..9usize).prop_map(Step::Retry),
        2 => (1..400i64).prop_map(Step::Wait),
    ]
}

/// What a run knows of its operations.
struct Played {
    now: i64,
    counter: u32,
    leases: Vec<MessageLease>,
    statuses: BTreeMap<MessageId, Status>,
    retried: BTreeSet<MessageId>,
    accepted: BTreeSet<MessageId>,
    /// When the platform accepted messages: by its own clock, at the moment of sending.
    platform_times: BTreeMap<MessageId, i64>,
}

async fn play(world: &World, played: &mut Played, step: Step) {
    played.now += 1;
    played.counter += 1;
    played.retried.clear();
    let (now, fresh) = (played.now, format!("x{}", played.counter));
    let ours: Vec<MessageId> = world
        .messages("thread")
        .await
        .into_iter()
        .filter(|message| message.direction == Direction::Outbound && message.origin == Origin::Api)
        .map(|message| message.id)
        .collect();
    let pick = |n: usize| ours.get(n % ours.len().max(1)).copied();
    match step {
        Step::ContactWrites => drop(world.receive(vec![contact_writes(&fresh, now)], now).await),
        Step::OldMessage => drop(world.receive(vec![contact_writes(&fresh, now - 200)], now).await),
        Step::AppWrites => drop(
            world
                .receive(vec![echo(&fresh, Origin::App, "by hand", now)], now)
                .await,
        ),
        Step::Send => played
            .accepted
            .extend(world.send(&fresh, now).await.map(|message| message.id)),
        Step::Lease => {
            let leases = world.lease(2, now).await;
            played
                .platform_times
                .extend(leases.iter().map(|lease| (lease.message.id, now)));
            played.leases.extend(leases);
        }
        Step::Settle(n, outcome) if !played.leases.is_empty() => {
            // Some workers settle twice, and some too late.
            let lease = played.leases[n % played.leases.len()].clone();
            let next = match outcome {
                AttemptOutcome::Sent => sent(&format!("p-{}", lease.message.id), now),
                AttemptOutcome::Failed => failed(),
                AttemptOutcome::Uncertain => uncertain_outcome(),
                AttemptOutcome::Retry => Next::RetryAt {
                    at: at(now + 5),
                    counts: true,
                    error: error("later"),
                },
            };
            world.settle(&lease, next, now).await;
        }
        Step::Echo(n) => {
            if let Some(id) = pick(n) {
                let message = world.store.message(DEFAULT, id).await.unwrap().unwrap();
                let Content::Text { text } = &message.content else {
                    return;
                };
                // The platform shows only messages that were sent.
                if let Some(platform_times) = played.platform_times.get(&id).copied() {
                    let shown = echo(&format!("p-{id}"), Origin::Api, text, platform_times);
                    world.receive(vec![shown], now).await;
                }
            }
        }
        Step::Read => drop(world.receive(vec![read_up_to(&fresh, now)], now).await),
        Step::Sweep(later) => {
            played.now += later;
            world.store.sweep_messages(at(played.now)).await.unwrap();
        }
        Step::Resolve(n, found) => {
            if let Some(id) = pick(n) {
                let found = match found {
                    0 => Resolution::Found {
                        platform_id: format!("p-{id}"),
                        at: at(now),
                    },
                    1 => history_read(0),
                    _ => Resolution::GivenUp,
                };
                world
                    .store
                    .resolve_uncertain(DEFAULT, id, found, at(now))
                    .await
                    .unwrap();
            }
        }
        Step::Cancel(n) => {
            if let Some(id) = pick(n) {
                world.store.cancel_message(DEFAULT, id, at(now)).await.unwrap();
            }
        }
        Step::Retry(n) => {
            if let Some(id) = pick(n) {
                played.retried.insert(id);
                drop(world.store.retry_message(DEFAULT, id, &world.policy_set, at(now)).await);
            }
        }
        Step::Settle(..) => {}
        Step::Wait(seconds) => played.now += seconds,
    }
}

async fn check(world: &World, played: &mut Played) -> Result<(), TestCaseError> {
    let messages = world.messages("thread").await;
    let mut in_flight = 0;
    for message in &messages {
        let before = played.statuses.insert(message.id, message.status);
        in_flight += u32::from(message.status == Status::Sending);
        let Some(before) = before.filter(|before| *before != message.status) else {
            continue;
        };
        // Between two checks a message may have made two transitions.
        let forward = before.may_become(message.status)
            || [Status::Sending, Status::Sent, Status::Uncertain, Status::Queued]
                .iter()
                .any(|middle| before.may_become(*middle) && middle.may_become(message.status));
        let by_hand = played.retried.contains(&message.id) && message.status == Status::Queued;
        prop_assert!(forward || by_hand, "{before:?} became {:?}", message.status);
    }
    prop_assert!(in_flight <= 1, "{in_flight} messages of one conversation in flight");
    // A person in the platform's app is not limited, and counts; accepted messages are within the budget whatever else
    // is sent.
    let conversation = world.conversation("thread").await;
    let wrote = conversation.contact_wrote_at.unwrap();
    let counted: Vec<MessageId> = messages
        .iter()
        .filter(|message| message.direction == Direction::Outbound)
        .filter(|message| match message.status {
            Status::Queued | Status::Sending | Status::Uncertain => true,
            Status::Sent | Status::Delivered | Status::Read => message.sent_at > wrote,
            Status::Received | Status::Failed | Status::Cancelled => false,
        })
        .map(|message| message.id)
        .collect();
    let ours = counted.iter().filter(|id| played.accepted.contains(id)).count();
    prop_assert!(ours <= BUDGET as usize, "{ours} of {BUDGET}");
    let used = conversation.budget_used as usize;
    prop_assert!(used >= counted.len(), "{used} used, {} there", counted.len());
    Ok(())
}

pub fn a_status_only_moves_forward_and_the_budget_is_never_exceeded(factory: Factory) {
    runner()
        .run(&vec(step(), 1..40), |steps| {
            run(async {
                let world = World::begin(factory).await;
                world.receive(vec![contact_writes("m0", 0)], 0).await;
                let mut played = Played {
                    now: 1_000,
                    counter: 0,
                    leases: Vec::new(),
                    statuses: BTreeMap::new(),
                    retried: BTreeSet::new(),
                    accepted: BTreeSet::new(),
                    platform_times: BTreeMap::new(),
                };
                for step in steps {
                    play(&world, &mut played, step).await;
                    check(&world, &mut played).await?;
                }
                Ok(())
            })
        })
        .unwrap();
}

fn facts() -> Vec<InboundEvent> {
    (0..8)
        .map(|n| match n % 4 {
            3 => echo(&format!("e{n}"), Origin::App, "by hand", 10 + n),
            _ => contact_writes(&format!("m{n}"), 10 + n),
        })
        .collect()
}

pub fn the_same_facts_in_any_order_and_number_are_the_same_messages(factory: Factory) {
    let shuffled = (Just(facts()).prop_shuffle(), Just(facts()).prop_shuffle(), 1..8usize);
    runner()
        .run(&shuffled, |(first, second, cut)| {
            run(async {
                let world = World::begin(factory).await;
                let reported: Vec<InboundEvent> = first.into_iter().chain(second).collect();
                for batch in reported.chunks(cut) {
                    world.receive(batch.to_vec(), 100).await;
                }
                let messages = world.messages("thread").await;
                let known: BTreeSet<String> = messages
                    .iter()
                    .filter_map(|message| message.platform_id.clone())
                    .collect();
                prop_assert_eq!(messages.len(), 8);
                prop_assert_eq!(known.len(), 8);
                // The thread is in the platform's order, whatever the order of arrival.
                prop_assert!(messages.is_sorted_by_key(|message| message.sent_at));
                let places: BTreeSet<i64> = messages.iter().map(|message| message.sequence).collect();
                prop_assert_eq!(places, (1..=8).collect::<BTreeSet<i64>>());
                let conversation = world.conversation("thread").await;
                prop_assert_eq!(conversation.contact_wrote_at, Some(at(16)));
                // One manually sent message came after the contact's last message, whatever the order of arrival.
                prop_assert_eq!(conversation.budget_used, 1);
                Ok(())
            })
        })
        .unwrap();
}

/// The data of a conversation that a reader sees, by platform ids.
#[derive(Debug, PartialEq)]
struct Seen {
    thread: Vec<(String, Status)>,
    preview: Option<String>,
    last_message_at: Option<Timestamp>,
    unread: u32,
    wrote_at: Option<Timestamp>,
    budget_used: u32,
    answered: bool,
    replied: bool,
    opened_by: OpenedBy,
    names: [Option<String>; 3],
}

async fn seen(world: &World) -> Seen {
    let conversation = world.conversation("thread").await;
    let newest = world.store.last_messages(DEFAULT, vec![conversation.id]).await.unwrap();
    let messages = world.messages("thread").await;
    Seen {
        thread: messages
            .into_iter()
            .map(|message| (message.platform_id.unwrap(), message.status))
            .collect(),
        preview: newest[&conversation.id].platform_id.clone(),
        last_message_at: conversation.last_message_at,
        unread: conversation.unread,
        wrote_at: conversation.contact_wrote_at,
        budget_used: conversation.budget_used,
        answered: conversation.answered,
        replied: conversation.replied,
        opened_by: conversation.opened_by,
        names: [
            conversation.contact.username,
            conversation.contact.display_name,
            conversation.contact.avatar_url,
        ],
    }
}

/// Facts of one thread, each with its own time: messages of the contact under changing names, echoes of every surface,
/// read receipts.
fn thread_facts() -> impl Strategy<Value = Vec<InboundEvent>> {
    let fact = (0..6usize, 0..3usize, 0..12i64);
    vec(fact, 1..10).prop_map(|drawn| {
        let mut facts = Vec::new();
        for (n, (kind, name, about)) in drawn.into_iter().enumerate() {
            let moment = 10 + i64::try_from(n).unwrap();
            let id = format!("m{moment}");
            facts.push(match kind {
                0 => echo(
                    &id,
                    [Origin::App, Origin::Web, Origin::Automation][name],
                    "ours",
                    moment,
                ),
                1 => read_up_to(&format!("read-{n}"), 10 + about),
                2 => {
                    let status = [ReceiptStatus::Delivered, ReceiptStatus::Read, ReceiptStatus::Delivered][name];
                    receipt(&format!("receipt-{n}"), &format!("m{}", 10 + about), status)
                }
                _ => {
                    let mut reported = thread_message("thread", &id, Direction::Inbound, Origin::Contact, "hi", moment);
                    reported.contact.username = Some(format!("name-{name}"));
                    reported.contact.display_name = (name > 0).then(|| format!("Name {about}"));
                    message(reported)
                }
            });
        }
        // Without a message the conversation does not exist.
        facts.push(contact_writes("m9", 9));
        facts
    })
}

pub fn facts_in_any_order_are_one_conversation(factory: Factory) {
    let orders = thread_facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle(), 1..6usize));
    runner()
        .run(&orders, |(reported, shuffled, cut)| {
            run(async {
                let (first, second) = (World::begin(factory).await, World::begin(factory).await);
                for event in reported {
                    first.receive(vec![event], 100).await;
                }
                for batch in shuffled.chunks(cut) {
                    second.receive(batch.to_vec(), 100).await;
                }
                prop_assert_eq!(seen(&first).await, seen(&second).await);
                Ok(())
            })
        })
        .unwrap();
}

/// Messages of one person in several conversations, each with its own time, under changing names.
fn names_in_conversations() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    vec((0..3usize, 0..3u8, 0..3u8), 1..12)
}

pub fn a_contact_is_named_by_the_newest_of_all_its_conversations(factory: Factory) {
    let orders = names_in_conversations().prop_flat_map(|drawn| {
        let moments: Vec<usize> = (0..drawn.len()).collect();
        (Just(drawn), Just(moments).prop_shuffle(), 1..6usize)
    });
    runner()
        .run(&orders, |(drawn, order, cut)| {
            run(async {
                let world = World::begin(factory).await;
                let mut newest = [None, None];
                let mut events = Vec::new();
                for (n, (thread, username, display_name)) in drawn.into_iter().enumerate() {
                    let moment = 10 + i64::try_from(n).unwrap();
                    let thread = ["thread", "second", "third"][thread];
                    let mut reported = thread_message(
                        thread,
                        &format!("m{moment}"),
                        Direction::Inbound,
                        Origin::Contact,
                        "hi",
                        moment,
                    );
                    let names = [(username, "name"), (display_name, "Name")]
                        .map(|(name, word)| (name > 0).then(|| format!("{word} {name}")));
                    for (known, newer) in newest.iter_mut().zip(&names) {
                        *known = newer.clone().or(known.take());
                    }
                    let [username, display_name] = names;
                    reported.contact = weir_domain::inbound::Person {
                        platform_id: "jane".into(),
                        username,
                        display_name,
                        avatar_url: None,
                    };
                    events.push(message(reported));
                }
                let shuffled: Vec<InboundEvent> = order.iter().map(|n| events[*n].clone()).collect();
                for batch in shuffled.chunks(cut) {
                    world.receive(batch.to_vec(), 100).await;
                }
                let conversations = world.store.conversations(DEFAULT, of(world.channel.id), page()).await;
                let contact = conversations.unwrap().rows.remove(0).contact;
                prop_assert_eq!([contact.username, contact.display_name], newest);
                Ok(())
            })
        })
        .unwrap();
}

pub fn of_many_callers_only_as_many_are_accepted_as_the_budget_has(factory: Factory) {
    runner()
        .run(&(1..12usize, 0..3usize), |(callers, before)| {
            run(async {
                let world = World::begin(factory).await;
                world.receive(vec![contact_writes("m0", 0)], 0).await;
                for n in 0..before {
                    world.send(&format!("before {n}"), 1).await.unwrap();
                }
                let mut waiting = Vec::new();
                let id = world.conversation("thread").await.id;
                for n in 0..callers {
                    let (store, policies, draft) = (
                        world.store.clone(),
                        world.policy_set.clone(),
                        world.draft(id, &format!("{n}")),
                    );
                    waiting.push(tokio::spawn(async move {
                        store.enqueue(draft, &policies, at(2)).await.is_ok()
                    }));
                }
                let mut accepted = 0;
                for caller in waiting {
                    accepted += usize::from(caller.await.unwrap());
                }
                prop_assert_eq!(accepted, callers.min(BUDGET as usize - before));
                prop_assert_eq!(world.used().await as usize, before + accepted);
                Ok(())
            })
        })
        .unwrap();
}

/// An operation on an endpoint.
#[derive(Clone, Copy, Debug)]
enum DeliveryStep {
    ContactWrites(bool),
    Lease,
    Settle(usize, DeliveryOutcome),
    Enable(bool),
    Recover(i64),
    Wait(i64),
}

#[derive(Clone, Copy, Debug)]
enum DeliveryOutcome {
    Delivered,
    Later(i64),
    GivenUp,
    Gone,
}

fn delivery_step() -> impl Strategy<Value = DeliveryStep> {
    let outcome = prop_oneof![
        3 => Just(DeliveryOutcome::Delivered),
        2 => (1..200i64).prop_map(DeliveryOutcome::Later),
        1 => Just(DeliveryOutcome::GivenUp),
        1 => Just(DeliveryOutcome::Gone),
    ];
    prop_oneof![
        5 => any::<bool>().prop_map(DeliveryStep::ContactWrites),
        6 => Just(DeliveryStep::Lease),
        6 => (0..4usize, outcome).prop_map(|(n, outcome)| DeliveryStep::Settle(n, outcome)),
        2 => any::<bool>().prop_map(DeliveryStep::Enable),
        2 => (0..100i64).prop_map(DeliveryStep::Recover),
        2 => (1..120i64).prop_map(DeliveryStep::Wait),
    ]
}

pub fn endpoint_gets_conversation_in_order(factory: Factory) {
    let law = |delivery_steps: Vec<DeliveryStep>| {
        run(async {
            let world = World::begin(factory).await;
            let endpoint = events::add(&world, &["message.received"]).await;
            let mut now = 0;
            let mut leased: Vec<(DeliveryLease, i64)> = Vec::new();
            for (n, delivery_step) in delivery_steps.into_iter().enumerate() {
                now += 1;
                match delivery_step {
                    DeliveryStep::ContactWrites(other) => {
                        let thread = if other { "other" } else { "thread" };
                        world
                            .receive(vec![contact_writes_in(thread, &format!("m{n}"), now)], now)
                            .await;
                    }
                    DeliveryStep::Lease => {
                        let lease_expires_at = now + i64::try_from(limits::LEASE.as_secs()).unwrap();
                        leased.retain(|(_, expires_at)| *expires_at > now);
                        let waiting = waiting(&world, endpoint.id).await;
                        for lease in world.store.lease_deliveries("p", 4, at(now)).await.unwrap() {
                            let lane = lease.event.conversation_id;
                            if leased.iter().any(|(held, _)| held.event.conversation_id == lane) {
                                return Err(TestCaseError::fail("two of a conversation are in flight"));
                            }
                            let oldest = waiting.iter().find(|event| event.conversation_id == lane);
                            if oldest.map(|event| event.id) != Some(lease.event.id) {
                                return Err(TestCaseError::fail("a newer one overtakes an older one"));
                            }
                            leased.push((lease, lease_expires_at));
                        }
                    }
                    DeliveryStep::Settle(n, outcome) if !leased.is_empty() => {
                        let (lease, _) = leased.remove(n % leased.len());
                        let next = match outcome {
                            DeliveryOutcome::Delivered => DeliveryNext::Delivered,
                            DeliveryOutcome::Later(wait) => DeliveryNext::RetryAt(at(now + wait)),
                            DeliveryOutcome::GivenUp => DeliveryNext::Failed,
                            DeliveryOutcome::Gone => DeliveryNext::Disable { reason: "410".into() },
                        };
                        let attempt = DeliveryAttempt {
                            number: lease.attempt,
                            at: at(now),
                            status: None,
                            answer: None,
                            elapsed_ms: 1,
                            error: None,
                        };
                        let settled = world.store.settle_delivery(&lease, attempt, next, at(now));
                        settled.await.unwrap();
                    }
                    DeliveryStep::Settle(..) => {}
                    DeliveryStep::Enable(enabled) => {
                        let patch = EndpointPatch {
                            enabled: Some(enabled),
                            ..EndpointPatch::default()
                        };
                        let changed = world.store.update_endpoint(DEFAULT, endpoint.id, patch, at(now));
                        changed.await.unwrap();
                    }
                    DeliveryStep::Recover(back) => {
                        let started =
                            world
                                .store
                                .begin_recovery(DEFAULT, endpoint.id, at((now - back).max(0)), at(now));
                        assert!(started.await.unwrap());
                        while !world
                            .store
                            .recover_step(DEFAULT, endpoint.id, at(now))
                            .await
                            .unwrap()
                            .done
                        {}
                    }
                    DeliveryStep::Wait(seconds) => now += seconds,
                }
            }
            Ok(())
        })
    };
    runner().run(&vec(delivery_step(), 1..60), law).unwrap();
}

/// The events that wait for an endpoint, oldest first.
async fn waiting(world: &World, endpoint: EndpointId) -> Vec<Event> {
    let of = DeliveriesOf {
        endpoint: Some(endpoint),
        event: None,
    };
    let listed = world.store.deliveries(DEFAULT, of, page()).await.unwrap();
    let waits = |event: &Event| {
        let mut theirs = listed.rows.iter().filter(|one| one.event_id == event.id);
        theirs.any(|one| one.status == "pending")
    };
    let mut all = world.events().await;
    all.retain(waits);
    all
}
