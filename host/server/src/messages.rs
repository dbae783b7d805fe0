//! Messages: webhooks into the store, drafts out to the platform, and attachments.

pub mod dead_letters;
pub(crate) mod deliverer;
pub(crate) mod fetcher;
pub mod history;
pub mod inbound;
mod leftovers;
pub mod media;
mod media_store;
pub mod outbound;
pub(crate) mod poller;
pub(crate) mod reconciler;
