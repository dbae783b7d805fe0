//! A web server with scripted responses: a real or a fake download site.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::Delivered;
use crate::subscriber;

/// A response of a site.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// Names and values; the length is written by the site.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Page {
    /// This status without a body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// 200 with a body.
    pub fn of(body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// The response with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A running site; it ends with the runtime.
#[derive(Clone, Debug)]
pub struct Site {
    host: String,
    requests: Arc<Mutex<Vec<Delivered>>>,
}

impl Site {
    /// Starts one that answers a request, named by its path with the query, as `answer` says.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(answer: impl Fn(&str, &Delivered) -> Page + Send + Sync + 'static) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let site = Self {
            host: listener.local_addr()?.to_string(),
            requests: Arc::default(),
        };
        let (requests, answer) = (Arc::clone(&site.requests), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (requests, answer) = (Arc::clone(&requests), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Some(request) = subscriber::read(&mut stream).await else {
                        return;
                    };
                    let path = request.head.split(' ').nth(1).unwrap_or_default();
                    let page = answer(path, &request);
                    requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                    let length = ("content-length", page.body.len().to_string());
                    let mut head = format!("HTTP/1.1 {} Said\r\nconnection: close\r\n", page.status);
                    for (name, value) in page.headers.iter().chain([&length]) {
                        head.extend([name, ": ", value, "\r\n"]);
                    }
                    head.push_str("\r\n");
                    // A caller that hung up meanwhile needs no response.
                    let _ = stream.write_all(&[head.as_bytes(), &page.body].concat()).await;
                });
            }
        });
        Ok(site)
    }

    /// Its address and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Delivered> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
