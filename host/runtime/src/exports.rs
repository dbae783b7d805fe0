//! The exports of a component: found once when it is loaded, looked up in each instance.

use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};
use weir_domain::limits;

use crate::bindings::exports::weir::connector as wit;
use crate::call::CallData;
use crate::error::LoadError;

/// Where the exports are in a component, found once.
pub(crate) struct Exports {
    pub(crate) descriptor: wit::descriptor::GuestIndices,
    pub(crate) inbound: wit::inbound::GuestIndices,
    pub(crate) outbound: wit::outbound::GuestIndices,
    pub(crate) identity: wit::identity::GuestIndices,
    pub(crate) signals: Option<wit::signals::GuestIndices>,
    pub(crate) media_transfer: Option<wit::media_transfer::GuestIndices>,
    pub(crate) probing: Option<wit::probing::GuestIndices>,
    pub(crate) history: Option<wit::history::GuestIndices>,
    pub(crate) automations: Option<wit::automations::GuestIndices>,
    pub(crate) ads: Option<wit::ads::GuestIndices>,
    pub(crate) polling: Option<wit::polling::GuestIndices>,
    pub(crate) upgrade: Option<wit::upgrade::GuestIndices>,
}

/// The full name of an interface of ours.
fn interface(name: &str) -> String {
    format!("weir:connector/{name}@0.1.0")
}

pub(crate) fn another_shape(name: &str, error: &wasmtime::Error) -> LoadError {
    LoadError::Interface {
        interface: interface(name),
        detail: crate::text::line(&format!("{error:#}"), limits::LOG_LINE_BYTES),
    }
}

impl Exports {
    /// Finds the exports of a component.
    ///
    /// # Errors
    /// One that every connector has is missing, or one has another shape.
    pub(crate) fn find(pre: &InstancePre<CallData>) -> Result<Self, LoadError> {
        let component = pre.component();
        let has = |name: &str| component.get_export_index(None, interface(name)).is_some();
        let wrong = |name: &'static str| move |error: wasmtime::Error| another_shape(name, &error);
        macro_rules! required {
            ($module:ident, $name:literal) => {{
                if !has($name) {
                    return Err(LoadError::NoExport {
                        export: interface($name),
                    });
                }
                wit::$module::GuestIndices::new(pre).map_err(wrong($name))?
            }};
        }
        macro_rules! optional {
            ($module:ident, $name:literal) => {
                has($name)
                    .then(|| wit::$module::GuestIndices::new(pre))
                    .transpose()
                    .map_err(wrong($name))?
            };
        }
        Ok(Self {
            descriptor: required!(descriptor, "descriptor"),
            inbound: required!(inbound, "inbound"),
            outbound: required!(outbound, "outbound"),
            identity: required!(identity, "identity"),
            signals: optional!(signals, "signals"),
            media_transfer: optional!(media_transfer, "media-transfer"),
            probing: optional!(probing, "probing"),
            history: optional!(history, "history"),
            automations: optional!(automations, "automations"),
            ads: optional!(ads, "ads"),
            polling: optional!(polling, "polling"),
            upgrade: optional!(upgrade, "upgrade"),
        })
    }

    /// Looks every export up in an instance, which is when the engine compares their types.
    ///
    /// # Errors
    /// The first that has another shape, and the engine's words.
    pub(crate) fn check(
        &self,
        store: &mut Store<CallData>,
        instance: &Instance,
    ) -> Result<(), (&'static str, wasmtime::Error)> {
        macro_rules! check {
            ($($module:ident $name:literal),*) => {
                $(self.$module.load(&mut *store, instance).map_err(|error| ($name, error))?;)*
            };
        }
        macro_rules! check_optional {
            ($($module:ident $name:literal),*) => {
                $(if let Some(indices) = &self.$module {
                    indices.load(&mut *store, instance).map_err(|error| ($name, error))?;
                })*
            };
        }
        check!(descriptor "descriptor", inbound "inbound", outbound "outbound", identity "identity");
        check_optional!(
            signals "signals", media_transfer "media-transfer", probing "probing", history "history",
            automations "automations", ads "ads", polling "polling", upgrade "upgrade"
        );
        Ok(())
    }

    /// The plain names of the optional interfaces that are there.
    pub(crate) fn provided(&self) -> Vec<String> {
        [
            ("signals", self.signals.is_some()),
            ("media-transfer", self.media_transfer.is_some()),
            ("probing", self.probing.is_some()),
            ("history", self.history.is_some()),
            ("automations", self.automations.is_some()),
            ("ads", self.ads.is_some()),
            ("polling", self.polling.is_some()),
            ("upgrade", self.upgrade.is_some()),
        ]
        .into_iter()
        .filter(|(_, there)| *there)
        .map(|(name, _)| name.to_owned())
        .collect()
    }
}
