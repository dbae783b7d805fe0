//! P4: the platform's rate, fully used and never exceeded, shared fairly: many channels of one app, each with a full
//! queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use weir_tests::until;

use crate::report::Row;
use crate::rig::{Rig, text};

const CHANNELS: usize = 20;
const PEOPLE: usize = 10;
const MESSAGES: usize = 10;
const ALL: usize = CHANNELS * PEOPLE * MESSAGES;
/// The platform's rate.
const RATE: usize = 10;

pub(crate) async fn measure() -> anyhow::Result<Row> {
    let rig = Rig::begin(false).await?;
    let channels = channels(&rig).await?;
    let first = rig.last_call().await?;
    fill(&rig, channels).await?;
    let sends = all_sent(&rig, first).await?;
    rig.stack.stop().await?;
    let timed: Vec<TimedSend> = sends.iter().map(TimedSend::read).collect::<anyhow::Result<_>>()?;
    let refused = sends.iter().filter(|send| send["code"] != 0).count();
    let (Some(begin), Some(end)) = (timed.first(), timed.last()) else {
        anyhow::bail!("nothing was sent");
    };
    let rate = (timed.len() - 1) as f64 * 1_000.0 / (end.at - begin.at) as f64;
    Ok(Row::new("P4", "pacing")
        .saw(format!(
            "{ALL} messages of {CHANNELS} channels in {:.1} s",
            (end.at - begin.at) as f64 / 1_000.0
        ))
        .saw(format!("{refused} refused for the rate"))
        .at_least("sends/s", rate, 9.8)
        .at_most("most in a sliding second", most_in_a_second(&timed) as f64, RATE as f64)
        .at_most("turns taken while another waited", unfair(&timed) as f64, 0.0))
}

/// Connects the accounts; the customers of each write, so that its windows are open. Gives each channel's
/// conversations.
async fn channels(rig: &Rig) -> anyhow::Result<Vec<Vec<String>>> {
    for person in 0..PEOPLE {
        let person = json!({"username": format!("person_{person}"), "country": "ID"});
        rig.stack.phone.order("people", person).await?;
    }
    let mut channels = Vec::new();
    for n in 0..CHANNELS {
        let account = format!("shop_{n}");
        let made = json!({"username": account, "country": "ID"});
        rig.stack.phone.order("accounts", made).await?;
        let channel = rig.stack.connect(&account).await?;
        for person in 0..PEOPLE {
            let act = format!("chats/{account}/person_{person}/write");
            rig.stack
                .phone
                .order(&act, json!({"type": "text", "text": "Hello!"}))
                .await?;
        }
        channels.push(text(&channel, "id")?);
    }
    let conversations = until("every conversation", async || {
        let all = rig.conversations().await?;
        Ok((all.len() == CHANNELS * PEOPLE).then_some(all))
    })
    .await?;
    // The requests of connecting have used the rate: that second must pass before the measurement.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let of = |channel: &String| {
        let theirs = conversations.iter().filter(|one| one["channel_id"] == *channel);
        theirs.map(|one| text(one, "id")).collect::<anyhow::Result<Vec<_>>>()
    };
    channels.iter().map(of).collect()
}

/// Fills every queue at once.
async fn fill(rig: &Rig, channels: Vec<Vec<String>>) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for conversations in channels {
        let api = rig.stack.api.clone();
        tasks.spawn(async move {
            for n in 0..MESSAGES {
                for conversation in &conversations {
                    api.say(conversation, &format!("Answer {n}")).await?.expect(202)?;
                }
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

async fn all_sent(rig: &Rig, first: u64) -> anyhow::Result<Vec<Value>> {
    let end = Instant::now() + Duration::from_secs(400);
    loop {
        let sends = rig.sends_after(first).await?;
        if sends.iter().filter(|send| send["code"] == 0).count() >= ALL {
            return Ok(sends);
        }
        ensure!(Instant::now() < end, "{} of {ALL} sends after 400 s", sends.len());
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// A send as the sandbox's own clock saw it.
pub(crate) struct TimedSend {
    pub(crate) at: i64,
    account: String,
}

impl TimedSend {
    pub(crate) fn read(send: &Value) -> anyhow::Result<Self> {
        Ok(Self {
            at: send["time_ms"].as_i64().context("a send without a time")?,
            account: text(send, "account")?,
        })
    }
}

/// The most sends that any span of a second holds.
pub(crate) fn most_in_a_second(timed: &[TimedSend]) -> usize {
    let mut from = 0;
    let mut most = 0;
    for (to, timed_send) in timed.iter().enumerate() {
        while timed_send.at - timed[from].at >= 1_000 {
            from += 1;
        }
        most = most.max(to - from + 1);
    }
    most
}

/// How often a channel sent twice while another channel with queued messages sent nothing in between.
fn unfair(timed: &[TimedSend]) -> usize {
    let mut last_of: BTreeMap<&str, usize> = BTreeMap::new();
    for (n, timed_send) in timed.iter().enumerate() {
        last_of.insert(&timed_send.account, n);
    }
    let mut previous: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unfair = 0;
    for (n, timed_send) in timed.iter().enumerate() {
        if let Some(before) = previous.insert(&timed_send.account, n) {
            let had: BTreeSet<&str> = timed[before..n]
                .iter()
                .map(|timed_send| timed_send.account.as_str())
                .collect();
            let waits = last_of
                .iter()
                .any(|(account, last)| *last > n && !had.contains(account));
            unfair += usize::from(waits);
        }
    }
    unfair
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(of: &[(i64, &str)]) -> Vec<TimedSend> {
        let timed_send = |(at, account): &(i64, &str)| TimedSend {
            at: *at,
            account: (*account).to_owned(),
        };
        of.iter().map(timed_send).collect()
    }

    #[test]
    fn a_second_slides_and_ends_before_its_thousandth_millisecond() {
        assert_eq!(
            most_in_a_second(&timed(&[(0, "a"), (999, "a"), (1_000, "a"), (1_001, "a")])),
            3
        );
    }

    #[test]
    fn turn_is_unfair_only_while_another_waits() {
        assert_eq!(unfair(&timed(&[(0, "a"), (1, "b"), (2, "a"), (3, "b")])), 0);
        assert_eq!(unfair(&timed(&[(0, "a"), (1, "a"), (2, "b")])), 1);
        assert_eq!(unfair(&timed(&[(0, "b"), (1, "a"), (2, "a")])), 0);
    }
}
