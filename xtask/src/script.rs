//! One scripted conversation, played against the real programs and printed as a transcript. Every printed line was
//! observed: on the phone, in the event stream, or in a response of the API.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use weir_tests::{Answer, Events, HOUR_MS, Phone, Stack, until};

use crate::show;

/// How many messages TikTok allows in a window.
const BUDGET: u64 = 10;

/// Plays the script to its end. Returns the programs.
pub(crate) async fn play(stack: Stack, channel: &Value) -> anyhow::Result<Stack> {
    let events = stack.api.listen().await?;
    let mut script = Script { stack, events, step: 0 };
    script.title(channel);
    let thread = script.customer_writes().await?;
    script.operator_answers(&thread).await?;
    script.customer_reads().await?;
    script.pictures_both_ways(&thread).await?;
    script.click_on_an_ad().await?;
    script.budget_runs_out(&thread).await?;
    script.window_closes(&thread).await?;
    script.customer_writes_again(&thread).await?;
    let steps = script.step;
    say(&format!("\n{} all {steps} steps were seen", show::good("✓")));
    // The events end here: an open stream would delay the host's shutdown up to its deadline.
    Ok(script.stack)
}

struct Script {
    stack: Stack,
    events: Events,
    step: u32,
}

impl Script {
    fn title(&self, channel: &Value) {
        let name = channel["display_name"].as_str().unwrap_or_default();
        let user = channel["username"].as_str().unwrap_or_default();
        say(&format!(
            "\n{}",
            show::bright(&format!("Jane and {name} (@{user}) on TikTok, through Weir"))
        ));
    }

    async fn customer_writes(&mut self) -> anyhow::Result<String> {
        self.begin("The customer writes");
        let text = "Hello! Is the blue one in stock?";
        let event = self.stack.receives(&mut self.events, text).await?;
        jane(text);
        let message = &event["data"];
        same(&message["status"], "received")?;
        same(&message["origin"], "contact")?;
        let id = message["conversation_id"]
            .as_str()
            .context("the message has no conversation")?
            .to_owned();
        let thread = self.stack.api.conversation(&id).await?;
        same(&thread["can_reply"], true)?;
        same(&thread["budget"]["left"], BUDGET)?;
        same(&thread["contact"]["username"], "jane_doe")?;
        let closes = thread["window"]["closes_at"]
            .as_str()
            .context("the window has no end")?;
        seen(&format!(
            "event message.received; the window is open until {closes}, {BUDGET} answers left"
        ));
        Ok(id)
    }

    async fn operator_answers(&mut self, thread: &str) -> anyhow::Result<()> {
        self.begin("The operator answers through the API");
        let text = "It is! Shall I put one aside for you?";
        let queued = self.stack.api.say(thread, text).await?.expect(202)?;
        same(&queued["status"], "queued")?;
        acme(text);
        let sent = self.event_of("message.sent", &queued["id"]).await?;
        ensure!(
            sent["data"]["platform_id"].is_string(),
            "the sent message has no platform id: {sent:#}"
        );
        self.on_phone(|message| message["text"] == text).await?;
        seen("202 queued, event message.sent; the phone shows it once");
        Ok(())
    }

    async fn customer_reads(&mut self) -> anyhow::Result<()> {
        self.begin("The customer reads it");
        self.stack.phone.does("read", json!({})).await?;
        let read = self.events.wait_for("message.read").await?;
        same(&read["data"]["status"], "read")?;
        seen("event message.read");
        Ok(())
    }

    async fn pictures_both_ways(&mut self, thread: &str) -> anyhow::Result<()> {
        self.begin("A picture in");
        self.stack.phone.does("write", json!({"type": "image"})).await?;
        let event = self
            .events
            .wait_where("message.received", |event| event["data"]["content"]["type"] == "image")
            .await?;
        let media = event["data"]["content"]["media"].clone();
        let link = media["url"].as_str().context("the picture has no link")?;
        let bytes = until("the picture's bytes", async || {
            let answer = self.stack.client().get(link).send().await?;
            Ok(if answer.status().is_success() {
                Some(answer.bytes().await?)
            } else {
                None
            })
        })
        .await?;
        ensure!(bytes.starts_with(&[0xff, 0xd8, 0xff]), "the picture is no JPEG");
        jane("[a picture]");
        seen(&format!(
            "event message.received; {} bytes of image/jpeg behind a signed link",
            bytes.len()
        ));

        self.begin("The same picture out");
        let part = reqwest::multipart::Part::bytes(bytes.to_vec())
            .file_name("blue.jpg")
            .mime_str("image/jpeg")?;
        let form = reqwest::multipart::Form::new().part("file", part);
        let request = self
            .stack
            .api
            .request(reqwest::Method::POST, "/v1/media")
            .multipart(form);
        let stored = self.stack.api.send(request).await?.expect(201)?;
        same(&stored["mime_type"], "image/jpeg")?;
        let body = json!({"content": {"type": "image", "media": {"id": stored["id"]}}});
        let queued = self
            .stack
            .api
            .post(&format!("/v1/conversations/{thread}/messages"), body)
            .await?
            .expect(202)?;
        self.event_of("message.sent", &queued["id"]).await?;
        self.on_phone(|message| message["type"] == "image").await?;
        acme("[a picture]");
        seen("uploaded, 202 queued, event message.sent; the phone shows it once");
        Ok(())
    }

    async fn click_on_an_ad(&mut self) -> anyhow::Result<()> {
        self.begin("Another person clicks on an ad, and writes nothing");
        self.other().does("ad-click", json!({})).await?;
        let created = self.events.wait_for("contact.created").await?;
        let referral = self.events.wait_for("referral.received").await?;
        let id = referral["data"]["conversation_id"]
            .as_str()
            .context("the referral has no conversation")?;
        let thread = self.stack.api.conversation(id).await?;
        same(&thread["opened_by"], "referral")?;
        same(&thread["can_reply"], false)?;
        same(&thread["window"], Value::Null)?;
        let refused = self.stack.api.say(id, "Hello?").await?;
        same(&refused.problem(409)?.into(), "conversation_initiation_not_allowed")?;
        let name = created["data"]["username"].as_str().unwrap_or("somebody");
        seen(&format!(
            "contact @{name} and an open conversation without a message; writing first is refused"
        ));
        Ok(())
    }

    async fn budget_runs_out(&mut self, thread: &str) -> anyhow::Result<()> {
        self.begin("Ten answers are used up");
        let text = "Yes please! How much is it?";
        self.stack.receives(&mut self.events, text).await?;
        jane(text);
        for number in 1..=BUDGET {
            let queued = self
                .stack
                .api
                .say(thread, &format!("Answer {number}"))
                .await?
                .expect(202)?;
            self.event_of("message.sent", &queued["id"]).await?;
        }
        acme(&format!("Answer 1 … Answer {BUDGET}"));
        let eleventh = self.stack.api.say(thread, "Answer 11").await?;
        same(&eleventh.problem(409)?.into(), "message_budget_exhausted")?;
        ensure!(
            !eleventh.headers.contains_key("retry-after"),
            "only the contact's next message restores the budget, not time"
        );
        let on_phone = self.stack.phone.from_business().await?;
        let answers = on_phone
            .iter()
            .filter(|m| m["text"].as_str().is_some_and(|text| text.starts_with("Answer ")))
            .count();
        same(&answers.into(), BUDGET)?;
        refusal(&eleventh);
        Ok(())
    }

    async fn window_closes(&mut self, thread: &str) -> anyhow::Result<()> {
        self.begin("48 hours pass");
        let text = "Let me think about it.";
        self.stack.receives(&mut self.events, text).await?;
        jane(text);
        self.stack.time_passes(48 * HOUR_MS).await?;
        let late = self.stack.api.say(thread, "Still there?").await?;
        same(&late.problem(409)?.into(), "reply_window_closed")?;
        refusal(&late);
        Ok(())
    }

    async fn customer_writes_again(&mut self, thread: &str) -> anyhow::Result<()> {
        self.begin("The customer writes again");
        let text = "I'll take it!";
        self.stack.receives(&mut self.events, text).await?;
        jane(text);
        let answer = "Wonderful. It ships today.";
        let queued = self.stack.api.say(thread, answer).await?.expect(202)?;
        self.event_of("message.sent", &queued["id"]).await?;
        self.on_phone(|message| message["text"] == answer).await?;
        acme(answer);
        seen("the window is open again; the phone shows the answer once");
        Ok(())
    }

    fn other(&self) -> Phone {
        self.stack.phone.of("kenji")
    }

    async fn event_of(&mut self, kind: &str, message: &Value) -> anyhow::Result<Value> {
        self.events
            .wait_where(kind, |event| event["data"]["id"] == *message)
            .await
    }

    /// Waits until the phone shows exactly one such message of the business.
    async fn on_phone(&self, fits: impl Fn(&Value) -> bool) -> anyhow::Result<()> {
        let shown = self.stack.phone.from_business().await?;
        let count = shown.iter().filter(|message| fits(message)).count();
        ensure!(count == 1, "the phone shows the message {count} times: {shown:#?}");
        Ok(())
    }

    fn begin(&mut self, what: &str) {
        self.step += 1;
        say(&format!("\n{}", show::bright(&format!("{:>2}  {what}", self.step))));
    }
}

fn same(have: &Value, want: impl Into<Value>) -> anyhow::Result<()> {
    let want = want.into();
    ensure!(*have == want, "expected {want}, saw {have}");
    Ok(())
}

fn jane(text: &str) {
    say(&format!("      Jane   {text}"));
}

fn acme(text: &str) {
    say(&format!("      Acme   {text}"));
}

fn seen(what: &str) {
    say(&format!("    {} {}", show::good("✓"), show::quiet(what)));
}

fn refusal(answer: &Answer) {
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    let code = answer.body["code"].as_str().unwrap_or_default();
    seen(&format!("409 {code}: {detail}"));
}

fn say(line: &str) {
    anstream::println!("{line}");
}
