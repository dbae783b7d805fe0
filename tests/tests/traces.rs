//! Spans are exported to the operator's collector, show where the time was spent, and contain no message text.

mod support;

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use support::{Connected, text_of};
use weir_tests::{Page, Site, Subscriber, until};

type Result<T = ()> = anyhow::Result<T>;

/// Everything that a collector got.
struct Spans(Vec<Span>);

impl Spans {
    fn of(collector: &Site) -> Result<Self> {
        let mut spans = Vec::new();
        for batch in collector.requests() {
            ensure!(batch.head.starts_with("POST /v1/traces "), "{}", batch.head);
            ensure!(batch.header("content-type")? == "application/x-protobuf");
            let batch = ExportTraceServiceRequest::decode(batch.bytes.as_slice())?;
            for resource in batch.resource_spans {
                let service = resource.resource.context("spans without a resource")?.attributes;
                ensure!(service.iter().any(|one| one.key == "service.name"), "{service:?}");
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
        Ok(Self(spans))
    }

    /// The first whole one of this name whose attributes hold these.
    fn find(&self, name: &str, holds: &[(&str, &str)]) -> Result<&Span> {
        let fits = |span: &&Span| {
            let has = attributes(span);
            span.name == name
                && holds
                    .iter()
                    .all(|(key, value)| has.get(*key).is_some_and(|have| have == value))
        };
        let names: Vec<_> = self.0.iter().map(|span| (&span.name, attributes(span))).collect();
        self.0
            .iter()
            .find(fits)
            .with_context(|| format!("no span {name} with {holds:?} among {names:#?}"))
    }

    /// The direct children of a span.
    fn below(&self, parent: &Span) -> Vec<&Span> {
        let mut below: Vec<_> = self
            .0
            .iter()
            .filter(|span| span.parent_span_id == parent.span_id)
            .collect();
        below.sort_by_key(|span| span.start_time_unix_nano);
        below
    }

    fn names_below(&self, parent: &Span) -> Vec<&str> {
        self.below(parent).iter().map(|span| span.name.as_str()).collect()
    }
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: &Any| match value {
        Any::StringValue(text) => text.clone(),
        Any::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |one: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        let value = one.value.as_ref()?.value.as_ref()?;
        Some((one.key.clone(), text(value)))
    };
    span.attributes.iter().filter_map(pair).collect()
}

#[tokio::test]
async fn traces_follow_webhook_send_and_delivery() -> Result {
    const SAID: &str = "between the two of us";
    let collector = Site::start(|_, _| Page::status(200)).await?;
    let subscriber = Subscriber::answering(vec![200]).await?;
    let mut weir = Connected::with(|options| {
        options.env.extend([
            ("WEIR_OTLP".into(), format!("http://{}", collector.host())),
            ("WEIR_DELIVERY_ALLOW_PRIVATE".into(), "true".into()),
        ]);
    })
    .await?;
    let endpoint = json!({ "url": subscriber.url(), "types": ["message.received"] });
    weir.stack.api.post("/v1/endpoints", endpoint).await?.expect(201)?;
    let received = weir.stack.receives(&mut weir.events, SAID).await?;
    let thread = text_of(&received["data"]["conversation_id"])?;
    let sent = weir.say(&thread, SAID).await?;
    until("the delivery", async || Ok(subscriber.delivered().into_iter().next())).await?;
    let health = weir.stack.api.get("/healthz").await?.expect(200)?;
    let now = health["now_ms"].as_i64().context("no time")? / 1_000;
    let forged = weir
        .post_webhook("{}", &format!("t={now},s={}", "0".repeat(64)))
        .await?;
    ensure!(forged == 401);
    // The remaining spans are exported at the end.
    weir.stack.stop_weir().await?;
    let spans = Spans::of(&collector)?;

    let webhook = spans.find("webhook", &[("app", "tiktok"), ("outcome", "stored")])?;
    assert_eq!(spans.names_below(webhook), ["verify", "call", "commit"]);
    let call = attributes(spans.below(webhook)[1]);
    assert_eq!(
        (call["connector"].as_str(), call["call"].as_str()),
        ("tiktok", "receive")
    );
    assert_eq!(call["outcome"], "ok");
    let forged = spans.find("webhook", &[("outcome", "forged")])?;
    assert_eq!(spans.names_below(forged), ["verify"]);

    let send = spans.find("send", &[("message.id", &text_of(&sent["id"])?), ("outcome", "sent")])?;
    assert_eq!(spans.names_below(send), ["permit", "call", "settle"]);
    let requests = spans.below(spans.below(send)[1]);
    ensure!(requests.len() == 1, "{requests:#?}");
    let request = attributes(requests[0]);
    assert_eq!(request["purpose"], "connector");
    assert_eq!(request["http.response.status_code"], "200");
    assert_eq!(request["server.origin"], weir.stack.sandbox.origin());
    spans.find("lease", &[("worker", "deliverer"), ("items", "1")])?;

    let delivery = spans.find(
        "delivery",
        &[("event.id", &text_of(&received["id"])?), ("outcome", "delivered")],
    )?;
    assert_eq!(spans.names_below(delivery), ["request", "settle"]);

    for batch in collector.requests() {
        let has = |text: &str| batch.bytes.windows(text.len()).any(|window| window == text.as_bytes());
        for text in [SAID, "jane_doe", "acme_store", support::SECRET, weir.stack.api.key()] {
            ensure!(!has(text), "a span holds {text}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_stops_nothing() -> Result {
    let away = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut weir = Connected::with(|options| {
        options.env.extend([
            ("WEIR_OTLP".into(), format!("http://{away}")),
            ("OTEL_BSP_SCHEDULE_DELAY".into(), "50".into()),
        ]);
    })
    .await?;
    let log = weir.stack.data().join("weir.log");
    let thread = weir.conversation().await?;
    weir.say(&thread, "an answer").await?;
    let message = "The collector does not accept spans";
    let logged = || std::fs::read_to_string(&log).unwrap_or_default();
    until("a line of the log", async || {
        Ok(logged().contains(message).then_some(()))
    })
    .await?;
    weir.say(&thread, "another answer").await?;
    weir.stack.stop_weir().await?;
    // Once, however many batches were dropped.
    assert_eq!(logged().matches(message).count(), 1, "{}", logged());
    Ok(())
}
