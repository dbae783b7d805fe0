//! P9: the cost of one message in the database as it grows from a thousand messages to ten million, from one channel to
//! a hundred thousand, and in conversations of two messages and of two thousand. A message here is an inbound message,
//! and an answer that is accepted, leased and settled.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use weir_domain::conversation::Conversation;
use weir_domain::delivery::Next;
use weir_domain::manifest::Manifest;
use weir_domain::message::{Content, Origin};
use weir_store::{NewMessage, Room};

use crate::record::{self, Record, now};
use crate::report::{Row, median, whole};
use crate::rig::folder;
use crate::start::Loader;

/// The small database: so many conversations with so many messages each.
const SMALL: (usize, u32) = (500, 2);
/// The large one: ten million.
const LARGE: (usize, u32) = (100_000, 100);
/// The one whose conversations are long.
const LONG: (usize, u32) = (500, 2_000);
/// The one with many channels; as many messages as the small one has for each conversation.
const CHANNELS: usize = 100_000;
/// Messages of one round, over so many conversations, so many at once.
const MESSAGES: usize = 3_000;
const SPREAD: usize = 500;
const AT_ONCE: usize = 64;
/// Rounds with each database, alternating; the median counts.
const ROUNDS: usize = 7;

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let manifest = Arc::clone(Loader::start()?.load().await?.manifest());
    let folder = folder()?;
    let make = async |name: &str, channels, (conversations, each)| {
        let path = folder.path().join(format!("{name}.db"));
        Measured::make(&path, Arc::clone(&manifest), channels, conversations, each).await
    };
    let mut small = make("small", 1, SMALL).await?;
    let mut many = make("many-channels", CHANNELS, (CHANNELS, SMALL.1)).await?;
    let mut long = make("long", 1, LONG).await?;
    let mut large = make("large", 1, LARGE).await?;
    let mut took = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        let records = [&mut small, &mut many, &mut long, &mut large];
        for (record, took) in records.into_iter().zip(&mut took) {
            took.push(record.round().await?);
        }
    }
    let [in_small, in_many, in_long, in_large] = took.map(|took| median(&took));
    Ok(Row::new("P9", "growth")
        .saw(format!(
            "{in_small:.0} µs a message with {} messages",
            whole(small.messages as f64)
        ))
        .saw(format!("{in_large:.0} µs with {}", whole(large.messages as f64)))
        .saw(format!("{in_many:.0} µs with {} channels", whole(CHANNELS as f64)))
        .saw(format!(
            "{in_long:.0} µs in conversations of {}",
            whole(f64::from(LONG.1))
        ))
        .at_most("ratio for messages", in_large / in_small, 1.15)
        .at_most("ratio for long conversations", in_long / in_small, 1.15)
        .at_most("ratio for channels", in_many / in_small, 1.15))
}

/// A filled database, and the conversation of the next message.
struct Measured {
    record: Arc<Record>,
    conversations: Vec<(String, Conversation)>,
    messages: u64,
    next: usize,
}

impl Measured {
    async fn make(
        path: &Path,
        manifest: Arc<Manifest>,
        channels: usize,
        conversations: usize,
        each: u32,
    ) -> anyhow::Result<Self> {
        let record = Arc::new(Record::open(path, Arc::clone(&manifest)).await?);
        let accounts = record.connect(channels).await?;
        record.everybody_writes(&accounts, conversations).await?;
        record.store.close().await;
        record::multiply(path, each - 1)?;
        let messages = record::messages(path)?;
        let record = Arc::new(Record::open(path, manifest).await?);
        let mut chosen = Vec::new();
        for conversation in record.conversations(SPREAD).await? {
            let channel = record.store.channel("default", conversation.channel_id).await?;
            chosen.push((
                channel.context("a conversation without its channel")?.platform_id,
                conversation,
            ));
        }
        Ok(Self {
            record,
            conversations: chosen,
            messages,
            next: 1_000_000_000,
        })
    }

    /// Microseconds of one message.
    async fn round(&mut self) -> anyhow::Result<f64> {
        let started = Instant::now();
        let mut tasks = JoinSet::new();
        for n in 0..MESSAGES {
            if tasks.len() >= AT_ONCE
                && let Some(done) = tasks.join_next().await
            {
                done??;
            }
            let record = Arc::clone(&self.record);
            let (account, conversation) = self.conversations[n % self.conversations.len()].clone();
            let number = self.next + n;
            tasks.spawn(async move { talk(&record, &account, &conversation, number).await });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        self.next += MESSAGES;
        send_all(&self.record, MESSAGES).await?;
        Ok(started.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64)
    }
}

/// The contact writes, and is answered.
async fn talk(record: &Record, account: &str, conversation: &Conversation, n: usize) -> anyhow::Result<()> {
    let person = conversation.platform_id.trim_start_matches('C').parse()?;
    record.receive_webhook(account, person, n).await?;
    let new = NewMessage {
        workspace_id: "default".to_owned(),
        conversation_id: conversation.id,
        content: Content::Text {
            text: format!("Answer {n}: it is, and sending it is free."),
        },
        then: Vec::new(),
        reply_to: None,
        client_ref: None,
        origin: Origin::Api,
        claim: None,
    };
    record.store.enqueue(new, &record.policies, now()).await?;
    Ok(())
}

/// Leases and settles what waits.
async fn send_all(record: &Arc<Record>, count: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut sent = 0;
    while sent < count {
        ensure!(
            started.elapsed() < Duration::from_secs(120),
            "{sent} of {count} were leased"
        );
        let room = Room::of_all(u32::try_from(AT_ONCE)?);
        let leases = record.store.lease_messages("bench", room, now()).await?;
        let mut tasks = JoinSet::new();
        for lease in leases {
            let record = Arc::clone(record);
            tasks.spawn(async move {
                let next = Next::Sent {
                    platform_id: lease.message.id.to_string(),
                    at: now(),
                };
                let settled = record
                    .store
                    .settle_message(&lease.token, next, Vec::new(), Vec::new(), now())
                    .await?;
                ensure!(settled, "a lease was lost");
                Ok(())
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
            sent += 1;
        }
    }
    Ok(())
}
