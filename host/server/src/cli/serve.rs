//! `weir serve`: the host.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};
use weir_domain::limits;

use super::client::key_file;
use super::output::{Output, text};
use super::{Common, Done, Exit, Failure, folder};
use crate::traces::Traces;
use crate::{Config, Host, http, serve};

pub(super) async fn run(common: &Common, output: &Output) -> Done {
    let mut config = Config::load(common.config.as_deref(), |name| std::env::var(name).ok())
        .map_err(|error| Failure::usage(error.to_string()))?;
    // The file that runs, even after another was put in its place.
    config.compiler = Some(PathBuf::from("/proc/self/exe"));
    let traces = config.otlp.as_ref().map(Traces::start).transpose();
    let traces = traces.map_err(|error| Failure::failed(format!("no spans can be handed over: {error:#}")))?;
    log(traces.as_ref());
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| cannot_listen(&config, &error))?;
    let address = listener.local_addr().map_err(|error| cannot_listen(&config, &error))?;
    // Given back when the process ends, however it ends.
    let _ours = folder::take(&config)?;
    let host = Host::open(config)
        .await
        .map_err(|error| Failure::failed(format!("{error:#}")))?;
    // Before anybody reads that it listens: whoever then ends it at once must not cut anything off.
    let mut ending = Ending::watch().map_err(|error| Failure::failed(format!("signals cannot be watched: {error}")))?;
    let loops = host.start();
    let config = host.config();
    let key = match config.admin_key {
        Some(_) => Some("WEIR_ADMIN_KEY".to_owned()),
        // A restored folder has none: it is in no backup.
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
            ("listens at", text(&started, "/listens_at")),
            ("known as", text(&started, "/public_url")),
            ("data folder", text(&started, "/data")),
            (
                "admin key",
                key.clone()
                    .unwrap_or_else(|| "not in the data folder; keys made before still work".to_owned()),
            ),
        ]);
    });
    let (close, closing) = watch::channel(false);
    let router = http::router(host.clone(), closing.clone());
    let serving = tokio::spawn(serve::serve(listener, router, config.limits, closing, limits::SHUTDOWN));
    ending.comes().await;
    output.note("Finishing what is in hand; once more to end now.");
    close.send_replace(true);
    let finish = async {
        // The accept loop ends by itself; if it panicked there is nothing left to wait for.
        let _ = serving.await;
        tokio::join!(host.finish_detached(limits::SHUTDOWN), loops.stop(limits::SHUTDOWN));
        host.store().close().await;
        if let Some(traces) = traces {
            traces.end().await;
        }
    };
    tokio::select! {
        () = finish => Ok(()),
        () = ending.comes() => Err(Failure::failed("ended at once; what was in hand is settled at the next start")),
    }
}

/// Logs to standard error; `WEIR_LOG` says what, in the syntax of tracing's filters. Spans go their own way.
fn log(traces: Option<&Traces>) {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        // A log that cannot be written, on a full disk, would be told of on standard error, where a failure is a panic.
        .log_internal_errors(false)
        .with_filter(filter);
    // A second subscriber, in a test, is no reason to fail.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(traces.map(Traces::layer))
        .try_init();
}

fn cannot_listen(config: &Config, error: &io::Error) -> Failure {
    let what = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it, or set WEIR_LISTEN".to_owned(),
        io::ErrorKind::PermissionDenied => "ports below 1024 want a privilege; set WEIR_LISTEN".to_owned(),
        _ => format!("{error}; set WEIR_LISTEN"),
    };
    Failure::new(Exit::Unreachable, format!("cannot listen at {}: {what}", config.listen))
}

/// Ctrl-C, and what a service manager sends; once they are watched they end nothing by themselves.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Ending {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them.
    async fn comes(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
