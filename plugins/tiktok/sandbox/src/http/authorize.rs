//! The consent page at `/v2/auth/authorize` and its decision (TikTok API reference, Authorization).

use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Deserialize;
use url::form_urlencoded;

use super::App;
use crate::world::oauth::{Consent, ConsentRequest};

/// Stores in the browser who is logged in, for the silent redirect of a second visit.
const LOGIN_COOKIE: &str = "tiktok_sandbox_account";

/// TikTok does not publish the numbers of `error_code`; the redirect includes one all the same.
const DENIED_CODE: &str = "-2";

const PAGE: &str = include_str!("../pages/consent.html");
const REFUSED: &str = include_str!("../pages/refused.html");

/// The parameters of the page's own address.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Extras {
    #[serde(default)]
    disable_auto_auth: String,
    #[serde(default)]
    account: String,
}

/// The consent page; or immediately a code, if the logged-in account granted all scopes before.
pub(super) async fn ask(
    State(shared): State<App>,
    Query(request): Query<ConsentRequest>,
    Query(extras): Query<Extras>,
    headers: HeaderMap,
) -> Response {
    let consent = match shared.peek(|world, _| world.consent(&request)) {
        Ok(consent) => consent,
        Err(why) => return refuse(why),
    };
    if extras.disable_auto_auth != "1"
        && extras.account.is_empty()
        && let Some(account) = logged_in(&headers)
    {
        let code = shared.with(|world, now| {
            world
                .already_granted(&consent, account, now)
                .then(|| world.grant(&consent, account, consent.scopes.clone(), now).ok())
                .flatten()
        });
        if let Some(code) = code {
            return redirect(&consent, &[("code", &code)], None);
        }
    }
    let logins = shared.peek(|world, _| world.logins());
    let options: String = logins
        .iter()
        .map(|(username, name, kind)| {
            format!(
                r#"<option value="{0}"{1}>{2} (@{0}), {3}</option>"#,
                escape(username),
                if *username == extras.account { " selected" } else { "" },
                escape(name),
                kind
            )
        })
        .collect();
    let scopes: String = consent
        .scopes
        .iter()
        .map(|scope| {
            format!(
                r#"<label class="scope"><input type="checkbox" name="granted" value="{0}" checked><span><b>{1}</b><code>{0}</code></span></label>"#,
                escape(scope),
                meaning(scope)
            )
        })
        .collect();
    let page = fill(
        PAGE,
        &[
            ("app", &escape(&consent.app_name)),
            ("client_key", &escape(&consent.client_key)),
            ("redirect_uri", &escape(&consent.redirect_uri)),
            ("state", &escape(&consent.state)),
            ("scope", &escape(&consent.scopes.join(","))),
            ("accounts", &options),
            ("scopes", &scopes),
        ],
    );
    Html(page).into_response()
}

/// The form's decision. Fields: `client_key`, `redirect_uri`, `state`, `scope` as requested, `account`, `granted`
/// (repeated; `*` for all), `decision` (`allow` or `deny`).
pub(super) async fn decide(State(shared): State<App>, body: Bytes) -> Response {
    let mut request = ConsentRequest {
        response_type: "code".into(),
        ..ConsentRequest::default()
    };
    let (mut account, mut decision, mut granted) = (String::new(), String::new(), Vec::new());
    for (name, value) in form_urlencoded::parse(&body) {
        let value = value.into_owned();
        match name.as_ref() {
            "client_key" => request.client_key = value,
            "redirect_uri" => request.redirect_uri = value,
            "state" => request.state = value,
            "scope" => request.scope = value,
            "account" => account = value,
            "decision" => decision = value,
            "granted" => granted.push(value),
            _ => {}
        }
    }
    let consent = match shared.peek(|world, _| world.consent(&request)) {
        Ok(consent) => consent,
        Err(why) => return refuse(why),
    };
    let all = granted.iter().any(|scope| scope == "*");
    let scopes: Vec<String> = consent
        .scopes
        .iter()
        .filter(|scope| all || granted.contains(scope))
        .cloned()
        .collect();
    match decision.as_str() {
        "allow" if !scopes.is_empty() => {}
        "allow" | "deny" => {
            let denial = [
                ("error", "access_denied"),
                ("error_description", "The user denied the request."),
                ("error_code", DENIED_CODE),
            ];
            return redirect(&consent, &denial, None);
        }
        _ => return refuse("decision: it must be allow or deny"),
    }
    match shared.with(|world, now| world.grant(&consent, &account, scopes, now)) {
        Ok(code) => redirect(&consent, &[("code", &code)], Some(&account)),
        Err(_) => refuse("account: there is no such account"),
    }
}

fn redirect(consent: &Consent, answer: &[(&str, &str)], login: Option<&str>) -> Response {
    let Ok(mut to) = url::Url::parse(&consent.redirect_uri) else {
        return refuse("redirect_uri: it is not a URL");
    };
    {
        let mut pairs = to.query_pairs_mut();
        pairs.extend_pairs(answer);
        if !consent.state.is_empty() {
            pairs.append_pair("state", &consent.state);
        }
    }
    let mut response = (StatusCode::FOUND, [(header::LOCATION, to.to_string())]).into_response();
    if let Some(account) = login
        && let Ok(cookie) = HeaderValue::from_str(&format!(
            "{LOGIN_COOKIE}={account}; Path=/v2/auth/; HttpOnly; SameSite=Lax"
        ))
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn refuse(why: &str) -> Response {
    let page = fill(REFUSED, &[("why", &escape(why))]);
    (StatusCode::BAD_REQUEST, Html(page)).into_response()
}

fn logged_in(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == LOGIN_COOKIE).then_some(value))
}

/// Replaces a page's `{{name}}` placeholders in one pass, so that a value is never read as a placeholder.
fn fill(page: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(page.len() * 2);
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let Some((name, after)) = after.split_once("}}") else {
            break;
        };
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            filled.push_str(value);
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// The explanation of a scope for the account's owner.
fn meaning(scope: &str) -> &'static str {
    match scope {
        "message.list.read" => "Read direct messages",
        "message.list.send" => "Send direct messages",
        "message.list.manage" => "Manage direct messages and automatic messages",
        "user.info.basic" => "See your name and picture",
        "user.info.username" => "See your username",
        "user.info.profile" => "See your profile",
        "user.info.stats" => "See your follower numbers",
        "user.insights" => "See insights about your account",
        "user.account.type" => "See whether this is a Business Account",
        "video.list" => "See your posts",
        "comment.list" => "Read comments",
        "comment.list.manage" => "Manage comments",
        _ => "Use this permission",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_neither_markup_nor_a_place() {
        let hostile = escape(r#"{{why}}<script>"'&"#);
        assert_eq!(hostile, "{{why}}&lt;script&gt;&quot;&#39;&amp;");
        assert_eq!(
            fill("a {{x}} b", &[("x", &hostile), ("why", "no")]),
            format!("a {hostile} b")
        );
    }
}
