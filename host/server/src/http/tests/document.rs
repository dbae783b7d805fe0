//! The documentation matches the routes.

use weir_domain::caller::Scope;

use super::*;

#[test]
fn every_route_is_described_once_and_documented() {
    let api = description();
    let document = openapi::document(&api);
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3.1"))
    );
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md")).expect("docs/api.md");
    for path in api.paths.paths.keys() {
        assert!(text.contains(&format!("`{path}`")), "docs/api.md lacks {path}");
    }
    let mut ids: Vec<_> = operation_ids(&document["paths"]);
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
    assert_eq!(dangling(&document, &document), BTreeSet::new());
}

/// The description that other programs read: a change of the interface shows up here. Run with `WEIR_WRITE_DOCS=1` to
/// regenerate the file.
#[test]
fn description_is_as_committed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let text = format!("{:#}\n", openapi::document(&description()));
    if std::env::var_os("WEIR_WRITE_DOCS").is_some() {
        std::fs::write(path, &text).expect("the description can be written");
    }
    let committed = std::fs::read_to_string(path).expect("docs/openapi.json is there");
    let changed = text.lines().zip(committed.lines()).find(|(now, then)| now != then);
    assert!(
        text == committed,
        "docs/openapi.json differs, first in {changed:?}; run with WEIR_WRITE_DOCS=1"
    );
}

#[test]
fn every_scope_is_documented() {
    let text = include_str!("../../../../../docs/api.md");
    for scope in Scope::ALL.map(Scope::as_str) {
        assert!(
            text.contains(&format!("`{scope}`")),
            "docs/api.md lacks the scope {scope}"
        );
    }
}

#[test]
fn every_event_type_has_a_schema_that_is_whole_in_itself() {
    let catalog = event_types::Catalog::of(&openapi::document(&description()));
    assert_eq!(catalog.schemas().count(), EventType::ALL.len());
    for (name, schema) in catalog.schemas() {
        assert_eq!(schema["properties"]["type"]["const"], name);
        assert_eq!(dangling(schema, schema), BTreeSet::new(), "{name}");
        let data = schema["properties"]["data"].to_string();
        assert!(data.contains("#/$defs/"), "{name}: {data}");
        let defs = schema["$defs"].as_object().expect("definitions");
        assert!(defs.values().all(Value::is_object), "{name}: {schema:#}");
    }
}

fn operation_ids(paths: &Value) -> Vec<String> {
    let items = paths.as_object().expect("paths").values();
    items
        .flat_map(|item| item.as_object().expect("an item").values())
        .filter_map(|operation| operation["operationId"].as_str().map(ToOwned::to_owned))
        .collect()
}

/// References below `value` without a target in the document.
fn dangling(document: &Value, value: &Value) -> BTreeSet<String> {
    let below: Vec<&Value> = match value {
        Value::Object(members) => members.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => Vec::new(),
    };
    let own = value.get("$ref").and_then(Value::as_str);
    let is_there = |reference: &str| {
        let pointer = reference.strip_prefix('#').expect("within the document");
        document.pointer(pointer).is_some()
    };
    let own = own.filter(|reference| !is_there(reference)).map(ToOwned::to_owned);
    below
        .into_iter()
        .flat_map(|value| dangling(document, value))
        .chain(own)
        .collect()
}

#[test]
fn every_event_type_is_a_webhook_and_documented() {
    let document = serde_json::to_value(description()).expect("JSON");
    let text =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/events.md")).expect("docs/events.md");
    for kind in EventType::ALL {
        assert!(
            document["webhooks"][kind.as_str()]["post"].is_object(),
            "{}",
            kind.as_str()
        );
        assert!(
            text.contains(&format!("| `{}` |", kind.as_str())),
            "docs/events.md lacks {}",
            kind.as_str()
        );
    }
}

/// Operations without a lasting change, or whose change is an event of its own.
const NOT_AUDITED: [&str; 7] = [
    // A message is an event, with its sender; a typing indicator leaves no data.
    "/v1/conversations/{id}/messages",
    "/v1/conversations/{id}/activity",
    // Bytes that no message refers to yet.
    "/v1/media",
    // Calls the platform again, or starts a poll.
    "/v1/channels/{id}/refresh",
    "/v1/channels/{id}/test",
    // Always refused, and stored as a refusal.
    "/v1/broadcasts",
    // A sign-in is written to the audit log; a sign-out only ends it.
    "/v1/session",
];

#[test]
fn every_change_is_written_into_the_audit_log() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut changes = 0;
    for entry in std::fs::read_dir(folder).expect("the routes") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).unwrap_or_default();
        for handler in text.split("#[utoipa::path(").skip(1) {
            let path = handler.split('"').nth(1).unwrap_or_default();
            let changes_something = ["post", "put", "patch", "delete"]
                .iter()
                .any(|method| handler.starts_with(method));
            if !changes_something || !path.starts_with("/v1/") || NOT_AUDITED.contains(&path) {
                continue;
            }
            assert!(
                handler.contains("record("),
                "{path} changes state without an audit entry"
            );
            changes += 1;
        }
    }
    assert!(changes > 20, "only {changes} changes were checked");
}
