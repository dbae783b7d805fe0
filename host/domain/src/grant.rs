//! What a connector asks for, and what the operator said yes to. Both must name a thing before it may be used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::manifest::{Manifest, Route, RouteClass, SecretPlace, SecretUse};

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
    /// Where each of them goes, in the same order: `header Access-Token`.
    #[serde(default)]
    pub places: Vec<String>,
    /// What the JSON body must say for the route to fit: `/message_type = TEXT`.
    #[serde(default)]
    pub body_has: Vec<String>,
    /// Why the connector needs it.
    #[serde(default)]
    pub why: String,
}

impl Grant {
    /// What a route asks for.
    pub fn of(route: &Route) -> Self {
        Self {
            capability: "http".to_owned(),
            route: route.id.clone(),
            method: route.method.clone(),
            origin: route.origin.to_string(),
            path: route.path.to_string(),
            class: route.class,
            secrets: route.secrets.iter().map(|secret| secret.secret.clone()).collect(),
            places: route.secrets.iter().map(place_in_words).collect(),
            body_has: route
                .body_has
                .iter()
                .map(|member| format!("{} = {}", member.pointer, member.value))
                .collect(),
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
            && self.places == wanted.places
            && self.body_has == wanted.body_has
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

/// Where a secret goes, in words for a person.
fn place_in_words(secret: &SecretUse) -> String {
    let place = match &secret.place {
        SecretPlace::Header(name) => format!("header {name}"),
        SecretPlace::Query(name) => format!("query parameter {name}"),
        SecretPlace::BodyMember(pointer) => format!("body member {pointer}"),
        SecretPlace::PathSegment(index) => format!("path segment {index}"),
    };
    if secret.prefix.is_empty() {
        place
    } else {
        format!("{place} after {:?}", secret.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;
    use crate::manifest::{BodyMember, Route};

    /// Each way in which a new version could widen a route under its old name.
    #[test]
    fn a_yes_covers_nothing_that_was_changed_behind_its_name() {
        let grants = Grants::wanted_by(&manifest());
        let changed = |change: fn(&mut Route)| {
            let mut manifest = manifest();
            change(&mut manifest.routes[0]);
            grants.missing_for(&manifest).len()
        };
        assert_eq!(changed(|_| {}), 0);
        assert_eq!(changed(|route| route.why = "for another reason".into()), 0);
        assert_eq!(changed(|route| route.method = "PUT".into()), 1);
        assert_eq!(changed(|route| route.class = crate::manifest::RouteClass::Signal), 1);
        assert_eq!(changed(|route| route.path = "/**".parse().expect("a path")), 1);
        assert_eq!(
            changed(|route| route.origin = "https://*.example.com".parse().expect("an origin")),
            1
        );
        assert_eq!(changed(|route| route.secrets[0].secret = "client_secret".into()), 1);
        assert_eq!(
            changed(|route| route.secrets[0].place = SecretPlace::Query("q".into())),
            1
        );
        assert_eq!(changed(|route| route.secrets[0].prefix = String::new()), 1);
        let member = || BodyMember {
            pointer: "/type".into(),
            value: "typing".into(),
        };
        let mut narrow = manifest();
        narrow.routes[0].body_has.push(member());
        let narrow_yes = Grants::wanted_by(&narrow);
        assert_eq!(narrow_yes.missing_for(&narrow).len(), 0);
        assert_eq!(
            narrow_yes.missing_for(&manifest()).len(),
            1,
            "the condition was dropped"
        );
    }

    #[test]
    fn without_a_yes_everything_is_missing() {
        assert_eq!(
            Grants::default().missing_for(&manifest()),
            Grants::wanted_by(&manifest()).0
        );
    }
}
