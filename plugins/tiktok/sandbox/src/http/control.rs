//! The control API, which drives the sandbox. It uses plain JSON, with `{"error": …}` and a 4xx for a failed call.
//! `docs/sandbox.md` documents every call.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::Stream;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{App, files};
use crate::limits;
use crate::load::{self, LoadOrder};
use crate::world::apps::AppOrder;
use crate::world::arrive::{AdClick, CommentOrder, LinkOpen};
use crate::world::faults::FaultOrder;
use crate::world::people::{AccountOrder, PersonOrder};
use crate::world::write::{AppReply, Writing};
use crate::world::{ControlError, SettingsPatch};

/// An open phone page is notified of changes at most this often.
const STREAM_PACE: Duration = Duration::from_millis(80);

pub(super) fn router(shared: App) -> Router<App> {
    Router::new()
        .route("/clock", get(clock))
        .route("/clock/advance", post(advance))
        .route("/world", get(world))
        .route("/apps", post(put_app))
        .route("/accounts", post(put_account))
        .route("/people", post(put_person))
        .route("/settings", get(settings).post(change_settings))
        .route("/revoke", post(revoke))
        .route("/faults", get(faults).post(order_fault).delete(clear_faults))
        .route("/calls", get(calls))
        .route("/webhooks", get(webhooks))
        .route("/webhooks/retry", post(retry))
        .route("/load", get(load_state).post(begin_load).delete(stop_load))
        .route("/chats/{account}/{person}", get(chat))
        .route("/chats/{account}/{person}/{act}", post(act))
        .route("/media/{media}", get(media))
        .route("/stream", get(stream))
        .layer(DefaultBodyLimit::max(2 * limits::UPLOAD_BYTES))
        .layer(middleware::from_fn_with_state(shared, own_pages_only))
}

/// A foreign web page in the same browser must not drive the sandbox; tools send no `Origin`.
async fn own_pages_only(State(shared): State<App>, request: Request, next: Next) -> Response {
    let foreign = request
        .headers()
        .get(header::ORIGIN)
        .is_some_and(|origin| shared.peek(|world, _| origin.as_bytes() != world.origin().as_bytes()));
    if foreign {
        return (
            StatusCode::FORBIDDEN,
            Json(json!({"error": "only the sandbox's own pages may"})),
        )
            .into_response();
    }
    next.run(request).await
}

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
        };
        (status, Json(json!({"error": self.to_string()}))).into_response()
    }
}

type ApiResult = Result<Json<Value>, ControlError>;

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ControlError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| ControlError::Invalid(error.to_string()))
}

async fn clock(State(shared): State<App>) -> Json<Value> {
    Json(json!({"now_ms": shared.clock.now().ms(), "runs": shared.clock.runs()}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    ms: i64,
}

async fn advance(State(shared): State<App>, body: Bytes) -> ApiResult {
    let Advance { ms } = parse(&body)?;
    let now = shared.clock.advance(ms).ok_or_else(|| {
        ControlError::Invalid("the clock can only be advanced, by at most a hundred years in all".into())
    })?;
    // Work that became due meanwhile is done now.
    shared.with(|_, _| ());
    Ok(Json(json!({"now_ms": now.ms()})))
}

async fn world(State(shared): State<App>) -> Json<Value> {
    Json(shared.peek(|world, now| {
        let mut shown = world.show();
        shown["now_ms"] = now.ms().into();
        shown
    }))
}

async fn put_app(State(shared): State<App>, body: Bytes) -> ApiResult {
    let order: AppOrder = parse(&body)?;
    shared.with(|world, now| world.put_app(order, now)).map(Json)
}

async fn put_account(State(shared): State<App>, body: Bytes) -> ApiResult {
    let order: AccountOrder = parse(&body)?;
    shared.with(|world, _| world.put_account(order)).map(Json)
}

async fn put_person(State(shared): State<App>, body: Bytes) -> ApiResult {
    let order: PersonOrder = parse(&body)?;
    shared.with(|world, _| world.put_person(order)).map(Json)
}

async fn settings(State(shared): State<App>) -> Json<Value> {
    Json(shared.peek(|world, _| json!(world.settings)))
}

async fn change_settings(State(shared): State<App>, body: Bytes) -> ApiResult {
    let patch: SettingsPatch = parse(&body)?;
    shared
        .with(|world, _| world.change_settings(patch).map(|settings| json!(settings)))
        .map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    account: String,
    #[serde(default)]
    client_key: Option<String>,
}

async fn revoke(State(shared): State<App>, body: Bytes) -> ApiResult {
    let order: Revoke = parse(&body)?;
    let apps = shared.with(|world, now| world.revoke_in_app(&order.account, order.client_key.as_deref(), now))?;
    Ok(Json(json!({"revoked": apps})))
}

async fn faults(State(shared): State<App>) -> Json<Value> {
    Json(shared.peek(|world, _| world.faults.show()))
}

async fn order_fault(State(shared): State<App>, body: Bytes) -> ApiResult {
    let order: FaultOrder = parse(&body)?;
    shared
        .peek(|world, _| world.faults.order(order).map(|()| world.faults.show()))
        .map(Json)
}

async fn clear_faults(State(shared): State<App>) -> Json<Value> {
    let left = shared.peek(|world, _| {
        world.faults.clear();
        world.faults.show()
    });
    shared.forgotten.notify_waiters();
    Json(left)
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn calls(State(shared): State<App>, Query(After { after }): Query<After>) -> Json<Value> {
    let (last, calls) = shared.peek(|world, _| (world.calls.last(), world.calls.after(after)));
    Json(json!({"last": last, "calls": calls}))
}

async fn webhooks(State(shared): State<App>, Query(After { after }): Query<After>) -> Json<Value> {
    Json(shared.peek(|world, _| world.show_deliveries(after)))
}

async fn retry(State(shared): State<App>) -> Json<Value> {
    shared.with(|world, now| world.outbox.retry_all(now));
    Json(json!({}))
}

async fn load_state(State(shared): State<App>) -> Json<Value> {
    let state = json!(*shared.load());
    let totals = shared.peek(|world, _| world.outbox.totals());
    Json(json!({"load": state, "webhooks": totals}))
}

async fn begin_load(State(shared): State<App>, body: Bytes) -> ApiResult {
    let order: LoadOrder = parse(&body)?;
    load::begin(&shared, order)?;
    Ok(load_state(State(shared)).await)
}

async fn stop_load(State(shared): State<App>) -> Json<Value> {
    shared.load().stop();
    load_state(State(shared)).await
}

#[derive(Deserialize)]
struct Newest {
    newest: Option<usize>,
}

async fn chat(
    State(shared): State<App>,
    Path((account, person)): Path<(String, String)>,
    Query(Newest { newest }): Query<Newest>,
) -> ApiResult {
    let newest = newest.unwrap_or(limits::CHAT_MESSAGES);
    shared
        .peek(|world, now| world.show_chat(&account, &person, newest, now))
        .map(Json)
        .ok_or_else(|| ControlError::Unknown(format!("account {account} or person {person}")))
}

async fn act(
    State(shared): State<App>,
    Path((account, person, act)): Path<(String, String, String)>,
    body: Bytes,
) -> ApiResult {
    let (account, person) = (account.as_str(), person.as_str());
    match act.as_str() {
        "write" => {
            let writing: Writing = parse(&body)?;
            shared.with(|world, now| world.write(account, person, writing, now))
        }
        "app-reply" => {
            let reply: AppReply = parse(&body)?;
            shared.with(|world, now| world.reply_in_app(account, person, reply, now))
        }
        "read" => shared.with(|world, now| world.read_chat(account, person, now)),
        "accept" => shared.with(|world, _| world.accept_request(account, person)),
        "ad-click" => {
            let click: AdClick = parse(&body)?;
            shared.with(|world, now| world.click_ad(account, person, click, now))
        }
        "link-open" => {
            let link: LinkOpen = parse(&body)?;
            shared.with(|world, now| world.open_link(account, person, link, now))
        }
        "comment" => {
            let order: CommentOrder = parse(&body)?;
            shared.with(|world, now| world.comment(account, person, order, now))
        }
        other => Err(ControlError::Unknown(format!("act named {other}"))),
    }
    .map(Json)
}

async fn media(State(shared): State<App>, Path(media): Path<String>) -> Response {
    match shared.peek(|world, _| world.inspect_media(&media)) {
        Some(file) => files::give(file),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Signals a change; the phone page fetches its content.
async fn stream(State(shared): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = shared.changes.subscribe();
    let clock = Arc::clone(&shared);
    let events = futures_util::stream::unfold((changes, clock, true), async |(mut changes, shared, first)| {
        if !first {
            tokio::time::sleep(STREAM_PACE).await;
            changes.changed().await.ok()?;
        }
        let revision = *changes.borrow_and_update();
        let change = json!({"revision": revision, "now_ms": shared.clock.now().ms()});
        Some((
            Ok(Event::default().event("change").data(change.to_string())),
            (changes, shared, false),
        ))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}
