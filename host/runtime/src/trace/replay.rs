//! Replays: a recorded call run again on the same or another version, offline, with host functions answered from the
//! transcript.
//!
//! Compared is what crosses the boundary: the requests, in order; the writes to state; the returned value, or how the
//! call crashed. Log lines and durations are not. Each request is also checked by the routes of the replayed version: a
//! refusal is a difference, even where the request is the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use weir_domain::grant::Grants;
use weir_domain::limits;
use weir_domain::manifest::{Manifest, RouteClass};
use weir_domain::policy::{CallKind, OriginMap};
use weir_domain::time::Timestamp;
use weir_egress::Departure;

use crate::context::{AnswerDates, Pacer, TooLong};
use crate::trace::blob::Blob;
use crate::trace::recorder::RefusedRequest;
use crate::trace::transcript::{Cost, End, Transcript};

/// A difference between a call and its replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its kind.
    pub kind: DifferenceKind,
    /// Its path: `[0].event.Message.content.Text`, `request[0].body.text`.
    pub at: String,
    /// The value in the transcript; none if there is none.
    pub before: Option<Value>,
    /// The value of the replay; none if there is none.
    pub after: Option<Value>,
}

impl Difference {
    /// The reason of a refusal: refusals for different reasons are different, even at one path.
    fn reason(&self) -> Option<&str> {
        let refusal = self.after.as_ref().filter(|_| self.kind == DifferenceKind::Refusal)?;
        refusal.get("reason")?.as_str()
    }
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// One crashed, and the other did not, or in another way.
    Trap,
    /// One returned an error, and the other did not, or another one.
    Outcome,
    /// A returned event.
    Event,
    /// Another returned value.
    Answer,
    /// A request to the network.
    Request,
    /// A write to the channel's state.
    StateWrite,
    /// The host refuses what it permitted when the call was recorded: a request, or the webhook itself.
    Refusal,
}

/// What the requests of a replay are checked by, in addition to the routes of the replayed version.
#[derive(Clone, Debug, Default)]
pub struct Boundary {
    /// What the operator granted.
    pub grants: Arc<Grants>,
    /// Origins that the operator mapped to others.
    pub origins: Arc<OriginMap>,
}

impl Boundary {
    /// Everything that a manifest requests is granted.
    pub fn granting_all(manifest: &Manifest) -> Self {
        Self {
            grants: Arc::new(Grants::to(Grants::wanted_by(manifest))),
            origins: Arc::default(),
        }
    }
}

/// The platform of a replay: without rate limits and clock, since nothing leaves.
pub(crate) struct Offline;

#[async_trait]
impl Pacer for Offline {
    async fn turn(&self, _: RouteClass) -> Result<Option<Box<dyn Departure>>, TooLong> {
        Ok(None)
    }
}

impl AnswerDates for Offline {
    fn answered(&self, _: &str, _: Timestamp, _: Timestamp) {}
}

/// The result of a replay.
#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// The differences; at most [`limits::DIFFERENCES`].
    pub differences: Vec<Difference>,
    /// How the replay ended.
    pub end: End,
    /// The cost of the recorded call.
    pub before: Cost,
    /// The cost of the replay, on this machine.
    pub after: Cost,
}

/// What a replay did, to be compared with the transcript.
pub(crate) struct ReplayRun {
    pub(crate) end: End,
    pub(crate) requests: Vec<Value>,
    pub(crate) refusals: Vec<RefusedRequest>,
    pub(crate) writes: BTreeMap<String, Option<Blob>>,
    pub(crate) cost: Cost,
}

/// Compares a replay with the transcript.
pub(crate) fn compare(transcript: &Transcript, run: ReplayRun) -> Replayed {
    let mut found = Found::default();
    let exchanges = transcript.exchanges.iter();
    let requests: Vec<_> = exchanges.map(|exchange| value(&exchange.request)).collect();
    found.lists(DifferenceKind::Request, "request", &requests, &run.requests);
    for refused in &run.refusals {
        // A request that was refused in the recorded call too does not differ.
        let before = transcript.refusal_at(refused.place);
        if before.is_none_or(|before| !before.ends_with(&refused.reason)) {
            let at = format!("request[{}]", refused.place);
            let mut after = refusal(refused.rule, &refused.reason);
            after["request"] = refused.request.clone().into();
            found.push(
                DifferenceKind::Refusal,
                &at,
                before.map(Value::from).as_ref(),
                Some(&after),
            );
        }
    }
    found.values(
        DifferenceKind::StateWrite,
        "state",
        &value(&transcript.writes),
        &value(&run.writes),
    );
    found.ends(transcript, &run.end);
    Replayed {
        differences: found.differences,
        end: run.end,
        before: transcript.cost,
        after: run.cost,
    }
}

/// The differences between two JSON documents, member by member. Entries of lists with an `id` are compared by it; a
/// different order of such entries is one difference.
pub fn differences(before: &impl Serialize, after: &impl Serialize) -> Vec<Difference> {
    let mut found = Found {
        by_id: true,
        ..Found::default()
    };
    found.values(DifferenceKind::Answer, "", &value(before), &value(after));
    found.differences
}

/// A refusal, as a difference shows it.
fn refusal(rule: &str, reason: &str) -> Value {
    serde_json::json!({ "rule": rule, "reason": reason })
}

impl Replayed {
    /// Adds that the host would refuse the webhook: it does not pass the proof that the version declares.
    pub fn refuse_webhook(&mut self, reason: &str) {
        self.differences.push(Difference {
            kind: DifferenceKind::Refusal,
            at: "webhook".to_owned(),
            before: None,
            after: Some(refusal("webhook_proof", reason)),
        });
    }
}

/// The kind of a difference in what a call returned.
fn reported_kind(call: CallKind) -> DifferenceKind {
    match call {
        CallKind::Receive | CallKind::History | CallKind::Poll => DifferenceKind::Event,
        _ => DifferenceKind::Answer,
    }
}

/// Whether two calls were aborted by the same error. Of the message only the detail after the first colon is compared:
/// the wording before it is that of the host that recorded the call. The backtrace differs between versions of a
/// connector.
fn is_same_error(before: &End, after: &End) -> bool {
    let error = |end: &End| match end {
        End::Returned(_) => None,
        End::Aborted { name, message, .. } => {
            let detail = message.split_once(": ").map(|(_, detail)| detail.to_owned());
            Some((name.clone(), detail))
        }
    };
    error(before).is_some_and(|before| error(after) == Some(before))
}

/// `of` as JSON.
pub(crate) fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

#[derive(Default)]
struct Found {
    differences: Vec<Difference>,
    /// Whether entries of lists are compared by their `id`, not by their index.
    by_id: bool,
}

impl Found {
    fn push(&mut self, kind: DifferenceKind, at: &str, before: Option<&Value>, after: Option<&Value>) {
        if self.differences.len() < limits::DIFFERENCES {
            self.differences.push(Difference {
                kind,
                at: at.to_owned(),
                before: before.map(shown),
                after: after.map(shown),
            });
        }
    }

    fn ends(&mut self, transcript: &Transcript, after: &End) {
        match (&transcript.end, after) {
            (End::Returned(before), End::Returned(after)) => {
                // A connector's result: `Ok` or `Err` with a value.
                let (was_ok, is_ok) = (before.get("Ok"), after.get("Ok"));
                match (was_ok, is_ok) {
                    (Some(before), Some(after)) => self.values(reported_kind(transcript.call), "", before, after),
                    (None, None) if before.get("Err").is_none() => {
                        self.values(reported_kind(transcript.call), "", before, after);
                    }
                    _ => self.values(DifferenceKind::Outcome, "", before, after),
                }
            }
            (before, after) if is_same_error(before, after) => {}
            (before, after) => {
                let shown = |end: &End| match end {
                    End::Returned(value) => value.clone(),
                    End::Aborted { name, message, .. } => serde_json::json!({ "broke_off": name, "words": message }),
                };
                self.push(DifferenceKind::Trap, "", Some(&shown(before)), Some(&shown(after)));
            }
        }
    }

    /// Compares lists whose entries have ids.
    fn named(&mut self, kind: DifferenceKind, at: &str, before: &Named<'_>, after: &Named<'_>) {
        let gone = before.iter().map(|(id, _)| id).filter(|id| find(after, id).is_none());
        for id in after.iter().map(|(id, _)| id).chain(gone) {
            let at = format!("{at}[{id}]");
            match (find(before, id), find(after, id)) {
                (Some(before), Some(after)) => self.values(kind, &at, before, after),
                (before, after) => self.push(kind, &at, before, after),
            }
        }
        let common = |list: &Named<'_>, other: &Named<'_>| -> Vec<Value> {
            let ids = list.iter().map(|(id, _)| *id).filter(|id| find(other, id).is_some());
            ids.map(Value::from).collect()
        };
        let (was, is) = (common(before, after), common(after, before));
        if was != is {
            self.push(kind, &format!("{at} in order"), Some(&was.into()), Some(&is.into()));
        }
    }

    fn lists(&mut self, kind: DifferenceKind, at: &str, before: &[Value], after: &[Value]) {
        if self.by_id
            && let (Some(before), Some(after)) = (named(before), named(after))
        {
            return self.named(kind, at, &before, &after);
        }
        for i in 0..before.len().max(after.len()) {
            let at = format!("{at}[{i}]");
            match (before.get(i), after.get(i)) {
                (Some(before), Some(after)) => self.values(kind, &at, before, after),
                (before, after) => self.push(kind, &at, before, after),
            }
        }
    }

    fn values(&mut self, kind: DifferenceKind, at: &str, before: &Value, after: &Value) {
        match (before, after) {
            (before, after) if before == after => {}
            (Value::Array(before), Value::Array(after)) => self.lists(kind, at, before, after),
            (Value::Object(before), Value::Object(after)) => {
                let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
                names.sort_unstable();
                names.dedup();
                for name in names {
                    let at = if at.is_empty() {
                        name.clone()
                    } else {
                        format!("{at}.{name}")
                    };
                    match (before.get(name), after.get(name)) {
                        (Some(before), Some(after)) => self.values(kind, &at, before, after),
                        (before, after) => self.push(kind, &at, before, after),
                    }
                }
            }
            (Value::String(before_text), Value::String(after_text)) => {
                match (document(before_text), document(after_text)) {
                    (Some(before), Some(after)) if before != after => self.values(kind, at, &before, &after),
                    _ => self.push(kind, at, Some(before), Some(after)),
                }
            }
            (before, after) => self.push(kind, at, Some(before), Some(after)),
        }
    }
}

type Named<'v> = Vec<(&'v str, &'v Value)>;

fn find<'v>(list: &Named<'v>, id: &str) -> Option<&'v Value> {
    list.iter().find(|(known, _)| *known == id).map(|(_, entry)| *entry)
}

/// The entries of a list by their `id`; none if one has none, or two have the same.
fn named(list: &[Value]) -> Option<Named<'_>> {
    let named: Option<Named<'_>> = list
        .iter()
        .map(|entry| Some((entry.get("id")?.as_str()?, entry)))
        .collect();
    let named = named?;
    let mut ids: Vec<&str> = named.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.windows(2).all(|two| two[0] != two[1]).then_some(named)
}

/// A JSON document in a string, such as a body or platform data: compared by its members.
fn document(text: &str) -> Option<Value> {
    text.starts_with(['{', '['])
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

/// A value, truncated to be shown in a list.
fn shown(value: &Value) -> Value {
    let text = value.to_string();
    if text.len() <= limits::DIFFERENCE_BYTES {
        return value.clone();
    }
    format!("{}…", crate::text::prefix(&text, limits::DIFFERENCE_BYTES)).into()
}

// ---- reports -------------------------------------------------------------------------------------------------------

/// The result of replaying many calls on one version.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many calls were replayed.
    pub calls: u64,
    /// How many of them differ.
    pub differ: u64,
    /// In how many of them the host would refuse what it permitted then, by the version's routes and the operator's
    /// grants.
    pub refused: u64,
    /// Differences grouped by kind and path, the most frequent first; at most [`limits::DIFFERENCES`].
    #[serde(skip_deserializing)]
    pub groups: Vec<Group>,
    /// The cost of the recorded calls: the sum of their times, the maximum of their memory.
    pub before: Cost,
    /// The cost of the replays.
    pub after: Cost,
}

/// Differences of one kind at one path.
#[derive(Clone, Debug, Serialize)]
pub struct Group {
    /// How many calls have it.
    pub count: u64,
    /// The transcript of the example.
    pub transcript: String,
    /// The kind of call.
    pub call: &'static str,
    /// One of them. Its path has `[*]` for any index of a list.
    #[serde(flatten)]
    pub example: Difference,
}

impl Report {
    /// Adds the counts and costs of another report; the differences themselves are not merged.
    pub fn add_counts(&mut self, other: &Self) {
        self.calls += other.calls;
        self.differ += other.differ;
        self.refused += other.refused;
        for (sum, cost) in [(&mut self.before, &other.before), (&mut self.after, &other.after)] {
            sum.elapsed_us += cost.elapsed_us;
            sum.peak_memory = sum.peak_memory.max(cost.peak_memory);
        }
    }

    /// Adds a replay, by the name of its transcript.
    pub fn add(&mut self, name: &str, transcript: &Transcript, replayed: Replayed) {
        self.calls += 1;
        self.differ += u64::from(!replayed.differences.is_empty());
        let refusal = |difference: &Difference| difference.kind == DifferenceKind::Refusal;
        self.refused += u64::from(replayed.differences.iter().any(refusal));
        for (sum, cost) in [(&mut self.before, replayed.before), (&mut self.after, replayed.after)] {
            sum.elapsed_us += cost.elapsed_us;
            sum.peak_memory = sum.peak_memory.max(cost.peak_memory);
        }
        let call = transcript.call.as_str();
        let mut counted = Vec::new();
        for mut difference in replayed.differences {
            difference.at = any_place(&difference.at);
            let key = (
                difference.kind,
                difference.at.clone(),
                difference.reason().map(str::to_owned),
            );
            // One inserted event makes many differences: the call counts once.
            if counted.contains(&key) {
                continue;
            }
            let known = self.groups.iter().position(|group| {
                group.call == call
                    && group.example.kind == difference.kind
                    && group.example.at == difference.at
                    && group.example.reason() == difference.reason()
            });
            match known {
                Some(known) => self.groups[known].count += 1,
                None if self.groups.len() < limits::DIFFERENCES => self.groups.push(Group {
                    count: 1,
                    transcript: name.to_owned(),
                    call,
                    example: difference,
                }),
                None => {}
            }
            counted.push(key);
        }
        self.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    }
}

/// A path with `[*]` for each index of a list.
fn any_place(at: &str) -> String {
    let mut out = String::with_capacity(at.len());
    let mut rest = at;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        match after.split_once(']') {
            Some((number, after)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                out.push_str("[*]");
                rest = after;
            }
            _ => {
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn differences(before: &Value, after: &Value) -> Vec<(String, Option<Value>, Option<Value>)> {
        let mut found = Found::default();
        found.values(DifferenceKind::Event, "", before, after);
        let found = found.differences.into_iter();
        found.map(|one| (one.at, one.before, one.after)).collect()
    }

    #[test]
    fn a_difference_names_the_member() {
        let before = serde_json::json!([{"key": "1", "message": {"text": "hi", "at": 1}}]);
        let after = serde_json::json!([{"key": "1", "message": {"text": "HI", "at": 1}}, {"key": "2"}]);
        assert_eq!(
            differences(&before, &after),
            [
                ("[0].message.text".to_owned(), Some("hi".into()), Some("HI".into())),
                ("[1]".to_owned(), None, Some(serde_json::json!({"key": "2"})))
            ]
        );
    }

    #[test]
    fn an_inserted_route_is_one_difference() {
        let route = |id: &str, method: &str| serde_json::json!({"id": id, "method": method});
        let before = serde_json::json!({"routes": [route("send", "POST"), route("read", "GET")]});
        let inserted =
            serde_json::json!({"routes": [route("new", "GET"), route("send", "POST"), route("read", "PUT")]});
        let places = |after: &Value| -> Vec<String> {
            let found = super::differences(&before, after);
            found.into_iter().map(|one| one.at).collect()
        };
        assert_eq!(places(&inserted), ["routes[new]", "routes[read].method"]);
        // The first route that fits decides, so their order matters.
        let turned = serde_json::json!({"routes": [route("read", "GET"), route("send", "POST")]});
        assert_eq!(places(&turned), ["routes in order"]);
        let without = serde_json::json!({"routes": [route("read", "GET")]});
        assert_eq!(places(&without), ["routes[send]"]);
    }

    #[test]
    fn a_document_within_a_text_is_compared_by_its_members() {
        let before = serde_json::json!({"body": r#"{"a":1,"b":{"c":2}}"#});
        let after = serde_json::json!({"body": r#"{ "b": {"c": 3}, "a": 1 }"#});
        assert_eq!(
            differences(&before, &after),
            [("body.b.c".to_owned(), Some(2.into()), Some(3.into()))]
        );
        // The same document in another serialization has other bytes and the same members.
        let after = serde_json::json!({"body": r#"{"b":{"c":2},"a":1}"#});
        assert_eq!(differences(&before, &after).len(), 1);
    }

    #[test]
    fn an_error_is_compared_by_name_and_detail() {
        let aborted = |name: &str, message: &str| End::Aborted {
            name: name.to_owned(),
            message: message.to_owned(),
            backtrace: String::new(),
        };
        let now = aborted("trapped", "the connector crashed: wasm trap: unreachable");
        let by_an_older_host = aborted("trapped", "the connector broke off: wasm trap: unreachable");
        assert!(is_same_error(&by_an_older_host, &now));
        let elsewhere = aborted("trapped", "the connector crashed: wasm trap: out of bounds");
        assert!(!is_same_error(&elsewhere, &now));
        assert!(!is_same_error(&aborted("output", "x: wasm trap: unreachable"), &now));
        assert!(!is_same_error(&End::Returned(Value::Null), &now));
    }

    #[test]
    fn a_value_is_cut_to_what_can_be_read() {
        let long = Value::from("ä".repeat(limits::DIFFERENCE_BYTES));
        let shown = shown(&long).to_string();
        assert!(shown.len() < limits::DIFFERENCE_BYTES + 20 && shown.contains('…'));
    }

    #[test]
    fn places_in_lists_are_one_place() {
        assert_eq!(any_place("[0].a[12].b"), "[*].a[*].b");
        assert_eq!(any_place("a[x].b["), "a[x].b[");
    }
}
