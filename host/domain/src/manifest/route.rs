//! The requests that a connector may make, and where the host sets secrets in them.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Manifest, ManifestError, OriginPattern, PathPattern, check_name};

/// The name of the channel's credential among a route's secrets.
pub const ACCESS_TOKEN: &str = "access_token";

/// A request that the connector may make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Route {
    /// Its name in grants, logs and refusals.
    pub id: String,
    /// Upper-case HTTP method.
    pub method: String,
    /// The origins that it covers.
    pub origin: OriginPattern,
    /// The paths that it covers.
    pub path: PathPattern,
    /// The class of such requests.
    pub class: RouteClass,
    /// Members that the JSON body must have.
    pub body_has: Vec<BodyMember>,
    /// The secrets that the host sets, and their places.
    pub secrets: Vec<SecretUse>,
    /// Why the connector needs it.
    pub why: String,
}

impl Route {
    /// Whether a request may match both: the first of them in the manifest then decides.
    pub fn overlaps(&self, other: &Self) -> bool {
        let excludes = |one: &BodyMember| {
            let is_other = |other: &BodyMember| one.pointer == other.pointer && one.value != other.value;
            other.body_has.iter().any(is_other)
        };
        self.method == other.method
            && self.origin.overlaps(&other.origin)
            && self.path.overlaps(&other.path)
            && !self.body_has.iter().any(excludes)
    }
}

/// A member of a JSON body that distinguishes two uses of one URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BodyMember {
    /// JSON pointer, RFC 6901.
    pub pointer: String,
    /// The text that it must have.
    pub value: String,
}

/// The effect of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteClass {
    /// Reads, and changes nothing.
    Read,
    /// Sends a message to a person; needs a permit.
    MessageSend,
    /// Typing indicators and read receipts.
    Signal,
    /// Uploads and downloads of media.
    Media,
    /// Webhook subscriptions and account settings.
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
    /// Its place.
    pub place: SecretPlace,
    /// The text before it.
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

impl Route {
    pub(super) fn check(&self, index: usize, manifest: &Manifest) -> Result<(), ManifestError> {
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
