//! What a connector asks for, and what the operator said yes to. Both must name a thing before it may be used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::manifest::{Manifest, Route, RouteClass, SecretPlace};

/// One thing a connector asks for, in words that a person can judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// `http`.
    pub capability: String,
    /// The route's name.
    pub route: String,
    /// The method.
    pub method: String,
    /// Which origins.
    pub origin: String,
    /// Which paths.
    pub path: String,
    /// What such a request does.
    pub class: RouteClass,
    /// Names of the secrets that the host sets in it.
    pub secrets: Vec<String>,
    /// Why the connector needs it.
    #[serde(default)]
    pub why: String,
}

impl Grant {
    pub(crate) fn of(route: &Route) -> Self {
        Self {
            capability: "http".to_owned(),
            route: route.id.clone(),
            method: route.method.clone(),
            origin: route.origin.to_string(),
            path: route.path.to_string(),
            class: route.class,
            secrets: route.secrets.iter().map(|secret| secret.secret.clone()).collect(),
            why: route.why.clone(),
        }
    }

    /// Whether this yes covers that wish: everything but the reason must be the same, so that a new version cannot widen a
    /// grant behind an old name.
    fn covers(&self, wanted: &Self) -> bool {
        self.capability == wanted.capability
            && self.route == wanted.route
            && self.method == wanted.method
            && self.origin == wanted.origin
            && self.path == wanted.path
            && self.class == wanted.class
            && self.secrets == wanted.secrets
    }
}

/// The operator's yes to a connector. Empty means that nothing may leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Grants(pub Vec<Grant>);

impl Grants {
    /// Everything that a manifest asks for.
    pub fn wanted_by(manifest: &Manifest) -> Self {
        Self(manifest.routes.iter().map(Grant::of).collect())
    }

    /// Whether the operator said yes to this route.
    pub fn allow(&self, route: &Route) -> bool {
        let wanted = Grant::of(route);
        self.0.iter().any(|grant| grant.covers(&wanted))
    }

    /// What `manifest` asks for beyond this yes.
    pub fn missing_for(&self, manifest: &Manifest) -> Vec<Grant> {
        Self::wanted_by(manifest)
            .0
            .into_iter()
            .filter(|wanted| !self.0.iter().any(|grant| grant.covers(wanted)))
            .collect()
    }
}

/// A place in a request, in words for a person.
pub fn place_in_words(place: &SecretPlace) -> String {
    match place {
        SecretPlace::Header(name) => format!("header {name}"),
        SecretPlace::Query(name) => format!("query parameter {name}"),
        SecretPlace::BodyMember(pointer) => format!("body member {pointer}"),
        SecretPlace::PathSegment(index) => format!("path segment {index}"),
    }
}
