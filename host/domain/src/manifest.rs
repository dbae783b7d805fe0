//! The manifest: what a connector declares about itself, as data that the host checks.
//!
//! The types follow the interface `weir:connector/descriptor`; [`Manifest::parse`] is the one place where untrusted
//! text becomes values that are known to be valid: names, origins and paths are checked here, and only here.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits;
use crate::message::ContentKind;

mod authorization;
mod origin;
mod route;
mod rules;
mod webhook;

pub use authorization::*;
pub use origin::{Origin, OriginPattern, PathPattern};
pub use route::*;
pub use rules::*;
pub use webhook::*;

/// Why the host rejects a manifest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the manifest's {part} is refused: {reason}")]
pub struct ManifestError {
    /// The part, as a path: `routes[3].origin`.
    pub part: String,
    /// What is invalid, and what would be valid.
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

/// A connector's manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// The connector's name, `[a-z][a-z0-9-]{1,62}`, the same over its versions.
    pub name: String,
    /// Semantic version.
    pub version: String,
    /// Rises with every release.
    pub release: u32,
    /// The messaging network, by the name that people use.
    pub platform: String,
    /// One sentence for the operator.
    pub description: String,
    /// `beta` or `stable`.
    pub maturity: String,
    /// The URL of the authors' page about it.
    pub homepage: Option<String>,
    /// How a channel's credential is obtained.
    pub authorization: Authorization,
    /// Secrets and settings of the app.
    pub app_settings: Vec<Setting>,
    /// The signature scheme of its webhooks; `None` for a platform without webhooks.
    pub webhook: Option<Webhook>,
    /// All requests that it may make.
    pub routes: Vec<Route>,
    /// The platform's rules.
    pub policies: Vec<Policy>,
    /// The limits of each kind of content.
    pub contents: Vec<ContentRule>,
    /// The statuses that can be known.
    pub statuses: Statuses,
    /// Links that open a chat or a profile.
    pub entry_points: Vec<EntryPoint>,
    /// Kinds of account that may be connected; empty for all.
    pub account_kinds: Vec<String>,
    /// What a person does before connecting.
    pub prerequisites: Vec<String>,
    /// `free`, or what the platform charges.
    pub pricing: String,
    /// Optional interfaces that the component exports, as the host finds when loading it.
    #[serde(default)]
    pub provides: Vec<String>,
}

/// A link that opens the chat or the profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryPoint {
    /// What the link opens.
    pub kind: EntryKind,
    /// With `{username}`.
    pub url: String,
    /// The query parameter that carries a prefilled message.
    pub carries_message: Option<String>,
    /// The query parameter that carries the operator's own value.
    pub carries_ref: Option<String>,
    /// The allowed characters of that value, as a character class.
    pub ref_characters: String,
    /// The value's largest length.
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
    /// Checks what the types cannot: names, lengths, and that each named secret belongs to the app or the channel.
    ///
    /// # Errors
    /// The part, and what would be valid.
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
                    // A signature scheme that is not checked must not look like one.
                    return Err(ManifestError::new(
                        "webhook.proof",
                        "this host does not check Ed25519 yet; use hmac or a shared secret",
                    ));
                }
            };
            self.has_app_secret("webhook.proof", secret)?;
        }
        if let Authorization::Oauth(oauth) = &self.authorization {
            oauth.check()?;
        }
        Ok(self)
    }

    /// The rule for a kind of content; a kind that is not listed is not supported.
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

    /// Countries in which `subject` is not available.
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

    /// A small manifest that passes every check; tests invalidate one member at a time.
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

    /// A platform's OAuth with only a code exchange.
    pub(crate) fn oauth() -> Oauth {
        let parameter = |name: &str, value| Parameter {
            name: name.into(),
            value,
        };
        Oauth {
            authorize_url: "https://www.example.com/authorize".into(),
            authorize_parameters: vec![parameter("state", ParameterValue::State)],
            token: TokenCall {
                url: "https://api.example.com/token".into(),
                encoding: BodyEncoding::Json,
                parameters: vec![
                    parameter("secret", ParameterValue::Secret("client_secret".into())),
                    parameter("code", ParameterValue::Code),
                ],
            },
            refresh: None,
            revoke: None,
            answer: TokenAnswer::default(),
            scopes: Vec::new(),
            scope_separator: ",".into(),
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
        let unchecked = Proof::Ed25519 {
            public_key_secret: "client_secret".into(),
            signature: Located {
                header: "x-signature".into(),
                part: None,
                prefix: String::new(),
            },
            timestamp: None,
            signed: vec![SignedPart::Body],
            tolerance_s: 300,
        };
        let webhook = Webhook {
            proof: unchecked,
            challenge: None,
        };
        let declared = Manifest {
            webhook: Some(webhook),
            ..manifest()
        }
        .check();
        assert_eq!(
            declared.map_err(|error| error.part).err().as_deref(),
            Some("webhook.proof")
        );
        for url in [
            "http://api.example.com/token",
            "https://127.0.0.1/token",
            "https://u@api.example.com/",
            "token",
        ] {
            let mut oauth = oauth();
            oauth.token.url = url.into();
            let spoilt = Manifest {
                authorization: Authorization::Oauth(Box::new(oauth)),
                ..manifest()
            }
            .check();
            assert_eq!(
                spoilt.map_err(|error| error.part).err().as_deref(),
                Some("authorization.token.url"),
                "{url}"
            );
        }
    }

    /// Every place of a document, as a JSON Pointer.
    fn places(document: &serde_json::Value, at: &str, found: &mut Vec<String>) {
        found.push(at.to_owned());
        match document {
            serde_json::Value::Object(members) => {
                for (name, member) in members {
                    places(member, &format!("{at}/{name}"), found);
                }
            }
            serde_json::Value::Array(items) => {
                for (place, item) in items.iter().enumerate() {
                    places(item, &format!("{at}/{place}"), found);
                }
            }
            _ => {}
        }
    }

    proptest::proptest! {
        /// A manifest is untrusted: whatever value is at any place of it, it is rejected or accepted without a panic,
        /// and its requests can be shown.
        #[test]
        fn whatever_a_manifest_says_it_is_judged(
            place in proptest::prelude::any::<proptest::sample::Index>(),
            text in "(https://)?[*a-z./:@0-9-]{0,40}|\\PC{0,40}",
            number in proptest::prelude::any::<i64>(),
            kind in 0..3,
        ) {
            let whole = Manifest { authorization: Authorization::Oauth(Box::new(oauth())), ..manifest() };
            let mut document = serde_json::to_value(whole).expect("a manifest is JSON");
            let mut all = Vec::new();
            places(&document, "", &mut all);
            let at = place.get(&all);
            let value = match kind {
                0 => serde_json::Value::from(text),
                1 => serde_json::Value::from(number),
                _ => serde_json::Value::Null,
            };
            *document.pointer_mut(at).expect("it was found there") = value;
            if let Ok(manifest) = serde_json::from_value::<Manifest>(document)
                && let Ok(manifest) = manifest.check()
            {
                let wanted = crate::grant::Grants::wanted_by(&manifest);
                proptest::prop_assert!(!wanted.is_empty());
                let grants = crate::grant::Grants::default().answered(&manifest, wanted);
                proptest::prop_assert_eq!(grants.missing_for(&manifest), Vec::new());
            }
        }
    }
}
