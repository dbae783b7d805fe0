//! Events: the log as a list, and as a stream that resumes after a disconnection.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{KeepAlive, Sse};
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use weir_domain::caller::Caller;
use weir_domain::event::{Event, EventFilter, EventType};
use weir_domain::id::{ChannelId, ConversationId, EventId, KeyId};
use weir_domain::limits;
use weir_store::Listed;

use super::body::Params;
use super::caller::{InChannels, May, Read};
use super::contacts::narrowed;
use super::list::{List, bounded};
use super::problem::{ApiResult, COME_BACK, Problem};
use super::{Api, codes};
use crate::Host;
use crate::http::share::Share;

/// Interval of comments on a silent stream: proxies close connections that are silent for half a minute.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it reconnects.
const RETRY: Duration = Duration::from_secs(2);
/// A stream ends after this time, so that a proxy or a client that leaks connections is freed of it; the client
/// reconnects without a gap.
const STREAM_AGE: Duration = Duration::from_secs(3600);
/// Events read from the database at once.
const BATCH: u32 = 100;

/// A filter of events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Names of types, separated by commas; default: all.
    #[param(example = "message.received,message.failed")]
    types: Option<String>,
    /// Of this channel only.
    channel_id: Option<ChannelId>,
    /// Of this conversation only.
    conversation_id: Option<ConversationId>,
}

/// The start position.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct After {
    /// An event's id or its `sequence`; the events after it are returned. A negative number counts from the end: `-100`
    /// returns the newest, at most a hundred. Default: the list starts at the beginning, the stream at the end.
    after: Option<String>,
}

/// The page size, and where to continue.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The maximum number, 1 to 200; default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where to continue: the `next_cursor` of the previous page.
    cursor: Option<String>,
}

impl Which {
    fn filter(self, caller: &Caller) -> ApiResult<EventFilter> {
        let types = self.types.unwrap_or_default();
        let names = types.split(',').map(str::trim).filter(|name| !name.is_empty());
        Ok(EventFilter {
            types: names
                .map(|name| known_type("types", name).map(|kind| kind.as_str().to_owned()))
                .collect::<ApiResult<_>>()?,
            channels: narrowed(caller, self.channel_id)?,
            conversation: self.conversation_id,
        })
    }
}

/// The type of this name, or a problem that points at the parameter.
pub(crate) fn known_type(parameter: &str, name: &str) -> ApiResult<EventType> {
    EventType::from_name(name)
        .ok_or_else(|| Problem::parameter(parameter, format_args!("there is no event type {name:?}")))
}

/// The position in the log that a text names.
async fn place(host: &Host, workspace: &str, parameter: &str, text: &str) -> ApiResult<i64> {
    if let Ok(sequence) = text.parse::<i64>() {
        let from = if sequence < 0 {
            host.store().last_sequence().await?
        } else {
            0
        };
        return Ok(from.saturating_add(sequence).max(0));
    }
    let unknown = || {
        Problem::parameter(
            parameter,
            "it is neither a sequence nor the id of an event in this workspace",
        )
    };
    let id: EventId = text.parse().map_err(|_| unknown())?;
    host.store().event_place(workspace, id).await?.ok_or_else(unknown)
}

/// An event in the API's format: with a link to its attachment.
pub(crate) fn shown(host: &Host, event: Event) -> Value {
    // An event is plain data with string keys: it always becomes JSON.
    serde_json::to_value(host.media.with_link(event)).unwrap_or_default()
}

/// List events, oldest first
///
/// With a filter, one page examines 10,000 events at most: it may be short or empty although `has_more` is true;
/// continue from its `next_cursor`. `after` remains valid when the event that it names has been deleted.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(After, Which, Paging), responses((status = 200, body = List<Event>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(after): Params<After>,
    Params(which): Params<Which>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<Value>>> {
    let limit = bounded(paging.limit)?;
    let filter = which.filter(&caller)?;
    let after = match (&paging.cursor, &after.after) {
        (Some(cursor), _) => place(&host, caller.workspace_id(), "cursor", cursor).await?,
        (None, Some(after)) => place(&host, caller.workspace_id(), "after", after).await?,
        (None, None) => 0,
    };
    let listed = host
        .store()
        .events(caller.workspace_id(), after, &filter, limit)
        .await?;
    Ok(List::of(listed, |event| shown(&host, event)))
}

/// Stream events
///
/// `text/event-stream` (WHATWG HTML, server-sent events). `id` is the event's id: a client that reconnects with it in
/// `Last-Event-ID` misses no event. A comment is sent every 15 s. The stream ends from time to time; reconnect.
#[utoipa::path(get, path = "/v1/events/stream", tag = "events",
    params(After, Which, ("Last-Event-ID" = Option<String>, Header, description = "The last event that was received")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(crate) async fn stream(
    caller: May<Read, InChannels>,
    State(api): State<Api>,
    headers: HeaderMap,
    Params(after): Params<After>,
    Params(which): Params<Which>,
) -> ApiResult<impl IntoResponse> {
    let filter = which.filter(&caller)?;
    let workspace = caller.workspace_id().to_owned();
    // Subscribed before the database is read: a write in between wakes the reader.
    let changed = api.host.store().log_end();
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .map(str::trim);
    let after = match (last.filter(|last| !last.is_empty()), &after.after) {
        (Some(last), _) => place(&api.host, &workspace, "Last-Event-ID", last).await?,
        (None, Some(after)) => place(&api.host, &workspace, "after", after).await?,
        (None, None) => api.host.store().last_sequence().await?,
    };
    // The total, and the key's share of it.
    let bounds = vec![(None, limits::STREAMS), (Some(caller.key()), limits::STREAMS_PER_KEY)];
    let mut slot = api.streams.open(bounds);
    slot.take(1).ok_or_else(|| {
        Problem::of(&codes::HOST_BUSY)
            .detail("too many event streams are open, of this key or of all")
            .retry_after(COME_BACK)
    })?;
    let reader = Reader {
        host: api.host.clone(),
        workspace,
        filter,
        after,
        read: Vec::new().into_iter(),
        changed,
        closing: api.closing.clone(),
        ends: Instant::now() + STREAM_AGE,
        greeted: false,
        _slot: slot,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("still here"));
    // nginx buffers responses unless this header disables it.
    Ok(([("x-accel-buffering", "no")], stream))
}

/// One open stream.
struct Reader {
    host: Host,
    workspace: String,
    filter: EventFilter,
    /// The position up to which the log was read.
    after: i64,
    read: std::vec::IntoIter<Event>,
    changed: watch::Receiver<i64>,
    closing: CancellationToken,
    ends: Instant,
    greeted: bool,
    _slot: Share<Option<KeyId>>,
}

impl Reader {
    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<axum::response::sse::Event> {
        if !std::mem::replace(&mut self.greeted, true) {
            // It is sent with the head, so that the client knows at once that it is connected.
            return Some(axum::response::sse::Event::default().retry(RETRY).comment("connected"));
        }
        loop {
            if let Some(event) = self.read.next() {
                let id = event.id.to_string();
                return Some(
                    axum::response::sse::Event::default()
                        .id(id)
                        .data(shown(&self.host, event).to_string()),
                );
            }
            if self.closing.is_cancelled() || Instant::now() >= self.ends {
                return None;
            }
            match self.batch().await {
                Ok(true) => {}
                Ok(false) => tokio::select! {
                    changed = self.changed.changed() => changed.ok()?,
                    () = self.closing.cancelled() => return None,
                    () = tokio::time::sleep_until(self.ends) => return None,
                },
                Err(error) => {
                    // The client reconnects after `retry` and resumes where it was.
                    tracing::warn!(%error, "An event stream ends early");
                    return None;
                }
            }
        }
    }

    /// Reads the next events; returns whether there may be more to return or to read immediately.
    async fn batch(&mut self) -> weir_store::Result<bool> {
        let end = self.host.store().last_sequence().await?;
        let Listed { rows, next } = self
            .host
            .store()
            .events(&self.workspace, self.after, &self.filter, BATCH)
            .await?;
        let next = next.and_then(|place| place.parse().ok());
        let last = rows.last().map(|event| event.sequence);
        // Without a start position: everything up to the end of the log as of before this read.
        self.after = next.unwrap_or_else(|| self.after.max(end).max(last.unwrap_or(0)));
        let more = next.is_some() || !rows.is_empty();
        self.read = rows.into_iter();
        Ok(more)
    }
}
