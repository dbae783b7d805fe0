//! What the API takes and shows of the things that the record and the events have too. Its shapes are its own: a member that comes
//! here changes no stored document and no event. What one route alone shows stands with its handler.

pub(crate) mod channel;
pub(crate) mod contact;
pub(crate) mod conversation;
pub(crate) mod message;
pub(crate) mod referral;
