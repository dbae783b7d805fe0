//! The sandbox over HTTP: the whole route table, TikTok's envelope, and connections that can be closed on purpose.

mod authorize;
mod control;
mod files;
mod phone;
mod tiktok;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use axum::extract::State;
use axum::http::header::DATE;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::middleware::{Next, from_fn, map_response_with_state};
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

use crate::api::{Api, Method, PREFIX, UPLOAD};
use crate::clock::{Clock, Timestamp};
use crate::limits;
use crate::load::LoadState;
use crate::world::World;
use crate::world::faults::ApiFault;

/// State that every handler and the webhook sender share.
#[derive(Debug)]
pub struct Shared {
    /// The virtual clock.
    pub clock: Clock,
    /// Wakes the sender of webhooks.
    pub wake: Notify,
    /// Notified after every attempt of a webhook.
    pub tried: Notify,
    /// Notified when the faults are cleared: calls that a fault delays continue immediately.
    pub forgotten: Notify,
    world: Mutex<World>,
    changes: watch::Sender<u64>,
    requests: AtomicU64,
    load: Mutex<LoadState>,
}

impl Shared {
    /// A clock and a world to share.
    pub fn new(clock: Clock, world: World) -> Self {
        Self {
            clock,
            wake: Notify::new(),
            tried: Notify::new(),
            forgotten: Notify::new(),
            world: Mutex::new(world),
            changes: watch::Sender::new(0),
            requests: AtomicU64::new(0),
            load: Mutex::new(LoadState::default()),
        }
    }

    /// Changes the world, then wakes the tasks that wait for work.
    pub fn with<T>(&self, act: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        let (result, owes, revision) = self.peek(|world, now| {
            let result = act(world, now);
            (result, world.next_due().is_some(), world.revision())
        });
        if owes {
            self.wake.notify_one();
        }
        self.changes
            .send_if_modified(|known| std::mem::replace(known, revision) != revision);
        result
    }

    /// Reads or changes the world without creating work.
    pub fn peek<T>(&self, act: impl FnOnce(&mut World, Timestamp) -> T) -> T {
        // A panic while holding the lock is a bug that must fail its own test, not every later one.
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so time never runs backwards for the world.
        let now = self.clock.now();
        world.tick(now);
        act(&mut world, now)
    }

    /// The fault of a call, after its delay.
    pub(crate) async fn take_fault(&self, name: &str) -> Option<ApiFault> {
        // Created first, so that no notification is missed.
        let forgotten = self.forgotten.notified();
        let fault = self.peek(|world, _| world.faults.take_api(name))?;
        // In either case nothing of the call was done yet.
        let _ = tokio::time::timeout(Duration::from_millis(fault.delay_ms), forgotten).await;
        Some(fault)
    }

    /// The state of the load.
    pub fn load(&self) -> MutexGuard<'_, LoadState> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// TikTok's `request_id`: an opaque number of 29 digits.
    fn request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{:013}{number:016}", self.clock.now().ms().max(0))
    }
}

type App = Arc<Shared>;

/// The first moment of the last year that an HTTP date can express.
const YEAR_9999_MS: u64 = 253_370_764_800_000;

/// The whole route table. Paths of the API end in a slash; without it the response is 404.
pub fn router(shared: App) -> Router {
    let mut api = Router::new();
    for call in Api::ALL {
        let path = format!("{PREFIX}{}", call.path());
        let queried = get(async |state, headers, query| tiktok::query(*call, state, headers, query).await);
        let posted = post(async |state, headers, body| tiktok::body(*call, state, headers, body).await);
        api = api.route(
            &path,
            match call.method() {
                Method::Get => queried,
                Method::Post => posted,
                Method::Both => queried.merge(posted),
            },
        );
    }
    let api = api.layer(DefaultBodyLimit::max(limits::BODY_BYTES)).route(
        &format!("{PREFIX}{}", UPLOAD.1),
        post(tiktok::upload).layer(DefaultBodyLimit::max(limits::UPLOAD_BYTES)),
    );
    let api = api.layer(from_fn(detached));
    Router::new()
        .merge(api)
        .route("/v2/auth/authorize", get(authorize::ask).post(authorize::decide))
        .route("/v2/auth/authorize/", get(authorize::ask).post(authorize::decide))
        .route("/media/{media}", get(files::media))
        .route("/cdn/{picture}", get(files::picture))
        .nest("/control", control::router(Arc::clone(&shared)))
        .merge(phone::router())
        .layer(map_response_with_state(Arc::clone(&shared), dated))
        .with_state(shared)
}

/// Executes a call in a task of its own, so that it completes and is logged even if its caller disconnects, as on a
/// real platform.
async fn detached(request: axum::extract::Request, next: Next) -> axum::response::Response {
    let performed = tokio::spawn(next.run(request)).await;
    performed.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Dates each response by the virtual clock, as a platform uses its own: a client that compares clocks sees this one.
async fn dated(State(shared): State<App>, mut response: axum::response::Response) -> axum::response::Response {
    let ms = u64::try_from(shared.clock.now().ms()).unwrap_or_default();
    // The virtual clock may be beyond the range of the header.
    let date = UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .filter(|_| ms < YEAR_9999_MS)
        .and_then(|date| HeaderValue::try_from(httpdate::fmt_http_date(date)).ok());
    if let Some(date) = date {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// Marks a response that must not be sent: the connection is closed instead.
#[derive(Debug, Clone, Copy)]
struct HangUp;

fn hang_up() -> axum::response::Response {
    let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
    response.extensions_mut().insert(HangUp);
    response
}

/// Serves until it is aborted; then every connection closes.
pub async fn serve(listener: TcpListener, router: Router) {
    let room = Arc::new(Semaphore::new(limits::CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, or a client that disconnected immediately: neither stops the sandbox.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // A failure to set the option only reduces speed.
        let _ = stream.set_nodelay(true);
        let inner = TowerToHyperService::new(router.clone());
        let service = service_fn(move |request: Request<hyper::body::Incoming>| {
            let answer = inner.call(request);
            async move { give(answer.await) }
        });
        connections.spawn(async move {
            let _permit = permit;
            // A broken connection concerns only its client, who sees it too.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(limits::HEAD_TIMEOUT_SECS))
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn give(answer: Result<Response<Body>, Infallible>) -> Result<Response<Body>, std::io::Error> {
    let Ok(response) = answer;
    if response.extensions().get::<HangUp>().is_some() {
        return Err(std::io::Error::other("disconnected by a fault"));
    }
    Ok(response)
}
