//! The database's interface, by noun; [`Store`] is all of it. Each method is one transaction, and documents its
//! guarantee for concurrent callers. Below each noun its methods delegate to the [tables](crate::tables) and
//! [acts](crate::acts), the same for every [`Engine`](crate::engine::Engine).

mod apps;
mod attachments;
mod channels;
mod claims;
mod clocks;
mod connect_sessions;
mod contacts;
mod conversations;
mod credentials;
mod deliveries;
mod endpoints;
mod events;
mod history;
mod inbound;
mod keys;
mod ledger;
mod nodes;
mod outbox;
mod rates;
mod referrals;
mod revisions;
mod states;
mod transcripts;
mod upkeep;
mod versions;
mod work;
mod workspaces;

pub use apps::Apps;
pub use attachments::Attachments;
pub use channels::Channels;
pub use claims::Claims;
pub use clocks::Clocks;
pub use connect_sessions::ConnectSessions;
pub use contacts::Contacts;
pub use conversations::Conversations;
pub use credentials::Credentials;
pub use deliveries::Deliveries;
pub use endpoints::Endpoints;
pub use events::Events;
pub use history::History;
pub use inbound::Inbound;
pub use keys::Keys;
pub use ledger::Ledger;
pub use nodes::Nodes;
pub use outbox::Outbox;
pub use rates::Rates;
pub use referrals::Referrals;
pub use revisions::Revisions;
pub use states::States;
pub use transcripts::Transcripts;
pub use upkeep::Upkeep;
pub use versions::Versions;
pub use work::ChannelWork;
pub use workspaces::Workspaces;

/// The database: all of its nouns.
pub trait Store:
    Workspaces
    + Keys
    + Apps
    + Versions
    + Transcripts
    + ConnectSessions
    + Channels
    + Credentials
    + History
    + Revisions
    + ChannelWork
    + States
    + Inbound
    + Contacts
    + Conversations
    + Referrals
    + Outbox
    + Attachments
    + Events
    + Endpoints
    + Deliveries
    + Ledger
    + Claims
    + Nodes
    + Clocks
    + Rates
    + Upkeep
    + 'static
{
}

impl<S> Store for S where
    S: Workspaces
        + Keys
        + Apps
        + Versions
        + Transcripts
        + ConnectSessions
        + Channels
        + Credentials
        + History
        + Revisions
        + ChannelWork
        + States
        + Inbound
        + Contacts
        + Conversations
        + Referrals
        + Outbox
        + Attachments
        + Events
        + Endpoints
        + Deliveries
        + Ledger
        + Claims
        + Nodes
        + Clocks
        + Rates
        + Upkeep
        + 'static
{
}
