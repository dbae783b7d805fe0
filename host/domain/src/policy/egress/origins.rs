//! Where a platform is found: at its own origins, or where the operator put its sandbox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Reach;
use crate::manifest::Origin;

/// Platform origins that the operator mapped to others: the way to a sandbox. Only this opens loopback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OriginMap(pub BTreeMap<Origin, Origin>);

impl OriginMap {
    /// Where a request to `url` really goes, and what it may reach there.
    pub fn target(&self, url: &Url) -> (Url, Reach) {
        match Origin::of(url).and_then(|origin| self.0.get(&origin)) {
            Some(mapped) if mapped.is_loopback() => (mapped.apply(url), Reach::Loopback),
            Some(mapped) => (mapped.apply(url), Reach::Public),
            None => (url.clone(), Reach::Public),
        }
    }

    /// The platform's own forms of a URL that a mapped-to origin wrote, so that a sandbox's links are judged like the
    /// platform's: one for each origin that is mapped there. A URL of any other origin is its own only form.
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

    /// Whether the platform's requests go to where `url` is.
    pub fn leads_to(&self, url: &Url) -> bool {
        Origin::of(url).is_some_and(|origin| self.0.values().any(|mapped| *mapped == origin))
    }

    /// Whether a mapping ends on this machine, where it reaches services that were never meant for strangers.
    pub fn leads_to_loopback(&self) -> bool {
        self.0.values().any(Origin::is_loopback)
    }

    /// Whether every mapping ends on this machine, so that a clock under test control can do no harm.
    pub fn is_all_loopback(&self) -> bool {
        self.0.values().all(Origin::is_loopback)
    }
}
