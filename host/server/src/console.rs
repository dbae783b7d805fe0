//! The console: what a person looks at. One page, a handful of script modules and one style sheet, all inside the binary.
//!
//! It calls the public API with the session of [`crate::http`] and nothing else: what it can do, a key can do. Nothing on it
//! comes from another host, no script or style stands in the markup, and what people wrote is only ever text: the policy below
//! has browsers refuse the rest.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Scripts, styles, pictures and calls of this origin only. Trusted Types (W3C) without any policy: no text becomes markup,
/// whatever a script may try.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Each file under its path.
const FILES: &[(&str, &str, &str)] = &[
    (
        "/console/console.css",
        "text/css; charset=utf-8",
        include_str!("console/console.css"),
    ),
    ("/console/icon.svg", "image/svg+xml", include_str!("console/icon.svg")),
    ("/console/main.js", SCRIPT, include_str!("console/main.js")),
    ("/console/api.js", SCRIPT, include_str!("console/api.js")),
    ("/console/dom.js", SCRIPT, include_str!("console/dom.js")),
    ("/console/words.js", SCRIPT, include_str!("console/words.js")),
    ("/console/inbox.js", SCRIPT, include_str!("console/inbox.js")),
    ("/console/bubbles.js", SCRIPT, include_str!("console/bubbles.js")),
    ("/console/composer.js", SCRIPT, include_str!("console/composer.js")),
    ("/console/channels.js", SCRIPT, include_str!("console/channels.js")),
    ("/console/versions.js", SCRIPT, include_str!("console/versions.js")),
    ("/console/connectors.js", SCRIPT, include_str!("console/connectors.js")),
    ("/console/events.js", SCRIPT, include_str!("console/events.js")),
    ("/console/overview.js", SCRIPT, include_str!("console/overview.js")),
    ("/console/refusals.js", SCRIPT, include_str!("console/refusals.js")),
    ("/console/settings.js", SCRIPT, include_str!("console/settings.js")),
];

/// The places of the console: all of them are the same page, which reads where it is.
const PLACES: [&str; 13] = [
    "/",
    "/inbox",
    "/inbox/{conversation}",
    "/channels",
    "/channels/{channel}",
    "/events",
    "/refusals",
    "/refusals/{refusal}",
    "/endpoints",
    "/endpoints/{endpoint}",
    "/connectors",
    "/connectors/{name}",
    "/settings",
];

/// Where the console's page and its files are.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let page = include_str!("console/index.html");
    let router = PLACES.iter().fold(Router::new(), |router, place| {
        router.route(place, get(async move |headers: HeaderMap| file(&headers, HTML, page)))
    });
    FILES.iter().fold(router, |router, (path, kind, text)| {
        router.route(path, get(async move |headers: HeaderMap| file(&headers, kind, text)))
    })
}

/// Asked for anew each time and sent only when it changed, so that a new release is never half an old one.
fn file(asked: &HeaderMap, kind: &'static str, text: &'static str) -> Response {
    let tag = tag(text);
    let known = asked
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let head = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (ETAG, tag),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin".to_owned(),
        ),
    ];
    if known {
        (StatusCode::NOT_MODIFIED, head).into_response()
    } else {
        (head, text).into_response()
    }
}

/// A file's name for what it holds (FNV-1a): it tells versions apart and guards nothing.
fn tag(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("\"{hash:016x}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_is_small() {
        // The other places fetch their module when they are looked at.
        let later = [
            "channels",
            "connectors",
            "events",
            "overview",
            "refusals",
            "settings",
            "versions",
        ]
        .map(|name| format!("/console/{name}.js"));
        let first = FILES.iter().filter(|(path, ..)| !later.iter().any(|name| name == path));
        let size = first.map(|(.., text)| text.len()).sum::<usize>() + include_str!("console/index.html").len();
        assert!(size < 100_000, "{size} bytes");
    }

    #[test]
    fn no_script_of_ours_makes_markup_of_text() {
        for (path, _, text) in FILES.iter().filter(|(path, ..)| path.ends_with(".js")) {
            for door in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "srcdoc",
            ] {
                assert!(!text.contains(door), "{path} uses {door}");
            }
        }
        let page = include_str!("console/index.html");
        assert!(
            !page.contains("style=") && !page.contains("<style") && !page.contains(" on"),
            "{page}"
        );
        assert_eq!(
            page.matches("<script").count(),
            page.matches("<script type=\"module\" src=").count()
        );
    }
}
