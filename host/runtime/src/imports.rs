//! Host functions that a connector may call: one file for each interface. Their arguments are untrusted.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use crate::call::data::CallData;
use crate::interface::bindings::weir::connector;
use crate::interface::exports::VERSIONS;

pub(crate) mod clock;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod state;

/// The interfaces that a component may import, in each supported version. WASI is not among them: a connector has no
/// files, sockets or environment, and the clock that it needs is one of these.
const INTERFACES: [&str; 5] = ["types", "http", "state", "log", "clock"];

/// Whether a component may import an interface of this name.
pub(crate) fn is_allowed(name: &str) -> bool {
    let ours = |interface: &str, version: &str| name == format!("weir:connector/{interface}@{version}");
    VERSIONS
        .iter()
        .any(|version| INTERFACES.iter().any(|interface| ours(interface, version)))
}

/// A linker with exactly the allowed interfaces, under the names of each version. All versions call the same functions,
/// so that none is a way around a check of another.
pub(crate) fn linker(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<CallData>> {
    let mut linker = Linker::new(engine);
    for version in VERSIONS {
        let named = |interface: &str| format!("weir:connector/{interface}@{version}");
        linker.instance(&named("types"))?;
        let mut http = linker.instance(&named("http"))?;
        http.func_wrap_async(
            "fetch",
            |mut call: StoreContextMut<'_, CallData>, (request,): (http::wit::Request,)| {
                Box::new(async move { Ok((http::wit::Host::fetch(call.data_mut(), request).await,)) })
            },
        )?;
        let mut state = linker.instance(&named("state"))?;
        state.func_wrap("get", |mut call: StoreContextMut<'_, CallData>, (key,): (String,)| {
            Ok((connector::state::Host::get(call.data_mut(), key),))
        })?;
        state.func_wrap(
            "set",
            |mut call: StoreContextMut<'_, CallData>, (key, value): (String, Vec<u8>)| {
                Ok((connector::state::Host::set(call.data_mut(), key, value),))
            },
        )?;
        state.func_wrap(
            "delete",
            |mut call: StoreContextMut<'_, CallData>, (key,): (String,)| {
                Ok((connector::state::Host::delete(call.data_mut(), key),))
            },
        )?;
        state.func_wrap(
            "keys",
            |mut call: StoreContextMut<'_, CallData>, (prefix,): (String,)| {
                Ok((connector::state::Host::keys(call.data_mut(), prefix),))
            },
        )?;
        let mut log = linker.instance(&named("log"))?;
        log.func_wrap(
            "write",
            |mut call: StoreContextMut<'_, CallData>, (level, message): (connector::log::Level, String)| {
                connector::log::Host::write(call.data_mut(), level, message);
                Ok(())
            },
        )?;
        let mut clock = linker.instance(&named("clock"))?;
        clock.func_wrap("now", |mut call: StoreContextMut<'_, CallData>, (): ()| {
            Ok((connector::clock::Host::now(call.data_mut()),))
        })?;
    }
    Ok(linker)
}

// Types only: there are no functions.
impl connector::types::Host for CallData {}
