//! The exports of a component, looked up once when it is loaded, in the version of the interface that it was built for.

use std::collections::BTreeMap;

use wasmtime::component::{Component, ComponentExportIndex};
use weir_domain::limits;

use crate::error::LoadError;

/// The versions of the interface that this host supports, newest first. A version may add interfaces; those of the
/// version before it keep their types.
pub(crate) const VERSIONS: [&str; 2] = ["0.2.0", "0.1.0"];

/// Interfaces that every connector exports.
const REQUIRED: [&str; 4] = ["descriptor", "inbound", "outbound", "identity"];
/// Interfaces that a connector may export.
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

/// The functions that a component exports.
pub(crate) struct Exports {
    version: &'static str,
    indices: BTreeMap<(&'static str, &'static str), ComponentExportIndex>,
}

/// The full name of an interface of `weir:connector`.
fn named(interface: &str, version: &str) -> String {
    format!("weir:connector/{interface}@{version}")
}

impl Exports {
    /// Finds `functions`, each named by its interface and its own name, among the exports of a component.
    ///
    /// # Errors
    /// A required interface is missing, or an interface lacks a function.
    pub(crate) fn find(component: &Component, functions: &[(&'static str, &'static str)]) -> Result<Self, LoadError> {
        let interface = |name: &str, version| component.get_export_index(None, named(name, version));
        // The version of `descriptor` is that of the component; without one, the error names the newest.
        let version = VERSIONS
            .into_iter()
            .find(|version| interface(REQUIRED[0], version).is_some())
            .unwrap_or(VERSIONS[0]);
        let mut indices = BTreeMap::new();
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
                let index = component
                    .get_export_index(Some(&found), function)
                    .ok_or_else(|| LoadError::Interface {
                        interface: named(name, version),
                        detail: format!("it has no function {function}"),
                    })?;
                indices.insert(*key, index);
            }
        }
        Ok(Self { version, indices })
    }

    /// The index of a function's export.
    ///
    /// # Errors
    /// The component does not export its interface.
    pub(crate) fn index(
        &self,
        interface: &'static str,
        function: &'static str,
    ) -> wasmtime::Result<&ComponentExportIndex> {
        let index = self.indices.get(&(interface, function));
        index.ok_or_else(|| wasmtime::Error::msg(format!("the component does not export {interface}")))
    }

    /// Whether it exports this interface.
    pub(crate) fn has(&self, interface: &str) -> bool {
        self.indices.keys().any(|(of, _)| *of == interface)
    }

    /// The names of the optional interfaces that it exports, without package and version.
    pub(crate) fn provided(&self) -> Vec<String> {
        let there = OPTIONAL.into_iter().filter(|interface| self.has(interface));
        there.map(str::to_owned).collect()
    }

    /// An interface whose functions have other types.
    pub(crate) fn type_mismatch(&self, interface: &str, error: &wasmtime::Error) -> LoadError {
        LoadError::Interface {
            interface: named(interface, self.version),
            detail: crate::text::line(&format!("{error:#}"), limits::LOG_LINE_BYTES),
        }
    }
}
