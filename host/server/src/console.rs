//! The console: the web interface for people. One page, some script modules and one style sheet, all inside the binary.
//!
//! It calls the public API with the session of [`crate::http`] and nothing else: a key can do everything that the
//! console can. It loads nothing from other hosts, its markup contains no inline script or style, and user content is
//! only inserted as text: the policy below makes browsers block everything else.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest as _, Sha256};

/// Scripts, styles, images and calls of this origin only. Trusted Types (W3C) without any policy: no script can turn
/// text into markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const PAGE: &str = include_str!("console/index.html");

macro_rules! files {
    ($($kind:literal: $($name:literal)*;)*) => {
        &[$($((
            concat!("/console/", $name),
            concat!($kind, "; charset=utf-8"),
            include_str!(concat!("console/", $name)),
        ),)*)*]
    };
}

/// Each file: its path, its type, its text.
const FILES: &[(&str, &str, &str)] = files! {
    "text/css": "console.css";
    "image/svg+xml": "icon.svg";
    "text/javascript":
        // The frame and what every page uses.
        "main.js" "api.js" "dom.js" "format.js" "page.js"
        // A page each.
        "overview.js" "inbox.js" "channels.js" "events.js" "refusals.js" "endpoints.js" "connectors.js" "settings.js"
        // Parts of the pages.
        "apps.js" "channel.js" "composer.js" "connect.js" "connector.js" "conversation.js" "deliveries.js" "event-types.js"
        "message.js" "metrics.js" "reference.js" "thread.js" "transcripts.js" "versions.js";
};

/// The paths of the console's pages: all of them return the same document, which reads its address.
const PATHS: [&str; 13] = [
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

/// The path of the console's document and its files.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let pages = PATHS.iter().map(|path| (*path, HTML, PAGE));
    pages
        .chain(FILES.iter().copied())
        .fold(Router::new(), |router, (path, kind, text)| {
            let tag = format!("\"{}\"", hex::encode(Sha256::digest(text)));
            router.route(
                path,
                get(async move |headers: HeaderMap| file(&headers, kind, text, &tag)),
            )
        })
}

/// Browsers revalidate each time and download a file only when it changed, so that a new release is never mixed with an
/// old one.
fn file(request: &HeaderMap, kind: &'static str, text: &'static str, tag: &str) -> Response {
    let is_known = request
        .get(IF_NONE_MATCH)
        .is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let head = [
        (CONTENT_TYPE, kind.to_owned()),
        (CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (CACHE_CONTROL, "no-cache".to_owned()),
        (ETAG, tag.to_owned()),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin".to_owned(),
        ),
    ];
    if is_known {
        (StatusCode::NOT_MODIFIED, head).into_response()
    } else {
        (head, text).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console");

    /// The files that a browser loads, as bytes: the document, and those with these names.
    fn size_of(names: &[&str]) -> usize {
        let loaded = FILES
            .iter()
            .filter(|(path, ..)| names.iter().any(|name| path.ends_with(&format!("/{name}"))));
        PAGE.len() + loaded.map(|(.., text)| text.len()).sum::<usize>()
    }

    #[test]
    fn first_page_is_small() {
        // Pages are fetched when they are visited; the inbox is the largest of those used all day.
        let frame = ["console.css", "icon.svg", "main.js", "api.js", "dom.js", "format.js"];
        let inbox = ["inbox.js", "conversation.js", "composer.js", "thread.js", "message.js"];
        let (frame, inbox) = (size_of(&frame), size_of(&[&frame[..], &inbox].concat()));
        assert!(frame < 80_000 && inbox < 120_000, "{frame} and {inbox} bytes");
    }

    #[test]
    fn every_script_is_served_and_narrow() {
        for entry in std::fs::read_dir(FOLDER).expect("the folder") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("a name")
                .to_owned();
            let is_ours = ["css", "d.ts", "html", "js", "json", "svg"]
                .iter()
                .any(|kind| name.ends_with(&format!(".{kind}")));
            // Generated from the API's description.
            if !is_ours || name == "openapi.d.ts" {
                continue;
            }
            let is_served = FILES.iter().any(|(path, ..)| *path == format!("/console/{name}"));
            assert_eq!(
                is_served,
                name.ends_with(".js") || name.ends_with(".css") || name.ends_with(".svg"),
                "{name}"
            );
            let text = std::fs::read_to_string(&path).expect("a text");
            for (number, line) in (1..).zip(text.lines()) {
                assert!(line.chars().count() <= 120, "{name}:{number} is wider than 120 columns");
            }
        }
    }

    #[test]
    fn no_script_makes_markup_of_text() {
        for (path, _, text) in FILES.iter().filter(|(path, ..)| path.ends_with(".js")) {
            for sink in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "DOMParser",
                "srcdoc",
            ] {
                assert!(!text.contains(sink), "{path} uses {sink}");
            }
        }
        assert!(
            !PAGE.contains("style=") && !PAGE.contains("<style") && !PAGE.contains(" on"),
            "{PAGE}"
        );
        assert_eq!(
            PAGE.matches("<script").count(),
            PAGE.matches("<script type=\"module\" src=").count()
        );
    }
}
