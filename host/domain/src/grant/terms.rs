//! On which terms something is granted: what widens although nobody asks for another request.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::policies;
use crate::manifest::{
    Challenge, Encoding, Located, Parameter, ParameterValue, Policy, Proof, Route, SignedPart, Webhook,
};

/// On which terms something is asked for or granted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Terms {
    /// Requests that fit the route too and go by another one, which stands before it: of several, the first decides. Where one of
    /// these falls away, the route takes more.
    pub except: Vec<String>,
    /// Permissions that the account's owner is asked for.
    pub scopes: Vec<String>,
    /// What is fixed, in words: what a webhook's signature covers, a parameter of the platform's page.
    pub fixed: Vec<String>,
    /// How many seconds a webhook's time may be from now; none for a proof without a time.
    pub tolerance_s: Option<u32>,
    /// The policies that bound what is sent, as the manifest has them.
    pub policies: Vec<Policy>,
}

impl Terms {
    /// Whether a yes on these terms is one on those: the same, or narrower.
    pub(super) fn allow(&self, asked: &Self) -> bool {
        let within = |narrow: &[String], wide: &[String]| narrow.iter().all(|one| wide.contains(one));
        let tolerance = match (self.tolerance_s, asked.tolerance_s) {
            (Some(given), Some(asked)) => asked <= given,
            (given, asked) => given == asked,
        };
        within(&self.except, &asked.except)
            && within(&asked.scopes, &self.scopes)
            && self.fixed == asked.fixed
            && tolerance
            && policies::are_within(&asked.policies, &self.policies)
    }

    pub(super) fn of_route(route: &Route, before: &[Route]) -> Self {
        let takes_first = before.iter().filter(|other| other.overlaps(route));
        Self {
            except: takes_first.map(in_words).collect(),
            ..Self::default()
        }
    }

    /// Secrets are named with the grant itself, and what the host fills in is the same of every version.
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
                fixed.extend(signed_in_words(timestamp.as_ref(), signed));
                fixed
            }
            Proof::Ed25519 {
                signature,
                timestamp,
                signed,
                ..
            } => {
                let mut fixed = vec![format!("Ed25519 in hex, {}", place(signature))];
                fixed.extend(signed_in_words(timestamp.as_ref(), signed));
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
    /// The name of the app's secret that it is checked with, and the header that it stands in.
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

/// A route by what fits it.
fn in_words(route: &Route) -> String {
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

fn signed_in_words(timestamp: Option<&Located>, signed: &[SignedPart]) -> [String; 2] {
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
