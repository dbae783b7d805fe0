//! Messages: from a webhook to the record, from a draft to the platform, and the files that go with them.

pub mod deliverer;
pub mod fetcher;
pub(crate) mod history;
pub mod inbound;
pub(crate) mod leftovers;
pub mod media;
pub mod outbound;
pub(crate) mod poller;
pub mod reconciler;
