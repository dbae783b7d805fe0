//! What is looked at before and after a component is compiled: its form, its size, and what an instance of it needs.

use wasmparser::{Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;
use weir_domain::limits;

use crate::error::LoadError;
use crate::text;

/// The beginning of every WebAssembly file (WebAssembly core specification, 5.5.16).
pub(super) const MAGIC: &[u8] = b"\0asm";
/// What follows it in a module.
const MODULE: &[u8] = &[1, 0, 0, 0];
/// What follows it in a component (Component Model, Binary Format).
pub(super) const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// Whether this can be a component at all.
pub(super) fn check_form(bytes: &[u8]) -> Result<(), LoadError> {
    if bytes.is_empty() {
        return Err(LoadError::Empty);
    }
    if bytes.len() > limits::COMPONENT_BYTES {
        return Err(LoadError::TooLarge { bytes: bytes.len() });
    }
    let not = |what| Err(LoadError::NotAComponent { what });
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        if Engine::detect_precompiled(bytes).is_some() {
            return not("it is compiled already (.cwasm), which nobody can check; send the component itself");
        }
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"(") || text.starts_with(b";;") {
            return not("it is WebAssembly text; send the binary form");
        }
        if MAGIC.starts_with(bytes) {
            return not("it ends within its first bytes; it was cut off on its way");
        }
        return not("it is not WebAssembly");
    };
    match rest.get(..4) {
        Some(version) if version == COMPONENT => Ok(()),
        Some(version) if version == MODULE => {
            not("it is a core module; make a component of it, as `cargo xtask build-connectors` does")
        }
        Some(_) => not("its version of WebAssembly is not known here"),
        None => not("it ends within its first bytes; it was cut off on its way"),
    }
}

/// Whether compiling it takes a reasonable time: that grows faster than a function does.
pub(super) fn check_code(bytes: &[u8]) -> Result<(), LoadError> {
    let mut functions = 0;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| LoadError::Invalid {
            detail: text::line(&error.to_string(), limits::LOG_LINE_BYTES),
        })?;
        if let Payload::CodeSectionEntry(body) = payload {
            functions += 1;
            let length = body.range().len();
            if length > limits::FUNCTION_BYTES {
                return Err(LoadError::TooComplex {
                    what: "bytes in one function",
                    count: length,
                    limit: limits::FUNCTION_BYTES,
                });
            }
        }
    }
    if functions > limits::COMPONENT_FUNCTIONS {
        return Err(LoadError::TooComplex {
            what: "functions",
            count: functions,
            limit: limits::COMPONENT_FUNCTIONS,
        });
    }
    Ok(())
}

/// Whether an instance can have what it needs from the start.
pub(super) fn check_resources(component: &Component) -> Result<(), LoadError> {
    let Some(needs) = component.resources_required() else {
        return Err(LoadError::Import {
            import: "a core module".to_owned(),
        });
    };
    let check = |what, needed: u64, limit: u64| {
        (needed <= limit)
            .then_some(())
            .ok_or(LoadError::Resources { what, needed, limit })
    };
    check("memories", u64::from(needs.num_memories), 1)?;
    check("tables", u64::from(needs.num_tables), u64::from(limits::GUEST_TABLES))?;
    check(
        "pages of memory",
        needs.max_initial_memory_size.unwrap_or(0),
        (limits::GUEST_MEMORY_BYTES / PAGE) as u64,
    )?;
    check(
        "table elements",
        needs.max_initial_table_size.unwrap_or(0),
        limits::GUEST_TABLE_ELEMENTS as u64,
    )
}

/// A page of WebAssembly's memory.
const PAGE: usize = 64 << 10;
