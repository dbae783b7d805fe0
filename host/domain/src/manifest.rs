//! What a connector says of itself, as data the host judges by.
//!
//! The types follow the interface `weir:connector/descriptor`; [`Manifest::parse`] is the one place where the words of a
//! stranger become values that cannot be wrong: names, origins and paths are checked here, and only here.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits;
use crate::message::ContentKind;

mod origin;

pub use origin::{Origin, OriginPattern, PathPattern};

/// A manifest that the host does not take, and why.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the manifest's {part} is refused: {reason}")]
pub struct ManifestError {
    /// Which part, as a path: `routes[3].origin`.
    pub part: String,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl ManifestError {
    fn new(part: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            part: part.into(),
            reason: reason.into(),
        }
    }
}

/// What a connector is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// The connector's name, `[a-z][a-z0-9-]{1,62}`, the same over its versions.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// Rises with every release.
    pub release: u32,
    /// The messaging network, as people know it.
    pub platform: String,
    /// One sentence for the operator.
    pub description: String,
    /// `beta` or `stable`.
    pub maturity: String,
    /// Where its authors tell about it.
    pub homepage: Option<String>,
    /// How a channel's credential is had.
    pub authorization: Authorization,
    /// Secrets and settings of the app.
    pub app_settings: Vec<Setting>,
    /// How its webhooks prove themselves; none for a platform without.
    pub webhook: Option<Webhook>,
    /// Every request that it may make.
    pub routes: Vec<Route>,
    /// The platform's rules.
    pub policies: Vec<Policy>,
    /// What each kind of content may be.
    pub contents: Vec<ContentRule>,
    /// Which statuses can be known.
    pub statuses: Statuses,
    /// Links that open a chat or a profile.
    pub entry_points: Vec<EntryPoint>,
    /// Kinds of account that may be connected; empty for all.
    pub account_kinds: Vec<String>,
    /// What a person does before connecting.
    pub prerequisites: Vec<String>,
    /// `free`, or what the platform takes.
    pub pricing: String,
    /// Optional interfaces that the component exports, found by the host when it loads it.
    #[serde(default)]
    pub provides: Vec<String>,
}

/// A request that the connector may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Its name in grants, logs and refusals.
    pub id: String,
    /// Upper-case HTTP method.
    pub method: String,
    /// Which origins it covers.
    pub origin: OriginPattern,
    /// Which paths it covers.
    pub path: PathPattern,
    /// What such a request does.
    pub class: RouteClass,
    /// Members the JSON body must have.
    pub body_has: Vec<BodyMember>,
    /// Which secrets the host sets, and where.
    pub secrets: Vec<SecretUse>,
    /// Why the connector needs it.
    pub why: String,
}

/// A member of a JSON body that tells two uses of one URL apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BodyMember {
    /// JSON pointer, RFC 6901.
    pub pointer: String,
    /// The text that must stand there.
    pub value: String,
}

/// What a request does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteClass {
    /// Asks and changes nothing.
    Read,
    /// Puts a message before a person; needs a permit.
    MessageSend,
    /// Typing and read marks.
    Signal,
    /// Bytes up or down.
    Media,
    /// Webhook subscriptions and settings of the account.
    Setup,
}

impl fmt::Display for RouteClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::MessageSend => "message-send",
            Self::Signal => "signal",
            Self::Media => "media",
            Self::Setup => "setup",
        })
    }
}

/// Where the host sets a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretUse {
    /// A name among the app's secrets, or `access_token`.
    pub secret: String,
    /// Where it goes.
    pub place: SecretPlace,
    /// What stands before it.
    pub prefix: String,
}

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "in", content = "at", rename_all = "kebab-case")]
pub enum SecretPlace {
    /// The value of a header.
    Header(String),
    /// The value of a query parameter.
    Query(String),
    /// A member of the JSON body, by pointer.
    BodyMember(String),
    /// A segment of the path, from 0.
    PathSegment(u32),
}

/// How a platform's webhooks prove themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Webhook {
    /// The proof of each webhook.
    pub proof: Proof,
    /// The question asked by GET before the first one.
    pub challenge: Option<Challenge>,
}

/// The proof that a webhook carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "scheme", rename_all = "kebab-case")]
pub enum Proof {
    /// HMAC-SHA-256 over declared parts.
    Hmac {
        /// Which of the app's secrets is the key.
        secret: String,
        /// Where the signature stands.
        signature: Located,
        /// How it is written.
        encoding: Encoding,
        /// Where the timestamp stands.
        timestamp: Option<Located>,
        /// What is signed, in order.
        signed: Vec<SignedPart>,
        /// How far the timestamp may be from now, in seconds.
        tolerance_s: u32,
    },
    /// A secret repeated in a header.
    SharedSecret {
        /// The header.
        header: String,
        /// Which of the app's secrets.
        secret: String,
    },
    /// Ed25519 over declared parts; the key is one of the app's secrets, in hex.
    Ed25519 {
        /// Which of the app's secrets is the public key.
        public_key_secret: String,
        /// Where the signature stands, in hex.
        signature: Located,
        /// Where the timestamp stands.
        timestamp: Option<Located>,
        /// What is signed, in order.
        signed: Vec<SignedPart>,
        /// How far the timestamp may be from now, in seconds.
        tolerance_s: u32,
    },
}

/// A value in a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Located {
    /// The header.
    pub header: String,
    /// The name of a `name=value` part.
    pub part: Option<String>,
    /// What stands before the value.
    pub prefix: String,
}

/// How bytes are written in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// Base64, RFC 4648.
    Base64,
}

/// A part of what is signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignedPart {
    /// The timestamp as it was written.
    Timestamp,
    /// The raw body.
    Body,
    /// A fixed text.
    Literal(String),
}

/// A question by GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Challenge {
    /// The parameter whose value is the answer.
    pub answer_with: String,
    /// A parameter, and the app's secret that it must equal.
    pub verify: Option<(String, String)>,
}

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

/// A rule of the platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "rule", rename_all = "kebab-case")]
pub enum Policy {
    /// The messaging window.
    Window {
        /// Its length in milliseconds.
        length_ms: u64,
    },
    /// The message budget.
    Budget {
        /// Messages until the contact writes again.
        limit: u32,
        /// Origins counted besides ours.
        counts: Vec<String>,
    },
    /// Requests in a span, waited for.
    Rate {
        /// How many.
        permits: u32,
        /// In how many milliseconds.
        per_ms: u32,
        /// Counted for whom.
        scope: RateScope,
        /// Which requests count.
        classes: Vec<RouteClass>,
    },
    /// Countries in which something cannot be had.
    Region {
        /// Its name.
        id: String,
        /// What.
        what: RegionSubject,
        /// ISO 3166-1 alpha-2.
        countries: Vec<String>,
        /// Where and when the platform said so.
        source: String,
    },
    /// Whether a business may write first.
    Initiation {
        /// The answer.
        allowed: bool,
    },
    /// Whether one message may go to many.
    Broadcast {
        /// The answer.
        allowed: bool,
    },
}

/// For whom a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RateScope {
    /// All channels of an app together.
    App,
    /// Each channel by itself.
    Channel,
}

/// What a region rule takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RegionSubject {
    /// Connecting the account, and using it.
    Connect,
    /// Pictures.
    Images,
}

/// What a kind of content may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContentRule {
    /// The kind.
    pub kind: ContentKind,
    /// On the way in.
    pub inbound: Support,
    /// On the way out.
    pub outbound: Support,
    /// Longest text; 0 for no limit.
    pub max_chars: u32,
    /// Largest file; 0 for no limit.
    pub max_bytes: u64,
    /// Types of file; empty for any.
    pub mime_types: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// Must the connector be asked about each conversation?
    pub probed: bool,
}

/// How far a kind of content is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// Wholly.
    Full,
    /// It arrives as fallback content.
    Fallback,
    /// Not at all.
    Rejected,
    /// Off until the operator switches it on.
    OptIn,
}

/// How a status becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Knowledge {
    /// The platform says it.
    Native,
    /// It follows from something else.
    Inferred,
    /// It does not.
    None,
}

/// Which statuses can be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Statuses {
    /// The platform took the message.
    pub sent: Knowledge,
    /// It reached the phone.
    pub delivered: Knowledge,
    /// It was read.
    pub read: Knowledge,
    /// It could not be sent.
    pub failed: Knowledge,
}

/// A link that opens the chat or the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryPoint {
    /// What opens.
    pub kind: EntryKind,
    /// With `{username}`.
    pub url: String,
    /// The query parameter that carries a prefilled message.
    pub carries_message: Option<String>,
    /// The query parameter that carries the operator's own value.
    pub carries_ref: Option<String>,
    /// What that value may hold, as a class of characters.
    pub ref_characters: String,
    /// How long it may be.
    pub ref_max_chars: u32,
}

/// What a link opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// The conversation.
    Chat,
    /// The profile.
    Profile,
}

impl Manifest {
    /// Checks what the types cannot: names, lengths, that every secret named is one the app or the channel has.
    ///
    /// # Errors
    /// Names the part and what would be right.
    pub fn check(self) -> Result<Self, ManifestError> {
        check_name("name", &self.name)?;
        if self.version.is_empty() || self.version.len() > 64 || !self.version.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(ManifestError::new(
                "version",
                format!("{:?} is not a semantic version like 1.0.0", self.version),
            ));
        }
        if self.routes.len() > limits::ROUTES {
            return Err(ManifestError::new(
                "routes",
                format!("there are {}, and {} are enough", self.routes.len(), limits::ROUTES),
            ));
        }
        for (i, route) in self.routes.iter().enumerate() {
            route.check(i, &self)?;
        }
        if let Some(webhook) = &self.webhook {
            let secret = match &webhook.proof {
                Proof::Hmac { secret, .. } | Proof::SharedSecret { secret, .. } => secret,
                Proof::Ed25519 { .. } => {
                    // A proof that nobody checks must not look like one.
                    return Err(ManifestError::new(
                        "webhook.proof",
                        "this host does not check Ed25519 yet; use hmac or a shared secret",
                    ));
                }
            };
            self.has_app_secret("webhook.proof", secret)?;
        }
        Ok(self)
    }

    /// The rule for a kind of content; what is not listed is not supported.
    pub fn content_rule(&self, kind: ContentKind) -> Option<&ContentRule> {
        self.contents.iter().find(|rule| rule.kind == kind)
    }

    /// Whether the component exports an optional interface, by its plain name: `signals`.
    pub fn provides(&self, interface: &str) -> bool {
        self.provides.iter().any(|name| name == interface)
    }

    /// The length of the messaging window, if the platform has one.
    pub fn window(&self) -> Option<Duration> {
        self.policies.iter().find_map(|policy| match policy {
            Policy::Window { length_ms } => Some(Duration::from_millis(*length_ms)),
            _ => None,
        })
    }

    /// Countries in which `subject` cannot be had.
    pub fn denied_countries(&self, subject: RegionSubject) -> impl Iterator<Item = &str> {
        self.policies
            .iter()
            .filter_map(move |policy| match policy {
                Policy::Region { what, countries, .. } if *what == subject => Some(countries),
                _ => None,
            })
            .flatten()
            .map(String::as_str)
    }

    fn has_app_secret(&self, part: &str, secret: &str) -> Result<(), ManifestError> {
        let known = self
            .app_settings
            .iter()
            .any(|setting| setting.secret && setting.name == secret);
        known
            .then_some(())
            .ok_or_else(|| ManifestError::new(part, format!("{secret:?} is not among the app's secrets")))
    }
}

impl Route {
    fn check(&self, index: usize, manifest: &Manifest) -> Result<(), ManifestError> {
        let part = |field: &str| format!("routes[{index}].{field}");
        check_name(&part("id"), &self.id)?;
        if manifest.routes.iter().filter(|other| other.id == self.id).count() > 1 {
            return Err(ManifestError::new(
                part("id"),
                format!("{:?} names two routes", self.id),
            ));
        }
        if !matches!(self.method.as_str(), "GET" | "POST" | "PUT" | "PATCH" | "DELETE") {
            return Err(ManifestError::new(
                part("method"),
                format!("{:?} is none of GET, POST, PUT, PATCH, DELETE", self.method),
            ));
        }
        for secret in &self.secrets {
            if secret.secret != ACCESS_TOKEN {
                manifest.has_app_secret(&part("secrets"), &secret.secret)?;
            }
        }
        Ok(())
    }
}

/// The name of the channel's credential among a route's secrets.
pub const ACCESS_TOKEN: &str = "access_token";

fn check_name(part: &str, name: &str) -> Result<(), ManifestError> {
    let good = (2..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    good.then_some(()).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        ManifestError::new(
            part,
            format!("{shown:?} is not 2–63 of a–z, 0–9 and -, beginning with a letter"),
        )
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small manifest that passes every check, to be spoilt one member at a time.
    pub(crate) fn manifest() -> Manifest {
        let text = ContentRule {
            kind: ContentKind::Text,
            inbound: Support::Full,
            outbound: Support::Full,
            max_chars: 6_000,
            max_bytes: 0,
            mime_types: Vec::new(),
            notes: Vec::new(),
            probed: false,
        };
        let send = Route {
            id: "send".into(),
            method: "POST".into(),
            origin: "https://api.example.com".parse().expect("an origin"),
            path: "/messages".parse().expect("a path"),
            class: RouteClass::MessageSend,
            body_has: Vec::new(),
            secrets: vec![SecretUse {
                secret: ACCESS_TOKEN.into(),
                place: SecretPlace::Header("authorization".into()),
                prefix: "Bearer ".into(),
            }],
            why: "to send".into(),
        };
        let secret = Setting {
            name: "client_secret".into(),
            label: "Secret".into(),
            secret: true,
            required: true,
            help: String::new(),
        };
        Manifest {
            name: "example".into(),
            version: "1.0.0".into(),
            release: 1,
            platform: "example".into(),
            description: "An example".into(),
            maturity: "beta".into(),
            homepage: None,
            authorization: Authorization::Fields { fields: Vec::new() },
            app_settings: vec![secret],
            webhook: Some(Webhook {
                proof: Proof::SharedSecret {
                    header: "x-secret".into(),
                    secret: "client_secret".into(),
                },
                challenge: None,
            }),
            routes: vec![send],
            policies: vec![
                Policy::Window {
                    length_ms: 48 * 3_600_000,
                },
                Policy::Budget {
                    limit: 10,
                    counts: vec!["app".into()],
                },
                Policy::Rate {
                    permits: 10,
                    per_ms: 1_000,
                    scope: RateScope::App,
                    classes: vec![RouteClass::MessageSend],
                },
            ],
            contents: vec![text],
            statuses: Statuses {
                sent: Knowledge::Native,
                delivered: Knowledge::None,
                read: Knowledge::Native,
                failed: Knowledge::Native,
            },
            entry_points: Vec::new(),
            account_kinds: Vec::new(),
            prerequisites: Vec::new(),
            pricing: "free".into(),
            provides: Vec::new(),
        }
    }

    #[test]
    fn a_good_manifest_passes_and_survives_the_record() {
        let checked = manifest().check().expect("good");
        let text = serde_json::to_string(&checked).expect("json");
        assert_eq!(serde_json::from_str::<Manifest>(&text).ok(), Some(checked));
    }

    #[test]
    fn each_fault_is_named_by_its_part() {
        let spoilt = |spoil: fn(&mut Manifest)| {
            let mut manifest = manifest();
            spoil(&mut manifest);
            manifest.check().map(|_| ()).map_err(|error| error.part)
        };
        let at = |part: &str| Err(part.to_owned());
        assert_eq!(spoilt(|m| m.name = "../etc".into()), at("name"));
        assert_eq!(spoilt(|m| m.name = "X".into()), at("name"));
        assert_eq!(spoilt(|m| m.version = "latest".into()), at("version"));
        assert_eq!(spoilt(|m| m.routes[0].method = "TRACE".into()), at("routes[0].method"));
        assert_eq!(
            spoilt(|m| m.routes[0].secrets[0].secret = "other".into()),
            at("routes[0].secrets")
        );
        assert_eq!(spoilt(|m| m.routes.push(m.routes[0].clone())), at("routes[0].id"));
        assert_eq!(spoilt(|m| m.app_settings.clear()), at("webhook.proof"));
    }
}
