//! Machine code: the compiler, the cache on disk, and the type that proves that this host made it.

mod cache;
mod compile;
mod precompiled;

pub(crate) use cache::Cache;
pub(crate) use compile::Compiler;
pub use compile::compile_here;
