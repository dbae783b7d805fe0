//! The OpenAPI 3.1 description, generated from the handlers: all served routes are described.

mod names;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem, Paths, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    Components, Content, HttpMethod, Info, InfoBuilder, License, ObjectBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Required, Response, ResponseBuilder,
};
use utoipa::{PartialSchema, ToSchema};
use weir_domain::event::{Event, EventType};

use super::event_types;
use super::problem::Document;

const KEY: &str = "key";

/// Everything in the description except the paths.
pub(crate) fn head() -> OpenApi {
    let mut components = Components::new();
    components.add_security_scheme(KEY, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let mut schemas = Vec::new();
    Document::schemas(&mut schemas);
    Event::schemas(&mut schemas);
    schemas.push(("Problem".to_owned(), Document::schema()));
    schemas.push(("Event".to_owned(), Event::schema()));
    schemas.extend(event_types::schemas());
    components.schemas.extend(schemas);
    OpenApiBuilder::new()
        .info(info())
        .tags(Some(TAGS.map(|(name, text)| {
            TagBuilder::new().name(name).description(Some(text)).build()
        })))
        .components(Some(components))
        .webhooks(Some(webhooks()))
        .security(Some([SecurityRequirement::new(KEY, [""; 0])]))
        .build()
}

fn info() -> Info {
    InfoBuilder::new()
        .title("Weir")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "A self-hosted host for messaging-channel connectors. Ids sort by time. Times are RFC 3339, UTC, with milliseconds. \
             Failures are problem documents (RFC 9457). Receivers must ignore members and event types that they do not know: \
             new ones may be added at any time.",
        ))
        .license(Some(License::new("Apache-2.0")))
        .build()
}

const TAGS: [(&str, &str); 18] = [
    ("session", "A browser signed in with a key."),
    ("apps", "Our registrations with platforms' developer portals."),
    ("connect sessions", "Links by which a person connects an account."),
    ("channels", "Connected business accounts."),
    ("contacts", "People who exchange messages with channels."),
    ("conversations", "Threads between one channel and one contact."),
    ("messages", "Messages of conversations."),
    ("media", "Attachments of messages."),
    ("events", "The event log, as a list and as a stream."),
    ("endpoints", "URLs that receive events, signed by Standard Webhooks."),
    ("connectors", "Components that implement platforms' protocols."),
    (
        "dead letters",
        "Verified webhooks that a connector could not translate.",
    ),
    ("refusals", "Each refusal, with the rule that decided."),
    ("keys", "API keys."),
    ("workspaces", "Tenants."),
    ("nodes", "The hosts that use the database."),
    ("audit log", "Changes, with their authors."),
    ("webhooks of platforms", "Routes that platforms call."),
];

/// One entry per event type: the payload of a delivery.
fn webhooks() -> Paths {
    EventType::ALL
        .iter()
        .fold(PathsBuilder::new(), |paths, kind| {
            paths.path(kind.as_str(), webhook(*kind))
        })
        .build()
}

fn webhook(kind: EventType) -> PathItem {
    let header = |name: &str, text: &str| -> RefOr<Parameter> {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(text))
            .schema(Some(text_schema()))
            .build()
            .into()
    };
    let body = RequestBodyBuilder::new()
        .content(
            "application/json",
            Content::new(Some(RefOr::Ref(Ref::from_schema_name("Event")))),
        )
        .required(Some(Required::True))
        .build();
    let mut operation = Operation::new();
    operation.summary = Some(format!("{} happened", kind.as_str()));
    operation.operation_id = Some(format!("on_{}", kind.as_str().replace('.', "_")));
    operation.parameters = Some(vec![
        header("webhook-id", "The event's id, for deduplication"),
        header("webhook-timestamp", "Unix seconds of this attempt"),
        header(
            "webhook-signature",
            "`v1,` and HMAC-SHA-256 over id, timestamp and body (Standard Webhooks)",
        ),
    ]);
    operation.request_body = Some(body.into());
    operation.responses.responses.insert(
        "2XX".to_owned(),
        Response::new("Accepted; any other status is retried").into(),
    );
    PathItem::new(HttpMethod::Post, operation)
}

fn text_schema() -> RefOr<utoipa::openapi::schema::Schema> {
    ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .into()
}

/// Common parts of every operation: a problem for each failure, the request's id, and `Idempotency-Key` where it has an
/// effect.
pub(crate) fn finish(mut api: OpenApi) -> OpenApi {
    for (path, item) in &mut api.paths.paths {
        let is_v1 = path.starts_with("/v1/");
        if let Some(post) = item.post.as_mut().filter(|_| is_v1) {
            post.parameters.get_or_insert_default().push(idempotency_key().into());
        }
        for (method, operation) in operations(item) {
            if let Some(name) = names::operation(method, path) {
                operation.operation_id = Some(name.to_owned());
            }
            operation
                .responses
                .responses
                .entry("default".to_owned())
                .or_insert_with(|| problem().into());
        }
    }
    api
}

/// The document as served: with names for clients, the payload of each event, and a description of everything.
pub(crate) fn document(api: &OpenApi) -> Value {
    // Plain data with string keys: it always becomes JSON.
    let mut document = serde_json::to_value(api).unwrap_or_default();
    type_events(&mut document);
    share_shapes(&mut document);
    name_entries(&mut document["components"]["schemas"]);
    each_operation(&mut document, &mut |operation| {
        let summary = operation["summary"].as_str().unwrap_or_default().to_owned();
        for (status, response) in members(&mut operation["responses"]) {
            describe(status, &summary, response);
        }
    });
    rename(&mut document);
    flatten_tuples(&mut document["components"]);
    let schemas = document["components"]["schemas"].clone();
    merge_variants(&mut document["components"]["schemas"], &schemas);
    // OpenAPI 3.1 requires this in place of the license's URL.
    document["info"]["license"]["identifier"] = "Apache-2.0".into();
    document
}

/// Writes a variant that is all of a named object and its tag as one object: generators do not read `allOf` within
/// `oneOf`.
fn merge_variants(value: &mut Value, schemas: &Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| merge_variants(item, schemas)),
        Value::Object(members) => {
            for variant in members
                .get_mut("oneOf")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(parts) = variant.get("allOf").and_then(Value::as_array) {
                    let description = variant["description"].clone();
                    *variant = merged(parts, schemas);
                    variant["description"] = description;
                }
            }
            members.values_mut().for_each(|member| merge_variants(member, schemas));
        }
        _ => {}
    }
}

fn merged(parts: &[Value], schemas: &Value) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for part in parts {
        let name = part["$ref"]
            .as_str()
            .and_then(|reference| reference.strip_prefix(SCHEMA));
        let object = name.map_or(part, |name| &schemas[name]);
        properties.extend(object["properties"].as_object().cloned().unwrap_or_default());
        required.extend(object["required"].as_array().cloned().unwrap_or_default());
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// Writes tuples as lists of fixed length: generators do not support `prefixItems`.
fn flatten_tuples(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(flatten_tuples),
        Value::Object(members) => {
            if let Some(Value::Array(each)) = members.remove("prefixItems") {
                members.insert("minItems".to_owned(), each.len().into());
                members.insert("maxItems".to_owned(), each.len().into());
                let is_alike = each.windows(2).all(|two| two[0] == two[1]);
                let items = match each.first() {
                    Some(first) if is_alike => first.clone(),
                    _ => json!({ "anyOf": each }),
                };
                members.insert("items".to_owned(), items);
            }
            members.values_mut().for_each(flatten_tuples);
        }
        _ => {}
    }
}

/// Entries of a list refer to their schema instead of copying it.
fn name_entries(schemas: &mut Value) {
    let names: Vec<String> = members(schemas).map(|(name, _)| name.to_owned()).collect();
    for name in &names {
        if let Some(item) = name
            .strip_prefix("List_")
            .filter(|item| names.iter().any(|known| known == item))
        {
            schemas[name]["properties"]["data"]["items"] = json!({ "$ref": format!("{SCHEMA}{item}") });
        }
    }
}

/// Adds a schema for each event type, and makes `Event` one of them.
fn type_events(document: &mut Value) {
    let event = document["components"]["schemas"]["Event"].clone();
    let mut mapping = Map::new();
    for kind in EventType::ALL {
        let name = event_types::event_name(*kind);
        let reference = format!("#/components/schemas/{name}");
        let mut typed = event.clone();
        typed["description"] = kind.meaning().into();
        typed["properties"]["type"] = json!({ "type": "string", "const": kind.as_str() });
        typed["properties"]["data"] = event_types::carried(*kind);
        document["components"]["schemas"][name] = typed;
        let content = &mut document["webhooks"][kind.as_str()]["post"]["requestBody"]["content"];
        content["application/json"]["schema"] = json!({ "$ref": reference });
        mapping.insert(kind.as_str().to_owned(), reference.into());
    }
    let each: Vec<Value> = mapping.values().map(|reference| json!({ "$ref": reference })).collect();
    document["components"]["schemas"]["Event"] = json!({
        "description": event["description"],
        "oneOf": each,
        "discriminator": { "propertyName": "type", "mapping": mapping },
    });
}

/// Adds a default description to responses whose handlers give none, since OpenAPI requires one; and marks bytes as
/// binary.
fn describe(status: &str, summary: &str, response: &mut Value) {
    let response_text = response["description"].as_str().unwrap_or_default();
    if response_text.is_empty() {
        response["description"] = match status {
            "201" => format!("Created: {summary}"),
            "202" => format!("Accepted: {summary}"),
            "204" => format!("Done: {summary}"),
            _ => format!("Success: {summary}"),
        }
        .into();
    }
    for kind in ["image/png", "application/octet-stream"] {
        if let Some(content) = response.pointer_mut(&format!("/content/{}", kind.replace('/', "~1"))) {
            content["schema"] = json!({ "type": "string", "format": "binary" });
        }
    }
}

/// Renames schemas, and the references to them, for clients.
fn rename(document: &mut Value) {
    let schemas = std::mem::take(&mut document["components"]["schemas"]);
    if let Value::Object(schemas) = schemas {
        let named = schemas.into_iter().map(|(name, schema)| (names::schema(&name), schema));
        document["components"]["schemas"] = Value::Object(named.collect());
    }
    rename_references(document, &names::schema);
}

fn rename_references(value: &mut Value, rename: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix(SCHEMA) {
                *text = format!("{SCHEMA}{}", rename(name));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename_references(item, rename)),
        Value::Object(members) => members
            .values_mut()
            .for_each(|member| rename_references(member, rename)),
        _ => {}
    }
}

/// Lists a shape once if an event's payload and the API share it, and renames the other shapes of events to distinguish
/// them from the API's. So a new member of one of the two appears only there.
fn share_shapes(document: &mut Value) {
    let own = |name: &str| name.strip_prefix(EVENT_SHAPE).map(ToOwned::to_owned);
    let renamed = |shared: &BTreeSet<String>, name: &str| match own(name) {
        Some(own) if shared.contains(&own) => own,
        Some(own) => format!("Event{}", names::schema(&own)),
        None => name.to_owned(),
    };
    let schemas = std::mem::take(&mut document["components"]["schemas"]);
    let mut shared: BTreeSet<String> = members_of(&schemas).filter_map(|(name, _)| own(name)).collect();
    let differs = |shared: &BTreeSet<String>, name: &str| {
        let mut shape = schemas[format!("{EVENT_SHAPE}{name}")].clone();
        rename_references(&mut shape, &|name: &str| renamed(shared, name));
        bare(shape) != bare(schemas[name].clone())
    };
    // If a schema differs, so do those that refer to it.
    while let Some(name) = shared.iter().find(|name| differs(&shared, name)).cloned() {
        shared.remove(&name);
    }
    let kept = members_of(&schemas).filter(|(name, _)| own(name).is_none_or(|own| !shared.contains(&own)));
    let kept = kept.map(|(name, schema)| (renamed(&shared, name), schema.clone()));
    document["components"]["schemas"] = Value::Object(kept.collect());
    rename_references(document, &|name: &str| renamed(&shared, name));
}

/// A schema without its descriptions.
fn bare(mut schema: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::Object(members) => {
                // A member of this name is a schema, and not a text.
                members.retain(|name, member| name != "description" || !member.is_string());
                members.values_mut().for_each(strip);
            }
            _ => {}
        }
    }
    strip(&mut schema);
    schema
}

/// The prefix of the event shapes whose names the API uses too.
const EVENT_SHAPE: &str = "event.";

const SCHEMA: &str = "#/components/schemas/";

fn each_operation(document: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    for paths in ["paths", "webhooks"] {
        for (_, item) in members(&mut document[paths]) {
            for (_, operation) in members(item).filter(|(_, operation)| operation["responses"].is_object()) {
                change(operation);
            }
        }
    }
}

fn members_of(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

fn members(value: &mut Value) -> impl Iterator<Item = (&str, &mut Value)> {
    let members = value.as_object_mut().into_iter().flatten();
    members.map(|(name, value)| (name.as_str(), value))
}

/// The operations of a path, by method.
pub(crate) fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The same key with the same request within 24 hours takes effect once and returns the same response, with `Idempotency-Replayed: true`. \
             At most 255 characters.",
        ))
        .schema(Some(text_schema()))
        .build()
}

fn problem() -> Response {
    ResponseBuilder::new()
        .description("A problem document (RFC 9457); `code` is one of those at /docs/errors")
        .content(
            super::finish::PROBLEM,
            Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem")))),
        )
        .extensions(None::<Extensions>)
        .build()
}
