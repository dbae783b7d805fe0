//! Ends a read when the key or session that authorized it ends.
//!
//! Reads end immediately with the key: an event stream, a download, a slow list. An operation that changes state was
//! authorized when it was requested, and completes.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;
use weir_domain::caller::{Caller, Denied};
use weir_domain::limits;
use weir_domain::time::Timestamp;

use super::Api;
use super::identify::caller_of;
use super::problem::ApiResult;

/// The key or session that authorized a reading request.
pub(super) struct Standing {
    api: Api,
    /// Those that contain the key or the session.
    headers: HeaderMap,
    ends_at: Option<Timestamp>,
    changed: watch::Receiver<u64>,
}

impl Standing {
    /// For a request that only reads; `None` for one that changes state.
    pub(super) fn of(api: &Api, caller: &Caller, request: &Request) -> Option<Self> {
        if !request.method().is_safe() {
            return None;
        }
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION, COOKIE] {
            for value in request.headers().get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Some(Self {
            api: api.clone(),
            headers,
            ends_at: caller.ends_at(),
            changed: api.host.core.keys.subscribe(),
        })
    }

    /// Runs a request, and its response to the end, for as long as its key is valid.
    pub(super) async fn bound(self, answer: impl Future<Output = Response>) -> ApiResult<Response> {
        let mut ended: Ended = Box::pin(self.ended());
        tokio::select! {
            biased;
            response = pin!(answer) => Ok(response.map(|body| {
                Body::new(Bound { body, ended: Some(ended) })
            })),
            denied = &mut ended => Err(denied.into()),
        }
    }

    /// Waits for the end of the key or session.
    async fn ended(mut self) -> Denied {
        loop {
            let now = self.api.host.now();
            let wait = self
                .ends_at
                .map_or(limits::KEY_CHECK, |end| end.since(now).min(limits::KEY_CHECK));
            tokio::select! {
                // The sender is the host's, which outlives its requests.
                _ = self.changed.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
            // A database that cannot be read is no evidence against the key.
            if let Ok(Err(denied)) = caller_of(&self.api, &self.headers, false, self.api.host.now()).await {
                return denied;
            }
        }
    }
}

type Ended = Pin<Box<dyn Future<Output = Denied> + Send>>;

/// A response that ends with its key.
struct Bound {
    body: Body,
    /// `None` once the key has ended.
    ended: Option<Ended>,
}

impl hyper::body::Body for Bound {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(ended) = &mut self.ended else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(denied) = ended.as_mut().poll(context) {
            self.ended = None;
            // A stream without a length ends normally; a response with a length is aborted, so that a client does not
            // take it for complete.
            let is_endless = hyper::body::Body::size_hint(&self.body).exact().is_none();
            return Poll::Ready((!is_endless).then(|| Err(axum::Error::new(io::Error::other(denied)))));
        }
        hyper::body::Body::poll_frame(Pin::new(&mut self.body), context)
    }

    fn is_end_stream(&self) -> bool {
        self.ended.is_none() || hyper::body::Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        hyper::body::Body::size_hint(&self.body)
    }
}
