//! How an account is authorized (Authentication: access token, refresh token, revoke).

use weir_sdk::descriptor::{BodyEncoding, Oauth, Parameter, ParameterValue, Scope, TokenAnswer, TokenCall};

use crate::wire;

/// Without these a channel cannot exchange messages. A person can deselect each on TikTok's page.
pub const REQUIRED_SCOPES: [(&str, &str); 5] = [
    ("user.info.basic", "shows the account's name and picture"),
    ("user.info.username", "builds the account's chat link and QR code"),
    (
        "user.account.type",
        "distinguishes business accounts from personal ones",
    ),
    ("message.list.read", "receives messages"),
    ("message.list.send", "sends messages"),
];

/// TikTok refuses the whole request if the app was not approved for one of its scopes, so only scopes in use are
/// requested.
const OPTIONAL_SCOPES: [(&str, &str); 2] = [
    ("user.info.profile", "shows the account's profile"),
    (
        "message.list.manage",
        "manages welcome messages, suggested questions and chat prompts",
    ),
];

pub(super) fn oauth() -> Oauth {
    let scope = |required: bool| {
        move |&(name, why): &(&str, &str)| Scope {
            name: name.into(),
            required,
            why: why.into(),
        }
    };
    Oauth {
        authorize_url: "https://www.tiktok.com/v2/auth/authorize/".into(),
        authorize_parameters: vec![
            client("client_key"),
            literal("response_type", "code"),
            parameter("scope", ParameterValue::Scopes),
            parameter("redirect_uri", ParameterValue::RedirectUri),
            parameter("state", ParameterValue::State),
            // The consent page each time: a person who reconnects an account is shown which one.
            literal("disable_auto_auth", "1"),
        ],
        token: call(
            "token",
            vec![
                literal("grant_type", "authorization_code"),
                parameter("auth_code", ParameterValue::Code),
                parameter("redirect_uri", ParameterValue::RedirectUri),
            ],
        ),
        refresh: Some(call(
            "refresh_token",
            vec![
                literal("grant_type", "refresh_token"),
                parameter("refresh_token", ParameterValue::RefreshToken),
            ],
        )),
        revoke: Some(call(
            "revoke",
            vec![parameter("access_token", ParameterValue::AccessToken)],
        )),
        answer: TokenAnswer {
            access_token: "/data/access_token".into(),
            refresh_token: Some("/data/refresh_token".into()),
            expires_in: Some("/data/expires_in".into()),
            refresh_expires_in: Some("/data/refresh_token_expires_in".into()),
            scope: Some("/data/scope".into()),
            platform_id: Some("/data/open_id".into()),
            success: Some(("/code".into(), "0".into())),
            error_code: Some("/code".into()),
            error_message: Some("/message".into()),
            revoked_codes: ["40103", "40105", "40107", "40110", "40130", "40131"]
                .map(String::from)
                .to_vec(),
        },
        scopes: REQUIRED_SCOPES
            .iter()
            .map(scope(true))
            .chain(OPTIONAL_SCOPES.iter().map(scope(false)))
            .collect(),
        scope_separator: ",".into(),
    }
}

/// A call of the token endpoints: JSON, with the app's id and secret in the body.
fn call(name: &str, parameters: Vec<Parameter>) -> TokenCall {
    let app = [
        client("client_id"),
        parameter("client_secret", ParameterValue::Secret("client_secret".into())),
    ];
    TokenCall {
        url: wire::url(&format!("/tt_user/oauth2/{name}/")),
        encoding: BodyEncoding::Json,
        parameters: app.into_iter().chain(parameters).collect(),
    }
}

/// The app's id, which each endpoint names differently.
fn client(name: &str) -> Parameter {
    parameter(name, ParameterValue::Secret("client_key".into()))
}

fn literal(name: &str, value: &str) -> Parameter {
    parameter(name, ParameterValue::Literal(value.into()))
}

fn parameter(name: &str, value: ParameterValue) -> Parameter {
    Parameter {
        name: name.into(),
        value,
    }
}
