//! The network: what a guest requests, what leaves, and what the guest receives.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use weir_domain::limits;
use weir_egress::{Config, Resolve};
use weir_runtime::context::{RequestOutcome, State};

use super::{all_tries, hostile, send, words};
use crate::support::{Platform, Reply, TOKEN, compiled, component, context_of, raw_webhook, runtime_with};

const TAKEN: Reply = Reply::Answer(200, "{}");

#[tokio::test]
async fn c10_of_a_thousand_requests_a_few_leave() {
    let (thousand, notes) = hostile("thousand").await;
    let most = limits::REQUESTS_PER_CALL as usize;
    let platform = Platform::that(vec![TAKEN; most + 10]).await;
    let report = send(&thousand, "x", &platform, State::new()).await;
    assert_eq!(
        words(&report),
        r#"8 answered; Some(Error::Refused("one call may make 8 requests"))"#
    );
    assert_eq!(platform.seen().len(), most);
    // Only a few refusals are reported, whatever their number.
    assert!(report.requests.len() <= 2 * most, "{}", report.requests.len());
    assert!(notes.refusals.lock().unwrap().len() <= most);
}

#[tokio::test]
async fn c10_no_send_outside_a_send_call() {
    let (stealth, notes) = hostile("stealth").await;
    let platform = Platform::that([TAKEN, TAKEN]).await;
    assert_eq!(stealth.receive(&raw_webhook("x".into())).await.unwrap(), []);
    let context = context_of("https://platform.example", stealth.manifest(), &platform, State::new());
    stealth.who_am_i(context).await.result.unwrap();
    let lines = notes.lines.lock().unwrap();
    assert!(lines[0].contains("`receive` has no network"), "{lines:?}");
    assert!(
        lines[1].contains("`identify` may make no message-send request (route send)"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 6);
    assert!(lines.iter().all(|line| line.contains("Refused")), "{lines:?}");
    assert_eq!(platform.seen().len(), 0);
}

#[tokio::test]
async fn c10_one_permit_is_one_message() {
    let (twice, notes) = hostile("twice").await;
    let platform = Platform::that([TAKEN, TAKEN]).await;
    let report = send(&twice, "hello", &platform, State::new()).await;
    assert_eq!(platform.seen().len(), 1);
    assert!(
        matches!(&report.requests[..], [first, second]
            if first.outcome == RequestOutcome::Answered(200) && matches!(second.outcome, RequestOutcome::Refused { rule: "no_permit", .. })),
        "{:?}",
        report.requests
    );
    assert!(notes.lines.lock().unwrap()[0].contains("the permit of this call is spent"));
    // The host trusts the connector's report of the response, since only the connector can parse it; a false report
    // costs another attempt, under another permit, within the same rates and budget.
}

/// Names under the platform's domain that turn inward; one of them after a first answer that does not.
#[derive(Default)]
struct RebindingResolver(AtomicBool);

#[async_trait]
impl Resolve for RebindingResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let address = match host {
            "inward-v4.platform.example" => "169.254.169.254",
            "inward-v6.platform.example" => "64:ff9b::7f00:1",
            // An unassigned public address, so that no packet of a test arrives anywhere.
            "rebinds.platform.example" if !self.0.swap(true, Ordering::Relaxed) => "2000::1",
            "rebinds.platform.example" => "127.0.0.1",
            _ => return Err(io::Error::other("no test expects a lookup of this name")),
        };
        Ok(vec![address.parse().unwrap()])
    }
}

#[tokio::test]
async fn c12_no_spelling_leads_inward() {
    let egress = Config {
        connect: Duration::from_millis(100),
        resolver: Arc::new(RebindingResolver::default()),
        ..Config::default()
    };
    let (runtime, notes) = runtime_with(compiled(), egress);
    let inward = runtime.load(component("hostile/inward")).await.unwrap();
    let platform = Platform::that([]).await;
    let lines = all_tries(&inward, &notes, &platform).await;
    assert!(lines.len() >= 60, "{}", lines.len());
    let reached: Vec<_> = lines.iter().filter(|line| !line.contains("Refused(")).collect();
    // The only name that resolved to a public address: it was dialed, and nothing listens there.
    assert_eq!(reached.len(), 1, "{reached:?}");
    assert!(
        reached[0].starts_with("https://rebinds.platform.example/ -> Error::Unreachable("),
        "{reached:?}"
    );
    let by_address = lines
        .iter()
        .filter(|line| line.contains("platform.example/ -> Error::Refused("));
    assert_eq!(
        by_address.filter(|line| line.contains("may not be dialed")).count(),
        3,
        "{:#?}",
        &lines[lines.len() - 6..]
    );
    assert_eq!(platform.seen().len(), 0);
}

#[tokio::test]
async fn c12_each_redirect_hop_is_judged() {
    let (redirect, notes) = hostile("redirect").await;
    let places = [
        ("http://127.0.0.1:6379/", "its scheme"),
        ("https://169.254.169.254/latest/meta-data/", "it names an address"),
        ("https://evil.example/", "no route of the manifest covers"),
        ("https://platform.example/me", ""),
    ];
    for (place, why) in places {
        // The last of them leads to itself: that ends with the requests that one call may make.
        let platform = Platform::that(vec![Reply::Redirect(place); 20]).await;
        notes.lines.lock().unwrap().clear();
        let report = send(&redirect, "x", &platform, State::new()).await;
        let lines = notes.lines.lock().unwrap().clone();
        assert_eq!(words(&report), place);
        assert_eq!(lines[0], "https://platform.example/me -> 302");
        let last = lines.last().unwrap();
        if why.is_empty() {
            assert!(last.contains("one call may make 8 requests"), "{last}");
        } else {
            assert!(last.contains(why), "{last}");
            assert_eq!(platform.seen().len(), 1, "{place}");
        }
    }
}

#[tokio::test]
async fn c13_repeated_token_stays_in_host() {
    let (exfil, notes) = hostile("exfil").await;
    let platform = Platform::that([Reply::Repeat, Reply::Repeat]).await;
    let report = send(&exfil, "x", &platform, State::new()).await;
    let seen = platform.seen();
    // The token was set in the header that the route declares, and is nowhere else in the request.
    assert_eq!(seen.len(), 2);
    for request in &seen {
        assert_eq!(request.matches(TOKEN).count(), 1, "{request}");
        assert!(
            request.contains(&format!("authorization: Bearer {TOKEN}\r\n")),
            "{request}"
        );
    }
    // What it got hold of, in all the places it wrote to: the platform's answer with the token taken out.
    let lines = notes.lines.lock().unwrap();
    assert!(lines[0].contains("[secret]"), "{lines:?}");
    let writes: String = report
        .writes
        .0
        .values()
        .flatten()
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    assert!(writes.contains("[secret]"), "{writes}");
    let places = format!("{lines:?} {report:?} {writes} {:?}", notes.refusals.lock().unwrap());
    assert!(!places.contains(TOKEN), "{places}");
    // Elsewhere the placeholder of the token is plain text.
    assert!(seen[1].contains("{{access_token}}"), "{}", seen[1]);
}

#[tokio::test]
async fn c14_nothing_can_be_smuggled_in_a_header_or_a_method() {
    let (smuggle, notes) = hostile("smuggle").await;
    let platform = Platform::that(vec![TAKEN; 10]).await;
    let lines = all_tries(&smuggle, &notes, &platform).await;
    assert!(lines.len() >= 36, "{}", lines.len());
    let passed: Vec<_> = lines.iter().filter(|line| !line.contains("Refused(")).collect();
    assert!(passed.is_empty(), "{passed:?}");
    assert_eq!(platform.seen().len(), 0);
}

#[tokio::test]
async fn r7_leaked_honeytoken_ends_the_call() {
    let cases = [
        ("log", "a log line"),
        ("state", "its state"),
        ("header", "a request"),
        ("query", "a request"),
        ("body", "a request"),
        ("answer", "its answer"),
        ("failure", "its answer"),
    ];
    let (pockets, notes) = hostile("pockets").await;
    for (place, seen) in cases {
        let platform = Platform::that([TAKEN]).await;
        let mut context = context_of("https://platform.example", pockets.manifest(), &platform, State::new());
        context.channel.settings = serde_json::json!({ "place": place });
        let called = pockets.who_am_i(context).await;
        let error = called.result.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the connector's honeytoken was seen in {seen}"),
            "{place}"
        );
        assert_eq!(notes.honeytoken.lock().unwrap().take(), Some(seen), "{place}");
        // The secret reached neither the network, nor the log, nor the database.
        assert_eq!(platform.seen().len(), 0, "{place}");
        assert!(called.writes.0.is_empty(), "{place}");
        let written = format!("{:?} {:?} {:?}", called.requests, notes.lines, notes.refusals);
        assert!(!written.contains("sk_"), "{place}: {written}");
    }
    // Who leaves alone what is not meant for it never notices.
    let platform = Platform::that([]).await;
    let mut context = context_of("https://platform.example", pockets.manifest(), &platform, State::new());
    context.channel.settings = serde_json::json!({ "place": "nowhere" });
    assert_eq!(pockets.who_am_i(context).await.result.unwrap().platform_id, "acme");
}
