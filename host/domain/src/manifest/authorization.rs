//! How a channel's credential is had: the platform's OAuth as data, or fields to fill in.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::{ManifestError, Origin, OriginPattern};

/// How a channel's credential is had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Authorization {
    /// OAuth 2, made by the host.
    Oauth(Box<Oauth>),
    /// A person enters it.
    Fields {
        /// The fields; `access_token` is the credential.
        fields: Vec<Setting>,
    },
}

/// The platform's OAuth, as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Oauth {
    /// Where the person consents.
    pub authorize_url: String,
    /// The parameters of that page.
    pub authorize_parameters: Vec<Parameter>,
    /// Code for token.
    pub token: TokenCall,
    /// Refresh token for token.
    pub refresh: Option<TokenCall>,
    /// The end of a token.
    pub revoke: Option<TokenCall>,
    /// How the answers are read.
    pub answer: TokenAnswer,
    /// What is asked for.
    pub scopes: Vec<Scope>,
    /// What joins them.
    pub scope_separator: String,
}

/// A parameter of an OAuth request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parameter {
    /// Its name on the wire.
    pub name: String,
    /// Where its value comes from.
    pub value: ParameterValue,
}

/// Where the value of a parameter comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterValue {
    /// As written.
    Literal(String),
    /// One of the app's secrets.
    Secret(String),
    /// Our callback.
    RedirectUri,
    /// The state that binds callback to session.
    State,
    /// The scopes, joined.
    Scopes,
    /// The code that came back.
    Code,
    /// The channel's access token.
    AccessToken,
    /// The channel's refresh token.
    RefreshToken,
    /// RFC 7636, S256.
    PkceChallenge,
    /// RFC 7636.
    PkceVerifier,
}

/// One call of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCall {
    /// Where.
    pub url: String,
    /// How the body is written.
    pub encoding: BodyEncoding,
    /// What it holds.
    pub parameters: Vec<Parameter>,
}

/// How a token request's body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyEncoding {
    /// A JSON object.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// JSON pointers into a token answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenAnswer {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: Option<String>,
    /// Seconds of life.
    pub expires_in: Option<String>,
    /// Seconds of life of the refresh token.
    pub refresh_expires_in: Option<String>,
    /// The scopes given.
    pub scope: Option<String>,
    /// The platform's name of the account.
    pub platform_id: Option<String>,
    /// Where success is said, and the text or number that says it.
    pub success: Option<(String, String)>,
    /// The platform's error code.
    pub error_code: Option<String>,
    /// The platform's words.
    pub error_message: Option<String>,
    /// Codes that mean the grant is gone.
    pub revoked_codes: Vec<String>,
}

/// A scope of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlatformScope)]
pub struct Scope {
    /// The platform's word.
    pub name: String,
    /// Whether a channel is of use without it.
    pub required: bool,
    /// What it is for.
    pub why: String,
}

/// A field to fill in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// What a person reads.
    pub label: String,
    /// Whether it is write-only.
    pub secret: bool,
    /// Whether the app works without it.
    pub required: bool,
    /// Where a person finds it.
    pub help: String,
}

impl Oauth {
    /// Whether secrets can be sent to each of its URLs at all: https, a name, nobody's credentials in it.
    pub(super) fn check(&self) -> Result<(), ManifestError> {
        let calls = [
            ("token", Some(&self.token)),
            ("refresh", self.refresh.as_ref()),
            ("revoke", self.revoke.as_ref()),
        ];
        let urls = calls
            .into_iter()
            .filter_map(|(name, call)| Some((name, call?.url.as_str())));
        for (name, url) in urls.chain([("authorize", self.authorize_url.as_str())]) {
            let part = format!("authorization.{name}.url");
            let refused = |reason: String| ManifestError::new(part.clone(), reason);
            let parsed = Url::parse(url).map_err(|error| refused(error.to_string()))?;
            if !parsed.username().is_empty() || parsed.password().is_some() {
                return Err(refused("it names a user".to_owned()));
            }
            let origin = Origin::of(&parsed).ok_or_else(|| refused("it is no https URL".to_owned()))?;
            // The rule for routes: https only, and a name rather than an address.
            origin
                .to_string()
                .parse::<OriginPattern>()
                .map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }
}
