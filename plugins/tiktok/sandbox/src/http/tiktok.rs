//! The API's calls: parses parameters, applies faults, returns TikTok's envelope, and writes one entry of the call log.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::MultipartRejection;
use axum::extract::{Multipart, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::{App, hang_up};
use crate::api::{Api, Call, CallRecord, Trace, UPLOAD};
use crate::clock::Timestamp;
use crate::limits;
use crate::params::Params;
use crate::refusal::Refusal;
use crate::world::World;
use crate::world::faults::ApiFaultKind;
use crate::world::media::Upload;

/// The page that a gateway shows when it fails.
pub(super) const GATEWAY_PAGE: &str =
    "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>";

/// A call with its parameters in the query.
pub(super) async fn query(api: Api, state: State<App>, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    perform(
        api,
        state,
        headers,
        Ok(Params::from_query(query.as_deref().unwrap_or(""))),
    )
    .await
}

/// A call with its parameters in a JSON body.
pub(super) async fn body(api: Api, state: State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("application/json"));
    let params = if json {
        Params::from_json(&body)
    } else {
        Err(Refusal::parameter("The Content-Type must be application/json."))
    };
    perform(api, state, headers, params).await
}

async fn perform(api: Api, State(shared): State<App>, headers: HeaderMap, params: Result<Params, Refusal>) -> Response {
    serve(&shared, api.name(), |world, now| {
        let params = match params {
            Ok(params) => params,
            Err(refusal) => return (Err(refusal), Trace::default()),
        };
        let mut call = Call::new(now, token(&headers), &params);
        let result = api.perform(world, &mut call);
        (result, call.trace)
    })
    .await
}

/// An upload: a form with `business_id`, `media_type` and a file that has a name and a type.
pub(super) async fn upload(
    State(shared): State<App>,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Response {
    let form = match form {
        Ok(form) => read_form(form).await,
        Err(_) => None,
    };
    let Some((fields, file)) = form else {
        return shared.with(|world, now| {
            record(world, now, UPLOAD.0, None, Some(400), None, Trace::default());
            (StatusCode::BAD_REQUEST, "parsing error").into_response()
        });
    };
    serve(&shared, UPLOAD.0, |world, now| {
        let mut call = Call::new(now, token(&headers), &fields);
        let result = world.upload(&mut call, file);
        (result, call.trace)
    })
    .await
}

/// The form's texts and its file; `None` if the form is malformed, or the file lacks a name or type.
async fn read_form(mut form: Multipart) -> Option<(Params, Option<Upload>)> {
    let mut fields = serde_json::Map::new();
    let mut file = None;
    while let Some(field) = form.next_field().await.ok()? {
        let name = field.name()?.to_owned();
        if name == "file" {
            field.file_name().filter(|name| !name.is_empty())?;
            let mime = field.content_type()?.to_owned();
            file = Some(Upload {
                mime,
                bytes: field.bytes().await.ok()?,
            });
        } else {
            if fields.len() >= limits::FORM_FIELDS {
                return None;
            }
            fields.insert(name, Value::String(field.text().await.ok()?));
        }
    }
    let fields = Params::from_json(Value::Object(fields).to_string().as_bytes()).ok()?;
    Some((fields, file))
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get("access-token").and_then(|value| value.to_str().ok())
}

/// Executes a call with its faults, logs it, and responds.
async fn serve(
    shared: &App,
    name: &'static str,
    act: impl FnOnce(&mut World, Timestamp) -> (Result<Value, Refusal>, Trace),
) -> Response {
    let kind = shared.take_fault(name).await.map(|fault| fault.kind);
    let word = kind.as_ref().map(ApiFaultKind::name);
    let untouched = |code: Option<i64>, status: Option<u16>| {
        shared.with(|world, now| record(world, now, name, code, status, word.clone(), Trace::default()));
    };
    match &kind {
        Some(ApiFaultKind::Code(code, message)) => {
            untouched(Some(*code), Some(200));
            return envelope(shared, Err(Refusal::new(*code, message.clone()))).into_response();
        }
        Some(ApiFaultKind::Status(status)) => {
            untouched(None, Some(*status));
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY);
            return (status, "Injected by the sandbox.").into_response();
        }
        Some(ApiFaultKind::Reset) => {
            untouched(None, None);
            return hang_up();
        }
        Some(ApiFaultKind::Html) => {
            untouched(None, Some(200));
            return Html(GATEWAY_PAGE).into_response();
        }
        None | Some(ApiFaultKind::Late | ApiFaultKind::Lost | ApiFaultKind::Truncated | ApiFaultKind::Answer(_)) => {}
    }
    let lost = kind == Some(ApiFaultKind::Lost);
    let (result, echoes) = shared.with(|world, now| {
        let (result, trace) = act(world, now);
        let code = result.as_ref().map_or_else(|refusal| refusal.code, |_| 0);
        let echoes = trace.early_echoes.clone();
        record(
            world,
            now,
            name,
            Some(code),
            (!lost).then_some(200),
            word.clone(),
            trace,
        );
        (result, echoes)
    });
    if !echoes.is_empty() {
        wait_for_echoes(shared, &echoes).await;
    }
    match kind {
        Some(ApiFaultKind::Lost) => hang_up(),
        Some(ApiFaultKind::Truncated) => {
            let whole = json!(envelope(shared, result).0).to_string();
            let half: String = whole.chars().take(whole.chars().count() / 2).collect();
            ([(header::CONTENT_TYPE, "application/json")], half).into_response()
        }
        Some(ApiFaultKind::Answer(members)) => {
            envelope(shared, result.map(|data| changed(data, members))).into_response()
        }
        _ => envelope(shared, result).into_response(),
    }
}

/// A response with changed members; null ones are removed.
fn changed(mut data: Value, members: serde_json::Map<String, Value>) -> Value {
    if let Some(object) = data.as_object_mut() {
        for (name, value) in members {
            if value.is_null() {
                object.remove(&name);
            } else {
                object.insert(name, value);
            }
        }
    }
    data
}

async fn wait_for_echoes(shared: &App, echoes: &[u64]) {
    let delivered = async {
        loop {
            let tried = shared.tried.notified();
            if shared.peek(|world, _| world.outbox.were_tried(echoes)) {
                return;
            }
            tried.await;
        }
    };
    // Late or early: the send responds all the same, since the receiver may be waiting for it.
    let _ = tokio::time::timeout(Duration::from_millis(limits::EARLY_ECHO_WAIT_MS), delivered).await;
    shared.peek(|world, _| world.outbox.unwatch(echoes));
}

/// Adds a line to the call log.
pub(super) fn record(
    world: &mut World,
    now: Timestamp,
    api: &'static str,
    code: Option<i64>,
    status: Option<u16>,
    fault: Option<String>,
    trace: Trace,
) {
    world.calls.push(CallRecord {
        api,
        time_ms: now.ms(),
        code,
        status,
        fault,
        trace,
    });
}

/// The envelope of every response, in TikTok's order.
#[derive(Debug, Serialize)]
struct Envelope {
    code: i64,
    message: Cow<'static, str>,
    request_id: String,
    data: Value,
}

fn envelope(shared: &App, result: Result<Value, Refusal>) -> Json<Envelope> {
    let (code, message, data) = match result {
        Ok(data) => (0, "OK".into(), data),
        Err(refusal) => (refusal.code, refusal.message, json!({})),
    };
    Json(Envelope {
        code,
        message,
        request_id: shared.request_id(),
        data,
    })
}
