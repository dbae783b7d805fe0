//! `weir events`: the event stream.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::Client;
use super::output::{Output, text};
use super::sse::Parser;
use super::{Done, Exit};

/// The first and the longest wait before a stream is opened again.
const RECONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// Print events as they arrive, until interrupted; resumes after a lost connection
    Tail(Tail),
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Event types to print, separated by commas (default: all)
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Channel ID (chn_…) to print events of (default: all channels)
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
    /// Start after this event: an event ID (evt_…) or a sequence number (0: all events)
    #[arg(long, value_name = "EVENT")]
    after: Option<String>,
}

impl Events {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        let Self::Tail(tail) = self;
        tokio::select! {
            done = tail.run(client, output) => done,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }
}

impl Tail {
    async fn run(self, client: &Client, output: &Output) -> Done {
        let mut url = client.at(&["v1", "events", "stream"]);
        for (name, value) in [
            ("types", &self.types),
            ("channel_id", &self.channel),
            ("after", &self.after),
        ] {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut last: Option<String> = None;
        let mut was_open = false;
        let mut wait = RECONNECT.0;
        loop {
            match client.stream(url.clone(), last.as_deref()).await {
                Ok(mut stream) => {
                    was_open = true;
                    let mut parser = Parser::default();
                    // An error and an end are the same to a reader that can resume.
                    while let Ok(Some(bytes)) = stream.next().await {
                        wait = RECONNECT.0;
                        for event in parser.feed(&bytes) {
                            print(output, &event.data);
                            last = event.id.or(last);
                        }
                    }
                }
                // A failure before the first stream is reported; after it, the connection is retried.
                Err(failure) if !was_open || failure.exit != Exit::Unreachable => return Err(failure),
                Err(_) => {}
            }
            output.note(&format!("Connection lost; reconnecting in {} s", wait.as_secs()));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RECONNECT.1);
        }
    }
}

fn print(output: &Output, data: &str) {
    let Ok(event) = serde_json::from_str::<Value>(data) else {
        return;
    };
    output.show(&event, || {
        let about = ["/data/content/text", "/data/status", "/data/name", "/data/id"]
            .iter()
            .map(|pointer| text(&event, pointer))
            .find(|text| !text.is_empty())
            .unwrap_or_default();
        output.facts(&[(
            &text(&event, "/timestamp"),
            format!(
                "{:<34}  {:<36}  {about}",
                text(&event, "/type"),
                text(&event, "/channel_id")
            ),
        )]);
    });
}
