//! Weir's clock is wrong by seconds or minutes, ahead of the platform or behind it, and is set while Weir runs: nothing
//! is sent twice, nothing expires by the wrong clock, and the offset is shown.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{APP, Events, Options, Stack, SteppingClock, until};

/// By how much Weir's clock is ahead, in seconds, one after the other: each change is a step, in both directions.
pub const SKEWS_S: [i64; 12] = [-1, 8, -8, 30, -60, 60, 1, -300, 300, -600, 600, 0];
/// An uncertain message is settled after so many steps of virtual time.
const STEPS: u32 = 40;
const STEP_MS: i64 = 20_000;
/// TikTok's window.
const WINDOW_MS: i64 = 48 * 3_600_000;
/// How wrong the shown offset may be: platforms date their answers in whole seconds.
const PRECISION_MS: i64 = 2_000;

/// What was counted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SkewFigures {
    /// Clocks that were tried.
    pub skews: usize,
    /// Messages sent.
    pub sent: usize,
    /// Of them, those whose answer was lost.
    pub answers_lost: usize,
    /// Of those, the ones that the platform never accepted, and that were sent again.
    #[serde(rename = "sent_again")]
    pub resent: usize,
    /// Messages in the last minute of a window.
    pub in_the_last_minute: usize,
    /// The largest difference of the offset that was shown from the true one, in milliseconds.
    pub largest_error_ms: i64,
    /// The inconsistencies; empty if every promise was kept.
    pub breaches: Vec<String>,
}

/// The running programs, and Weir's clock.
struct Skewed {
    stack: Stack,
    events: Events,
    clock: SteppingClock,
    channel: String,
    thread: String,
    /// By how much the sandbox was advanced.
    advanced_ms: i64,
    skew_ms: i64,
    texts: Vec<String>,
    figures: SkewFigures,
}

/// Runs with each of `skews_s`, in the folder `data`.
///
/// # Errors
/// A program fails. Broken promises are in [`SkewFigures::breaches`].
pub async fn skew(skews_s: &[i64], data: &Path) -> anyhow::Result<SkewFigures> {
    let clock = SteppingClock::start().await?;
    let mut options = Options::new(data);
    options.env.push(("WEIR_CLOCK".to_owned(), clock.url().to_owned()));
    let stack = Stack::start(options).await?;
    stack.install("tiktok").await?;
    stack.put_app().await?;
    let channel = stack.connect("acme_store").await?;
    let channel = channel["id"].as_str().context("no channel")?.to_owned();
    let mut events = stack.api.listen().await?;
    let hello = stack.receives(&mut events, "Hello!").await?;
    let thread = hello["data"]["conversation_id"]
        .as_str()
        .context("no conversation")?
        .to_owned();
    let mut skewed = Skewed {
        stack,
        events,
        clock,
        channel,
        thread,
        advanced_ms: 0,
        skew_ms: 0,
        texts: Vec::new(),
        figures: SkewFigures::default(),
    };
    for skew_s in skews_s {
        skewed
            .play(*skew_s)
            .await
            .with_context(|| format!("Weir's clock {skew_s} s ahead"))?;
    }
    let Skewed { stack, figures, .. } = skewed;
    stack.stop().await?;
    Ok(figures)
}

impl Skewed {
    async fn play(&mut self, skew_s: i64) -> anyhow::Result<()> {
        self.figures.skews += 1;
        self.skew_ms = skew_s * 1_000;
        self.clock.set(&self.stack.api, self.advanced_ms + self.skew_ms).await?;
        let mut number = 0;
        let mut text = |what: &str| {
            number += 1;
            format!("{what} {number} at {skew_s}")
        };
        // The first exchange shows the platform's clock again, whatever was known before the step.
        self.say(&text("plain")).await?;
        let question = text("question");
        self.stack.receives(&mut self.events, &question).await?;
        self.shows_the_offset().await?;
        self.answer_lost(&text("echoed"), &[json!({"on": "send", "fault": {"lost": true}})])
            .await?;
        let dropped = json!({"on": "webhook", "event": "im_send_msg", "fault": {"drop": true}});
        self.answer_lost(
            &text("in the history"),
            &[json!({"on": "send", "fault": {"lost": true}}), dropped],
        )
        .await?;
        self.answer_lost(&text("never taken"), &[json!({"on": "send", "fault": {"reset": true}})])
            .await?;
        self.figures.resent += 1;
        self.last_minute(&text("last minute"), &text("too late")).await?;
        let question = text("after all");
        self.stack.receives(&mut self.events, &question).await?;
        self.compare().await
    }

    /// Advances virtual time for the sandbox and for Weir.
    async fn passes(&mut self, ms: i64) -> anyhow::Result<()> {
        self.advanced_ms += ms;
        self.stack.phone.order("clock/advance", json!({"ms": ms})).await?;
        self.clock.set(&self.stack.api, self.advanced_ms + self.skew_ms).await?;
        // For Weir its own clock was set and the platform's was not: the next response shows the new offset.
        let path = format!("/v1/channels/{}/diagnostics", self.channel);
        self.stack.api.get(&path).await?.expect(200)?;
        self.shows_the_offset().await
    }

    async fn say(&mut self, text: &str) -> anyhow::Result<String> {
        let message = self.stack.api.say(&self.thread, text).await?.expect(202)?;
        let id = message["id"].as_str().context("no id")?.to_owned();
        self.settles(&id).await?;
        self.texts.push(text.to_owned());
        self.figures.sent += 1;
        Ok(id)
    }

    async fn status(&self, id: &str) -> anyhow::Result<String> {
        let message = self.stack.api.get(&format!("/v1/messages/{id}")).await?.expect(200)?;
        Ok(message["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until a message is sent, and advances virtual time as needed.
    async fn settles(&mut self, id: &str) -> anyhow::Result<()> {
        for _ in 0..STEPS {
            let settled = until("a result", async || {
                let status = self.status(id).await?;
                Ok(match status.as_str() {
                    "queued" | "sending" => None,
                    _ => Some(status),
                })
            })
            .await;
            // A message that waits for its next attempt waits for virtual time.
            match settled.as_deref() {
                Ok("uncertain") | Err(_) => self.passes(STEP_MS).await?,
                Ok("failed") => {
                    self.breach(format!("the message {id} failed"));
                    return Ok(());
                }
                Ok(_) => return Ok(()),
            }
        }
        self.breach(format!("the message {id} stays {}", self.status(id).await?));
        Ok(())
    }

    async fn answer_lost(&mut self, text: &str, faults: &[Value]) -> anyhow::Result<()> {
        for fault in faults {
            self.stack.phone.order_fault(fault.clone()).await?;
        }
        self.figures.answers_lost += 1;
        self.say(text).await?;
        self.stack.phone.forget_faults().await
    }

    /// The window closes by the platform's clock: a minute before its end is in time, a minute after it is not.
    async fn last_minute(&mut self, in_time: &str, late: &str) -> anyhow::Result<()> {
        let question = format!("before {in_time}");
        self.stack.receives(&mut self.events, &question).await?;
        self.passes(WINDOW_MS - 60_000).await?;
        self.say(in_time).await?;
        self.figures.in_the_last_minute += 1;
        self.passes(120_000).await?;
        let refused = self.stack.api.say(&self.thread, late).await?;
        if refused.status != 409 || refused.body["code"] != "reply_window_closed" {
            self.breach(format!("after the window's end: {} {}", refused.status, refused.body));
        }
        Ok(())
    }

    async fn shows_the_offset(&mut self) -> anyhow::Result<()> {
        let skew_ms = self.skew_ms;
        let shown = until("the offset", async || {
            let app = self.stack.api.get(&format!("/v1/apps/{APP}")).await?.expect(200)?;
            let shown = app["clock_offset_ms"].as_i64().context("no offset")?;
            Ok(((shown + skew_ms).abs() <= PRECISION_MS).then_some(shown))
        })
        .await;
        match shown {
            Ok(shown) => {
                let error = (shown + skew_ms).abs();
                self.figures.largest_error_ms = self.figures.largest_error_ms.max(error);
            }
            Err(error) => self.breach(format!("{error:#}")),
        }
        let health = self.stack.api.get("/readyz").await?.expect(200)?;
        let is_degraded = health["status"] == "degraded";
        // Within the precision of half a minute either is right.
        let should_be = self.skew_ms.abs() > 30_000 + PRECISION_MS;
        if is_degraded != should_be && (self.skew_ms.abs() - 30_000).abs() > PRECISION_MS {
            self.breach(format!("/readyz returns {health}"));
        }
        Ok(())
    }

    /// The phone shows each sent text once, in order.
    async fn compare(&mut self) -> anyhow::Result<()> {
        let shown = self.stack.phone.from_business().await?;
        let shown: Vec<&str> = shown.iter().filter_map(|message| message["text"].as_str()).collect();
        ensure!(!shown.is_empty(), "the phone shows nothing");
        if shown != self.texts {
            self.breach(format!("sent {:?}, shown {shown:?}", self.texts));
        }
        Ok(())
    }

    fn breach(&mut self, what: String) {
        self.figures
            .breaches
            .push(format!("Weir {} s ahead: {what}", self.skew_ms / 1_000));
    }
}
