//! The catalog of events: each type with the JSON Schema of its payload.
//!
//! Event payloads have shapes of their own, `event.Message` next to the API's `Message`; the API description lists
//! identical shapes once. Receivers must ignore members that they do not know: no schema here forbids additional
//! members.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::Json as JsonBody;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{PartialSchema, ToSchema};
use weir_domain::event::{self, EventType};

use super::caller::{InChannels, May, Read};
use super::list::List;
use super::problem::{ApiResult, Problem};
use crate::Host;

/// The dialect that OpenAPI 3.1 describes things in.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// A type of event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventTypeView {
    /// Its name.
    #[serde(rename = "type")]
    kind: EventType,
    /// When it occurs.
    description: &'static str,
    /// The URL of its JSON Schema.
    schema_url: String,
}

/// The payload of the events of a type: names of schemas, any of which fits.
pub(super) fn carries(kind: EventType) -> &'static [&'static str] {
    use EventType as T;
    match kind {
        T::MessageReceived
        | T::MessageEchoed
        | T::MessageQueued
        | T::MessageSent
        | T::MessageDelivered
        | T::MessageRead
        | T::MessageFailed
        | T::MessageUncertain
        | T::MessageCancelled => &["event.Message"],
        T::ReactionAdded | T::ReactionRemoved => &["Reaction"],
        T::ContactCreated => &["ContactCreated"],
        T::ContactUpdated => &["event.Contact"],
        T::ContactErased => &["ErasedContact"],
        T::ConversationOpened => &["ConversationOpened"],
        T::ConversationClosed => &["ClosedConversation"],
        T::WindowOpened | T::WindowClosing | T::WindowClosed => &["event.ConversationView"],
        T::ReferralReceived => &["ReferralReceived"],
        T::MediaStored | T::MediaFailed => &["MediaFetched"],
        T::ChannelConnected
        | T::ChannelPaused
        | T::ChannelDegraded
        | T::ChannelReauthorizationRequired
        | T::ChannelRecovered
        | T::ChannelDeleted => &["ChannelEventData"],
        // The platform's report about an account, which has no type of its own.
        T::ChannelUpdated => &["ChannelEventData", "ChannelNotice"],
        T::ChannelInboundWithheld => &["ChannelNotice"],
        T::ConnectorStaged
        | T::ConnectorCanary
        | T::ConnectorPromoted
        | T::ConnectorRolledBack
        | T::ConnectorQuarantined => &["ConnectorVersionEventData"],
        T::EndpointFailing | T::EndpointDisabled | T::EndpointRecovered => &["EndpointEventData"],
    }
}

/// The schemas of event payloads.
pub(super) fn schemas() -> Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>)> {
    let mut all = Vec::new();
    macro_rules! add {
        ($($kind:ty),*) => {$(
            <$kind>::schemas(&mut all);
            all.push((<$kind as ToSchema>::name().into_owned(), <$kind as PartialSchema>::schema()));
        )*};
    }
    add!(
        event::Message,
        event::Content,
        event::Reaction,
        event::Contact,
        event::ContactCreated,
        event::ErasedContact,
        event::Conversation,
        event::ConversationOpened,
        event::ClosedConversation,
        event::ReferralReceived,
        event::MediaFetched,
        event::ChannelEventData,
        event::ChannelNotice,
        event::ConnectorVersionEventData,
        event::EndpointEventData
    );
    all
}

/// The schema of a type's payload, within the API's description.
pub(super) fn carried(kind: EventType) -> Value {
    let each: Vec<Value> = carries(kind)
        .iter()
        .map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }))
        .collect();
    match <[Value; 1]>::try_from(each) {
        Ok([one]) => one,
        Err(several) => json!({ "anyOf": several }),
    }
}

/// Each type's JSON Schema, self-contained.
#[derive(Clone, Debug)]
pub(crate) struct Catalog(Arc<BTreeMap<&'static str, Value>>);

impl Catalog {
    /// From the description of the API.
    pub(super) fn of(api: &Value) -> Self {
        let all = EventType::ALL.iter().map(|kind| (kind.as_str(), schema(api, *kind)));
        Self(Arc::new(all.collect()))
    }

    #[cfg(test)]
    pub(super) fn schemas(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, schema)| (*name, schema))
    }
}

/// The name of an event's schema: `MessageReceivedEvent`.
pub(super) fn event_name(kind: EventType) -> String {
    let words = kind.as_str().split(['.', '_']);
    let words = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]);
    words.chain(["Event".to_owned()]).collect()
}

fn schema(api: &Value, kind: EventType) -> Value {
    let known = &api["components"]["schemas"];
    let mut whole = known[event_name(kind)].clone();
    whole["$schema"] = DIALECT.into();
    whole["title"] = kind.as_str().into();
    let mut defs = Map::new();
    gather(known, &mut whole, &mut defs);
    whole["$defs"] = defs.into();
    whole
}

/// Turns references into the description into references into the document, and copies their targets.
fn gather(known: &Value, value: &mut Value, defs: &mut Map<String, Value>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| gather(known, item, defs)),
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/components/schemas/").map(ToOwned::to_owned)
            {
                *reference = format!("#/$defs/{name}");
                if !defs.contains_key(&name) {
                    // Its place is reserved before its references are followed: schemas may refer to each other.
                    defs.insert(name.clone(), Value::Null);
                    let mut named = known[&name].clone();
                    gather(known, &mut named, defs);
                    defs.insert(name, named);
                }
            }
            members.values_mut().for_each(|member| gather(known, member, defs));
        }
        _ => {}
    }
}

/// List event types
#[utoipa::path(get, path = "/v1/event-types", tag = "events", responses((status = 200, body = List<EventTypeView>)))]
pub(crate) async fn list(_caller: May<Read, InChannels>, State(host): State<Host>) -> JsonBody<List<EventTypeView>> {
    let all = EventType::ALL.iter().map(|kind| EventTypeView {
        kind: *kind,
        description: kind.meaning(),
        schema_url: host.config().public(&format!("/v1/event-types/{}", kind.as_str())),
    });
    List::whole(all.collect())
}

/// Get the JSON Schema of an event type
#[utoipa::path(get, path = "/v1/event-types/{type}", tag = "events", params(("type" = String, Path, description = "As `message.received`")),
    responses((status = 200, content_type = "application/schema+json", body = Value)))]
pub(crate) async fn get(
    _caller: May<Read, InChannels>,
    Extension(Catalog(schemas)): Extension<Catalog>,
    Path(name): Path<String>,
) -> ApiResult<impl IntoResponse> {
    let schema = schemas
        .get(name.as_str())
        .ok_or_else(|| Problem::no_such("event type"))?;
    Ok(([(CONTENT_TYPE, "application/schema+json")], schema.to_string()))
}
