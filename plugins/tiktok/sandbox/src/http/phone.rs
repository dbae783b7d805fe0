//! The phone page and its files, all inside the binary; it loads nothing from other hosts.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use super::App;

/// Scripts, styles, pictures and calls from this origin only, and no inline script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/", get(async || Redirect::temporary("/phone")))
        .route(
            "/phone",
            get(async || file("text/html; charset=utf-8", include_str!("../pages/phone.html"))),
        )
        .route(
            "/phone/phone.css",
            get(async || file("text/css", include_str!("../pages/phone.css"))),
        )
        .route(
            "/phone/phone.js",
            get(async || file("text/javascript", include_str!("../pages/phone.js"))),
        )
        .route(
            "/phone/consent.css",
            get(async || file("text/css", include_str!("../pages/consent.css"))),
        )
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ],
        text,
    )
}
