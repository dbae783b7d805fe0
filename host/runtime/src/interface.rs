//! The interface `weir:connector` on the host's side: its functions and types, and what is made of a connector's
//! answers.

pub(crate) mod bindings;
pub(crate) mod convert;
pub(crate) mod exports;
pub(crate) mod functions;
pub(crate) mod output;
