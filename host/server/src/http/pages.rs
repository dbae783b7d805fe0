//! The HTML pages besides the console: the result of a connect session, and the meaning of each error code. No script,
//! no external resources, every value escaped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFRESH, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use weir_domain::id::ConnectSessionId;

use super::body::{Named, Params};
use super::problem::Problem;
use super::{Api, codes};
use crate::Host;
use crate::accounts::connect::ConnectPage;

/// One style sheet of our own, and no other resources.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:4rem auto;padding:0 1rem;color:#1c1f23;background:#fff}\
    h1{font-size:1.5rem;line-height:1.25}h2{font-size:1.125rem;margin-top:2.5rem}h3{font-size:1rem;margin-bottom:0}\
    a{color:#0b57d0}code{font-family:ui-monospace,monospace}p.quiet{color:#5a6068}\
    @media(prefers-color-scheme:dark){body{color:#e8eaed;background:#16181b}a{color:#8ab4f8}p.quiet{color:#9aa0a6}}";

/// The style sheet
pub(crate) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css"), (CACHE_CONTROL, "max-age=3600")], STYLE).into_response()
}

/// The meaning of each code
pub(crate) async fn errors() -> Response {
    let mut body = String::new();
    for (group, codes) in codes::GROUPS {
        let _ = write!(body, "<h2>{}</h2>", escape(group));
        for code in *codes {
            let _ = write!(
                body,
                "<h3 id=\"{name}\"><code>{name}</code></h3><p>{title}. {meaning}</p><p class=\"quiet\">{remedy}</p>",
                name = escape(code.name),
                title = escape(code.title),
                meaning = escape(code.meaning),
                remedy = escape(code.remedy),
            );
        }
    }
    page(
        StatusCode::OK,
        "Error codes",
        &["Every error of the API has one of these codes."],
        &body,
    )
}

/// The meaning of each code, machine-readable
pub(crate) async fn errors_as_text() -> Response {
    ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], codes::markdown()).into_response()
}

/// The meaning of each code, for programs
pub(crate) async fn errors_as_json() -> Json<Value> {
    let codes = codes::GROUPS.iter().flat_map(|(_, codes)| *codes);
    let data: Vec<Value> = codes
        .map(|code| {
            json!({
                "code": code.name, "title": code.title, "meaning": code.meaning, "remedy": code.remedy,
                "fault": codes::fault(code.fault), "retryable": code.retryable,
            })
        })
        .collect();
    Json(json!({ "data": data }))
}

/// Open a connect link: redirects to the platform's consent page
pub(crate) async fn open_connect(State(host): State<Host>, id: Result<Named<ConnectSessionId>, Problem>) -> Response {
    let Ok(Named(id)) = id else {
        return failure(StatusCode::NOT_FOUND, "not_found", "This connect link does not exist.");
    };
    match host.accounts.open_connect(id).await {
        Ok(opened) => {
            let mut response = StatusCode::SEE_OTHER.into_response();
            set(&mut response, LOCATION, opened.authorize.as_str());
            set(&mut response, SET_COOKIE, &opened.cookie);
            response
        }
        Err(error) => {
            let problem = Problem::from(error);
            let status = problem.status();
            let code = problem.code();
            failure(status, code.name, &problem.document("").describe())
        }
    }
}

/// Return from the platform's consent page
///
/// The code works once, so the exchange completes even if the browser is closed; opening the address again shows the
/// result.
pub(crate) async fn callback(
    State(api): State<Api>,
    method: Method,
    headers: HeaderMap,
    query: Result<Params<Vec<(String, String)>>, Problem>,
) -> Response {
    let Ok(Params(pairs)) = query else {
        return failure(
            StatusCode::BAD_REQUEST,
            "invalid_parameter",
            "The platform's response could not be read.",
        );
    };
    // A repeated parameter is an attempt to confuse; the first one counts.
    let mut query = BTreeMap::new();
    for (name, value) in pairs {
        query.entry(name).or_insert(value);
    }
    let cookie = headers
        .get(COOKIE)
        .and_then(|cookie| cookie.to_str().ok())
        .map(str::to_owned);
    let spends = method == Method::GET && !is_prefetch(&headers);
    let slot = match api.callback_slot() {
        Ok(slot) => slot,
        Err(busy) => {
            return failure(
                busy.status(),
                busy.code().name,
                "Too many accounts are being connected right now. Try again in a moment.",
            );
        }
    };
    shown(api.host.accounts.finish_connect(query, cookie, spends, slot).await)
}

/// Whether a browser prefetches an address before a person opens it: `Sec-Purpose` (Fetch standard), and its former
/// names.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-purpose", "x-moz"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .any(|purpose| {
            let purpose = purpose.to_ascii_lowercase();
            ["prefetch", "prerender", "preview"]
                .iter()
                .any(|word| purpose.contains(word))
        })
}

fn shown(connecting: ConnectPage) -> Response {
    let (outcome, redirect_url) = match connecting {
        ConnectPage::Ended { outcome, redirect_url } => (outcome, redirect_url),
        ConnectPage::AtWork => {
            let lines = ["The account is being connected. This page updates automatically."];
            let mut response = page(StatusCode::ACCEPTED, "Connecting", &lines, "");
            set(&mut response, REFRESH, "3");
            return response;
        }
        // With this status a browser that prefetched drops the response and requests the page again when the person
        // opens it.
        ConnectPage::Untouched => {
            let lines = ["A browser prefetched this page. Open it to continue."];
            return page(StatusCode::SERVICE_UNAVAILABLE, "Not opened yet", &lines, "");
        }
    };
    if let Some(url) = redirect_url {
        let mut response = StatusCode::SEE_OTHER.into_response();
        set(&mut response, LOCATION, url.as_str());
        return response;
    }
    match outcome {
        Ok(channel) => {
            let name = channel
                .display_name
                .as_deref()
                .or(channel.username.as_deref())
                .unwrap_or(&channel.name);
            let line = format!("{name} is connected. You can close this page.");
            page(StatusCode::OK, "Connected", &[&line], "")
        }
        Err(why) => failure(StatusCode::BAD_REQUEST, &why.code, &why.detail),
    }
}

fn failure(status: StatusCode, code: &str, detail: &str) -> Response {
    let remedy = codes::named(code)
        .map(|code| code.remedy)
        .unwrap_or("Start again with a new link.");
    let quiet = format!("<p class=\"quiet\"><code>{}</code></p>", escape(code));
    page(status, "Not connected", &[detail, remedy], &quiet)
}

/// A page. `lines` are escaped; `rest` is markup of our own.
fn page(status: StatusCode, title: &str, lines: &[&str], rest: &str) -> Response {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><link rel=\"stylesheet\" href=\"/style.css\"><h1>{title}</h1>",
        title = escape(title)
    );
    for line in lines {
        let _ = write!(html, "<p>{}</p>", escape(line));
    }
    html.push_str(rest);
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (status, headers, html).into_response()
}

/// Text escaped for an element or a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

/// Sets a header to a value of ours; an invalid value is omitted and logged.
fn set(response: &mut Response, name: axum::http::HeaderName, value: &str) {
    match HeaderValue::from_str(value) {
        Ok(value) => {
            response.headers_mut().append(name, value);
        }
        Err(error) => tracing::error!(%error, %name, "A header could not be set"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_code_has_a_remedy_as_json() {
        let Json(document) = errors_as_json().await;
        let data = document["data"].as_array().expect("a list");
        let count: usize = codes::GROUPS.iter().map(|(_, codes)| codes.len()).sum();
        assert_eq!(data.len(), count);
        for code in data {
            assert!(
                code["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()),
                "{code}"
            );
        }
    }

    #[test]
    fn what_a_stranger_wrote_is_shown_and_never_run() {
        assert_eq!(
            escape("<script>alert('a' & \"b\")</script>"),
            "&lt;script&gt;alert(&#39;a&#39; &amp; &quot;b&quot;)&lt;/script&gt;"
        );
    }

    #[test]
    fn a_browser_that_looks_ahead_is_no_person() {
        let with = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(name.parse().expect("a name"), value.parse().expect("a value"))])
        };
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
        ] {
            assert!(is_prefetch(&with(name, value)), "{name}");
        }
        assert!(!is_prefetch(&with("sec-fetch-dest", "document")));
    }

    #[test]
    fn a_page_allows_nothing_but_its_own_style() {
        let response = failure(StatusCode::OK, "connect_failed", "The platform said <b>no</b>.");
        let policy = response.headers().get(CONTENT_SECURITY_POLICY).expect("a policy");
        assert_eq!(policy, POLICY);
        assert!(!POLICY.contains("script-src") && !POLICY.contains("unsafe"));
    }
}
