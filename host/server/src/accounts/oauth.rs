//! The platform's OAuth 2 (RFC 6749), performed by the host from the manifest's data. Connectors take no part in it and
//! never see a token.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{CONTENT_TYPE, HeaderValue};
use sha2::{Digest, Sha256};
use url::Url;
use weir_domain::credential::{Credential, OtherAccount, Secret, Secrets, Tokens};
use weir_domain::grant::WantedGrant;
use weir_domain::manifest::{BodyEncoding, Oauth, Parameter, ParameterValue, TokenCall};
use weir_domain::policy::{Request, RequestBody, may_authorize};
use weir_domain::time::Timestamp;
use weir_egress::{Egress, NoBodies};
use weir_store::App;

use crate::connectors::serving::Serving;

/// Sources of a call's parameters; unused ones are empty.
#[derive(Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    pub(crate) redirect_uri: &'a str,
    pub(crate) state: Option<&'a Secret>,
    pub(crate) code: Option<&'a Secret>,
    pub(crate) verifier: Option<&'a Secret>,
    pub(crate) access_token: Option<&'a Secret>,
    pub(crate) refresh_token: Option<&'a Secret>,
}

/// Why no token was obtained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// A value that the manifest requires is missing.
    #[error("the app has no {name}; set it with PUT /v1/apps")]
    Missing { name: String },
    /// The operator did not grant the calls that carry the app's secrets.
    #[error("the OAuth calls are not granted; see the connector's missing grants")]
    NotGranted {
        /// The calls that carry them and are not granted.
        missing: Vec<WantedGrant>,
    },
    /// The manifest's data does not form a valid request.
    #[error("the connector's authorization data is unusable: {0}")]
    Data(String),
    /// The platform refused.
    #[error("the platform refused: {message} (code {code})")]
    Refused { code: String, message: String, gone: bool },
    /// The response is for another account.
    #[error(transparent)]
    OtherAccount(#[from] OtherAccount),
    /// No response, or an unreadable one; the outcome is unknown.
    #[error("the platform's token endpoint returned no usable response: {0}")]
    NoAnswer(String),
}

impl TokenError {
    /// Whether the grant itself has ended, so that only a person can renew it.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { gone: true, .. })
    }
}

/// The page on which the account's owner consents.
pub(crate) fn authorize_url(serving: &Serving, oauth: &Oauth, values: Values<'_>) -> Result<Url, TokenError> {
    let app = granted(serving, oauth)?;
    let url = oauth
        .authorize_url
        .parse::<Url>()
        .map_err(|error| TokenError::Data(error.to_string()))?;
    let (mut url, _) = app.origins.target(&url);
    for (name, value) in parameters(app, oauth, &oauth.authorize_parameters, values)? {
        url.query_pairs_mut().append_pair(&name, &value);
    }
    Ok(url)
}

/// Makes one call of the token endpoint and parses the tokens.
pub(crate) async fn call(
    egress: &Egress,
    serving: &Serving,
    oauth: &Oauth,
    call: &TokenCall,
    values: Values<'_>,
    now: Timestamp,
) -> Result<Tokens, TokenError> {
    let answer = post(egress, serving, oauth, call, values).await?;
    read(oauth, &answer, now)
}

/// Revokes a token at the platform.
pub(crate) async fn revoke(
    egress: &Egress,
    serving: &Serving,
    oauth: &Oauth,
    token: &Secret,
) -> Result<(), TokenError> {
    let Some(revoke) = &oauth.revoke else { return Ok(()) };
    let values = Values {
        access_token: Some(token),
        ..Values::default()
    };
    post(egress, serving, oauth, revoke, values).await.map(|_| ())
}

/// The app, if the operator granted the OAuth calls that carry its secrets.
fn granted<'s>(serving: &'s Serving, oauth: &Oauth) -> Result<&'s App, TokenError> {
    let missing = serving.grants.missing_for_authorization(oauth);
    if missing.is_empty() {
        Ok(&serving.app.app)
    } else {
        let missing = WantedGrant::all(missing, &serving.grants);
        Err(TokenError::NotGranted { missing })
    }
}

async fn post(
    egress: &Egress,
    serving: &Serving,
    oauth: &Oauth,
    call: &TokenCall,
    values: Values<'_>,
) -> Result<serde_json::Value, TokenError> {
    let app = granted(serving, oauth)?;
    let url = call
        .url
        .parse()
        .map_err(|error: url::ParseError| TokenError::Data(error.to_string()))?;
    let pairs = parameters(app, oauth, &call.parameters, values)?;
    let (kind, body) = match call.encoding {
        BodyEncoding::Json => {
            let object = pairs.into_iter().map(|(name, value)| (name, value.into())).collect();
            ("application/json", RequestBody::Json(serde_json::Value::Object(object)))
        }
        BodyEncoding::Form => {
            let form = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(pairs)
                .finish();
            ("application/x-www-form-urlencoded", RequestBody::Bytes(form.into()))
        }
    };
    let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(kind))];
    let request = Request {
        method: http::Method::POST,
        url,
        headers,
        body,
    };
    let permit = may_authorize(&app.origins, request).map_err(|refusal| TokenError::Data(refusal.to_string()))?;
    let answer = egress
        .send(permit, &Secrets::default(), &NoBodies)
        .await
        .map_err(|error| TokenError::NoAnswer(error.to_string()))?;
    let body = weir_json::from_slice(&answer.body)
        .map_err(|_| TokenError::NoAnswer(format!("status {} without JSON", answer.status)))?;
    refusal(oauth, answer.status, &body).map_or(Ok(body), Err)
}

/// The platform's refusal, if the response is one.
fn refusal(oauth: &Oauth, status: u16, body: &serde_json::Value) -> Option<TokenError> {
    let succeeded = match &oauth.answer.success {
        Some((pointer, wanted)) => text(body, Some(pointer)).as_deref() == Some(wanted),
        None => (200..300).contains(&status),
    };
    if succeeded {
        return None;
    }
    let code = text(body, oauth.answer.error_code.as_deref()).unwrap_or_else(|| status.to_string());
    if status >= 500 {
        return Some(TokenError::NoAnswer(format!("status {status}, code {code}")));
    }
    Some(TokenError::Refused {
        gone: oauth.answer.revoked_codes.contains(&code),
        message: text(body, oauth.answer.error_message.as_deref()).unwrap_or_default(),
        code,
    })
}

/// Upper bound on a token's lifetime: longer ones are capped.
const LONGEST_LIFE_S: u64 = 100 * 366 * 24 * 3_600;

fn read(oauth: &Oauth, body: &serde_json::Value, now: Timestamp) -> Result<Tokens, TokenError> {
    // An empty member is treated like a missing one.
    let at = |pointer: Option<&String>| text(body, pointer.map(String::as_str)).filter(|text| !text.trim().is_empty());
    let after = |pointer: Option<&String>| {
        let seconds = whole_seconds(&at(pointer)?)?;
        Some(now.after(Duration::from_secs(seconds.min(LONGEST_LIFE_S))))
    };
    let answer = &oauth.answer;
    let access_token = at(Some(&answer.access_token))
        .ok_or_else(|| TokenError::NoAnswer("the response has no access token".to_owned()))?;
    let split = |scopes: String| {
        scopes
            .split([',', ' '])
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect()
    };
    Ok(Tokens {
        credential: Credential {
            access_token: Secret::new(access_token),
            refresh_token: at(answer.refresh_token.as_ref()).map(Secret::new),
            expires_at: after(answer.expires_in.as_ref()),
            refresh_expires_at: after(answer.refresh_expires_in.as_ref()),
            renewed_at: now,
        },
        scopes: at(answer.scope.as_ref()).map(split),
        platform_id: at(answer.platform_id.as_ref()),
    })
}

/// A lifetime in seconds; `None` if it is not a number, or zero, which some platforms write for a token that does not
/// expire.
fn whole_seconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    whole.parse().ok().filter(|seconds| *seconds > 0)
}

/// A text or number in a document, as text.
fn text(body: &serde_json::Value, pointer: Option<&str>) -> Option<String> {
    match body.pointer(pointer?)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn parameters(
    app: &App,
    oauth: &Oauth,
    parameters: &[Parameter],
    values: Values<'_>,
) -> Result<Vec<(String, String)>, TokenError> {
    let given = |name: &str, value: Option<&Secret>| {
        let value = value.ok_or_else(|| TokenError::Missing { name: name.to_owned() })?;
        Ok::<_, TokenError>(value.expose().to_owned())
    };
    parameters
        .iter()
        .map(|parameter| {
            let value = match &parameter.value {
                ParameterValue::Literal(text) => text.clone(),
                ParameterValue::Secret(name) => given(name, app.secrets.get(name).and_then(|secrets| secrets.first()))?,
                ParameterValue::RedirectUri => values.redirect_uri.to_owned(),
                ParameterValue::Scopes => {
                    let names: Vec<&str> = oauth.scopes.iter().map(|scope| scope.name.as_str()).collect();
                    names.join(&oauth.scope_separator)
                }
                ParameterValue::State => given("state", values.state)?,
                ParameterValue::Code => given("code", values.code)?,
                ParameterValue::AccessToken => given("access token", values.access_token)?,
                ParameterValue::RefreshToken => given("refresh token", values.refresh_token)?,
                ParameterValue::PkceVerifier => given("verifier", values.verifier)?,
                ParameterValue::PkceChallenge => {
                    let verifier = given("verifier", values.verifier)?;
                    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
                }
            };
            Ok((parameter.name.clone(), value))
        })
        .collect()
}

/// The required scopes that were not granted.
pub(crate) fn ungranted<'o>(oauth: &'o Oauth, granted: Option<&[String]>) -> Vec<&'o str> {
    let Some(granted) = granted else { return Vec::new() };
    oauth
        .scopes
        .iter()
        .filter(|scope| scope.required && !granted.contains(&scope.name))
        .map(|scope| scope.name.as_str())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weir_domain::manifest::{Scope, TokenAnswer};

    use super::*;

    /// TikTok's responses (TikTok API reference, OAuth, Token exchange).
    fn oauth() -> Oauth {
        let pointer = |name: &str| Some(format!("/data/{name}"));
        let token = TokenCall {
            url: "https://t.example/token/".into(),
            encoding: BodyEncoding::Json,
            parameters: Vec::new(),
        };
        Oauth {
            authorize_url: "https://t.example/authorize".into(),
            authorize_parameters: Vec::new(),
            token,
            refresh: None,
            revoke: None,
            answer: TokenAnswer {
                access_token: "/data/access_token".into(),
                refresh_token: pointer("refresh_token"),
                expires_in: pointer("expires_in"),
                refresh_expires_in: pointer("refresh_token_expires_in"),
                scope: pointer("scope"),
                platform_id: pointer("open_id"),
                success: Some(("/code".into(), "0".into())),
                error_code: Some("/code".into()),
                error_message: Some("/message".into()),
                revoked_codes: vec!["40107".into()],
            },
            scopes: vec![
                Scope {
                    name: "send".into(),
                    required: true,
                    why: String::new(),
                },
                Scope {
                    name: "stats".into(),
                    required: false,
                    why: String::new(),
                },
            ],
            scope_separator: ",".into(),
        }
    }

    #[test]
    fn an_answer_is_read_by_the_manifests_pointers() {
        let body = json!({"code": 0, "data": {"access_token": "a", "refresh_token": "r", "expires_in": 86400,
            "refresh_token_expires_in": 31_536_000, "scope": "send, stats", "open_id": "B"}});
        assert!(refusal(&oauth(), 200, &body).is_none());
        let now = Timestamp::from_millis(1_000);
        let tokens = read(&oauth(), &body, now).expect("tokens");
        assert_eq!(
            tokens.credential.expires_at,
            Some(now.after(Duration::from_secs(86_400)))
        );
        assert_eq!(tokens.scopes, Some(vec!["send".to_owned(), "stats".to_owned()]));
        assert_eq!(tokens.platform_id.as_deref(), Some("B"));
    }

    #[test]
    fn a_refusal_with_status_200_is_a_refusal_and_some_are_final() {
        let refused = |code: u32| refusal(&oauth(), 200, &json!({"code": code, "message": "no", "data": {}}));
        assert!(refused(40_107).is_some_and(|error| error.is_gone()));
        assert!(refused(40_101).is_some_and(|error| !error.is_gone()));
        let broken = refusal(&oauth(), 502, &json!({}));
        assert!(matches!(broken, Some(TokenError::NoAnswer(_))));
    }

    #[test]
    fn an_empty_member_is_read_as_none() {
        let body = json!({"code": 0, "data": {"access_token": "act.new", "refresh_token": "", "expires_in": "",
            "refresh_token_expires_in": null, "scope": " ", "open_id": ""}});
        let tokens = read(&oauth(), &body, Timestamp::default()).expect("tokens");
        let credential = tokens.credential;
        assert_eq!((credential.refresh_token, credential.expires_at), (None, None));
        assert_eq!(credential.refresh_expires_at, None);
        assert_eq!((tokens.scopes, tokens.platform_id), (None, None));
        for empty in [json!(""), json!(" "), json!(null), json!({})] {
            let body = json!({"code": 0, "data": {"access_token": empty, "refresh_token": "r"}});
            let read = read(&oauth(), &body, Timestamp::default());
            assert!(matches!(read, Err(TokenError::NoAnswer(_))), "{body}");
        }
    }

    #[test]
    fn a_life_is_read_however_it_is_written() {
        for (written, seconds) in [
            (json!(3600), Some(3_600)),
            (json!("3600"), Some(3_600)),
            (json!(3600.5), Some(3_600)),
            (json!(0), None),
            (json!(-1), None),
            (json!("soon"), None),
            (json!(u64::MAX), Some(LONGEST_LIFE_S)),
        ] {
            let body = json!({"code": 0, "data": {"access_token": "a", "expires_in": written}});
            let tokens = read(&oauth(), &body, Timestamp::default()).expect("tokens");
            let expected = seconds.map(|seconds| Timestamp::default().after(Duration::from_secs(seconds)));
            assert_eq!(tokens.credential.expires_at, expected, "{body}");
        }
    }

    #[test]
    fn a_missing_scope_is_named_only_if_it_is_required() {
        assert_eq!(ungranted(&oauth(), Some(&[])), ["send"]);
        assert!(ungranted(&oauth(), Some(&["send".to_owned()])).is_empty());
        assert!(ungranted(&oauth(), None).is_empty());
    }
}
