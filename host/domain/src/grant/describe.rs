//! The description of a grant for a person: what it permits, and what changed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Grant, Grants, Terms, policies};
use crate::manifest::RouteClass;

/// A requested grant. When read back, only the grant itself counts: the descriptions are for the person who decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WantedGrant {
    /// The requested grant.
    #[serde(flatten)]
    pub grant: Grant,
    /// What a grant permits, in a sentence or two.
    #[serde(default)]
    #[schema(required)]
    pub words: String,
    /// The differences from the existing grant with the same name; empty if none exists.
    #[serde(default)]
    #[schema(required)]
    pub changes: Vec<Change>,
}

/// One difference between a request and its existing grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The member of the grant.
    pub member: String,
    /// What was granted.
    pub before: String,
    /// What is requested.
    pub after: String,
}

impl WantedGrant {
    /// Compares a request with the existing grants.
    pub fn of(grant: Grant, grants: &Grants) -> Self {
        Self {
            words: grant.describe(),
            changes: grants
                .before(&grant)
                .map_or_else(Vec::new, |before| grant.changes_from(before)),
            grant,
        }
    }

    /// Does this for several requests.
    pub fn all(wanted: Vec<Grant>, grants: &Grants) -> Vec<Self> {
        wanted.into_iter().map(|grant| Self::of(grant, grants)).collect()
    }
}

impl Grant {
    /// What a grant permits, for a person who knows neither the platform nor Weir.
    pub fn describe(&self) -> String {
        let terms = self.terms.clone().unwrap_or_default();
        if self.capability == "webhook" {
            let age = terms.tolerance_s.map_or_else(
                || " The signature has no timestamp, so a webhook can be replayed.".to_owned(),
                |seconds| format!(" Its timestamp may be {seconds} s off."),
            );
            return format!(
                "Accepts a webhook if the secret {} verifies its signature in {}: {}.{age}",
                self.secrets.join(", "),
                self.places.join(", "),
                terms.fixed.join("; "),
            );
        }
        if self.is_of_policies() {
            let policies: Vec<_> = terms.policies.iter().map(policies::describe).collect();
            return match policies.as_slice() {
                [] => "Sets no limit on what is sent.".to_owned(),
                _ => format!("Sets the limits of what is sent: {}.", policies.join("; ")),
            };
        }
        let does = match (self.capability.as_str(), self.class) {
            ("authorization", _) => "The host connects accounts through",
            (_, RouteClass::Read) => "Reads from the platform at",
            (_, RouteClass::MessageSend) => "Sends messages, one for each permit, through",
            (_, RouteClass::Signal) => "Sends typing indicators and read receipts through",
            (_, RouteClass::Media) => "Transfers images and files through",
            (_, RouteClass::Setup) => "Changes settings and webhook subscriptions of the account through",
        };
        let only = if self.body_has.is_empty() {
            String::new()
        } else {
            format!(" Only if the body contains {}.", self.body_has.join(" and "))
        };
        let adds = if self.secrets.is_empty() {
            " No secret is added.".to_owned()
        } else {
            let placed: Vec<_> = self
                .secrets
                .iter()
                .zip(&self.places)
                .map(|(secret, place)| format!("{secret} ({place})"))
                .collect();
            format!(" The host adds {}; the connector never sees it.", placed.join(" and "))
        };
        let also = |intro: &str, list: &[String]| {
            if list.is_empty() {
                String::new()
            } else {
                format!(" {intro} {}.", list.join(", "))
            }
        };
        let except = also("Except requests that match", &terms.except);
        let scopes = also("The account's owner is asked for", &terms.scopes);
        let fixed = also("Always with", &terms.fixed);
        format!(
            "{does} {} {}{}.{only}{except}{scopes}{fixed}{adds}",
            self.method, self.origin, self.path
        )
    }

    /// The differences, including the reason: it was part of the grant.
    fn changes_from(&self, before: &Self) -> Vec<Change> {
        let list = |items: &[String]| items.join(", ");
        let (was, is) = (
            before.terms.clone().unwrap_or_default(),
            self.terms.clone().unwrap_or_default(),
        );
        let policies = |terms: &Terms| -> Vec<_> { terms.policies.iter().map(policies::describe).collect() };
        let seconds = |tolerance: Option<u32>| tolerance.map_or_else(String::new, |seconds| seconds.to_string());
        let members = [
            ("method", before.method.clone(), self.method.clone()),
            ("origin", before.origin.clone(), self.origin.clone()),
            ("path", before.path.clone(), self.path.clone()),
            ("class", before.class.to_string(), self.class.to_string()),
            ("secrets", list(&before.secrets), list(&self.secrets)),
            ("places", list(&before.places), list(&self.places)),
            ("body_has", list(&before.body_has), list(&self.body_has)),
            ("except", list(&was.except), list(&is.except)),
            ("scopes", list(&was.scopes), list(&is.scopes)),
            ("fixed", list(&was.fixed), list(&is.fixed)),
            ("tolerance_s", seconds(was.tolerance_s), seconds(is.tolerance_s)),
            ("policies", policies(&was).join("; "), policies(&is).join("; ")),
            ("why", before.why.clone(), self.why.clone()),
        ];
        members
            .into_iter()
            .filter(|(_, before, after)| before != after)
            .map(|(member, before, after)| Change {
                member: member.to_owned(),
                before,
                after,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::manifest;

    #[test]
    fn grant_describes_target_effect_and_secret() {
        for requested in WantedGrant::all(Grants::wanted_by(&manifest()), &Grants::default()) {
            assert!(requested.words.contains(&requested.grant.origin), "{}", requested.words);
            assert!(requested.words.contains(&requested.grant.path), "{}", requested.words);
            for secret in &requested.grant.secrets {
                assert!(requested.words.contains(secret), "{}", requested.words);
            }
            assert_eq!(requested.changes, []);
        }
    }

    #[test]
    fn a_new_version_shows_what_it_asks_for_otherwise() {
        let grants = Grants::to(Grants::wanted_by(&manifest()));
        let mut next = manifest();
        next.routes[0].path = "/**".parse().expect("a path");
        let requested = WantedGrant::all(grants.missing_for(&next), &grants);
        let changes: Vec<_> = requested[0]
            .changes
            .iter()
            .map(|change| change.member.as_str())
            .collect();
        assert_eq!(changes, ["path"]);
        assert_eq!(requested[0].changes[0].after, "/**");
    }
}
