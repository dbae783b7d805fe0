//! The tables of the database: the statements that read and write each, in SQL that every engine accepts. A change that
//! spans several tables is an [act](crate::acts); tables never call acts.

pub(crate) mod canary_runs;
pub(crate) mod channels;
pub(crate) mod claims;
pub(crate) mod clock;
pub(crate) mod components;
pub(crate) mod connect;
pub(crate) mod connectors;
pub(crate) mod conversations;
pub(crate) mod crashes;
pub(crate) mod deliveries;
pub(crate) mod early;
pub(crate) mod echo;
pub(crate) mod endpoints;
pub(crate) mod events;
pub(crate) mod gaps;
pub(crate) mod intents;
pub(crate) mod keys;
pub(crate) mod ledger;
pub(crate) mod loaded;
pub(crate) mod media;
pub(crate) mod messages;
pub(crate) mod nodes;
pub(crate) mod outbox;
pub(crate) mod rates;
pub(crate) mod referrals;
pub(crate) mod retention;
pub(crate) mod revisions;
pub(crate) mod seen;
pub(crate) mod state;
pub(crate) mod transcripts;
pub(crate) mod work;
pub(crate) mod workspaces;

/// The channel `?1` of the workspace `?2`, for rows that belong to a channel and have no workspace column.
const CHANNEL: &str = "(SELECT id FROM channels WHERE id = ?1 AND workspace_id = ?2)";
