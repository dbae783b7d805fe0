//! One hostile component for each threat, and the complete result of its attempt.
//!
//! The components are those of `plugins/hostile`. A test's name begins with its row in the table of threats.

mod data;
mod instances;
mod network;
mod running;

use std::sync::Arc;

use bytes::Bytes;
use weir_domain::delivery::Outcome;
use weir_runtime::context::State;
use weir_runtime::{Connector, LoadError, SendReport};

use crate::support::{INTERFACE, Notes, Platform, component, context_of, permit, runtime};

/// The hostile component of this name, loaded.
async fn hostile(name: &str) -> (Connector, Arc<Notes>) {
    let (runtime, notes) = runtime();
    let connector = runtime.load(component(&format!("hostile/{name}"))).await.unwrap();
    notes.ends.lock().unwrap().clear();
    (connector, notes)
}

/// What became of loading the hostile component of this name that is written as text, inside a component that has every
/// export of a connector, so that it gets as far as an instance.
async fn load_text(name: &str) -> LoadError {
    let path = format!("{}/../../plugins/hostile/wat/{name}.wat", env!("CARGO_MANIFEST_DIR"));
    let inside = std::fs::read_to_string(path).unwrap();
    let exports: String = [
        ("descriptor", &["describe"][..]),
        ("inbound", &["receive"]),
        ("outbound", &["prepare", "send"]),
        ("identity", &["who-am-i", "connected", "check"]),
    ]
    .into_iter()
    .map(|(interface, functions)| {
        let exports: String = functions
            .iter()
            .map(|name| format!(r#"(export "{name}" (func $f))"#))
            .collect();
        format!(
            r#"(instance ${interface} {exports}) (export "weir:connector/{interface}@{INTERFACE}" (instance ${interface}))"#
        )
    })
    .collect();
    let text = format!(r#"(component {inside} (func $f (canon lift (core func $i "f"))) {exports})"#);
    let (runtime, _) = runtime();
    runtime
        .load(Bytes::from(wat::parse_str(text).unwrap()))
        .await
        .unwrap_err()
}

/// Lets the connector send `text`, its platform being the one on this machine.
async fn send(connector: &Connector, text: &str, platform: &Platform, state: State) -> SendReport {
    let context = context_of("https://platform.example", connector.manifest(), platform, state);
    connector.send(permit(connector.manifest(), text), context).await
}

/// The error text of a failed send.
fn words(report: &SendReport) -> String {
    match &report.outcome {
        Outcome::Failed { error, .. } => error.detail.clone(),
        sent @ Outcome::Sent { .. } => panic!("{sent:?}"),
    }
}

/// Lets the connector go through its list of tries, a few in each call, and gives what it logged of each.
async fn all_tries(connector: &Connector, notes: &Notes, platform: &Platform) -> Vec<String> {
    const TRIES: usize = 8;
    for first in (0..).step_by(TRIES) {
        let report = send(connector, &first.to_string(), platform, State::new()).await;
        if words(&report) != TRIES.to_string() {
            break;
        }
    }
    notes.lines.lock().unwrap().clone()
}
