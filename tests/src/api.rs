//! The operator's side: Weir's HTTP API and its event stream.

use std::collections::VecDeque;

use anyhow::{Context, bail, ensure};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::PATIENCE;

/// A program with an API key.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    origin: String,
    key: String,
}

/// A response of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body, null if there is none; a text if it is no JSON.
    pub body: Value,
}

impl Answer {
    /// The body, if the status is this one.
    ///
    /// # Errors
    /// The status differs; the error shows both.
    pub fn expect(self, status: u16) -> anyhow::Result<Value> {
        ensure!(
            self.status == status,
            "expected {status}, got {} {:#}",
            self.status,
            self.body
        );
        Ok(self.body)
    }

    /// The problem's code, if the response is a problem document with this status.
    ///
    /// # Errors
    /// The response is not such a document.
    pub fn problem(&self, status: u16) -> anyhow::Result<&str> {
        ensure!(
            self.status == status,
            "expected {status}, got {} {:#}",
            self.status,
            self.body
        );
        let kind = self.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        ensure!(
            kind.is_some_and(|kind| kind.starts_with("application/problem+json")),
            "no problem document: {kind:?}"
        );
        self.body["code"].as_str().context("the problem has no code")
    }
}

impl Api {
    /// With this key.
    pub fn new(client: reqwest::Client, origin: &str, key: &str) -> Self {
        Self {
            client,
            origin: origin.to_owned(),
            key: key.to_owned(),
        }
    }

    /// Another key for the same host.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// The base URL of the API.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A request with the key, to be added to.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.origin))
            .bearer_auth(&self.key)
    }

    /// Sends a request.
    ///
    /// # Errors
    /// No response arrived.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Ok(Answer { status, headers, body })
    }

    /// `GET`.
    ///
    /// # Errors
    /// No response arrived.
    pub async fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` of JSON.
    ///
    /// # Errors
    /// No response arrived.
    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    /// `PUT` of JSON.
    ///
    /// # Errors
    /// No response arrived.
    pub async fn put(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::PUT, path).json(&body)).await
    }

    /// `PATCH` of JSON.
    ///
    /// # Errors
    /// No response arrived.
    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Answer> {
        self.send(self.request(Method::PATCH, path).json(&body)).await
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// No response arrived.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Answer> {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// The current state of one conversation.
    ///
    /// # Errors
    /// No conversation has this id.
    pub async fn conversation(&self, id: &str) -> anyhow::Result<Value> {
        self.get(&format!("/v1/conversations/{id}")).await?.expect(200)
    }

    /// Sends a text into a conversation.
    ///
    /// # Errors
    /// No response arrived.
    pub async fn say(&self, conversation: &str, text: &str) -> anyhow::Result<Answer> {
        let body = serde_json::json!({"content": {"type": "text", "text": text}});
        self.post(&format!("/v1/conversations/{conversation}/messages"), body)
            .await
    }

    /// Opens the event stream from now on.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn listen(&self) -> anyhow::Result<Events> {
        self.listen_after(None).await
    }

    /// Opens the event stream after an event that was read before.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn listen_after(&self, last: Option<&str>) -> anyhow::Result<Events> {
        let mut request = self.request(Method::GET, "/v1/events/stream");
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await?;
        ensure!(
            answer.status().is_success(),
            "the event stream answers {}",
            answer.status()
        );
        Ok(Events {
            answer,
            text: String::new(),
            read: VecDeque::new(),
            seen: Vec::new(),
        })
    }
}

/// The open event stream.
#[derive(Debug)]
pub struct Events {
    answer: reqwest::Response,
    text: String,
    read: VecDeque<Value>,
    seen: Vec<Value>,
}

impl Events {
    /// The next event.
    ///
    /// # Errors
    /// None came in time, or the stream ended.
    pub async fn next(&mut self) -> anyhow::Result<Value> {
        // The whole wait is bounded: comments keep a stream open that carries no events.
        tokio::time::timeout(PATIENCE, self.read_on())
            .await
            .context("no event came")?
    }

    async fn read_on(&mut self) -> anyhow::Result<Value> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.seen.push(event.clone());
                return Ok(event);
            }
            let Some(chunk) = self.answer.chunk().await? else {
                bail!("the event stream ended")
            };
            self.text.push_str(&String::from_utf8_lossy(&chunk));
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let data: Vec<&str> = block
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(str::trim_start)
                    .collect();
                if !data.is_empty() {
                    self.read.push_back(serde_json::from_str(&data.join("\n"))?);
                }
            }
        }
    }

    /// Reads up to an event of this type, and returns it.
    ///
    /// # Errors
    /// It did not arrive; the error shows the events that did.
    pub async fn wait_for(&mut self, kind: &str) -> anyhow::Result<Value> {
        self.wait_where(kind, |_| true).await
    }

    /// Reads up to an event of this type that satisfies the predicate, and returns it.
    ///
    /// # Errors
    /// It did not arrive; the error shows the events that did.
    pub async fn wait_where(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let begin = self.seen.len();
        loop {
            let event = match self.next().await {
                Ok(event) => event,
                Err(error) => {
                    let came: Vec<&str> = self.seen[begin..]
                        .iter()
                        .filter_map(|event| event["type"].as_str())
                        .collect();
                    return Err(error.context(format!("waited for {kind}; came: {came:?}")));
                }
            };
            if event["type"] == kind && fits(&event) {
                return Ok(event);
            }
        }
    }

    /// All events read so far.
    pub fn seen(&self) -> &[Value] {
        &self.seen
    }
}
