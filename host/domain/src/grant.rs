//! What a connector asks for, and what the operator said yes to. Both must name a thing before it may be used.

use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::manifest::{
    Authorization, Manifest, Oauth, Origin, OriginPattern, Parameter, ParameterValue, Policy, Route, RouteClass,
    SecretPlace, SecretUse, TokenCall, Webhook,
};
use crate::policy::CallRefusal;

mod policies;
mod terms;
mod words;

pub use terms::Terms;
pub use words::{Asked, Change};

/// The capability of policies.
const POLICY: &str = "policy";

/// One thing a connector asks for, in words that a person can judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// `http` for a route of the connector's; `authorization` for a call that the host itself makes by the connector's data;
    /// `webhook` for how the platform's webhooks prove themselves; `policy` for the limits of what is sent.
    pub capability: String,
    /// The route's name; of authorization: `authorize`, `token`, `refresh`, `revoke`; of webhooks: `proof`; of policies: `limits`.
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
    /// On which terms; none in a grant from before they were asked for. Left out, they are those of the version that is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// Why the connector needs it.
    #[serde(default)]
    pub why: String,
}

impl Grant {
    /// What a route asks for that stands behind these in its manifest.
    pub fn of(route: &Route, before: &[Route]) -> Self {
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
            terms: Some(Terms::of_route(route, before)),
            why: route.why.clone(),
        }
    }

    /// What the routes of a manifest ask for.
    pub fn of_all(routes: &[Route]) -> Vec<Self> {
        let placed = routes.iter().enumerate();
        placed.map(|(place, route)| Self::of(route, &routes[..place])).collect()
    }

    /// How webhooks prove themselves: what is believed because of it is recorded as the platform's word.
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

    /// The policies of a manifest, all in one: one that falls away widens what the others leave open.
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

    /// Whether it is about a version's policies.
    fn is_of_policies(&self) -> bool {
        self.capability == POLICY
    }

    /// What a call of the platform's OAuth asks for: its URL, and the secrets that go there.
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
            // What cannot be read is shown as it stands; no call can be made of it.
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

    /// All that the platform's OAuth asks for.
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

    /// Whether this decides exactly that wish: everything but the reason must be the same, so that a new version cannot widen
    /// a grant behind an old name.
    fn decides(&self, wanted: &Self) -> bool {
        self.origin == wanted.origin && self.is_alike(wanted) && self.terms == wanted.terms
    }

    /// Whether this is a yes to the whole of that wish. A version that asks for the same on narrower terms asks for nothing new.
    fn covers(&self, wanted: &Self) -> bool {
        self.origin == wanted.origin && self.is_alike(wanted) && self.allows_terms_of(wanted)
    }

    /// Whether this is a yes to that wish, or to a part of it: the operator may name fewer origins than were asked for.
    fn gives(&self, wanted: &Self) -> bool {
        let is_within = || match (self.pattern(), wanted.pattern()) {
            (Some(given), Some(asked)) => given.is_within(&asked),
            _ => false,
        };
        self.is_alike(wanted) && self.allows_terms_of(wanted) && (self.origin == wanted.origin || is_within())
    }

    fn allows_terms_of(&self, wanted: &Self) -> bool {
        match (&self.terms, &wanted.terms) {
            (Some(given), Some(asked)) => given.allow(asked),
            (given, asked) => given == asked,
        }
    }

    /// Whether all but origin, terms and reason are the same.
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

    /// The same on the terms that the first of these manifests asked it on, if it says none itself.
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

/// What the operator decided about a connector. Empty means that nothing may leave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grants {
    /// The yes.
    pub granted: Vec<Grant>,
    /// The no: asked for, looked at, and not given, or not whole. A version may serve without it.
    pub withheld: Vec<Grant>,
}

impl Grants {
    /// A yes to these, and no word about others.
    pub fn to(granted: Vec<Grant>) -> Self {
        Self {
            granted,
            withheld: Vec::new(),
        }
    }

    /// Everything that a manifest asks for.
    pub fn wanted_by(manifest: &Manifest) -> Vec<Grant> {
        let mut wanted = Grant::of_all(&manifest.routes);
        if let Authorization::Oauth(oauth) = &manifest.authorization {
            wanted.extend(Grant::of_oauth(oauth));
        }
        wanted.extend(manifest.webhook.as_ref().map(Grant::of_webhook));
        wanted.push(Grant::of_policies(&manifest.policies));
        wanted
    }

    /// Grants from before terms or policies were asked for, as the yes and the no to what these versions asked for then, the one that
    /// serves first. None if they say both already.
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

    /// The operator's answer to what `manifest` asks for: a yes to `granted`, and a no to the rest of it. What was withheld
    /// from other versions stays so, unless it is given now. A yes to the wider policies of an earlier version stays while any are
    /// given, so that a roll-back to it needs no other.
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
        // What a connector asked for in versions long gone need not be remembered for ever.
        let over = withheld.len().saturating_sub(crate::limits::ROUTES);
        withheld.drain(..over);
        Self { granted, withheld }
    }

    /// Whether the operator said yes to this route, behind these in its manifest, for a request to `origin`.
    ///
    /// # Errors
    /// The operator gave less, or was never asked; says which.
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

    /// Whether the operator said yes to every place that this OAuth sends secrets to.
    pub fn allow_authorization(&self, oauth: &Oauth) -> bool {
        self.missing_for_authorization(oauth).is_empty()
    }

    /// What this OAuth asks for that the operator did not say yes to.
    pub fn missing_for_authorization(&self, oauth: &Oauth) -> Vec<Grant> {
        let wanted = Grant::of_oauth(oauth).into_iter();
        wanted.filter(|wanted| !self.has(wanted)).collect()
    }

    /// Whether the operator said yes to how this connector's webhooks prove themselves.
    pub fn allow_webhook(&self, webhook: &Webhook) -> bool {
        self.has(&Grant::of_webhook(webhook))
    }

    /// What `manifest` asks for that the operator has not decided about, yes or no. Without its policies a version cannot serve, so
    /// that they need a yes.
    pub fn missing_for(&self, manifest: &Manifest) -> Vec<Grant> {
        Self::wanted_by(manifest)
            .into_iter()
            .filter(|wanted| {
                let is_refused = self.withheld.iter().any(|grant| grant.decides(wanted));
                !self.has(wanted) && (wanted.is_of_policies() || !is_refused)
            })
            .collect()
    }

    /// The given grant that a changed wish would take the place of: the same thing by name.
    pub fn before(&self, wanted: &Grant) -> Option<&Grant> {
        self.granted
            .iter()
            .find(|grant| grant.capability == wanted.capability && grant.route == wanted.route && !grant.covers(wanted))
    }

    fn has(&self, wanted: &Grant) -> bool {
        self.granted.iter().any(|grant| grant.covers(wanted))
    }
}

/// The grants among `granted` that no version asked for, by their place: a yes that would mean nothing.
pub fn unasked(granted: &[Grant], manifests: &[&Manifest]) -> Vec<usize> {
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

/// The name of the secret that a parameter carries, if it carries one.
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
mod tests;
