//! Requests that change state: they complete even if their callers disconnect.
//!
//! The body is read first: a caller that disconnects in the middle of it has requested nothing. From there on the
//! request runs in a task of its own, which neither a closed connection nor the caller's time limit ends.

use std::future::Future;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_domain::limits;

use super::problem::{ApiResult, COME_BACK, Problem};
use super::{Api, body, codes};

/// Routes whose files are larger than the per-request memory limit; they read the body themselves and then call
/// [`Api::act`].
const STREAMED: [&str; 2] = ["/v1/media", "/v1/connectors"];

/// The layer around every route that requires a key.
pub(crate) async fn detach(State(api): State<Api>, request: Request, next: Next) -> ApiResult<Response> {
    if request.method().is_safe() || is_streamed(&request) {
        return Ok(next.run(request).await);
    }
    let (parts, stream) = request.into_parts();
    let bytes = body::read(stream, limits::API_BODY_BYTES).await?;
    let request = Request::from_parts(parts, Body::from(bytes));
    api.act(async move { next.run(request).await }).await
}

/// Whether the route reads the body of this request itself.
pub(crate) fn is_streamed(request: &Request) -> bool {
    let path = request.extensions().get::<MatchedPath>();
    path.is_some_and(|path| STREAMED.contains(&path.as_str())) && !body::is_json(request.headers())
}

impl Api {
    /// Runs a request to completion.
    pub(crate) async fn act<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> ApiResult<T> {
        self.detached(&self.acts, work).await
    }

    /// A slot for one more return from a platform's consent page.
    pub(crate) fn callback_slot(&self) -> ApiResult<OwnedSemaphorePermit> {
        slot_of(&self.callbacks)
    }

    async fn detached<T: Send + 'static>(
        &self,
        slots: &Arc<Semaphore>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> ApiResult<T> {
        let slot = slot_of(slots)?;
        Ok(self.host.core.detached(slot, work).await)
    }
}

fn slot_of(slots: &Arc<Semaphore>) -> ApiResult<OwnedSemaphorePermit> {
    Arc::clone(slots).try_acquire_owned().map_err(|_| {
        Problem::of(&codes::HOST_BUSY)
            .detail("the host is processing its maximum number of requests")
            .retry_after(COME_BACK)
    })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Config, Host};

    #[tokio::test]
    async fn one_more_than_the_bound_is_refused() {
        let folder = TempDir::new().expect("a directory");
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let api = Api::new(host, CancellationToken::new());
        let all = u32::try_from(limits::ACTS).expect("a small number");
        let held = Arc::clone(&api.acts).try_acquire_many_owned(all).expect("all of them");
        let busy = api.act(async {}).await.expect_err("no slot is left");
        assert_eq!((busy.code(), busy.wait()), (&codes::HOST_BUSY, Some(COME_BACK)));
        drop(held);
        api.act(async {}).await.expect("capacity is left");
        assert_eq!(
            api.acts.available_permits(),
            limits::ACTS,
            "completed work releases its slot"
        );
    }
}
