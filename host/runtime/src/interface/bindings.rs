//! The host's types of `weir:connector`, generated from the newest version of the interface, `wit/v0.2`. What an older
//! version has, has the same types there; only the names differ, which loading a component resolves.
//!
//! One world includes every interface, so that all share their types. Which optional ones a component exports is looked
//! up one by one; the world itself is never instantiated.
#![allow(missing_docs, unreachable_pub, clippy::all)]

wasmtime::component::bindgen!({
    path: "../../wit/v0.2",
    inline: "
        package weir:host;
        world everything {
            include weir:connector/connector@0.2.0;
            include weir:connector/with-signals@0.2.0;
            include weir:connector/with-media-transfer@0.2.0;
            include weir:connector/with-probing@0.2.0;
            include weir:connector/with-history@0.2.0;
            include weir:connector/with-contacts@0.2.0;
            include weir:connector/with-automations@0.2.0;
            include weir:connector/with-ads@0.2.0;
            include weir:connector/with-polling@0.2.0;
            include weir:connector/with-upgrade@0.2.0;
        }
    ",
    world: "weir:host/everything",
    imports: { "weir:connector/http.fetch": async },
    exports: { default: async },
    // What crosses the boundary is recorded in transcripts.
    additional_derives: [Clone, PartialEq, serde::Serialize, serde::Deserialize],
});
