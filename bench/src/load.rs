//! Load: signed webhooks made beforehand, and connections that send as fast as they are answered.
//!
//! The client is minimal, so that on two cores the server is measured and not the client.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// The default app's secret in the sandbox.
pub(crate) const SECRET: &str = "sandbox-client-secret";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Text messages to one account, as webhooks that TikTok would sign (TikTok API reference, Signature).
pub(crate) struct Customers<'a> {
    /// The webhook's path.
    pub(crate) path: &'a str,
    /// The business account.
    pub(crate) business: &'a str,
    /// How many people write in turn.
    pub(crate) people: usize,
}

impl Customers<'_> {
    /// The `n`th message as a whole request, written now.
    pub(crate) fn writes(&self, n: usize) -> Vec<u8> {
        let now = jiff::Timestamp::now();
        let (person, business) = (n % self.people, self.business);
        let content = json!({
            "from": format!("person_{person}"), "to": "acme_store", "unique_identifier": format!("U{person}"),
            "from_user": {"id": format!("U{person}"), "role": "personal_account"},
            "to_user": {"id": business, "role": "business_account"},
            "conversation_id": format!("C{person}"), "message_id": format!("M{n}"), "timestamp": now.as_millisecond(),
            "type": "text", "text": {"body": text(n)},
        });
        let body = json!({
            "client_key": "7000000000000000001", "event": "im_receive_msg", "create_time": now.as_second(),
            "user_openid": business, "content": content.to_string(),
        })
        .to_string();
        let signature = sign(now.as_second(), &body);
        format!(
            "POST {} HTTP/1.1\r\nhost: weir\r\ncontent-type: application/json\r\ntiktok-signature: {signature}\r\n\
             content-length: {}\r\n\r\n{body}",
            self.path,
            body.len()
        )
        .into_bytes()
    }

    /// The next `count` messages from the `from`th on.
    pub(crate) fn write(&self, from: usize, count: usize) -> Vec<Vec<u8>> {
        (from..from + count).map(|n| self.writes(n)).collect()
    }
}

/// The text of the `n`th message.
pub(crate) fn text(n: usize) -> String {
    format!("Message {n}: is the blue one still there, and what would it cost to send it to Bandung?")
}

fn sign(at: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{at}.{body}").as_bytes());
    format!("t={at},s={}", hex::encode(mac.finalize().into_bytes()))
}

/// One kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: VecDeque<u8>,
}

impl Connection {
    pub(crate) async fn open(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("no connection to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: VecDeque::new(),
        })
    }

    /// Sends a whole request and reads the whole response; returns the status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        tokio::time::timeout(PATIENCE, async {
            self.stream.write_all(request).await?;
            self.answer().await
        })
        .await
        .context("no answer in time")?
    }

    async fn answer(&mut self) -> anyhow::Result<u16> {
        let mut chunk = [0; 4096];
        loop {
            let bytes = self.buffer.make_contiguous();
            if let Some((status, end)) = whole_answer(bytes)? {
                self.buffer.drain(..end);
                return Ok(status);
            }
            match self.stream.read(&mut chunk).await? {
                0 => bail!("the connection was closed in the middle of an answer"),
                read => self.buffer.extend(&chunk[..read]),
            }
        }
    }
}

/// The status and the length of the answer at the beginning of `bytes`, if all of it is there.
fn whole_answer(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_end])?.to_ascii_lowercase();
    let status = head.get(9..12).context("no status line")?.parse()?;
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .context("an answer without a length")?
        .trim()
        .parse()?;
    let end = head_end + 4 + length;
    Ok((bytes.len() >= end).then_some((status, end)))
}

/// Sends every request once over so many connections, each as soon as its last one was answered; how long that took.
///
/// # Errors
/// An answer other than 200.
pub(crate) async fn drive(origin: &str, requests: Vec<Vec<u8>>, connections: usize) -> anyhow::Result<Duration> {
    let address = address(origin)?.to_owned();
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(&address).await?);
    }
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in open {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        tasks.spawn(async move {
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                let status = connection.exchange(request).await?;
                ensure!(status == 200, "a webhook was answered {status}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(started.elapsed())
}

/// A request that was sent at its moment.
pub(crate) struct TimedResponse {
    pub(crate) n: usize,
    /// Its scheduled time. The wait for a connection counts as latency: a customer would wait too.
    pub(crate) started: Instant,
    /// From its moment to the whole answer.
    pub(crate) waited: Duration,
    pub(crate) status: u16,
}

/// Connections of a steady load, which take turns.
const STEADY_CONNECTIONS: usize = 16;

/// Sends the requests of these numbers, so many in a second, each at its moment whether or not those before it were
/// answered.
pub(crate) async fn steadily(
    origin: &str,
    per_second: usize,
    numbers: Range<usize>,
    request: impl Fn(usize) -> Vec<u8>,
) -> anyhow::Result<Vec<TimedResponse>> {
    let (free, mut next) = mpsc::channel(STEADY_CONNECTIONS);
    for _ in 0..STEADY_CONNECTIONS {
        free.send(Connection::open(address(origin)?).await?).await?;
    }
    let mut tasks: JoinSet<anyhow::Result<TimedResponse>> = JoinSet::new();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(per_second)?);
    for n in numbers {
        let request = request(n);
        ticks.tick().await;
        let started = Instant::now();
        let mut connection = next.recv().await.context("no connection is left")?;
        let free = free.clone();
        tasks.spawn(async move {
            let status = connection.exchange(&request).await?;
            let waited = started.elapsed();
            // The load has ended if no task receives it back.
            drop(free.send(connection).await);
            Ok(TimedResponse {
                n,
                started,
                waited,
                status,
            })
        });
    }
    tasks.join_all().await.into_iter().collect()
}

/// The address of an `http://` origin.
pub(crate) fn address(origin: &str) -> anyhow::Result<&str> {
    origin.strip_prefix("http://").context("an origin that is not http")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is_there() -> anyhow::Result<()> {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 503";
        assert_eq!(whole_answer(bytes)?, Some((200, 40)));
        assert_eq!(whole_answer(&bytes[..39])?, None);
        assert_eq!(whole_answer(&bytes[..20])?, None);
        assert!(whole_answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        Ok(())
    }
}
