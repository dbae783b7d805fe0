//! Identification of callers: the key in `Authorization`, or the session in the console's cookie.

use axum::http::header::{AUTHORIZATION, COOKIE, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use weir_domain::caller::{self, Caller, Denied, Session, Shown};
use weir_domain::credential::Secret;
use weir_domain::time::Timestamp;

use super::Api;
use super::problem::ApiResult;
use crate::Host;
use crate::core::cookie::SESSION;

/// The header of the session's token.
pub(crate) const CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

/// The session of a caller who uses one.
#[derive(Clone, Debug)]
pub(crate) struct InSession(pub(crate) Session, pub(crate) Secret);

pub(super) type Known = Result<(Caller, Option<InSession>), Denied>;

/// A key takes precedence over a cookie, which a browser sends automatically.
pub(super) async fn caller_of(api: &Api, headers: &HeaderMap, changes: bool, now: Timestamp) -> ApiResult<Known> {
    if !headers.contains_key(AUTHORIZATION)
        && let Some(text) = cookie(&api.host, headers)
    {
        return in_session(api, headers, text, changes, now).await;
    }
    let Some((shown, prefix)) = bearer(headers).and_then(|key| Some((key, caller::prefix(key)?))) else {
        return Ok(Err(Denied::Unknown));
    };
    let found = api.host.store().key_by_prefix(prefix).await?;
    Ok(caller::authenticate(shown, found.as_ref(), now).map(|caller| (caller, None)))
}

async fn in_session(api: &Api, headers: &HeaderMap, text: &str, changes: bool, now: Timestamp) -> ApiResult<Known> {
    let shown = Shown {
        session: text,
        csrf_token: headers.get(CSRF_TOKEN).and_then(|token| token.to_str().ok()),
        changes,
    };
    // Browsers report which site's page made a request (Fetch Metadata, Sec-Fetch-Site): requests from another site are
    // rejected, reads and writes alike.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Ok(Err(Denied::CrossSite));
    }
    let found = api.host.store().session(caller::digest(text)).await?;
    Ok(caller::resume(shown, found.as_ref(), now)
        .map(|caller| (caller, found.map(|session| InSession(session, Secret::new(text))))))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The session of a request.
pub(crate) fn cookie<'h>(host: &Host, headers: &'h HeaderMap) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).iter();
    cookies
        .filter_map(|cookies| SESSION.value(host.config(), cookies.to_str().ok()?))
        .find(|value| !value.is_empty())
}
