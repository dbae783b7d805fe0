//! A clock for Weir that differs from the sandbox's by a chosen offset, and can be set while Weir runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Api, until};

/// The system's clock plus an offset in milliseconds.
#[derive(Clone, Debug)]
pub struct SteppingClock {
    url: String,
    ahead: Arc<AtomicI64>,
}

impl SteppingClock {
    /// A clock that shows the system's time until it is set. It is served as long as the process lives.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/clock", listener.local_addr()?);
        let ahead = Arc::new(AtomicI64::new(0));
        let shown = Arc::clone(&ahead);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 2048];
                let _ = stream.read(&mut request).await;
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_millis();
                let now = i64::try_from(now).unwrap_or(i64::MAX) + shown.load(Ordering::SeqCst);
                let body = json!({"now_ms": now}).to_string();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Self { url, ahead })
    }

    /// The URL at which Weir reads it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sets it, and waits until Weir has adopted the new time.
    ///
    /// # Errors
    /// Weir does not adopt it.
    pub async fn set(&self, api: &Api, ahead_ms: i64) -> anyhow::Result<()> {
        let shown = async || -> anyhow::Result<i64> {
            let health = api.get("/healthz").await?.expect(200)?;
            anyhow::Context::context(health["now_ms"].as_i64(), "/healthz has no now_ms")
        };
        let before = shown().await?;
        let by = ahead_ms - self.ahead.swap(ahead_ms, Ordering::SeqCst);
        until("the step", async || {
            let now = shown().await?;
            let has_followed = if by >= 0 {
                now >= before + by
            } else {
                now < before + by / 2
            };
            Ok(has_followed.then_some(()))
        })
        .await
    }
}
