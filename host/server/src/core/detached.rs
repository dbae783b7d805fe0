//! Work that completes even if its caller stops waiting.
//!
//! A client, proxy or browser that disconnects drops the future of its request. An operation that changes state in more
//! than one step therefore runs in a task of its own, which the request only awaits: it has its own time limits, and
//! the host waits for it at shutdown.

use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::time::Duration;

use tracing::Instrument;

use crate::core::Core;

impl Core {
    /// Runs `work` to completion, whether or not the caller keeps waiting. `permit` limits how many such tasks run at
    /// once, and is held until the work ends. A panic in the work propagates to a waiting caller.
    pub(crate) async fn detached<T: Send + 'static>(
        &self,
        permit: impl Send + 'static,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        // On the heap before it is wrapped: each layer around it would move it whole, some kilobytes for a webhook.
        let work = Box::pin(work);
        let task = async move {
            let output = work.await;
            drop(permit);
            output
        };
        let task = weir_store::carried(task).in_current_span();
        match self.detached.spawn(task).await {
            Ok(output) => output,
            Err(error) => match error.try_into_panic() {
                Ok(payload) => resume_unwind(payload),
                // Only a runtime that shuts down cancels it, and the caller with it.
                Err(_) => pending().await,
            },
        }
    }

    /// Waits up to `deadline` for detached work that is still running. The next start resolves the rest.
    pub(crate) async fn finish_detached(&self, deadline: Duration) {
        self.detached.close();
        if tokio::time::timeout(deadline, self.detached.wait()).await.is_err() {
            let left = self.detached.len();
            tracing::warn!("{left} requests did not end in {deadline:?}; what they left is settled at the next start");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::Arc;
    use std::task::Poll;

    use tempfile::TempDir;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::testing::core;

    #[tokio::test]
    async fn work_ends_though_its_caller_left() {
        let folder = TempDir::new().expect("a directory");
        let core = core(&folder);
        let slots = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&slots).try_acquire_owned().expect("a slot");
        let (go_on, finished) = oneshot::channel::<()>();
        let (ended, end) = oneshot::channel();
        let mut caller = Box::pin(core.detached(permit, async move {
            finished.await.expect("sent");
            ended.send(()).expect("waited for");
        }));
        let polled = std::future::poll_fn(|context| Poll::Ready(caller.as_mut().poll(context).is_pending()));
        assert!(polled.await, "the work is waiting to be resumed");
        drop(caller);
        assert_eq!(slots.available_permits(), 0, "the permit is the work's");
        go_on.send(()).expect("it is still there");
        end.await.expect("it ended");
        core.finish_detached(Duration::from_secs(60)).await;
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller() {
        let folder = TempDir::new().expect("a directory");
        let core = core(&folder);
        let caller = Arc::clone(&core);
        let task = tokio::spawn(async move { caller.detached((), async { panic!("a fault") }).await });
        let error = task.await.expect_err("it panicked");
        assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"a fault"));
    }
}
