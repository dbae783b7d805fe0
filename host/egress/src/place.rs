//! Sets secrets at the places that a route declares, and nowhere else.
//!
//! Nothing is searched and replaced: a text that looks like a placeholder stays as it is.

use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use url::Url;
use weir_domain::credential::Secrets;
use weir_domain::manifest::{SecretPlace, SecretUse};
use weir_domain::policy::{Request, RequestBody};

use crate::error::Refused;

/// All characters except the unreserved ones of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Without those that a path segment may contain unencoded: Telegram's tokens have a colon.
const SEGMENT: &AsciiSet = &QUERY.remove(b':').remove(b'@');

/// `request` with each secret at its place, replacing what is there.
pub(crate) fn set(mut request: Request, uses: &[SecretUse], secrets: &Secrets) -> Result<Request, Refused> {
    for secret in uses {
        let name = &secret.secret;
        let value = secrets
            .get(name)
            .ok_or_else(|| Refused::NoSecret { name: name.clone() })?;
        let value = format!("{}{}", secret.prefix, value.expose());
        let placed = match &secret.place {
            SecretPlace::Header(header) => set_header(&mut request, header, &value),
            SecretPlace::Query(parameter) => {
                set_query(&mut request.url, parameter, &value);
                Ok(())
            }
            SecretPlace::BodyMember(pointer) => set_member(&mut request.body, pointer, value),
            SecretPlace::PathSegment(index) => set_segment(&mut request.url, *index, &value),
        };
        placed.map_err(|reason| Refused::Place {
            name: name.clone(),
            reason,
        })?;
    }
    Ok(request)
}

/// Headers that determine where a request goes and where it ends: a manifest is untrusted and may not set them.
const NO_PLACE: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn set_header(request: &mut Request, header: &str, value: &str) -> Result<(), &'static str> {
    let header: HeaderName = header.parse().map_err(|_| "its header has no valid name")?;
    if NO_PLACE.contains(&header.as_str()) {
        return Err("its header is the host's own");
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| "it has characters that no header may have")?;
    value.set_sensitive(true);
    request.headers.retain(|(name, _)| *name != header);
    request.headers.push((header, value));
    Ok(())
}

fn set_query(url: &mut Url, parameter: &str, value: &str) {
    // The other parameters stay exactly as they were checked.
    let is_other = |pair: &&str| {
        !pair.is_empty() && url::form_urlencoded::parse(pair.as_bytes()).all(|(name, _)| name != parameter)
    };
    let mut pairs: Vec<String> = url
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(is_other)
        .map(str::to_owned)
        .collect();
    pairs.push(format!(
        "{}={}",
        utf8_percent_encode(parameter, QUERY),
        utf8_percent_encode(value, QUERY)
    ));
    url.set_query(Some(&pairs.join("&")));
}

fn set_member(body: &mut RequestBody, pointer: &str, value: String) -> Result<(), &'static str> {
    let RequestBody::Json(document) = body else {
        return Err("its place is in a JSON body, and the body is none");
    };
    let (parent, member) = pointer.rsplit_once('/').ok_or("its pointer names no member")?;
    // RFC 6901, 4: ~1 before ~0.
    let member = member.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent) {
        Some(Value::Object(object)) => {
            object.insert(member, Value::String(value));
            Ok(())
        }
        _ => Err("the object that should hold it is not in the body"),
    }
}

fn set_segment(url: &mut Url, index: u32, value: &str) -> Result<(), &'static str> {
    let index = usize::try_from(index).map_err(|_| "its path segment does not exist")?;
    let mut segments: Vec<String> = url
        .path()
        .trim_start_matches('/')
        .split('/')
        .map(str::to_owned)
        .collect();
    let place = segments.get_mut(index).ok_or("its path segment does not exist")?;
    *place = utf8_percent_encode(value, SEGMENT).to_string();
    let path = format!("/{}", segments.join("/"));
    url.set_path(&path);
    // `.` and `..` would be resolved, and the request would go elsewhere.
    if url.path() == path {
        Ok(())
    } else {
        Err("it is no path segment")
    }
}
