//! Contacts: people who exchange messages with channels.

use std::collections::BTreeSet;

use axum::Json as JsonBody;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use weir_domain::caller::Caller;
use weir_domain::id::{ChannelId, ContactId};

use super::audit::record;
use super::body::{Named, Params};
use super::caller::{ChannelsWrite, InChannels, May, Read};
use super::list::{List, Paging};
use super::problem::{ApiResult, Problem};
use super::types::contact::{Contact, Removed};
use crate::Host;

/// A filter of contacts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfChannel {
    /// Of this channel only.
    pub(crate) channel_id: Option<ChannelId>,
}

/// The channels to search in; all if empty.
pub(super) fn narrowed(caller: &Caller, wanted: Option<ChannelId>) -> ApiResult<BTreeSet<ChannelId>> {
    caller.narrowed(wanted).ok_or_else(|| Problem::no_such("channel"))
}

/// List contacts, newest first
#[utoipa::path(get, path = "/v1/contacts", tag = "contacts", params(OfChannel, Paging), responses((status = 200, body = List<Contact>)))]
pub(crate) async fn list(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Params(of): Params<OfChannel>,
    Params(paging): Params<Paging>,
) -> ApiResult<JsonBody<List<Contact>>> {
    let listed = host
        .store()
        .contacts(caller.workspace_id(), narrowed(&caller, of.channel_id)?, paging.page()?)
        .await?;
    Ok(List::of(listed, Contact::from))
}

/// Get a contact
#[utoipa::path(get, path = "/v1/contacts/{id}", tag = "contacts", params(("id" = ContactId, Path)), responses((status = 200, body = Contact)))]
pub(crate) async fn get(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ContactId>,
) -> ApiResult<JsonBody<Contact>> {
    let contact = host.store().contact(caller.workspace_id(), id).await?;
    let contact = contact.filter(|contact| caller.sees(Some(contact.channel_id)));
    Ok(JsonBody(contact.ok_or_else(|| Problem::no_such("contact"))?.into()))
}

/// Refresh a contact's profile from the platform
///
/// Stores the name and picture that the platform returns. Fields that it omits stay unchanged.
#[utoipa::path(post, path = "/v1/contacts/{id}/refresh", operation_id = "refresh_contact", tag = "contacts", params(("id" = ContactId, Path)),
    responses((status = 200, body = Contact)))]
pub(crate) async fn refresh(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ContactId>,
) -> ApiResult<JsonBody<Contact>> {
    let contact = host.accounts.look_up(&caller, id).await?;
    record(
        &host,
        &caller,
        "contact.refresh",
        &id.to_string(),
        serde_json::json!({}),
    )
    .await;
    Ok(JsonBody(contact.into()))
}

/// Erase a contact, with all their conversations, messages, files and events
///
/// Records elsewhere that identify the contact are deleted too: dead letters, transcripts, refusals, stored responses.
/// With the header `Prefer: return=representation` the response lists what was removed; so does the event
/// `contact.erased`.
#[utoipa::path(post, path = "/v1/contacts/{id}/erase", operation_id = "erase_contact", tag = "contacts", params(("id" = ContactId, Path)),
    responses((status = 200, body = Removed, description = "What was removed, if the request asks for it"),
        (status = 204, description = "The contact is erased; its next message creates a new one")))]
pub(crate) async fn erase(
    caller: May<ChannelsWrite, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ContactId>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let removed = host
        .media
        .erase_contact(&caller, id)
        .await?
        .ok_or_else(|| Problem::no_such("contact"))?;
    let removed = Removed::from(removed);
    record(
        &host,
        &caller,
        "contact.erase",
        &id.to_string(),
        serde_json::json!(removed),
    )
    .await;
    Ok(if prefers_document(&headers) {
        JsonBody(removed).into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    })
}

/// Whether the caller requests a document where the response would be empty (RFC 7240, 4.2).
fn prefers_document(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    preferences
        .flat_map(|value| value.split(','))
        .any(|preference| preference.trim().eq_ignore_ascii_case("return=representation"))
}
