//! The command line's way to a running host: its API, through the same way out as everything else.

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
    /// The host that the command line names.
    pub(super) fn new(common: &Common) -> Result<Self, Failure> {
        let base = Url::parse(&common.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
            .ok_or_else(|| Failure::usage(format!("--url {:?} is no http or https URL", common.url)))?;
        let key = match &common.key {
            Some(key) => Some(key.clone()),
            None => admin_key(common, &base)?,
        };
        let key = key
            .map(|key| HeaderValue::from_str(&format!("Bearer {}", key.trim())))
            .transpose()
            .map_err(|_| Failure::usage("the API key has characters that no key has; check --key or WEIR_KEY"))?
            .map(|mut value| {
                value.set_sensitive(true);
                value
            });
        let config = weir_egress::Config {
            user_agent: concat!("weir-cli/", env!("CARGO_PKG_VERSION")).to_owned(),
            // A component is compiled while the client waits.
            request: std::time::Duration::from_secs(180),
            read: std::time::Duration::from_secs(180),
            ..weir_egress::Config::default()
        };
        let egress = Egress::new(config).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self { egress, base, key })
    }

    /// Where the host is, for messages.
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

    /// Bytes at a URL.
    pub(super) async fn bytes(&self, url: Url) -> Result<Bytes, Failure> {
        Ok(self.ask(Method::GET, url, RequestBody::Empty, Vec::new()).await?.body)
    }

    /// Sends a JSON document.
    pub(super) async fn send(&self, method: Method, url: Url, body: Value) -> Result<Value, Failure> {
        self.document(method, url, RequestBody::Json(body), Vec::new()).await
    }

    /// Sends a JSON document that acts once under `idempotency_key`.
    pub(super) async fn send_once(&self, url: Url, body: Value, idempotency_key: &str) -> Result<Value, Failure> {
        let key = HeaderValue::from_str(idempotency_key)
            .map_err(|_| Failure::usage("--idempotency-key must be printable ASCII"))?;
        let headers = vec![(HeaderName::from_static("idempotency-key"), key)];
        self.document(Method::POST, url, RequestBody::Json(body), headers).await
    }

    /// Acts without a body.
    pub(super) async fn act(&self, method: Method, url: Url) -> Result<Value, Failure> {
        self.document(method, url, RequestBody::Empty, Vec::new()).await
    }

    /// Sends bytes of a type, with another header if one is given.
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
                .map_err(|_| Failure::failed(format!("{value:?} cannot stand in a header")))?;
            headers.push((HeaderName::from_static(name), value));
        }
        self.document(Method::POST, url, RequestBody::Bytes(bytes), headers)
            .await
    }

    /// Opens a stream.
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
        let answer = self.ask(method, url, body, headers).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::failed(format!("what answers at {} is no Weir; check --url", self.base)))
    }

    async fn ask(
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
                "no Weir answers at {} ({error}); start it with `weir serve`, or name it with --url",
                self.base
            ),
        )
    }
}

/// The first key of a host on this machine. It is not read for one elsewhere: it would be sent there.
fn admin_key(common: &Common, base: &Url) -> Result<Option<String>, Failure> {
    if !Origin::of(base).is_some_and(|origin| origin.is_loopback()) {
        return Ok(None);
    }
    let config = Config::load(common.config.as_deref(), |name| std::env::var(name).ok())
        .map_err(|error| Failure::failed(error.to_string()))?;
    if let Some(key) = &config.admin_key {
        return Ok(Some(key.expose().to_owned()));
    }
    Ok(std::fs::read_to_string(key_file(&config)).ok())
}

/// Where a host writes its first key.
pub(super) fn key_file(config: &Config) -> PathBuf {
    config.data.join("admin.key")
}

/// What a problem document means for a person and for a script.
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
        "" => format!("the host answered {status}; check --url"),
        detail => detail.to_owned(),
    };
    if status == 401 {
        message.push_str("; give it with --key or WEIR_KEY");
    } else if let Some(refusal) = document
        .as_ref()
        .and_then(|document| document.get("refusal_id")?.as_str())
    {
        message = format!("{message}; `weir why {refusal}` says more");
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
    fn a_refusal_ends_with_three_and_an_outage_with_four() {
        let body = br#"{"detail":"the messaging window closed","code":"reply_window_closed","refusal_id":"rfs_1"}"#;
        let failure = problem(409, body);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            failure.message,
            "the messaging window closed; `weir why rfs_1` says more"
        );
        assert_eq!(problem(503, b"").exit, Exit::Unreachable);
        assert_eq!(
            problem(401, b"{\"detail\":\"no key\"}").message,
            "no key; give it with --key or WEIR_KEY"
        );
    }
}
