//! `weir send`: a message to a conversation.

use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use http::Method;
use serde_json::{Value, json};
use weir_domain::limits;

use super::client::Client;
use super::output::{Output, text};
use super::{Done, Failure};

#[derive(Debug, Args)]
pub(super) struct Send {
    /// Conversation ID (cnv_…)
    conversation: String,
    /// Text of the message; - reads it from standard input
    #[arg(required_unless_present = "image")]
    text: Option<String>,
    /// Image file to send instead of a text
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    image: Option<PathBuf>,
    /// Message ID (msg_…) to reply to
    #[arg(long, value_name = "ID")]
    reply_to: Option<String>,
    /// Your own reference for the message, unique in the channel
    #[arg(long, value_name = "TEXT")]
    client_ref: Option<String>,
    /// Idempotency key: commands with the same key send one message
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Send {
    pub(super) async fn run(self, client: &Client, output: &Output) -> Done {
        let content = match (&self.image, self.text) {
            (Some(path), _) => json!({ "type": "image", "media": { "id": upload(client, path).await? } }),
            (None, Some(text)) if text == "-" => json!({ "type": "text", "text": standard_input()? }),
            (None, text) => json!({ "type": "text", "text": text }),
        };
        let body = json!({ "content": content, "reply_to": self.reply_to, "client_ref": self.client_ref });
        let url = client.at(&["v1", "conversations", &self.conversation, "messages"]);
        let message = match &self.idempotency_key {
            Some(key) => client.send_once(url, body, key).await?,
            None => client.send(Method::POST, url, body).await?,
        };
        output.show(&message, || {
            output.line(&format!("{}  {}", text(&message, "/id"), text(&message, "/status")));
            let warnings = message
                .get("warnings")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            warnings
                .iter()
                .for_each(|warning| output.note(&format!("warning: {}", text(warning, ""))));
        });
        Ok(())
    }
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .take(limits::API_BODY_BYTES as u64)
        .read_to_string(&mut text)
        .map_err(|error| Failure::failed(format!("cannot read standard input: {error}")))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// The boundary of the multipart form: random, so that no file contains it.
const BOUNDARY: &str = "----weir-cli-4f6b0f9c2f4e4b7fa3a1f0d1c5a9";

/// Uploads a file, and returns its media ID.
async fn upload(client: &Client, path: &Path) -> Result<String, Failure> {
    let bytes =
        std::fs::read(path).map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name = name.replace(['"', '\r', '\n', '\\'], "_");
    let head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\r\n");
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let form = [head.as_bytes(), &bytes, tail.as_bytes()].concat();
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let media = client
        .upload(client.at(&["v1", "media"]), &kind, None, Bytes::from(form))
        .await?;
    Ok(text(&media, "/id"))
}
