//! Acts on the database: each loads what a decision of [`weir_domain::record`] needs, and applies its changes, in the
//! caller's transaction.

mod apply;
pub(crate) mod attachments;
pub(crate) mod channels;
pub(crate) mod clearing;
pub(crate) mod contacts;
pub(crate) mod deliveries;
pub(crate) mod endpoints;
pub(crate) mod erasure;
pub(crate) mod events;
pub(crate) mod inbound;
pub(crate) mod outbound;
pub(crate) mod outbox;
pub(crate) mod recovery;
pub(crate) mod states;
pub(crate) mod versions;
pub(crate) mod window_events;

pub(crate) use apply::apply;
