//! The files behind the URLs that the API returns.

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;

use super::tiktok::{GATEWAY_PAGE, record};
use super::{App, hang_up};
use crate::api::{MEDIA, Trace};
use crate::world::faults::ApiFaultKind;
use crate::world::media::{self, File};

/// The part of an address that makes it expire.
#[derive(Debug, Deserialize)]
pub(super) struct Expiry {
    #[serde(rename = "x-expires")]
    expires: Option<i64>,
    #[serde(rename = "x-signature", default)]
    signature: String,
}

/// A received file, for a client that sends a valid token as `x-user`.
pub(super) async fn media(
    State(shared): State<App>,
    Path(media): Path<String>,
    Query(expiry): Query<Expiry>,
    headers: HeaderMap,
) -> Response {
    let kind = shared.take_fault(MEDIA).await.map(|fault| fault.kind);
    let user = headers.get("x-user").and_then(|value| value.to_str().ok());
    let file = shared.with(|world, now| {
        let file = expiry
            .expires
            .and_then(|expires| world.fetch(&media, expires, &expiry.signature, user, now));
        let status = if file.is_some() { 200 } else { 403 };
        let word = kind.as_ref().map(ApiFaultKind::name);
        record(world, now, MEDIA, None, Some(status), word, Trace::default());
        file
    });
    match (kind, file) {
        (Some(ApiFaultKind::Status(status)), _) => StatusCode::from_u16(status)
            .unwrap_or(StatusCode::BAD_GATEWAY)
            .into_response(),
        (Some(ApiFaultKind::Code(..)), _) => StatusCode::BAD_GATEWAY.into_response(),
        (Some(ApiFaultKind::Lost | ApiFaultKind::Reset), _) => hang_up(),
        (Some(ApiFaultKind::Html), _) => Html(GATEWAY_PAGE).into_response(),
        (Some(ApiFaultKind::Truncated), Some(mut file)) => {
            file.bytes.truncate(file.bytes.len() / 2);
            give(file)
        }
        (_, Some(file)) => give(file),
        (_, None) => StatusCode::FORBIDDEN.into_response(),
    }
}

/// A sticker, emoji or avatar: no header required, and unavailable after `x-expires`.
pub(super) async fn picture(
    State(shared): State<App>,
    Path(name): Path<String>,
    Query(expiry): Query<Expiry>,
) -> Response {
    if expiry
        .expires
        .is_some_and(|expires| shared.clock.now().secs() >= expires)
    {
        return StatusCode::FORBIDDEN.into_response();
    }
    match media::picture(&name) {
        Some(picture) => (
            [
                (header::CONTENT_TYPE, picture.mime),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ],
            picture.bytes,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A file as it is.
pub(super) fn give(file: File) -> Response {
    (
        [
            (header::CONTENT_TYPE, file.mime),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        file.bytes,
    )
        .into_response()
}
