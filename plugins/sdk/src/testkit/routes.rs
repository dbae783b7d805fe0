//! Matches requests to a manifest's routes, as specified in `wit/v0.1/connector.wit`. The real host uses its own
//! implementation; this one lets an author detect a missing route in a unit test.

use serde_json::Value;

use crate::descriptor::Route;
use crate::http::{Body, Request};

/// The first matching route.
pub(super) fn fitting<'a>(routes: &'a [Route], request: &Request) -> Option<&'a Route> {
    let address = request.url.strip_prefix("https://")?;
    let address = address.split('?').next().unwrap_or_default();
    let (host, path) = address.split_once('/').unwrap_or((address, ""));
    let body = match &request.body {
        Body::Bytes(bytes) => serde_json::from_slice(bytes).unwrap_or(Value::Null),
        _ => Value::Null,
    };
    routes.iter().find(|route| {
        route.method == request.method
            && origin_fits(&route.origin, host)
            && path_fits(&route.path, path)
            && route
                .body_has
                .iter()
                .all(|member| body.pointer(&member.pointer).and_then(Value::as_str) == Some(member.value.as_str()))
    })
}

fn origin_fits(origin: &str, host: &str) -> bool {
    match origin.strip_prefix("https://") {
        Some(wanted) => match wanted.strip_prefix("*.") {
            Some(parent) => host
                .strip_suffix(parent)
                .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.')),
            None => host == wanted,
        },
        None => false,
    }
}

fn path_fits(pattern: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    let mut wanted = pattern.trim_start_matches('/').split('/').peekable();
    while let Some(want) = wanted.next() {
        if want == "**" && wanted.peek().is_none() {
            return segments.next().is_some();
        }
        match segments.next() {
            Some(segment) if want == segment || (want == "*" && !segment.is_empty()) => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_fits_exactly_or_under_its_first_label() {
        let cases = [
            ("https://api.example", "api.example", true),
            ("https://api.example", "api.example.evil", false),
            ("https://*.cdn.example", "a.cdn.example", true),
            ("https://*.cdn.example", "a.b.cdn.example", true),
            ("https://*.cdn.example", "cdn.example", false),
            ("https://*.cdn.example", "evilcdn.example", false),
        ];
        for (origin, host, fits) in cases {
            assert_eq!(origin_fits(origin, host), fits, "{origin} {host}");
        }
    }

    #[test]
    fn a_path_fits_segment_by_segment() {
        let cases = [
            ("/a/b/", "a/b/", true),
            ("/a/b/", "a/b", false),
            ("/a/*", "a/x", true),
            ("/a/*", "a/", false),
            ("/a/*", "a/x/y", false),
            ("/a/**", "a/x/y", true),
            ("/a/**", "a", false),
            ("/**", "anything/at/all", true),
        ];
        for (pattern, path, fits) in cases {
            assert_eq!(path_fits(pattern, path), fits, "{pattern} {path}");
        }
    }
}
