//! Converts between the interface's types and the domain's. What a connector returns is untrusted: every member is
//! bounded, and one over its bound is an error that names it. Only the text of a message is never rejected for its
//! size, since a person wrote it: it is truncated and marked as a fallback.

mod checks;
mod failure;
mod manifest;
mod message;
mod reply;

pub(crate) use manifest::manifest;
pub(crate) use message::{channel, conversation, draft, events, media_out, referral_out, state};
pub(crate) use reply::{
    automation_id, automation_out, automations, batch, capabilities, conversation_page, findings, message_page,
    preview, profile, sent, setup_findings, some_person,
};
