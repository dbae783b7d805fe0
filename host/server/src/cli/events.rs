//! `weir events`: what happens, as it happens.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::client::Client;
use super::output::{Output, text};
use super::sse::Parser;
use super::{Done, Exit};

/// Wait before a broken stream is opened again, and the longest such wait.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// Print events as they come, until interrupted; a stream that breaks off goes on where it was
    Tail(Tail),
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Only these types, joined by commas
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Only of this channel (chn_…)
    #[arg(long, value_name = "ID")]
    channel: Option<String>,
    /// Begin after this event (evt_… or a sequence; 0 for all)
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
        let mut wait = AGAIN.0;
        loop {
            match client.stream(url.clone(), last.as_deref()).await {
                Ok(mut stream) => {
                    was_open = true;
                    let mut parser = Parser::default();
                    // A stream that breaks off and one that ends are the same to a reader that can go on.
                    while let Ok(Some(bytes)) = stream.next().await {
                        wait = AGAIN.0;
                        for event in parser.feed(&bytes) {
                            print(output, &event.data);
                            last = event.id.or(last);
                        }
                    }
                }
                // The first failure is the person's to see; later ones are the network's.
                Err(failure) if !was_open || failure.exit != Exit::Unreachable => return Err(failure),
                Err(_) => {}
            }
            output.note(&format!("The stream broke off; again in {} s", wait.as_secs()));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(AGAIN.1);
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
