//! Reads the three logs and compares them.

use anyhow::{Context, ensure};
use serde_json::Value;

use super::{Crash, LoggedEvent, Posted};
use crate::Api;

impl Crash {
    /// Reads the attempts of these messages, except of those that are known to be settled.
    pub(super) async fn read_tries(&mut self, of: impl Fn(&Posted) -> bool) -> anyhow::Result<()> {
        let unknown = |posted: &&mut Posted| of(posted) && (posted.tries.is_empty() || posted.has_open_try());
        for posted in self.run_ledger.posted.values_mut().filter(unknown) {
            let ledger = read(&self.stack.api, &format!("/v1/messages/{}/attempts", posted.id)).await?;
            posted.tries = rows(&ledger).iter().map(attempt).collect();
        }
        Ok(())
    }

    pub(super) async fn compare(&mut self) -> anyhow::Result<()> {
        self.read_tries(|_| true).await?;
        self.run_ledger.shown.clear();
        for person in &self.people {
            let messages = self.stack.phone.of(person).from_business().await?;
            let shown = messages
                .iter()
                .map(|message| Ok((id_of(&message["text"])?, id_of(&message["id"])?)));
            self.run_ledger.shown.extend(shown.collect::<anyhow::Result<Vec<_>>>()?);
        }
        let run_ledger = &self.run_ledger;
        let logged = |kind: &str| run_ledger.log.iter().filter(|logged| logged.kind == kind).count();
        let again = |posted: &&Posted| {
            posted
                .tries
                .iter()
                .rev()
                .skip(1)
                .any(|(outcome, _)| outcome == "uncertain")
        };
        self.figures.compared_after = self.figures.rounds;
        self.figures.written = run_ledger.written.len();
        self.figures.accepted = run_ledger.posted.len();
        self.figures.uncertain = logged("message.uncertain");
        self.figures.resent = run_ledger.posted.values().filter(again).count();
        self.figures.failed = run_ledger
            .posted
            .values()
            .filter(|posted| posted.status == "failed")
            .count();
        self.figures.events = run_ledger.owed().count();
        self.figures.delivered = run_ledger.delivered.len();
        self.figures.breaches = run_ledger.breaches();
        ensure!(
            self.figures.breaches.is_empty(),
            "after {} kills with seed {}, {} promises are broken:\n{}",
            self.figures.rounds,
            self.plan.seed,
            self.figures.breaches.len(),
            self.figures.breaches.join("\n")
        );
        Ok(())
    }

    pub(super) async fn read_all(&mut self) -> anyhow::Result<()> {
        self.read_messages().await?;
        self.read_webhooks().await?;
        self.read_log().await?;
        let delivered = self.subscriber.delivered_after(self.run_ledger.delivered.len());
        for delivered in delivered {
            let event: Value = serde_json::from_str(&delivered.body).context("the endpoint got no JSON")?;
            ensure!(
                event["id"] == delivered.header("webhook-id")?,
                "an id in the header that is not the event's"
            );
            let sequence = event["sequence"].as_i64().context("the event has no sequence")?;
            self.run_ledger.delivered.push((id_of(&event["id"])?, sequence));
        }
        Ok(())
    }

    pub(super) async fn read_messages(&mut self) -> anyhow::Result<()> {
        let api = &self.stack.api;
        for posted in self
            .run_ledger
            .posted
            .values_mut()
            .filter(|posted| !posted.is_settled())
        {
            let message = read(api, &format!("/v1/messages/{}", posted.id)).await?;
            posted.status = id_of(&message["status"])?;
            posted.platform_id = text(&message["platform_id"]);
        }
        Ok(())
    }

    async fn read_webhooks(&mut self) -> anyhow::Result<()> {
        loop {
            let page = self
                .stack
                .phone
                .look(&format!("webhooks?after={}", self.webhooks_read))
                .await?;
            let lines = page["webhooks"].as_array().context("no webhooks")?;
            let Some(last) = lines.last() else { return Ok(()) };
            self.webhooks_read = last["sequence"].as_u64().context("a line without a number")?;
            for line in lines
                .iter()
                .filter(|line| line["status"] == 200 && line["event"] == "im_receive_msg")
            {
                self.run_ledger.answered.insert(id_of(&line["message_id"])?);
            }
        }
    }

    async fn read_log(&mut self) -> anyhow::Result<()> {
        loop {
            let path = format!("/v1/events?after={}&limit=200", self.log_read);
            let page = read(&self.stack.api, &path).await?;
            let events = rows(&page);
            let Some(last) = events.last() else { return Ok(()) };
            self.log_read = last["sequence"].as_i64().context("an event without its place")?;
            for event in events {
                let about = event["type"].as_str().is_some_and(|kind| kind.starts_with("message."));
                self.run_ledger.log.push(LoggedEvent {
                    id: id_of(&event["id"])?,
                    sequence: event["sequence"].as_i64().context("an event without its place")?,
                    kind: id_of(&event["type"])?,
                    conversation: text(&event["conversation_id"]),
                    message: text(&event["data"]["id"]).filter(|_| about),
                    platform_id: text(&event["data"]["platform_id"]).filter(|_| about),
                });
            }
        }
    }
}

/// Sends a read request, over another connection if the one to a node was closed.
async fn read(api: &Api, path: &str) -> anyhow::Result<Value> {
    crate::until("an answer", async || match api.get(path).await {
        Ok(answer) => answer.expect(200).map(Some),
        Err(_) => Ok(None),
    })
    .await
}

fn attempt(attempt: &Value) -> (String, bool) {
    let silent = attempt["requests"].as_array().into_iter().flatten().any(|request| {
        let reason = request["error"].as_str().unwrap_or_default();
        request["status"].is_null() && (reason.starts_with("no answer") || reason.contains("before the response"))
    });
    (text(&attempt["outcome"]).unwrap_or_default(), silent)
}

pub(super) fn rows(page: &Value) -> Vec<Value> {
    page["data"].as_array().cloned().unwrap_or_default()
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

pub(super) fn id_of(value: &Value) -> anyhow::Result<String> {
    text(value).with_context(|| format!("expected a text, saw {value}"))
}
