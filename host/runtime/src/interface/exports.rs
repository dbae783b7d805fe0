//! The exports of a component: found once when it is loaded, in whichever version of the interface it was built for.

use std::collections::BTreeMap;

use wasmtime::component::{Component, ComponentExportIndex};
use weir_domain::limits;

use crate::error::LoadError;

/// The versions of the interface that this host speaks, newest first. What one version adds to the one before it is found by
/// looking for it; what both have has one shape.
pub(crate) const VERSIONS: [&str; 2] = ["0.2.0", "0.1.0"];

/// What every connector has.
const REQUIRED: [&str; 4] = ["descriptor", "inbound", "outbound", "identity"];
/// What it may have besides.
const OPTIONAL: [&str; 9] = [
    "signals",
    "media-transfer",
    "probing",
    "history",
    "contacts",
    "automations",
    "ads",
    "polling",
    "upgrade",
];

/// Whether an optional interface belongs to a version.
fn is_of(interface: &str, version: &str) -> bool {
    !(version == "0.1.0" && interface == "contacts")
}

/// Where the functions are in a component.
pub(crate) struct Exports {
    version: &'static str,
    places: BTreeMap<(&'static str, &'static str), ComponentExportIndex>,
}

/// The full name of an interface of ours.
fn named(interface: &str, version: &str) -> String {
    format!("weir:connector/{interface}@{version}")
}

impl Exports {
    /// Finds `functions`, each named by its interface and its own name, among the exports of a component.
    ///
    /// # Errors
    /// An interface that every connector has is missing, or one lacks a function.
    pub(crate) fn find(component: &Component, functions: &[(&'static str, &'static str)]) -> Result<Self, LoadError> {
        let interface = |name: &str, version| component.get_export_index(None, named(name, version));
        // What it says of itself tells what it was built for; of a component without that, the newest is missed.
        let version = VERSIONS
            .into_iter()
            .find(|version| interface(REQUIRED[0], version).is_some())
            .unwrap_or(VERSIONS[0]);
        let mut places = BTreeMap::new();
        let optional = OPTIONAL.into_iter().filter(|name| is_of(name, version));
        for name in REQUIRED.into_iter().chain(optional) {
            let Some(found) = interface(name, version) else {
                if REQUIRED.contains(&name) {
                    return Err(LoadError::NoExport {
                        export: named(name, version),
                    });
                }
                continue;
            };
            for key @ (_, function) in functions.iter().filter(|(of, _)| *of == name) {
                let place = component
                    .get_export_index(Some(&found), function)
                    .ok_or_else(|| LoadError::Interface {
                        interface: named(name, version),
                        detail: format!("it has no function {function}"),
                    })?;
                places.insert(*key, place);
            }
        }
        Ok(Self { version, places })
    }

    /// The place of a function.
    ///
    /// # Errors
    /// The component does not export its interface.
    pub(crate) fn place(
        &self,
        interface: &'static str,
        function: &'static str,
    ) -> wasmtime::Result<&ComponentExportIndex> {
        let place = self.places.get(&(interface, function));
        place.ok_or_else(|| wasmtime::Error::msg(format!("the component does not export {interface}")))
    }

    /// Whether it has this interface.
    pub(crate) fn has(&self, interface: &str) -> bool {
        self.places.keys().any(|(of, _)| *of == interface)
    }

    /// The plain names of the optional interfaces that are there.
    pub(crate) fn provided(&self) -> Vec<String> {
        let there = OPTIONAL.into_iter().filter(|interface| self.has(interface));
        there.map(str::to_owned).collect()
    }

    /// An interface that is there in another shape.
    pub(crate) fn another_shape(&self, interface: &str, error: &wasmtime::Error) -> LoadError {
        LoadError::Interface {
            interface: named(interface, self.version),
            detail: crate::text::line(&format!("{error:#}"), limits::LOG_LINE_BYTES),
        }
    }
}
