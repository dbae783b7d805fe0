//! The host's side of `weir:connector@0.1.0`, generated from `wit/v0.1`. A later version gets a module of its own beside
//! this one.
//!
//! One world that holds every interface, so that all of them share their types; which optional ones a component has is found
//! by looking for each, never by asking for the whole.
#![allow(missing_docs, unreachable_pub, clippy::all)]

wasmtime::component::bindgen!({
    path: "../../wit/v0.1",
    inline: "
        package weir:host;
        world everything {
            include weir:connector/connector@0.1.0;
            include weir:connector/with-signals@0.1.0;
            include weir:connector/with-media-transfer@0.1.0;
            include weir:connector/with-probing@0.1.0;
            include weir:connector/with-history@0.1.0;
            include weir:connector/with-automations@0.1.0;
            include weir:connector/with-ads@0.1.0;
            include weir:connector/with-polling@0.1.0;
            include weir:connector/with-upgrade@0.1.0;
        }
    ",
    world: "weir:host/everything",
    imports: { "weir:connector/http.fetch": async },
    exports: { default: async },
    // What crosses the boundary is written into transcripts as it is.
    additional_derives: [Clone, PartialEq, serde::Serialize, serde::Deserialize],
});
