//! Parsing of request bodies and parameters: input becomes a type, or a problem that points at the error.

use std::hash::Hash;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_path_to_error::Segment;
use tower_http::timeout::TimeoutError;
use weir_domain::limits;

use super::codes;
use super::problem::{ApiResult, COME_BACK, Problem};
use crate::http::share::Share;

/// A JSON body of at most [`limits::API_BODY_BYTES`].
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        if !is_json(request.headers()) {
            return Err(Problem::of(&codes::UNSUPPORTED_MEDIA_TYPE)
                .detail("this route requires a JSON body; send Content-Type: application/json"));
        }
        let bytes = read(request.into_body(), limits::API_BODY_BYTES).await?;
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be left out.
pub(crate) struct MaybeJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Send + Sync> FromRequest<S> for MaybeJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> ApiResult<Self> {
        let typed = request.headers().contains_key(CONTENT_TYPE);
        let json = is_json(request.headers());
        let bytes = read(request.into_body(), limits::API_BODY_BYTES).await?;
        if bytes.is_empty() && (json || !typed) {
            return Ok(Self(T::default()));
        }
        if !json {
            return Err(Problem::of(&codes::UNSUPPORTED_MEDIA_TYPE)
                .detail("this route requires a JSON body; send Content-Type: application/json"));
        }
        parse(&bytes).map(Self)
    }
}

/// Whether the headers announce JSON; parameters such as a charset are ignored (RFC 8259, 11).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|kind| kind == "application/json")
}

/// The media type without its parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Reads a whole body, bounded in bytes and time.
pub(crate) async fn read(body: axum::body::Body, limit: usize) -> ApiResult<Bytes> {
    let whole = Limited::new(body, limit).collect();
    match tokio::time::timeout(limits::REQUEST_BODY, whole).await {
        Err(_) => Err(Problem::of(&codes::REQUEST_TIMEOUT)),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Problem::of(&codes::BODY_TOO_LARGE).detail(format_args!("this route accepts at most {limit} bytes")))
        }
        Ok(Err(error)) => Err(broke_off(&*error)),
    }
}

/// A body that ended early, or whose request exceeded the time limit of all routes.
fn broke_off(error: &(dyn std::error::Error + 'static)) -> Problem {
    let mut causes = std::iter::successors(Some(error), |cause| cause.source());
    if causes.any(|cause| cause.downcast_ref::<TimeoutError>().is_some()) {
        return Problem::of(&codes::REQUEST_TIMEOUT);
    }
    Problem::of(&codes::INVALID_JSON).detail("the request body ended early")
}

/// Bytes, and the share in which they are counted.
struct Held<K: Eq + Hash>(
    BytesMut,
    #[allow(dead_code, reason = "released when the bytes are dropped")] Share<K>,
);

impl<K: Eq + Hash> AsRef<[u8]> for Held<K> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a body of at most `limit` bytes within `time`. Each byte is reserved from `share` as it arrives, and released
/// when the last copy of the returned bytes is dropped. If no capacity is left, the caller must retry later.
pub(crate) async fn read_within<K: Eq + Hash + Clone + Send + 'static>(
    mut body: axum::body::Body,
    limit: usize,
    time: Duration,
    mut share: Share<K>,
) -> ApiResult<Bytes> {
    let busy = || Problem::of(&codes::HOST_BUSY).retry_after(COME_BACK);
    let too_large =
        || Problem::of(&codes::BODY_TOO_LARGE).detail(format_args!("this route accepts at most {limit} bytes"));
    // A body whose `Content-Length` exceeds the limit is not read at all.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = BytesMut::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broke_off(&error))?;
            let Ok(data) = frame.into_data() else { continue };
            if whole.len() + data.len() > limit {
                return Err(too_large());
            }
            share.take(data.len()).ok_or_else(busy)?;
            whole.extend_from_slice(&data);
        }
        Ok(())
    };
    match tokio::time::timeout(time, reading).await {
        Err(_) => Err(Problem::of(&codes::REQUEST_TIMEOUT)),
        Ok(Err(problem)) => Err(problem),
        Ok(Ok(())) => Ok(Bytes::from_owner(Held(whole, share))),
    }
}

/// Reads a JSON document into a type.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    let mut document = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut document).map_err(|error| {
        let pointer = pointer(error.path());
        let inner = error.into_inner();
        if inner.is_data() {
            wrong_member(&pointer, &inner.to_string())
        } else {
            Problem::of(&codes::INVALID_JSON).detail(inner)
        }
    })?;
    document
        .end()
        .map_err(|error| Problem::of(&codes::INVALID_JSON).detail(error))?;
    Ok(value)
}

/// A problem that points at the member that serde's error is about.
fn wrong_member(parent: &str, words: &str) -> Problem {
    let named = words.split('`').nth(1).unwrap_or_default();
    let (pointer, code) = if words.starts_with("missing field") {
        (format!("{parent}/{}", escaped(named)), "missing")
    } else if words.starts_with("unknown field") {
        // The path may or may not name the member already.
        let named = format!("/{}", escaped(named));
        (
            format!("{}{named}", parent.strip_suffix(&named).unwrap_or(parent)),
            "unknown",
        )
    } else {
        (parent.to_owned(), "invalid")
    };
    Problem::of(&codes::INVALID_REQUEST)
        .detail(format_args!(
            "{}: {words}",
            if pointer.is_empty() { "the body" } else { &pointer }
        ))
        .at(&pointer, code, &words)
}

/// Parses a value that the database stores in the same form, and refuses unknown members. The type itself accepts any,
/// so that a document written by a newer version can be read.
///
/// # Errors
/// Names the unknown member as serde does.
pub(crate) fn whole<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Serialize,
{
    let given = Value::deserialize(deserializer)?;
    let value = T::deserialize(&given).map_err(D::Error::custom)?;
    let known = serde_json::to_value(&value).map_err(D::Error::custom)?;
    match first_unknown(&given, &known) {
        Some(name) => Err(D::Error::custom(format_args!("unknown field `{name}`"))),
        None => Ok(value),
    }
}

/// The first member that is in one document and not in the other. A member without a value is ignored.
fn first_unknown<'v>(given: &'v Value, known: &Value) -> Option<&'v str> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            given
                .iter()
                .filter(|(_, value)| !value.is_null())
                .find_map(|(name, value)| match known.get(name) {
                    Some(known) => first_unknown(value, known),
                    None => Some(name.as_str()),
                })
        }
        (Value::Array(given), Value::Array(known)) => given
            .iter()
            .zip(known)
            .find_map(|(given, known)| first_unknown(given, known)),
        _ => None,
    }
}

/// A path within a document, as a JSON Pointer (RFC 6901).
fn pointer(path: &serde_path_to_error::Path) -> String {
    path.iter().fold(String::new(), |mut pointer, segment| {
        match segment {
            Segment::Seq { index } => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&escaped(key));
            }
            // A variant is not a position in the document.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
        pointer
    })
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The query, as a type. Parameters that the route does not have are refused [before](super::parameters).
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs))
            .map(Self)
            .map_err(|error| Problem::parameter(&error.path().to_string(), error.inner()))
    }
}

/// The id in the path. A malformed one is not found: 404.
pub(crate) struct Named<I>(pub(crate) I);

impl<I: FromStr<Err: std::fmt::Display>, S: Send + Sync> FromRequestParts<S> for Named<I> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| Problem::of(&codes::NOT_FOUND).detail("the path is not valid UTF-8"))?;
        text.parse()
            .map(Self)
            .map_err(|error: I::Err| Problem::of(&codes::NOT_FOUND).detail(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::types::message::Content;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Order {
        size: u8,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Line {
        #[serde(rename = "a/b")]
        amount: u8,
    }

    fn no(body: &str) -> (String, String, String) {
        let problem = parse::<Order>(body.as_bytes()).expect_err("refused");
        let document = serde_json::to_value(problem.document("req_1")).expect("json");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&document["code"]),
            text(&document["errors"][0]["pointer"]),
            text(&document["errors"][0]["code"]),
        )
    }

    fn case(code: &str, pointer: &str, error: &str) -> (String, String, String) {
        (code.to_owned(), pointer.to_owned(), error.to_owned())
    }

    #[test]
    fn a_bad_body_points_at_the_member() {
        assert_eq!(no(r#"{"size":"x"}"#), case("invalid_request", "/size", "invalid"));
        assert_eq!(no("{}"), case("invalid_request", "/size", "missing"));
        assert_eq!(
            no(r#"{"size":1,"color":2}"#),
            case("invalid_request", "/color", "unknown")
        );
        assert_eq!(
            no(r#"{"size":1,"lines":[{"a/b":1},{"a/b":300}]}"#),
            case("invalid_request", "/lines/1/a~1b", "invalid")
        );
        assert_eq!(
            no(r#"{"size":1,"lines":[{}]}"#),
            case("invalid_request", "/lines/0/a~1b", "missing")
        );
        assert_eq!(no("[]"), case("invalid_request", "", "invalid"));
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Letter {
        #[serde(deserialize_with = "whole")]
        content: Content,
    }

    #[test]
    fn unknown_members_of_kept_forms_are_refused() {
        let media = "med_0193a4c6b2f07c5e8d1f2a3b4c5d6e7f";
        for (content, pointer) in [
            (r#"{"type":"text","text":"hi"}"#.to_owned(), None),
            (
                format!(r#"{{"type":"image","media":{{"id":"{media}"}},"caption":null}}"#),
                None,
            ),
            (
                r#"{"type":"text","text":"hi","markdown":true}"#.to_owned(),
                Some("/content/markdown"),
            ),
            (
                format!(r#"{{"type":"image","media":{{"id":"{media}","alt":"a rose"}}}}"#),
                Some("/content/alt"),
            ),
            (
                r#"{"type":"card","card":"list","title":"t","buttons":[{"id":"1","title":"a","icon":"x"}]}"#.to_owned(),
                Some("/content/icon"),
            ),
            (
                r#"{"type":"template","name":"n","language":null,"parameters":{"any":1}}"#.to_owned(),
                None,
            ),
        ] {
            let refused = parse::<Letter>(format!(r#"{{"content":{content}}}"#).as_bytes()).err();
            let document = refused.map(|problem| serde_json::to_value(problem.document("req_1")).expect("JSON"));
            let at = document.as_ref().map(|document| &document["errors"][0]["pointer"]);
            assert_eq!(at.and_then(Value::as_str), pointer, "{content}: {document:?}");
        }
    }

    #[test]
    fn non_json_body_is_reported() {
        for body in ["", "{", "{\"size\":1} x", "\u{0}", "nul"] {
            assert_eq!(no(body).0, "invalid_json", "{body:?}");
        }
    }
}
