//! Media: attachments of messages, uploaded or fetched from a URL, downloaded by a signed link.

use std::fmt::Write as _;
use std::io;

use axum::body::Body;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as JsonBody};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use url::Url;
use utoipa::{IntoParams, ToSchema};
use weir_domain::caller::Caller;
use weir_domain::id::MediaId;
use weir_domain::limits;
use weir_domain::message::MediaStatus;
use weir_domain::time::Timestamp;
use weir_store::Media;

use super::body::{self, Named, Params};
use super::caller::{InChannels, May, MessagesWrite, Read};
use super::idempotency::Idempotency;
use super::problem::{ApiResult, COME_BACK, Problem};
use super::{Api, codes};
use crate::Host;
use crate::messages::media::{LinkError, Upload, UploadError};

/// A file to be fetched from a public URL.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"source_url": "https://shop.example/red.jpg"}))]
pub(crate) struct FromUrl {
    /// https and public.
    source_url: String,
}

/// An upload.
#[derive(ToSchema)]
#[schema(as = Upload)]
#[allow(dead_code, reason = "describes the form, which is parsed as a stream")]
pub(crate) struct UploadForm {
    /// The bytes.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

/// A stored file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MediaView {
    /// The id that messages refer to.
    id: MediaId,
    /// As sniffed from the bytes.
    mime_type: Option<String>,
    /// In bytes.
    size: Option<u64>,
    /// The file name of the sender.
    filename: Option<String>,
    /// A signed link that is valid for a day; null until the file is stored.
    url: Option<String>,
    /// Whether the file is stored.
    status: MediaStatus,
    /// When it was uploaded, or when the message arrived.
    created_at: Timestamp,
}

impl MediaView {
    fn of(media: Media, host: &Host) -> Self {
        Self {
            id: media.id,
            url: (media.status == MediaStatus::Stored).then(|| host.media.media_link(media.id)),
            mime_type: media.mime_type,
            size: media.size,
            filename: media.filename,
            status: media.status,
            created_at: media.created_at,
        }
    }
}

/// Upload a file for a message
///
/// Either `multipart/form-data` with the field `file`, or JSON with a `source_url` that Weir fetches.
#[utoipa::path(post, path = "/v1/media", tag = "media",
    request_body(content((UploadForm = "multipart/form-data"), (FromUrl = "application/json"))), responses((status = 201, body = MediaView)))]
pub(crate) async fn upload(
    caller: May<MessagesWrite, InChannels>,
    State(api): State<Api>,
    Extension(idempotency): Extension<Idempotency>,
    request: Request,
) -> ApiResult<Response> {
    match body::content_type(request.headers()).as_deref() {
        Some("application/json") => {
            let bytes = body::read(request.into_body(), limits::API_BODY_BYTES).await?;
            let FromUrl { source_url } = body::parse(&bytes)?;
            let url = Url::parse(&source_url).map_err(|error| Problem::member("/source_url", error))?;
            stored(&api.host, api.host.media.upload_from_url(&caller, url).await)
        }
        Some("multipart/form-data") => {
            let form = Multipart::from_request(request, &()).await;
            let form = form.map_err(|error| Problem::member("", error.body_text()))?;
            let (upload, digest, filename) = from_form(&api.host, form).await?;
            let claim = idempotency.for_file(&digest, filename.as_deref().unwrap_or_default());
            let (acting, caller) = (api.clone(), Caller::clone(&caller));
            let kept = async move {
                let media = acting.host.media.keep_upload(&caller, upload, filename).await;
                stored(&acting.host, media).into_response()
            };
            let acting = api.clone();
            api.act(async move { acting.once(claim, kept).await }).await?
        }
        _ => Err(Problem::of(&codes::UNSUPPORTED_MEDIA_TYPE)
            .detail("send multipart/form-data with the field `file`, or application/json with `source_url`")),
    }
}

fn stored(host: &Host, media: Result<Media, UploadError>) -> ApiResult<Response> {
    Ok((StatusCode::CREATED, JsonBody(MediaView::of(media?, host))).into_response())
}

async fn from_form(host: &Host, mut form: Multipart) -> ApiResult<(Upload, [u8; 32], Option<String>)> {
    let broken = |error: axum::extract::multipart::MultipartError| Problem::member("", error.body_text());
    let only = "this route accepts one field, `file`";
    let field = form.next_field().await.map_err(broken)?;
    let field = field.filter(|field| field.name() == Some("file"));
    let field = field.ok_or_else(|| Problem::member("/file", only))?;
    let filename = field.file_name().map(ToOwned::to_owned);
    let bytes = field.map(|chunk| chunk.map_err(io::Error::other));
    let (upload, digest) = host.media.receive_upload(bytes).await?;
    match form.next_field().await.map_err(broken)? {
        None => Ok((upload, digest, filename)),
        Some(_) => Err(Problem::member("", only)),
    }
}

/// Get a file's metadata, with a link to its bytes
#[utoipa::path(get, path = "/v1/media/{id}", tag = "media", params(("id" = MediaId, Path)), responses((status = 200, body = MediaView)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<MediaId>,
) -> ApiResult<JsonBody<MediaView>> {
    let media = host.store().media(caller.workspace_id(), id).await?;
    let media = media
        .filter(|media| media.is_of(&caller))
        .ok_or_else(|| Problem::no_such("media"))?;
    Ok(JsonBody(MediaView::of(media, &host)))
}

/// The parameters of a link.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Link {
    /// Unix seconds.
    expires: i64,
    /// Over the id and the expiry.
    signature: String,
}

/// Download a file by its signed link
///
/// Always as an attachment: user content is never rendered under this host's name.
#[utoipa::path(get, path = "/media/{id}", tag = "media", params(("id" = MediaId, Path), Link), security(()),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
pub(crate) async fn bytes(
    State(host): State<Host>,
    Named(id): Named<MediaId>,
    Params(link): Params<Link>,
) -> ApiResult<Response> {
    let (media, opened) = match host.media.open_media(id, link.expires, &link.signature).await {
        Ok(opened) => opened,
        // The signature is valid: the holder of the link may learn why the file is unavailable.
        Err(LinkError::NotFound) => return Err(missing(host.store().media_of_any(id).await?)),
        Err(error) => return Err(error.into()),
    };
    let mut headers = HeaderMap::new();
    let kind = media
        .mime_type
        .as_deref()
        .and_then(|kind| HeaderValue::from_str(kind).ok());
    headers.insert(
        CONTENT_TYPE,
        kind.unwrap_or(HeaderValue::from_static("application/octet-stream")),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    headers.insert(CONTENT_DISPOSITION, disposition(media.filename.as_deref()));
    if let Some(size) = media.size {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
    }
    let chunks = stream::try_unfold(opened.bytes, |mut file| async move {
        let mut chunk = bytes::BytesMut::with_capacity(CHUNK);
        let read = file.read_buf(&mut chunk).await?;
        Ok::<_, io::Error>((read > 0).then(|| (chunk.freeze(), file)))
    });
    Ok((headers, Body::from_stream(chunks)).into_response())
}

/// The size of one read from a file.
const CHUNK: usize = 64 << 10;

fn missing(media: Option<Media>) -> Problem {
    match media.map(|media| media.status) {
        Some(MediaStatus::Pending) => Problem::of(&codes::MEDIA_PENDING).retry_after(COME_BACK),
        Some(MediaStatus::Failed) => Problem::of(&codes::MEDIA_FAILED),
        Some(MediaStatus::Stored) | None => Problem::of(&codes::NOT_FOUND).detail("the file is not available"),
    }
}

/// An attachment with its file name (RFC 6266, 4.3; RFC 8187, 3.2).
fn disposition(filename: Option<&str>) -> HeaderValue {
    let Some(name) = filename.filter(|name| !name.is_empty()) else {
        return HeaderValue::from_static("attachment");
    };
    let mut value = String::from("attachment; filename*=UTF-8''");
    for byte in name.bytes().take(255) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => value.push(char::from(byte)),
            // Writing to a string cannot fail.
            byte => drop(write!(value, "%{byte:02X}")),
        }
    }
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}

impl From<UploadError> for Problem {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge { limit } => Self::of(&codes::BODY_TOO_LARGE).with("max", limit).detail(&error),
            UploadError::Empty => Self::member("/file", &error),
            UploadError::Fetch(ref words) => Self::of(&codes::FETCH_FAILED)
                .at("/source_url", "not_fetched", &words)
                .detail(&error),
            UploadError::Broken(_) => Self::member("/file", &error),
            UploadError::Disk(error) => Self::internal(error),
            UploadError::Store(error) => error.into(),
        }
    }
}

impl From<LinkError> for Problem {
    fn from(error: LinkError) -> Self {
        match error {
            LinkError::Invalid | LinkError::Ended => Self::of(&codes::MEDIA_LINK_INVALID).detail(&error),
            LinkError::NotFound => Self::of(&codes::NOT_FOUND).detail(&error),
            LinkError::Disk(error) => Self::internal(error),
            LinkError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_always_an_attachment_whatever_its_name_tries() {
        assert_eq!(disposition(None), "attachment");
        assert_eq!(
            disposition(Some("a\"; x=\r\n<é>.svg")),
            "attachment; filename*=UTF-8''a%22%3B%20x%3D%0D%0A%3C%C3%A9%3E.svg"
        );
    }
}
