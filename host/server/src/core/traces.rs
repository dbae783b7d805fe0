//! Traces: the time spent in a webhook, a send or a delivery, for an OpenTelemetry collector. Off unless `otlp` is set.
//!
//! Only Weir's own spans are exported: no log lines, no secrets, no message content. The host never waits for a
//! collector: spans that it does not accept are dropped. All spans leave through `weir-egress`.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::registry::LookupSpan;
use url::Url;
use weir_domain::credential::Secrets;
use weir_domain::limits;
use weir_domain::policy::{Request, RequestBody, may_follow_clock};
use weir_egress::{Egress, NoBodies};

/// The default path of OTLP over HTTP for spans (OTLP specification, OTLP/HTTP Request).
const PATH: &str = "/v1/traces";

/// The export of spans to a collector.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Starts the export. Requires a tokio runtime; the exporter has a thread of its own.
    ///
    /// # Errors
    /// Why spans cannot be exported, as text.
    pub fn start(collector: &Url) -> anyhow::Result<Self> {
        let mut url = collector.clone();
        if url.path() == "/" {
            url.set_path(PATH);
        }
        let way = Way {
            egress: Egress::new(weir_egress::Config::default())?,
            runtime: Handle::current(),
            is_silent: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(way)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url)
            .with_timeout(limits::TRACE_EXPORT)
            .build()?;
        let resource = Resource::builder()
            .with_service_name("weir")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        Ok(Self(provider))
    }

    /// Exports the host's spans to it.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let ours = FilterFn::new(|what| what.is_span() && what.target().starts_with("weir_"));
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("weir"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_filter(ours.with_max_level_hint(LevelFilter::TRACE))
    }

    /// Exports the remaining spans, within a time limit.
    pub async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(limits::TRACE_EXPORT)).await;
        if let Ok(Err(error)) = ended {
            tracing::warn!("The last spans were not exported: {error}");
        }
    }
}

/// The exporter's HTTP client.
struct Way {
    egress: Egress,
    /// The exporter's thread has no runtime.
    runtime: Handle,
    /// Whether the collector was already logged as unreachable: once, not for each batch.
    is_silent: AtomicBool,
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Way")
    }
}

#[async_trait]
impl HttpClient for Way {
    async fn send_bytes(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request = Request {
            method: head.method,
            url: head.uri.to_string().parse()?,
            headers: head
                .headers
                .into_iter()
                .filter_map(|(name, value)| Some((name?, value)))
                .collect(),
            body: RequestBody::Bytes(body),
        };
        let egress = self.egress.clone();
        let sending = self.runtime.spawn(async move {
            egress
                .send(may_follow_clock(request), &Secrets::default(), &NoBodies)
                .await
        });
        let sent = sending.await.map_err(|_| "the host ends")?;
        let was_silent = self.is_silent.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Ok(_) if was_silent => tracing::info!("The collector accepts spans again"),
            Err(error) if !was_silent => {
                tracing::warn!("The collector does not accept spans; they are dropped: {error}");
            }
            _ => {}
        }
        let answer = sent?;
        Ok(http::Response::builder().status(answer.status).body(answer.body)?)
    }
}
