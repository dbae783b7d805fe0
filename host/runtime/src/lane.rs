//! Where long calls run. An ordinary call is over in a fraction of a tick and stays on the worker that asked for it. One that
//! runs through a whole tick goes on in a thread of its own, so that no other task of a worker waits behind it; and such
//! threads leave a processor to everybody else: of their calls only so many run at a time, in turn, a tick each.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};

/// The turns of the process's long calls.
#[derive(Clone)]
pub(crate) struct Lane(Arc<Semaphore>);

impl Lane {
    /// A lane of all processors but one.
    pub(crate) fn new() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Semaphore::new(processors.saturating_sub(1).max(1))))
    }

    /// Runs a call to its end, or until nobody waits for it any more. The call raises `is_long` when it has run through a
    /// tick.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        is_long: &AtomicBool,
    ) -> T {
        let mut call = Box::pin(call);
        let short = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if is_long.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(value) = short.await {
            return value;
        }
        let (runtime, lane) = (Handle::current(), self.clone());
        let (mut answer, answered) = oneshot::channel();
        let thread = tokio::task::spawn_blocking(move || {
            runtime.block_on(async move {
                let ended = tokio::select! {
                    value = lane.in_turn(call) => Some(value),
                    () = answer.closed() => None,
                };
                // Who waited may be gone by now, and then wants nothing.
                let _ = ended.map(|value| answer.send(value));
            });
        });
        if let Ok(value) = answered.await {
            return value;
        }
        match thread.await.map_err(tokio::task::JoinError::try_into_panic) {
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The process is shutting down, and drops whoever waits here.
            _ => pending().await,
        }
    }

    /// Polls a call only while it has a turn; waiting for the network takes none.
    async fn in_turn<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        loop {
            let turn = self.0.acquire().await.expect("nobody closes the lane");
            if let Poll::Ready(value) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
                return value;
            }
            drop(turn);
            until_woken().await;
        }
    }
}

/// Waits until what was polled before has news: it knows whom to wake.
async fn until_woken() {
    let mut is_first = true;
    poll_fn(|_| {
        if std::mem::replace(&mut is_first, false) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}
