//! What a connector returns other than events and failures: profiles, findings, pages.

use std::time::Duration;

use weir_domain::inbound::Person;
use weir_domain::limits;
use weir_domain::message::ContentKind;
use weir_domain::policy::Finding;
use weir_domain::time::Timestamp;

use super::checks::{Converted, each, id, json, name, some_id, some_json, some_text, some_token, token, url};
use super::message::{events, person};
use crate::context::ConversationFacts;
use crate::error::ConversionError;
use crate::interface::bindings::exports::weir::connector::{
    automations as auto, history, identity, outbound, polling, probing,
};
use crate::interface::bindings::weir::connector::types as wit;
use crate::interface::output::{
    Automation, Batch, Capability, ConversationPage, ConversationSummary, MessagePage, Profile, SetupFinding,
};
use crate::text;

/// The platform's id and time of a sent message.
pub(crate) fn sent(sent: outbound::Sent) -> Converted<(String, Option<Timestamp>)> {
    Ok((
        id("platform-id", sent.platform_id)?,
        sent.at.map(Timestamp::from_unsigned_millis),
    ))
}

/// Findings about a draft.
pub(crate) fn findings(findings: Vec<outbound::Finding>) -> Converted<Vec<Finding>> {
    each("findings", findings, limits::ANSWER_ENTRIES, |finding| {
        Ok(Finding {
            pointer: text::line(&finding.pointer, limits::NAME_BYTES),
            code: token("code", finding.code)?,
            detail: text::line(&finding.detail, limits::LOG_LINE_BYTES),
        })
    })
}

/// An account's profile.
pub(crate) fn profile(profile: identity::Profile) -> Converted<Profile> {
    Ok(Profile {
        platform_id: id("platform-id", profile.platform_id)?,
        username: name("username", profile.username)?,
        display_name: name("display-name", profile.display_name)?,
        avatar_url: url("avatar-url", profile.avatar_url)?,
        account_kind: token("account-kind", profile.account_kind)?,
        country: country(profile.country)?,
        platform_data: some_json("platform-data", profile.platform_data)?,
    })
}

fn country(country: Option<String>) -> Converted<Option<String>> {
    let Some(country) = country.filter(|country| !country.is_empty()) else {
        return Ok(None);
    };
    let code = country.to_ascii_uppercase();
    if code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        Ok(Some(code))
    } else {
        Err(ConversionError::new("country", "is no code of ISO 3166-1 alpha-2"))
    }
}

/// The checks of an account's setup.
pub(crate) fn setup_findings(findings: Vec<identity::Finding>) -> Converted<Vec<SetupFinding>> {
    each("findings", findings, limits::ANSWER_ENTRIES, |finding| {
        Ok(SetupFinding {
            subject: token("subject", finding.subject)?,
            ok: finding.ok,
            evidence: text::line(&finding.evidence, limits::LOG_LINE_BYTES),
            remedy: text::line(&finding.remedy, limits::LOG_LINE_BYTES),
        })
    })
}

/// The content kinds that a conversation supports.
pub(crate) fn capabilities(capabilities: Vec<probing::Capability>) -> Converted<Vec<Capability>> {
    each("capabilities", capabilities, limits::ANSWER_ENTRIES, |capability| {
        Ok(Capability {
            kind: content_kind(capability.kind),
            allowed: capability.allowed,
            keep: Duration::from_millis(capability.keep_ms),
        })
    })
}

pub(super) fn content_kind(kind: wit::ContentKind) -> ContentKind {
    match kind {
        wit::ContentKind::Text => ContentKind::Text,
        wit::ContentKind::Image => ContentKind::Image,
        wit::ContentKind::Video => ContentKind::Video,
        wit::ContentKind::Audio => ContentKind::Audio,
        wit::ContentKind::File => ContentKind::File,
        wit::ContentKind::Sticker => ContentKind::Sticker,
        wit::ContentKind::Card => ContentKind::Card,
        wit::ContentKind::SharedPost => ContentKind::SharedPost,
        wit::ContentKind::Location => ContentKind::Location,
        wit::ContentKind::Template => ContentKind::Template,
    }
}

fn cursor(cursor: Option<String>) -> Converted<Option<String>> {
    some_text("cursor", cursor, limits::URL_BYTES)
}

/// One page of a channel's conversations.
pub(crate) fn conversation_page(page: history::ConversationPage) -> Converted<ConversationPage> {
    let conversations = each(
        "conversations",
        page.conversations,
        limits::EVENTS_PER_WEBHOOK,
        |summary| {
            Ok(ConversationSummary {
                conversation: ConversationFacts {
                    platform_id: id("conversation.platform-id", summary.conversation.platform_id)?,
                    contact_id: some_id("conversation.contact-id", summary.conversation.contact_id)?,
                    answered: summary.conversation.answered,
                },
                updated_at: summary.updated_at.map(Timestamp::from_unsigned_millis),
            })
        },
    )?;
    Ok(ConversationPage {
        conversations,
        cursor: cursor(page.cursor)?,
    })
}

/// Messages of a conversation; all must belong to the channel.
pub(crate) fn message_page(page: history::MessagePage, channel_platform_id: &str) -> Converted<MessagePage> {
    Ok(MessagePage {
        events: own_events(page.events, channel_platform_id)?,
        contact: page.contact.map(person).transpose()?,
        complete: page.complete,
    })
}

/// The result of a poll; all events must belong to the channel.
pub(crate) fn batch(batch: polling::Batch, channel_platform_id: &str) -> Converted<Batch> {
    Ok(Batch {
        events: own_events(batch.events, channel_platform_id)?,
        cursor: cursor(batch.cursor)?,
        wait: Duration::from_millis(batch.wait_ms),
    })
}

/// Events of one channel. A call is bound to a channel, so an event of another one is an error.
fn own_events(
    raw: Vec<wit::InboundEvent>,
    channel_platform_id: &str,
) -> Converted<Vec<weir_domain::inbound::InboundEvent>> {
    let events = events(raw)?;
    match events
        .iter()
        .position(|event| event.channel_platform_id != channel_platform_id)
    {
        None => Ok(events),
        Some(i) => Err(ConversionError::new(
            format!("events[{i}].channel-platform-id"),
            "is not the channel of this call",
        )),
    }
}

/// A contact's profile, if the platform has one.
pub(crate) fn some_person(contact: Option<wit::Contact>) -> Converted<Option<Person>> {
    contact.map(person).transpose()
}

/// Automatic messages.
pub(crate) fn automations(automations: Vec<auto::Automation>) -> Converted<Vec<Automation>> {
    each("automations", automations, limits::ANSWER_ENTRIES, |automation| {
        Ok(Automation {
            kind: token("kind", automation.kind)?,
            id: some_id("id", automation.id)?,
            enabled: automation.enabled,
            audit: some_token("audit", automation.audit)?,
            content: json("content", &automation.content)?,
        })
    })
}

/// An automatic message, as a connector sees it.
pub(crate) fn automation_out(automation: &Automation) -> auto::Automation {
    auto::Automation {
        kind: automation.kind.clone(),
        id: automation.id.clone(),
        enabled: automation.enabled,
        audit: automation.audit.clone(),
        content: automation.content.to_string(),
    }
}

/// The platform's id of an automatic message.
pub(crate) fn automation_id(id: Option<String>) -> Converted<Option<String>> {
    some_id("id", id)
}

/// The preview of an ad.
pub(crate) fn preview(document: Option<String>) -> Converted<Option<serde_json::Value>> {
    some_json("preview", document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_two_letters() {
        assert_eq!(country(Some("de".into())), Ok(Some("DE".into())));
        assert_eq!(country(Some(String::new())), Ok(None));
        assert!(country(Some("Germany".into())).is_err());
    }
}
