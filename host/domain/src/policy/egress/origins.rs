//! A platform's origins: its own, or those to which the operator mapped them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Reach;
use crate::manifest::Origin;

/// Platform origins that the operator mapped to others, such as a sandbox. Nothing else allows loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OriginMap(pub BTreeMap<Origin, Origin>);

impl OriginMap {
    /// The actual destination of a request to `url`, and the addresses that it may reach.
    pub fn target(&self, url: &Url) -> (Url, Reach) {
        match Origin::of(url).and_then(|origin| self.0.get(&origin)) {
            Some(mapped) if mapped.is_loopback() => (mapped.apply(url), Reach::Loopback),
            Some(mapped) => (mapped.apply(url), Reach::Public),
            None => (url.clone(), Reach::Public),
        }
    }

    /// The platform's own forms of a URL that a mapped-to origin returned, so that a sandbox's links are checked like
    /// the platform's: one for each origin that is mapped there. A URL of any other origin is its own only form.
    pub fn platform_forms(&self, url: &Url) -> Vec<Url> {
        let origin = Origin::of(url);
        let forms: Vec<Url> = self
            .0
            .iter()
            .filter(|(_, mapped)| Some(*mapped) == origin.as_ref())
            .map(|(platform, _)| platform.apply(url))
            .collect();
        if forms.is_empty() { vec![url.clone()] } else { forms }
    }

    /// Whether the platform's requests go to the origin of `url`.
    pub fn leads_to(&self, url: &Url) -> bool {
        Origin::of(url).is_some_and(|origin| self.0.values().any(|mapped| *mapped == origin))
    }

    /// Whether a mapping ends on this machine, where it reaches services that are not meant for untrusted code.
    pub fn leads_to_loopback(&self) -> bool {
        self.0.values().any(Origin::is_loopback)
    }

    /// Whether every mapping ends on this machine, so that a clock under test control is harmless.
    pub fn is_all_loopback(&self) -> bool {
        self.0.values().all(Origin::is_loopback)
    }
}
