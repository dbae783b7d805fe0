//! The operator's endpoint: receives Weir's deliveries, with scripted responses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One received request.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The request line and the headers.
    pub head: String,
    /// The body.
    pub body: String,
    /// The body's bytes, which need not be text.
    pub bytes: Vec<u8>,
}

impl Delivered {
    /// A header's value.
    ///
    /// # Errors
    /// No header has this name.
    pub fn header(&self, name: &str) -> anyhow::Result<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .with_context(|| format!("no header {name} in {}", self.head))
    }
}

/// How the endpoint responds to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Answers 200, late.
    After(Duration),
    /// Takes the request and never answers.
    Silence,
}

/// A running endpoint; it ends with the runtime.
#[derive(Clone, Debug)]
pub struct Subscriber {
    url: String,
    delivered: Arc<Mutex<Vec<Delivered>>>,
}

/// The requests that were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    All,
    Nothing,
}

impl Subscriber {
    /// Starts one that answers each request with what `reply` returns for its number (from 0) and itself.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(reply: impl Fn(usize, &Delivered) -> Reply + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::keeping(Keep::All, reply).await
    }

    /// One that stores no requests, for long loads; the number that `reply` gets is always 0.
    ///
    /// # Errors
    /// No port is free.
    pub async fn forgetful(reply: impl Fn(usize, &Delivered) -> Reply + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::keeping(Keep::Nothing, reply).await
    }

    async fn keeping(
        keep: Keep,
        reply: impl Fn(usize, &Delivered) -> Reply + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let subscriber = Self {
            url: format!("http://{}/events", listener.local_addr()?),
            delivered: Arc::default(),
        };
        let (delivered, reply) = (Arc::clone(&subscriber.delivered), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (delivered, reply) = (Arc::clone(&delivered), Arc::clone(&reply));
                tokio::spawn(async move { serve(stream, keep, &delivered, &*reply).await });
            }
        });
        Ok(subscriber)
    }

    /// One that answers with each of `statuses` in turn, and repeats the last.
    ///
    /// # Errors
    /// No port is free.
    pub async fn answering(statuses: Vec<u16>) -> anyhow::Result<Self> {
        Self::start(move |number, _| {
            let status = statuses.get(number).or(statuses.last()).copied();
            Reply::Status(status.unwrap_or(200))
        })
        .await
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far.
    pub fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests after the first `seen`.
    pub fn delivered_after(&self, seen: usize) -> Vec<Delivered> {
        let delivered = self.delivered.lock().unwrap_or_else(PoisonError::into_inner);
        delivered.get(seen..).unwrap_or_default().to_vec()
    }
}

/// One request of a connection; a caller that hangs up in the middle has delivered nothing.
async fn serve(
    mut stream: TcpStream,
    keep: Keep,
    delivered: &Mutex<Vec<Delivered>>,
    reply: &(dyn Fn(usize, &Delivered) -> Reply + Send + Sync),
) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    let reply = {
        let mut delivered = delivered.lock().unwrap_or_else(PoisonError::into_inner);
        let reply = reply(delivered.len(), &request);
        if keep == Keep::All {
            delivered.push(request);
        }
        reply
    };
    let status = match reply {
        Reply::Status(status) => status,
        Reply::After(wait) => {
            tokio::time::sleep(wait).await;
            200
        }
        Reply::Silence => return std::future::pending().await,
    };
    let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    // The response is lost if the host hung up meanwhile.
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// A whole request, or none if the caller hung up before its end.
pub(crate) async fn read(stream: &mut TcpStream) -> Option<Delivered> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        request.extend_from_slice(&buffer[..read]);
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&request[..end]);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_length = name.eq_ignore_ascii_case("content-length");
            is_length.then(|| value.trim().parse::<usize>().ok()).flatten()
        });
        let body = &request[end + 4..];
        if body.len() >= length.unwrap_or(0) {
            return Some(Delivered {
                head: head.into_owned(),
                body: String::from_utf8_lossy(body).into_owned(),
                bytes: body.to_vec(),
            });
        }
    }
}
