//! The permissions that a connector requests, and the operator's grants. A request needs both.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::manifest::{
    Authorization, Manifest, Oauth, Origin, OriginPattern, Parameter, ParameterValue, Policy, Route, RouteClass,
    SecretPlace, SecretUse, TokenCall, Webhook,
};
use crate::policy::CallRefusal;

mod describe;
mod policies;
mod terms;

pub use describe::{Change, WantedGrant};
pub use terms::Terms;

/// The capability of policies.
const POLICY: &str = "policy";

/// One permission that a connector requests, in terms that a person can judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// `http` for a route of the connector's; `authorization` for a call that the host makes by the connector's data;
    /// `webhook` for the signature scheme of the platform's webhooks; `policy` for the limits of outgoing messages.
    pub capability: String,
    /// The route's name; of authorization: `authorize`, `token`, `refresh`, `revoke`; of webhooks: `proof`; of
    /// policies: `limits`.
    pub route: String,
    /// The method.
    pub method: String,
    /// The origins that it covers.
    pub origin: String,
    /// The paths that it covers.
    pub path: String,
    /// The class of such requests.
    pub class: RouteClass,
    /// Names of the secrets that the host sets in it.
    pub secrets: Vec<String>,
    /// The place of each of them, in the same order: `header Access-Token`.
    #[serde(default)]
    pub places: Vec<String>,
    /// The members that the JSON body must have for the route to match: `/message_type = TEXT`.
    #[serde(default)]
    pub body_has: Vec<String>,
    /// The terms; `None` in a grant from before terms existed. If left out, the terms of the version that is answered
    /// apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// Why the connector needs it.
    #[serde(default)]
    pub why: String,
}

impl Grant {
    /// The request for a route that follows these in its manifest.
    pub fn of(route: &Route, before: &[Route]) -> Self {
        Self {
            capability: "http".to_owned(),
            route: route.id.clone(),
            method: route.method.clone(),
            origin: route.origin.to_string(),
            path: route.path.to_string(),
            class: route.class,
            secrets: route.secrets.iter().map(|secret| secret.secret.clone()).collect(),
            places: route.secrets.iter().map(describe_place).collect(),
            body_has: route
                .body_has
                .iter()
                .map(|member| format!("{} = {}", member.pointer, member.value))
                .collect(),
            terms: Some(Terms::of_route(route, before)),
            why: route.why.clone(),
        }
    }

    /// The requests for a manifest's routes.
    pub fn of_all(routes: &[Route]) -> Vec<Self> {
        let placed = routes.iter().enumerate();
        placed.map(|(place, route)| Self::of(route, &routes[..place])).collect()
    }

    /// The request for a signature scheme: what it verifies is stored as sent by the platform.
    fn of_webhook(webhook: &Webhook) -> Self {
        let (secret, header) = webhook.proof.secret_and_header();
        Self {
            capability: "webhook".to_owned(),
            route: "proof".to_owned(),
            method: "POST".to_owned(),
            origin: String::new(),
            path: String::new(),
            class: RouteClass::Read,
            secrets: vec![secret.to_owned()],
            places: vec![format!("header {header}")],
            body_has: Vec::new(),
            terms: Some(Terms::of_webhook(webhook)),
            why: "Accepts the platform's webhooks.".to_owned(),
        }
    }

    /// The request for a manifest's policies, all in one: a policy that disappears widens what the others permit.
    fn of_policies(policies: &[Policy]) -> Self {
        Self {
            capability: POLICY.to_owned(),
            route: "limits".to_owned(),
            method: String::new(),
            origin: String::new(),
            path: String::new(),
            class: RouteClass::Read,
            secrets: Vec::new(),
            places: Vec::new(),
            body_has: Vec::new(),
            terms: Some(Terms::of_policies(policies)),
            why: "The platform's rules, which the host enforces.".to_owned(),
        }
    }

    /// Whether it concerns a version's policies.
    fn is_of_policies(&self) -> bool {
        self.capability == POLICY
    }

    /// The request for a call of the platform's OAuth: its URL, and the secrets that are sent there.
    fn of_authorization(name: &str, method: &str, url: &str, parameters: &[Parameter], why: &str) -> Self {
        let parsed = Url::parse(url).ok();
        let secrets: Vec<_> = parameters
            .iter()
            .filter_map(|parameter| Some((secret_of(&parameter.value)?, format!("parameter {}", parameter.name))))
            .collect();
        Self {
            capability: "authorization".to_owned(),
            route: name.to_owned(),
            method: method.to_owned(),
            // An invalid URL is shown unchanged; no call can be made to it.
            origin: parsed
                .as_ref()
                .and_then(Origin::of)
                .map_or_else(|| url.to_owned(), |origin| origin.to_string()),
            path: parsed.map_or_else(String::new, |url| url.path().to_owned()),
            class: RouteClass::Setup,
            secrets: secrets.iter().map(|(secret, _)| secret.clone()).collect(),
            places: secrets.into_iter().map(|(_, place)| place).collect(),
            body_has: Vec::new(),
            terms: Some(Terms::of_parameters(parameters)),
            why: why.to_owned(),
        }
    }

    /// All requests for the platform's OAuth.
    fn of_oauth(oauth: &Oauth) -> Vec<Self> {
        let call = |name, call: &TokenCall, why| Self::of_authorization(name, "POST", &call.url, &call.parameters, why);
        let page = "The page where the account's owner consents.";
        let mut authorize = Self::of_authorization(
            "authorize",
            "GET",
            &oauth.authorize_url,
            &oauth.authorize_parameters,
            page,
        );
        if let Some(terms) = &mut authorize.terms {
            terms.scopes = oauth.scopes.iter().map(|scope| scope.name.clone()).collect();
        }
        let mut grants = vec![authorize];
        grants.push(call(
            "token",
            &oauth.token,
            "Exchanges the owner's consent for a token.",
        ));
        grants.extend(
            oauth
                .refresh
                .as_ref()
                .map(|refresh| call("refresh", refresh, "Renews the token before it expires.")),
        );
        grants.extend(
            oauth
                .revoke
                .as_ref()
                .map(|revoke| call("revoke", revoke, "Revokes the token.")),
        );
        grants
    }

    /// Whether this decides exactly that request: everything except the reason must be equal, so that a new version
    /// cannot widen a grant under an existing name.
    fn decides(&self, wanted: &Self) -> bool {
        self.origin == wanted.origin && self.is_alike(wanted) && self.terms == wanted.terms
    }

    /// Whether this grants the whole request. A version that requests the same on narrower terms requests nothing new.
    fn covers(&self, wanted: &Self) -> bool {
        self.origin == wanted.origin && self.is_alike(wanted) && self.allows_terms_of(wanted)
    }

    /// Whether this grants the request, or a part of it: the operator may grant fewer origins than were requested.
    fn gives(&self, wanted: &Self) -> bool {
        let is_within = || match (self.pattern(), wanted.pattern()) {
            (Some(given), Some(requested)) => given.is_within(&requested),
            _ => false,
        };
        self.is_alike(wanted) && self.allows_terms_of(wanted) && (self.origin == wanted.origin || is_within())
    }

    fn allows_terms_of(&self, wanted: &Self) -> bool {
        match (&self.terms, &wanted.terms) {
            (Some(given), Some(requested)) => given.allow(requested),
            (given, requested) => given == requested,
        }
    }

    /// Whether all except origin, terms and reason are equal.
    fn is_alike(&self, wanted: &Self) -> bool {
        self.capability == wanted.capability
            && self.route == wanted.route
            && self.method == wanted.method
            && self.path == wanted.path
            && self.class == wanted.class
            && self.secrets == wanted.secrets
            && self.places == wanted.places
            && self.body_has == wanted.body_has
    }

    fn pattern(&self) -> Option<OriginPattern> {
        self.origin.parse().ok()
    }

    /// The same on the terms of the first of these manifests that requests it, if it has none itself.
    #[must_use]
    pub fn on_terms_of(mut self, manifests: &[&Manifest]) -> Self {
        if self.terms.is_none() {
            let mut wishes = manifests.iter().flat_map(|manifest| Grants::wanted_by(manifest));
            self.terms = wishes.find_map(|wish| {
                let on_its_terms = Self {
                    terms: wish.terms.clone(),
                    ..self.clone()
                };
                on_its_terms.gives(&wish).then_some(wish.terms).flatten()
            });
        }
        self
    }
}

/// The operator's decisions about a connector. Empty means that no request may be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The grants.
    pub granted: Vec<Grant>,
    /// Requests that the operator refused, in whole or in part. A version may serve without them.
    pub withheld: Vec<Grant>,
}

impl Grants {
    /// Grants of these, and no decision about others.
    pub fn to(granted: Vec<Grant>) -> Self {
        Self {
            granted,
            withheld: Vec::new(),
        }
    }

    /// All requests of a manifest.
    pub fn wanted_by(manifest: &Manifest) -> Vec<Grant> {
        let mut wanted = Grant::of_all(&manifest.routes);
        if let Authorization::Oauth(oauth) = &manifest.authorization {
            wanted.extend(Grant::of_oauth(oauth));
        }
        wanted.extend(manifest.webhook.as_ref().map(Grant::of_webhook));
        wanted.push(Grant::of_policies(&manifest.policies));
        wanted
    }

    /// Completes grants from before terms or policies were requested with the requests of these versions, the serving
    /// one first. `None` if they are complete already.
    pub fn with_terms(&self, manifests: &[&Manifest]) -> Option<Self> {
        let serving = manifests.first()?;
        let all = || self.granted.iter().chain(&self.withheld);
        let (has_terms, has_policies) = (
            all().any(|grant| grant.terms.is_some()),
            all().any(Grant::is_of_policies),
        );
        if has_terms && has_policies {
            return None;
        }
        let mut grants = self.clone();
        if !has_terms {
            for grant in grants.granted.iter_mut().chain(&mut grants.withheld) {
                *grant = grant.clone().on_terms_of(manifests);
            }
            grants.granted.extend(serving.webhook.as_ref().map(Grant::of_webhook));
        }
        if !has_policies {
            grants.granted.push(Grant::of_policies(&serving.policies));
        }
        Some(grants)
    }

    /// The operator's decisions about the requests of `manifest`: `granted`, and the rest refused. What was withheld
    /// from other versions stays withheld, unless it is granted now. A grant of an earlier version's wider policies
    /// stays while any are granted, so that a rollback to it needs no new grant.
    #[must_use]
    pub fn answered(self, manifest: &Manifest, mut granted: Vec<Grant>) -> Self {
        if granted.iter().any(Grant::is_of_policies) {
            let earlier = self.granted.into_iter().filter(Grant::is_of_policies);
            let wider: Vec<Grant> = earlier
                .filter(|grant| !granted.iter().any(|given| given.covers(grant)))
                .take(crate::limits::ROUTES)
                .collect();
            granted.extend(wider);
        }
        let mut withheld: Vec<Grant> = Vec::new();
        for grant in self.withheld.into_iter().chain(Self::wanted_by(manifest)) {
            if !granted.iter().any(|given| given.covers(&grant)) && !withheld.contains(&grant) {
                withheld.push(grant);
            }
        }
        // Requests of old versions need not be stored forever.
        let over = withheld.len().saturating_sub(crate::limits::ROUTES);
        withheld.drain(..over);
        Self { granted, withheld }
    }

    /// Whether the operator granted this route, which follows these in its manifest, for a request to `origin`.
    ///
    /// # Errors
    /// The operator granted less, or was never asked; the error states which.
    pub fn admit(&self, route: &Route, before: &[Route], origin: &Origin) -> Result<(), CallRefusal> {
        let wanted = Grant::of(route, before);
        let given: Vec<&Grant> = self.granted.iter().filter(|grant| grant.gives(&wanted)).collect();
        let covers = |grant: &&Grant| grant.pattern().is_some_and(|pattern| pattern.covers(origin));
        if given.iter().any(covers) {
            return Ok(());
        }
        let route = wanted.route.clone();
        Err(if !given.is_empty() {
            CallRefusal::Narrowed {
                route,
                origin: origin.to_string(),
                granted: given.iter().map(|grant| grant.origin.clone()).collect(),
            }
        } else if self.withheld.iter().any(|grant| grant.decides(&wanted)) {
            CallRefusal::Withheld { route }
        } else {
            CallRefusal::NotGranted { route }
        })
    }

    /// Whether the operator granted every destination to which this OAuth sends secrets.
    pub fn allow_authorization(&self, oauth: &Oauth) -> bool {
        self.missing_for_authorization(oauth).is_empty()
    }

    /// The requests of this OAuth that the operator has not granted.
    pub fn missing_for_authorization(&self, oauth: &Oauth) -> Vec<Grant> {
        let wanted = Grant::of_oauth(oauth).into_iter();
        wanted.filter(|wanted| !self.has(wanted)).collect()
    }

    /// Whether the operator granted the signature scheme of this connector's webhooks.
    pub fn allow_webhook(&self, webhook: &Webhook) -> bool {
        self.has(&Grant::of_webhook(webhook))
    }

    /// The requests of `manifest` that the operator has not decided. A version cannot serve without its policies, so
    /// they must be granted.
    pub fn missing_for(&self, manifest: &Manifest) -> Vec<Grant> {
        Self::wanted_by(manifest)
            .into_iter()
            .filter(|wanted| {
                let is_refused = self.withheld.iter().any(|grant| grant.decides(wanted));
                !self.has(wanted) && (wanted.is_of_policies() || !is_refused)
            })
            .collect()
    }

    /// The existing grant that a changed request would replace: the one with the same name.
    pub fn before(&self, wanted: &Grant) -> Option<&Grant> {
        self.granted
            .iter()
            .find(|grant| grant.capability == wanted.capability && grant.route == wanted.route && !grant.covers(wanted))
    }

    fn has(&self, wanted: &Grant) -> bool {
        self.granted.iter().any(|grant| grant.covers(wanted))
    }
}

/// The indexes of the grants in `granted` that no version requested: they would have no effect.
pub fn unrequested(granted: &[Grant], manifests: &[&Manifest]) -> Vec<usize> {
    let wanted: Vec<Grant> = manifests
        .iter()
        .flat_map(|manifest| Grants::wanted_by(manifest))
        .collect();
    granted
        .iter()
        .enumerate()
        .filter(|(_, grant)| !wanted.iter().any(|wish| grant.gives(wish)))
        .map(|(place, _)| place)
        .collect()
}

/// The name of the secret in a parameter, if it has one.
fn secret_of(value: &ParameterValue) -> Option<String> {
    Some(match value {
        ParameterValue::Secret(name) => name.clone(),
        ParameterValue::Code => "code".to_owned(),
        ParameterValue::AccessToken => "access_token".to_owned(),
        ParameterValue::RefreshToken => "refresh_token".to_owned(),
        ParameterValue::PkceVerifier => "verifier".to_owned(),
        ParameterValue::Literal(_)
        | ParameterValue::RedirectUri
        | ParameterValue::State
        | ParameterValue::Scopes
        | ParameterValue::PkceChallenge => return None,
    })
}

/// The place of a secret, in words for a person.
fn describe_place(secret: &SecretUse) -> String {
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
mod tests;
