//! For connector authors.
#[allow(missing_docs)]
pub mod bindings {
    wit_bindgen::generate!({ path: "../../wit/v0.1", world: "connector", pub_export_macro: true, default_bindings_module: "weir_sdk::bindings" });
    pub mod signals {
        wit_bindgen::generate!({ path: "../../wit/v0.1", world: "with-signals", pub_export_macro: true, default_bindings_module: "weir_sdk::bindings::signals",
            with: {"weir:connector/types@0.1.0": crate::bindings::weir::connector::types} });
    }
}
