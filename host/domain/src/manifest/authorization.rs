//! How a channel's credential is obtained: the platform's OAuth as data, or fields to fill in.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use super::{ManifestError, Origin, OriginPattern};

/// How a channel's credential is obtained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Authorization {
    /// OAuth 2, performed by the host.
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
    /// The URL of the consent page.
    pub authorize_url: String,
    /// The parameters of that page.
    pub authorize_parameters: Vec<Parameter>,
    /// The exchange of the code.
    pub token: TokenCall,
    /// The renewal.
    pub refresh: Option<TokenCall>,
    /// The revocation.
    pub revoke: Option<TokenCall>,
    /// How token responses are parsed.
    pub answer: TokenAnswer,
    /// The requested scopes.
    pub scopes: Vec<Scope>,
    /// The separator of scopes.
    pub scope_separator: String,
}

/// A parameter of an OAuth request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Parameter {
    /// Its name in the request.
    pub name: String,
    /// The source of its value.
    pub value: ParameterValue,
}

/// The source of a parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterValue {
    /// A fixed text.
    Literal(String),
    /// One of the app's secrets.
    Secret(String),
    /// Weir's redirect URI.
    RedirectUri,
    /// The state that binds the callback to the session.
    State,
    /// The scopes, joined.
    Scopes,
    /// The code from the callback.
    Code,
    /// The channel's access token.
    AccessToken,
    /// The channel's refresh token.
    RefreshToken,
    /// The PKCE challenge (RFC 7636, S256).
    PkceChallenge,
    /// The PKCE verifier (RFC 7636).
    PkceVerifier,
}

/// One call of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenCall {
    /// The URL.
    pub url: String,
    /// How the body is encoded.
    pub encoding: BodyEncoding,
    /// The parameters of the body.
    pub parameters: Vec<Parameter>,
}

/// How a token request's body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BodyEncoding {
    /// A JSON object.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

/// JSON pointers into a token response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenAnswer {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    pub refresh_token: Option<String>,
    /// The lifetime in seconds.
    pub expires_in: Option<String>,
    /// The refresh token's lifetime in seconds.
    pub refresh_expires_in: Option<String>,
    /// The granted scopes.
    pub scope: Option<String>,
    /// The platform's id of the account.
    pub platform_id: Option<String>,
    /// The member that indicates success, and the text or number that it then has.
    pub success: Option<(String, String)>,
    /// The platform's error code.
    pub error_code: Option<String>,
    /// The platform's error message.
    pub error_message: Option<String>,
    /// Error codes that mean that the authorization was revoked.
    pub revoked_codes: Vec<String>,
}

/// A scope of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlatformScope)]
pub struct Scope {
    /// The platform's name of it.
    pub name: String,
    /// Whether a channel is useless without it.
    pub required: bool,
    /// What it is for.
    pub why: String,
}

/// A field to fill in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// The label that is shown.
    pub label: String,
    /// Whether it is write-only.
    pub secret: bool,
    /// Whether the app needs it.
    pub required: bool,
    /// Where a person finds it.
    pub help: String,
}

impl Oauth {
    /// Whether secrets may be sent to each of its URLs: https, a host name, no user in the URL.
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
            let origin = Origin::of(&parsed).ok_or_else(|| refused("it is not an https URL".to_owned()))?;
            // The rule for routes: https only, and a host name instead of an address.
            origin
                .to_string()
                .parse::<OriginPattern>()
                .map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }
}
