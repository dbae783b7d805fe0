//! From the interface's types to the domain's and back. What comes in was written by a stranger: every member is bounded, and
//! what is over its bound is an error that names it. One thing is never turned away for its size, the text of a message:
//! a person wrote it to be read.

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
