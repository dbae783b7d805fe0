//! The three logs of a run: what the platform sent and received, what Weir reports, what the endpoint received.
//!
//! Pure: the logs are inputs, and [`RunLedger::breaches`] returns the inconsistencies.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An event of Weir's log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoggedEvent {
    pub(crate) id: String,
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) conversation: Option<String>,
    /// The message that it is about.
    pub(crate) message: Option<String>,
    /// The platform's id of that message.
    pub(crate) platform_id: Option<String>,
}

/// A message that was posted until Weir answered 202.
#[derive(Clone, Debug, Default)]
pub(crate) struct Posted {
    pub(crate) id: String,
    /// The current status in Weir.
    pub(crate) status: String,
    pub(crate) platform_id: Option<String>,
    /// Each try, oldest first: its outcome, and whether a request of it got no answer.
    pub(crate) tries: Vec<(String, bool)>,
}

impl Posted {
    pub(crate) fn is_settled(&self) -> bool {
        self.is_sent() || matches!(self.status.as_str(), "failed" | "cancelled")
    }

    /// Whether the result of an attempt is not written yet. An echo may report a message as sent before the response
    /// does.
    pub(crate) fn has_open_try(&self) -> bool {
        self.tries.iter().any(|(outcome, _)| outcome == "open")
    }

    fn is_sent(&self) -> bool {
        matches!(self.status.as_str(), "sent" | "delivered" | "read")
    }
}

/// All data of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunLedger {
    /// The platform's ids of what customers wrote.
    pub(crate) written: BTreeSet<String>,
    /// Those of them whose webhook Weir answered with 200.
    pub(crate) answered: BTreeSet<String>,
    /// The business's messages on the phones: text and the platform's id.
    pub(crate) shown: Vec<(String, String)>,
    /// The messages that Weir accepted, by text; each text is posted once.
    pub(crate) posted: BTreeMap<String, Posted>,
    /// Weir's event log since the endpoint was created, in its order.
    pub(crate) log: Vec<LoggedEvent>,
    /// The deliveries to the endpoint, in order: the event's id and its sequence.
    pub(crate) delivered: Vec<(String, i64)>,
}

impl RunLedger {
    /// The work still in flight.
    pub(crate) fn open(&self) -> Vec<String> {
        let delivered: BTreeSet<&str> = self.delivered.iter().map(|(id, _)| id.as_str()).collect();
        let events = self.owed().filter(|event| !delivered.contains(event.id.as_str()));
        let events = events.map(|event| format!("the event {} ({}) is not delivered", event.id, event.kind));
        let messages = self.posted.iter();
        let messages = messages.filter(|(_, posted)| !posted.is_settled() || posted.has_open_try());
        let messages = messages.map(|(text, posted)| {
            let open = if posted.has_open_try() { " over an open try" } else { "" };
            format!("{text:?} ({}) is {}{open}", posted.id, posted.status)
        });
        let unheard = self.written.difference(&self.answered);
        let unheard = unheard.map(|id| format!("the webhook of {id} is not answered 200"));
        messages.chain(events).chain(unheard).collect()
    }

    /// The inconsistencies, once nothing is in flight any more.
    pub(crate) fn breaches(&self) -> Vec<String> {
        let mut breaches = self.open();
        self.inbound(&mut breaches);
        self.outbound(&mut breaches);
        self.tries(&mut breaches);
        self.check_deliveries(&mut breaches);
        breaches
    }

    /// Events that the endpoint wants: all but those about itself.
    pub(crate) fn owed(&self) -> impl Iterator<Item = &LoggedEvent> {
        self.log.iter().filter(|event| !event.kind.starts_with("endpoint."))
    }

    /// Every webhook answered 200 is in the log once.
    fn inbound(&self, breaches: &mut Vec<String>) {
        let mut received: HashMap<&str, u32> = HashMap::new();
        for event in self.log.iter().filter(|event| event.kind == "message.received") {
            *received
                .entry(event.platform_id.as_deref().unwrap_or_default())
                .or_default() += 1;
        }
        for id in &self.answered {
            let times = received.get(id.as_str()).copied().unwrap_or(0);
            if times != 1 {
                breaches.push(format!(
                    "the webhook of {id} was answered 200 and is in the log {times} times"
                ));
            }
        }
        for id in received.keys().filter(|id| !self.written.contains(**id)) {
            breaches.push(format!("the log has a message {id} that no customer wrote"));
        }
    }

    /// No message is on the phone twice; messages that Weir reports as sent are there, and the others are not.
    fn outbound(&self, breaches: &mut Vec<String>) {
        let mut shown: HashMap<&str, Vec<&str>> = HashMap::new();
        for (text, id) in &self.shown {
            shown.entry(text).or_default().push(id);
        }
        for (text, ids) in &shown {
            if ids.len() > 1 {
                breaches.push(format!("{text:?} is on the phone {} times", ids.len()));
            }
            if !self.posted.contains_key(*text) {
                breaches.push(format!("{text:?} is on the phone, and was never accepted"));
            }
        }
        for (text, posted) in &self.posted {
            let ids = shown.get(text.as_str()).map_or(&[][..], Vec::as_slice);
            match (posted.is_sent(), ids) {
                (true, []) => breaches.push(format!("{text:?} is {} and not on the phone", posted.status)),
                (true, [id, ..]) if posted.platform_id.as_deref() != Some(*id) => {
                    breaches.push(format!(
                        "{text:?} is {id} on the phone and {:?} here",
                        posted.platform_id
                    ));
                }
                (false, [_, ..]) if posted.is_settled() => {
                    breaches.push(format!("{text:?} is {} and on the phone", posted.status));
                }
                _ => {}
            }
        }
        let queued: BTreeSet<&str> = self
            .log
            .iter()
            .filter(|event| event.kind == "message.queued")
            .filter_map(|event| event.message.as_deref())
            .collect();
        let accepted: BTreeSet<&str> = self.posted.values().map(|posted| posted.id.as_str()).collect();
        for id in accepted.symmetric_difference(&queued) {
            breaches.push(format!("{id} is either accepted or queued in the log, and not both"));
        }
    }

    /// A send without a known result is uncertain, and is repeated only after the event that reports that.
    fn tries(&self, breaches: &mut Vec<String>) {
        let mut uncertain_sends: HashMap<&str, usize> = HashMap::new();
        for event in self.log.iter().filter(|event| event.kind == "message.uncertain") {
            *uncertain_sends
                .entry(event.message.as_deref().unwrap_or_default())
                .or_default() += 1;
        }
        for (text, posted) in &self.posted {
            let Some((_, before)) = posted.tries.split_last() else {
                continue;
            };
            if posted.has_open_try() && posted.is_settled() {
                breaches.push(format!(
                    "{text:?} is {} over an open try: {:?}",
                    posted.status, posted.tries
                ));
            }
            let unsure = before.iter().filter(|(outcome, _)| outcome == "uncertain").count();
            if unsure > uncertain_sends.get(posted.id.as_str()).copied().unwrap_or(0) {
                breaches.push(format!(
                    "{text:?} was sent again without an uncertain event: {:?}",
                    posted.tries
                ));
            }
            if before.iter().any(|(outcome, silent)| *silent && outcome != "uncertain") {
                breaches.push(format!("{text:?} was sent again over a silence: {:?}", posted.tries));
            }
        }
    }

    /// Every event reached the endpoint under one id, and a conversation's in their order.
    fn check_deliveries(&self, breaches: &mut Vec<String>) {
        let log: HashMap<&str, &LoggedEvent> = self.log.iter().map(|event| (event.id.as_str(), event)).collect();
        if log.len() != self.log.len() {
            breaches.push("the log has one id twice".to_owned());
        }
        let mut first = BTreeSet::new();
        let mut newest: HashMap<&str, i64> = HashMap::new();
        for (id, sequence) in &self.delivered {
            let Some(event) = log.get(id.as_str()) else {
                breaches.push(format!("the endpoint got {id}, which is not in the log"));
                continue;
            };
            if event.sequence != *sequence {
                breaches.push(format!(
                    "the endpoint got {id} as {sequence}, the log has it as {}",
                    event.sequence
                ));
            }
            let Some(conversation) = event.conversation.as_deref().filter(|_| first.insert(id)) else {
                continue;
            };
            let newest = newest.entry(conversation).or_default();
            if *sequence < *newest {
                breaches.push(format!(
                    "the endpoint got {sequence} after {newest} of the same conversation"
                ));
            }
            *newest = (*newest).max(*sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: i64, kind: &str, about: &str) -> LoggedEvent {
        LoggedEvent {
            id: format!("evt_{sequence}"),
            sequence,
            kind: kind.to_owned(),
            conversation: Some("cnv_1".to_owned()),
            message: Some(about.to_owned()),
            platform_id: Some(about.to_owned()),
        }
    }

    /// A run without errors: one message in, one out that was uncertain first.
    fn good() -> RunLedger {
        let answer = Posted {
            id: "msg_1".to_owned(),
            status: "sent".to_owned(),
            platform_id: Some("P2".to_owned()),
            tries: vec![("uncertain".to_owned(), true), ("sent".to_owned(), false)],
        };
        RunLedger {
            written: ["P1".to_owned()].into(),
            answered: ["P1".to_owned()].into(),
            shown: vec![("answer".to_owned(), "P2".to_owned())],
            posted: [("answer".to_owned(), answer)].into(),
            log: vec![
                event(1, "message.received", "P1"),
                event(2, "message.queued", "msg_1"),
                event(3, "message.uncertain", "msg_1"),
                event(4, "message.sent", "msg_1"),
            ],
            delivered: (1..=4).map(|sequence| (format!("evt_{sequence}"), sequence)).collect(),
        }
    }

    fn posted(ledger: &mut RunLedger) -> &mut Posted {
        ledger.posted.get_mut("answer").expect("it is there")
    }

    #[test]
    fn a_good_run_has_no_breach() {
        assert_eq!(good().breaches(), Vec::<String>::new());
        let mut again = good();
        again.delivered.push(("evt_1".to_owned(), 1));
        assert_eq!(again.breaches(), Vec::<String>::new(), "at least once is enough");
    }

    #[test]
    fn each_broken_promise_is_seen() {
        type Break = fn(&mut RunLedger);
        let cases: [(&str, Break); 15] = [
            ("in the log 0 times", |ledger| drop(ledger.log.remove(0))),
            ("in the log 2 times", |ledger| {
                ledger.log.push(event(5, "message.received", "P1"));
            }),
            ("that no customer wrote", |ledger| {
                ledger.log.push(event(5, "message.received", "P9"));
            }),
            ("is not answered 200", |ledger| ledger.answered.clear()),
            ("on the phone 2 times", |ledger| {
                ledger.shown.push(("answer".to_owned(), "P3".to_owned()));
            }),
            ("never accepted", |ledger| {
                ledger.shown.push(("another".to_owned(), "P3".to_owned()));
            }),
            ("not on the phone", |ledger| ledger.shown.clear()),
            ("on the phone and", |ledger| posted(ledger).platform_id = None),
            ("is failed and on the phone", |ledger| {
                posted(ledger).status = "failed".to_owned();
            }),
            ("is uncertain", |ledger| posted(ledger).status = "uncertain".to_owned()),
            ("and not both", |ledger| drop(ledger.log.remove(1))),
            ("over an open try", |ledger| {
                posted(ledger).tries[1].0 = "open".to_owned();
            }),
            ("without an uncertain event", |ledger| drop(ledger.log.remove(2))),
            ("over a silence", |ledger| {
                posted(ledger).tries[0].0 = "retry".to_owned();
            }),
            ("after 4 of the same", |ledger| ledger.delivered.swap(2, 3)),
        ];
        for (words, broken) in cases {
            let mut ledger = good();
            broken(&mut ledger);
            let breaches = ledger.breaches();
            assert!(
                breaches.iter().any(|breach| breach.contains(words)),
                "{words}: {breaches:#?}"
            );
        }
        let mut lost = good();
        lost.delivered.pop();
        assert!(lost.breaches()[0].contains("is not delivered"));
        let mut invented = good();
        invented.delivered.push(("evt_9".to_owned(), 9));
        assert!(invented.breaches()[0].contains("not in the log"));
    }
}
