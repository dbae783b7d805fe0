//! Machine code that may be run: where it is made, where it is kept, and the type that proves it.

mod cache;
mod compile;
mod precompiled;

pub(crate) use cache::Cache;
pub(crate) use compile::Compiler;
pub use compile::compile_here;
