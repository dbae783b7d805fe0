//! P3: sends in a second to the sandbox with the platform's limit lifted, from the first call of the API to the last
//! message at the platform.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::report::{Row, median, whole};
use crate::rig::{ACCOUNT, Rig, text};

/// Conversations, each with one window's messages.
const PEOPLE: usize = 500;
/// Messages of a window.
const MESSAGES: usize = 10;
/// Callers at once, of the API and of the platform.
const CALLERS: usize = 64;
/// Rounds of each, in turn; the middle one counts.
const ROUNDS: usize = 3;

/// Measures this build against the bare loop, and against another build of Weir if one is given.
pub(crate) async fn measure(against: Option<&Path>) -> anyhow::Result<Vec<Row>> {
    let rig = Rig::begin(true).await?;
    let other = match against {
        Some(weir) => Some(Rig::begin_with(true, Some(weir)).await?),
        None => None,
    };
    let token = token(&rig).await?;
    let (mut with_weir, mut with_other, mut with_bare) = (Vec::new(), Vec::new(), Vec::new());
    let (mut refused, mut refused_other) = (0, 0);
    for _ in 0..ROUNDS {
        let conversations = rig.everybody_writes(PEOPLE).await?;
        quiet(&rig).await?;
        let sent = weir(&rig, &conversations).await?;
        with_weir.push(sent.per_second);
        refused += sent.refused;
        if let Some(other) = &other {
            let conversations = other.everybody_writes(PEOPLE).await?;
            quiet(other).await?;
            let sent = weir(other, &conversations).await?;
            with_other.push(sent.per_second);
            refused_other += sent.refused;
        }
        rig.everybody_writes(PEOPLE).await?;
        quiet(&rig).await?;
        with_bare.push(bare(&rig, &token, &conversations).await?);
    }
    let (weir, bare) = (median(&with_weir), median(&with_bare));
    rig.stack.stop().await?;
    let mut rows = vec![
        Row::new("P3", "outbound")
            .saw(format!("{}/s", whole(weir)))
            .saw(format!("bare loop {}/s", whole(bare)))
            .at_least("ratio", weir / bare, 0.50)
            .at_most("sends refused", refused as f64, 0.0),
    ];
    if let Some(other) = other {
        other.stack.stop().await?;
        let before = median(&with_other);
        rows.push(
            Row::new("P3b", "outbound against")
                .saw(format!("{}/s", whole(weir)))
                .saw(format!("the other build {}/s, {refused_other} refused", whole(before)))
                .at_least("ratio", weir / before, crate::NOT_WORSE),
        );
    }
    Ok(rows)
}

/// The result of a round of sends.
struct Sent {
    per_second: f64,
    refused: usize,
}

/// No echoes while sends are measured: they are inbound work, which [`crate::inbound`] measures.
async fn quiet(rig: &Rig) -> anyhow::Result<()> {
    rig.stack.phone.set(json!({"webhooks": false})).await
}

/// Sends in a second through Weir.
async fn weir(rig: &Rig, conversations: &[Value]) -> anyhow::Result<Sent> {
    let first = rig.last_call().await?;
    let started = rig.now_ms().await?;
    let paths: Vec<String> = conversations
        .iter()
        .map(|one| Ok(format!("/v1/conversations/{}/messages", text(one, "id")?)))
        .collect::<anyhow::Result<_>>()?;
    let api = rig.stack.api.clone();
    spread(paths, move |path, n| {
        let api = api.clone();
        async move {
            let draft =
                json!({"content": {"type": "text", "text": format!("Answer {n}: it is, and sending it is free.")}});
            api.post(&path, draft).await?.expect(202).map(drop)
        }
    })
    .await?;
    let end = Instant::now() + Duration::from_secs(120);
    let mut before = 0;
    loop {
        let sends = rig.sends_after(first).await?;
        let taken = sends.iter().filter(|send| send["code"] == 0).count();
        // All of them, or all that there will be: what the platform refused for good is not sent again.
        let is_over = taken >= PEOPLE * MESSAGES || (sends.len() >= PEOPLE * MESSAGES && sends.len() == before);
        if is_over {
            ensure!(taken <= PEOPLE * MESSAGES, "{taken} sends");
            let last = sends.iter().filter_map(|send| send["time_ms"].as_i64()).max();
            let took = last.context("a send without a time")? - started;
            return Ok(Sent {
                per_second: taken as f64 * 1_000.0 / took as f64,
                refused: sends.len() - taken,
            });
        }
        before = sends.len();
        ensure!(Instant::now() < end, "{} sends after two minutes", sends.len());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Sends per second without Weir: a loop of requests, without a database or rules.
async fn bare(rig: &Rig, token: &str, conversations: &[Value]) -> anyhow::Result<f64> {
    let business = rig.business()?.to_owned();
    let url = format!("{}/open_api/v1.3/business/message/send/", rig.stack.sandbox.origin());
    let (client, token) = (rig.stack.client().clone(), token.to_owned());
    let threads: Vec<String> = conversations
        .iter()
        .map(|one| text(one, "platform_id"))
        .collect::<anyhow::Result<_>>()?;
    let started = Instant::now();
    spread(threads, move |thread, n| {
        let request = client.post(&url).header("Access-Token", &token).json(&json!({
            "business_id": business, "recipient_type": "CONVERSATION", "recipient": thread, "message_type": "TEXT",
            "text": {"body": format!("Answer {n}: it is, and sending it is free.")},
        }));
        async move {
            let answer: Value = request.send().await?.json().await?;
            ensure!(answer["code"] == 0, "the sandbox refused a send: {answer}");
            Ok(())
        }
    })
    .await?;
    Ok((PEOPLE * MESSAGES) as f64 / started.elapsed().as_secs_f64())
}

/// Does `send` for each message of each conversation, in turn, so many at once.
async fn spread<F, S>(conversations: Vec<String>, send: S) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send,
    S: Fn(String, usize) -> F + Send + Sync + 'static,
{
    let (conversations, send) = (Arc::new(conversations), Arc::new(send));
    let mut tasks = JoinSet::new();
    for caller in 0..CALLERS {
        let (conversations, send) = (Arc::clone(&conversations), Arc::clone(&send));
        tasks.spawn(async move {
            for message in 0..MESSAGES {
                for conversation in conversations.iter().skip(caller).step_by(CALLERS) {
                    send(conversation.clone(), message).await?;
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

/// A token for the bare loop, by the consent page and the code (TikTok API reference, Token exchange).
async fn token(rig: &Rig) -> anyhow::Result<String> {
    let sandbox = rig.stack.sandbox.origin();
    let (key, back) = ("7000000000000000001", "http://127.0.0.1:9/callback");
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("client_key", key),
            ("redirect_uri", back),
            ("state", "s"),
            ("scope", "message.list.send,message.list.read"),
            ("account", ACCOUNT),
            ("granted", "*"),
            ("decision", "allow"),
        ])
        .finish();
    let request = rig.stack.client().post(format!("{sandbox}/v2/auth/authorize/"));
    let answer = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await?;
    let to = answer
        .headers()
        .get("location")
        .context("the consent page did not redirect")?
        .to_str()?;
    let to: url::Url = to.parse()?;
    let code = to
        .query_pairs()
        .find(|(name, _)| name == "code")
        .context("no code")?
        .1
        .into_owned();
    let exchange = json!({
        "client_id": key, "client_secret": crate::load::SECRET, "grant_type": "authorization_code", "auth_code": code,
        "redirect_uri": back,
    });
    let url = format!("{sandbox}/open_api/v1.3/tt_user/oauth2/token/");
    let answer: Value = rig
        .stack
        .client()
        .post(url)
        .json(&exchange)
        .send()
        .await?
        .json()
        .await?;
    text(&answer["data"], "access_token")
}
