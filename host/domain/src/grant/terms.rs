//! The terms of a grant: changes of these can widen it although the request itself stays the same.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::policies;
use crate::manifest::{
    Challenge, Encoding, Located, Parameter, ParameterValue, Policy, Proof, Route, SignedPart, Webhook,
};

/// The terms on which a permission is requested or granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Terms {
    /// Requests that match the route too but belong to an earlier one: of several matching routes, the first decides.
    /// If one of these is removed, the route covers more.
    pub except: Vec<String>,
    /// Permissions that the account's owner is asked for.
    pub scopes: Vec<String>,
    /// Fixed values, described: what a webhook's signature covers, a parameter of the platform's page.
    pub fixed: Vec<String>,
    /// The tolerance for a webhook's time, in seconds; `None` for a scheme without a time.
    pub tolerance_s: Option<u32>,
    /// The policies that limit messages, as in the manifest.
    pub policies: Vec<Policy>,
}

impl Terms {
    /// Whether a grant on these terms covers the `requested` ones: equal, or narrower.
    pub(super) fn allow(&self, requested: &Self) -> bool {
        let within = |narrow: &[String], wide: &[String]| narrow.iter().all(|one| wide.contains(one));
        let tolerance = match (self.tolerance_s, requested.tolerance_s) {
            (Some(given), Some(requested)) => requested <= given,
            (given, requested) => given == requested,
        };
        within(&self.except, &requested.except)
            && within(&requested.scopes, &self.scopes)
            && self.fixed == requested.fixed
            && tolerance
            && policies::are_within(&requested.policies, &self.policies)
    }

    pub(super) fn of_route(route: &Route, before: &[Route]) -> Self {
        let takes_first = before.iter().filter(|other| other.overlaps(route));
        Self {
            except: takes_first.map(describe).collect(),
            ..Self::default()
        }
    }

    /// The grant itself names secrets, and values that the host fills in are the same in every version.
    pub(super) fn of_parameters(parameters: &[Parameter]) -> Self {
        let fixed = parameters.iter().filter_map(|parameter| match &parameter.value {
            ParameterValue::Literal(value) => Some(format!("{} = {value}", parameter.name)),
            _ => None,
        });
        Self {
            fixed: fixed.collect(),
            ..Self::default()
        }
    }

    pub(super) fn of_policies(policies: &[Policy]) -> Self {
        Self {
            policies: policies.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn of_webhook(webhook: &Webhook) -> Self {
        let mut fixed = match &webhook.proof {
            Proof::Hmac {
                signature,
                encoding,
                timestamp,
                signed,
                ..
            } => {
                let written = match encoding {
                    Encoding::Hex => "hex",
                    Encoding::Base64 => "base64",
                };
                let mut fixed = vec![format!("HMAC-SHA-256 in {written}, {}", place(signature))];
                fixed.extend(describe_signed(timestamp.as_ref(), signed));
                fixed
            }
            Proof::Ed25519 {
                signature,
                timestamp,
                signed,
                ..
            } => {
                let mut fixed = vec![format!("Ed25519 in hex, {}", place(signature))];
                fixed.extend(describe_signed(timestamp.as_ref(), signed));
                fixed
            }
            Proof::SharedSecret { .. } => {
                vec!["the secret itself, repeated with each webhook; the body is not signed".to_owned()]
            }
        };
        fixed.extend(webhook.challenge.as_ref().map(challenge));
        Self {
            fixed,
            tolerance_s: webhook
                .tolerance()
                .map(|tolerance| u32::try_from(tolerance.as_secs()).unwrap_or(u32::MAX)),
            ..Self::default()
        }
    }
}

impl Proof {
    /// The name of the app's secret for the check, and the header with the signature.
    pub(super) fn secret_and_header(&self) -> (&str, &str) {
        match self {
            Self::Hmac { secret, signature, .. } => (secret, &signature.header),
            Self::SharedSecret { header, secret } => (secret, header),
            Self::Ed25519 {
                public_key_secret,
                signature,
                ..
            } => (public_key_secret, &signature.header),
        }
    }
}

/// A route, described by the requests that match it.
fn describe(route: &Route) -> String {
    let members: Vec<_> = route
        .body_has
        .iter()
        .map(|member| format!(" with {} = {}", member.pointer, member.value))
        .collect();
    format!(
        "{} ({}) {}{}{}",
        route.id,
        route.class,
        route.origin,
        route.path,
        members.join(" and")
    )
}

fn place(located: &Located) -> String {
    let part = located
        .part
        .as_ref()
        .map_or_else(String::new, |part| format!("part {part} of "));
    let prefix = if located.prefix.is_empty() {
        String::new()
    } else {
        format!(" after {:?}", located.prefix)
    };
    format!("{part}header {}{prefix}", located.header)
}

fn describe_signed(timestamp: Option<&Located>, signed: &[SignedPart]) -> [String; 2] {
    let parts: Vec<_> = signed
        .iter()
        .map(|part| match part {
            SignedPart::Timestamp => "the time".to_owned(),
            SignedPart::Body => "the body".to_owned(),
            SignedPart::Literal(text) => format!("{text:?}"),
        })
        .collect();
    [
        format!("signed is {}", parts.join(", ")),
        timestamp.map_or_else(
            || "no time".to_owned(),
            |timestamp| format!("the time in {}", place(timestamp)),
        ),
    ]
}

fn challenge(challenge: &Challenge) -> String {
    let proven = match &challenge.verify {
        Some((parameter, secret)) => format!("if {parameter} is the secret {secret}"),
        None => "whoever asks".to_owned(),
    };
    format!("a question by GET is answered with {}, {proven}", challenge.answer_with)
}
