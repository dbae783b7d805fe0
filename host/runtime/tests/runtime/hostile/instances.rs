//! What an instance would take before it runs at all: refused at install, or ended there.

use super::load_text;

#[tokio::test]
async fn c1_a_start_that_never_ends_is_never_installed() {
    let words = load_text("start").await.to_string();
    assert_eq!(
        words,
        "the component's `describe` failed: the connector used 200 ms of processor time, the limit of this call"
    );
}

#[tokio::test]
async fn c3_eight_memories_are_refused_though_each_is_small() {
    let words = load_text("memories").await.to_string();
    // The engine's error text with a pool of instances, the host's without.
    assert!(
        words.contains("8 Wasm linear memories") || words.contains("needs 8 memories"),
        "{words}"
    );
}

#[tokio::test]
async fn c3_a_memory_of_64_bits_is_refused() {
    let words = load_text("memory64").await.to_string();
    assert!(words.contains("memory64"), "{words}");
}

#[tokio::test]
async fn c4_tables_end_at_their_bound() {
    let words = load_text("tables").await.to_string();
    assert_eq!(
        words,
        "the component's `describe` failed: the connector needs more than 20000 table elements, the limit of an \
         instance"
    );
}

#[tokio::test]
async fn c4_handles_end_at_their_bound() {
    let words = load_text("handles").await.to_string();
    assert!(words.contains("handle"), "{words}");
}

#[tokio::test]
async fn c4_instances_within_a_component_are_bounded() {
    let words = load_text("instances").await.to_string();
    assert!(words.contains("40") && words.contains("32"), "{words}");
}
