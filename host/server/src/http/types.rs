//! The API's representation of objects that the database and the events have too. Its shapes are its own: a member that
//! is added here changes no stored document and no event. A type that only one route uses is next to its handler.

pub(crate) mod channel;
pub(crate) mod contact;
pub(crate) mod conversation;
pub(crate) mod message;
pub(crate) mod referral;
