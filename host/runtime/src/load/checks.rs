//! Checks before and after compilation: form, size, and the resources that an instance needs.

use wasmparser::{Parser, Payload};
use wasmtime::Engine;
use wasmtime::component::Component;
use weir_domain::limits;

use crate::error::LoadError;
use crate::text;

/// The first bytes of every WebAssembly file (WebAssembly core specification, 5.5.16).
pub(super) const MAGIC: &[u8] = b"\0asm";
/// What follows in a module.
const MODULE: &[u8] = &[1, 0, 0, 0];
/// What follows in a component (Component Model, Binary Format).
pub(super) const COMPONENT: &[u8] = &[0x0d, 0, 1, 0];

/// Whether the bytes can be a component.
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
            return not("it is precompiled (.cwasm), which cannot be checked; send the component itself");
        }
        let text = bytes.trim_ascii_start();
        if text.starts_with(b"(") || text.starts_with(b";;") {
            return not("it is WebAssembly text; send the binary format");
        }
        if MAGIC.starts_with(bytes) {
            return not("it is cut off after its first bytes; send it again");
        }
        return not("it is not WebAssembly");
    };
    match rest.get(..4) {
        Some(version) if version == COMPONENT => Ok(()),
        Some(version) if version == MODULE => {
            not("it is a core module; convert it to a component, as `cargo xtask build-connectors` does")
        }
        Some(_) => not("its version of WebAssembly is not supported"),
        None => not("it is cut off after its first bytes; send it again"),
    }
}

/// Whether it compiles in reasonable time, which grows faster than the size of a function.
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

/// Whether an instance may use the resources that it needs initially.
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

/// The size of a page of WebAssembly memory.
const PAGE: usize = 64 << 10;
