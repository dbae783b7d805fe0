//! The client of a running host's API. Its requests leave through egress, like all others.

use std::path::PathBuf;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;
use url::Url;
use weir_domain::credential::Secrets;
use weir_domain::manifest::Origin;
use weir_domain::policy::{Request, RequestBody, may_follow_clock};
use weir_egress::{Answer, AnswerStream, Egress, EgressError, NoBodies};

use super::{Common, Exit, Failure};
use crate::Config;

/// A running host.
pub(super) struct Client {
    egress: Egress,
    base: Url,
    key: Option<HeaderValue>,
}

impl Client {
    /// A client of the host that the command line names.
    pub(super) fn new(common: &Common) -> Result<Self, Failure> {
        let base = Url::parse(&common.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| Failure::usage(format!("--url {:?} is not an http or https URL", common.url)))?;
        let key = match &common.key {
            Some(key) => Some(key.clone()),
            None => admin_key(common, &base)?,
        };
        let key = key
            .map(|key| HeaderValue::from_str(&format!("Bearer {}", key.trim())))
            .transpose()
            .map_err(|_| Failure::usage("the API key contains invalid characters; check --key or WEIR_KEY"))?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        let config = weir_egress::Config {
            user_agent: concat!("weir-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
            // An upload is answered once the component is compiled.
            request: std::time::Duration::from_secs(180),
            read: std::time::Duration::from_secs(180),
            ..weir_egress::Config::default()
        };
        let egress = Egress::new(config).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self { egress, base, key })
    }

    /// The host's URL.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// The URL of a resource; each segment is encoded.
    pub(super) fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // An http URL always has a path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// The document at a URL.
    pub(super) async fn get(&self, url: Url) -> Result<Value, Failure> {
        self.document(Method::GET, url, RequestBody::Empty, Vec::new()).await
    }

    /// The bytes at a URL.
    pub(super) async fn bytes(&self, url: Url) -> Result<Bytes, Failure> {
        Ok(self
            .execute(Method::GET, url, RequestBody::Empty, Vec::new())
            .await?
            .body)
    }

    /// Sends a JSON document.
    pub(super) async fn send(&self, method: Method, url: Url, body: Value) -> Result<Value, Failure> {
        self.document(method, url, RequestBody::Json(body), Vec::new()).await
    }

    /// Sends a JSON document that takes effect once for each `idempotency_key`.
    pub(super) async fn send_once(&self, url: Url, body: Value, idempotency_key: &str) -> Result<Value, Failure> {
        let key = HeaderValue::from_str(idempotency_key)
            .map_err(|_| Failure::usage("--idempotency-key must be printable ASCII"))?;
        let headers = vec![(HeaderName::from_static("idempotency-key"), key)];
        self.document(Method::POST, url, RequestBody::Json(body), headers).await
    }

    /// Sends a request without a body.
    pub(super) async fn act(&self, method: Method, url: Url) -> Result<Value, Failure> {
        self.document(method, url, RequestBody::Empty, Vec::new()).await
    }

    /// Sends bytes of a type, with one more header if it is given.
    pub(super) async fn upload(
        &self,
        url: Url,
        kind: &str,
        header: Option<(&'static str, &str)>,
        bytes: Bytes,
    ) -> Result<Value, Failure> {
        let mut headers = Vec::new();
        for (name, value) in [Some(("content-type", kind)), header].into_iter().flatten() {
            let value = HeaderValue::from_str(value)
                .map_err(|_| Failure::failed(format!("{value:?} is not a valid header value")))?;
            headers.push((HeaderName::from_static(name), value));
        }
        self.document(Method::POST, url, RequestBody::Bytes(bytes), headers)
            .await
    }

    /// Opens a stream of events, after `last_id` if it is given.
    pub(super) async fn stream(&self, url: Url, last_id: Option<&str>) -> Result<AnswerStream, Failure> {
        let mut headers = vec![(ACCEPT, HeaderValue::from_static("text/event-stream"))];
        if let Some(last) = last_id.and_then(|last| HeaderValue::from_str(last).ok()) {
            headers.push((HeaderName::from_static("last-event-id"), last));
        }
        let permit = may_follow_clock(self.request(Method::GET, url, RequestBody::Empty, headers));
        let mut stream = self
            .egress
            .stream(permit)
            .await
            .map_err(|error| self.unreachable(&error))?;
        if stream.status == 200 {
            return Ok(stream);
        }
        let body = stream.next().await.ok().flatten().unwrap_or_default();
        Err(problem(stream.status, &body))
    }

    async fn document(
        &self,
        method: Method,
        url: Url,
        body: RequestBody,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Value, Failure> {
        let answer = self.execute(method, url, body, headers).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::failed(format!("the server at {} is not a Weir host; check --url", self.base)))
    }

    async fn execute(
        &self,
        method: Method,
        url: Url,
        body: RequestBody,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<Answer, Failure> {
        let permit = may_follow_clock(self.request(method, url, body, headers));
        let sent = self.egress.send(permit, &Secrets::default(), &NoBodies).await;
        let answer = sent.map_err(|error| self.unreachable(&error))?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(problem(answer.status, &answer.body))
        }
    }

    fn request(
        &self,
        method: Method,
        url: Url,
        body: RequestBody,
        mut headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Request {
        headers.extend(self.key.clone().map(|key| (AUTHORIZATION, key)));
        Request {
            method,
            url,
            headers,
            body,
        }
    }

    fn unreachable(&self, error: &EgressError) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!(
                "cannot reach a Weir host at {} ({error}); start one with `weir serve`, or set --url",
                self.base
            ),
        )
    }
}

/// The admin key of a host on this machine. It is never sent to another machine.
fn admin_key(common: &Common, base: &Url) -> Result<Option<String>, Failure> {
    if !Origin::of(base).is_some_and(|origin| origin.is_loopback()) {
        return Ok(None);
    }
    let config = common.load().map_err(|error| Failure::failed(error.to_string()))?;
    if let Some(key) = &config.admin_key {
        return Ok(Some(key.expose().to_owned()));
    }
    Ok(std::fs::read_to_string(key_file(&config)).ok())
}

/// The file that a host writes its admin key to.
pub(super) fn key_file(config: &Config) -> PathBuf {
    config.data.join("admin.key")
}

/// The failure that a problem document describes.
fn problem(status: u16, body: &[u8]) -> Failure {
    let document: Option<Value> = serde_json::from_slice(body).ok();
    let text = |name: &str| {
        document
            .as_ref()
            .and_then(|document| document.get(name)?.as_str())
            .unwrap_or_default()
    };
    let exit = match status {
        409 | 422 => Exit::Refused,
        502..=504 => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let mut message = match text("detail") {
        "" => format!("the host returned {status}; check --url"),
        detail => detail.to_owned(),
    };
    if status == 401 {
        message.push_str("; set --key or WEIR_KEY");
    } else if let Some(refusal) = document
        .as_ref()
        .and_then(|document| document.get("refusal_id")?.as_str())
    {
        message = format!("{message}; see `weir why {refusal}`");
    } else if !text("code").is_empty() {
        message = format!("{message} ({})", text("code"));
    }
    Failure {
        exit,
        message,
        problem: document,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_map_to_exit_codes() {
        let body = br#"{"detail":"the messaging window closed","code":"reply_window_closed","refusal_id":"rfs_1"}"#;
        let failure = problem(409, body);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(failure.message, "the messaging window closed; see `weir why rfs_1`");
        assert_eq!(problem(503, b"").exit, Exit::Unreachable);
        assert_eq!(
            problem(401, b"{\"detail\":\"no key\"}").message,
            "no key; set --key or WEIR_KEY"
        );
    }
}
