//! The output of `wit-bindgen` for the worlds in `wit/v0.1`: one module for the world that every connector has, one for
//! each capability that a connector may add. All share the types of the first.
//!
//! Connectors use the names that the crate's root and [`abilities`](crate::abilities) give; the modules are public
//! since [`export!`](crate::export!) names them from the connector's crate.

#![allow(missing_docs, unsafe_code, unreachable_pub)]
#![allow(clippy::semicolon_if_nothing_returned, clippy::uninlined_format_args)]

wit_bindgen::generate!({
    path: "../../wit/v0.1",
    world: "connector",
    pub_export_macro: true,
    default_bindings_module: "weir_sdk::bindings",
    additional_derives: [PartialEq],
});

/// One optional world: its traits, its types, its export macro.
macro_rules! ability {
    ($module:ident, $world:literal, $path:literal $(, $with:literal: $types:path)?) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit/v0.1",
                world: $world,
                pub_export_macro: true,
                default_bindings_module: $path,
                additional_derives: [PartialEq],
                with: { $($with: $types)? },
            });
        }
    };
    ($module:ident, $world:literal, $path:literal, shared types) => {
        ability!($module, $world, $path, "weir:connector/types@0.1.0": crate::bindings::weir::connector::types);
    };
}

ability!(signals, "with-signals", "weir_sdk::bindings::signals", shared types);
ability!(media_transfer, "with-media-transfer", "weir_sdk::bindings::media_transfer", shared types);
ability!(probing, "with-probing", "weir_sdk::bindings::probing", shared types);
ability!(history, "with-history", "weir_sdk::bindings::history", shared types);
ability!(automations, "with-automations", "weir_sdk::bindings::automations", shared types);
ability!(ads, "with-ads", "weir_sdk::bindings::ads", shared types);
ability!(polling, "with-polling", "weir_sdk::bindings::polling", shared types);
// Its types share none with the first world.
ability!(upgrade, "with-upgrade", "weir_sdk::bindings::upgrade");
