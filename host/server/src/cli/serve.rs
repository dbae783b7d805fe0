//! `weir serve`: the host.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use weir_domain::limits;

use super::client::key_file;
use super::output::{Output, text};
use super::{Common, Done, Exit, Failure, folder};
use crate::core::traces::Traces;
use crate::{Config, Host, http, serve};

pub(super) async fn run(common: &Common, output: &Output) -> Done {
    let mut config = common.load()?;
    // The running executable, even after its file was replaced.
    config.compiler = Some(PathBuf::from("/proc/self/exe"));
    let traces = config.otlp.as_ref().map(Traces::start).transpose();
    let traces = traces.map_err(|error| Failure::failed(format!("cannot export traces: {error:#}")))?;
    log(traces.as_ref());
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| cannot_listen(&config, &error))?;
    let address = listener.local_addr().map_err(|error| cannot_listen(&config, &error))?;
    // Released when the process ends, however it ends.
    let _lock = folder::lock(&config)?;
    let host = Host::open(config)
        .await
        .map_err(|error| Failure::failed(format!("{error:#}")))?;
    // Before the address is printed: a signal that follows at once must still shut down gracefully.
    let mut signals =
        Signals::new().map_err(|error| Failure::failed(format!("cannot install signal handlers: {error}")))?;
    let loops = host.start();
    let config = host.config();
    let key = match config.admin_key {
        Some(_) => Some("WEIR_ADMIN_KEY".to_owned()),
        // A restored directory has none: backups leave it out.
        None => Some(key_file(config))
            .filter(|file| file.exists())
            .map(|file| file.display().to_string()),
    };
    let started = json!({
        "weir": env!("CARGO_PKG_VERSION"),
        "listens_at": format!("http://{address}"),
        "public_url": config.public_url.as_str(),
        "data": config.data,
        "admin_key": key,
    });
    output.show(&started, || {
        output.facts(&[
            ("weir", text(&started, "/weir")),
            ("listening on", text(&started, "/listens_at")),
            ("public URL", text(&started, "/public_url")),
            ("data directory", text(&started, "/data")),
            (
                "admin key",
                key.clone()
                    .unwrap_or_else(|| "not in the data directory; existing API keys still work".to_owned()),
            ),
        ]);
    });
    let closing = CancellationToken::new();
    let router = http::router(host.clone(), closing.clone());
    let serving = tokio::spawn(serve::serve(
        listener,
        router,
        config.limits,
        closing.clone(),
        limits::SHUTDOWN,
    ));
    signals.next().await;
    output.note("Shutting down gracefully; interrupt again to exit immediately");
    closing.cancel();
    let finish = async {
        // The accept loop ends on its own; if it panicked, there is nothing to wait for.
        let _ = serving.await;
        loops.stop(limits::SHUTDOWN).await;
        host.store().close().await;
        if let Some(traces) = traces {
            traces.end().await;
        }
    };
    tokio::select! {
        () = finish => Ok(()),
        () = signals.next() => Err(Failure::failed("exited before work in progress was finished; it resumes at the next start")),
    }
}

/// Logs to standard error, filtered by `WEIR_LOG` in the syntax of tracing's `EnvFilter`; spans go to the exporter.
fn log(traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // On a full disk, tracing would report the failed write on standard error, where another failure panics.
        .log_internal_errors(false)
        .with_filter(filter);
    // A test may have set a subscriber before.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(traces.map(Traces::layer))
        .try_init();
}

fn cannot_listen(config: &Config, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => "another program is using the address; stop it, or set WEIR_LISTEN".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 require privileges; set WEIR_LISTEN".to_owned(),
        _ => format!("{error}; set WEIR_LISTEN"),
    };
    Failure::new(
        Exit::Unreachable,
        format!("cannot listen on {}: {reason}", config.listen),
    )
}

/// The signals that stop a host: Ctrl-C's, and a service manager's.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
