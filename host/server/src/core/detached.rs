//! Work that ends even when whoever asked for it does not wait.
//!
//! A client, proxy or browser that hangs up drops the future of its request. What changes something in more than one step runs in
//! a task of its own instead, which the request only awaits: it ends by its own bounds, and the host waits for it at shutdown.

use std::future::{Future, pending};
use std::panic::resume_unwind;
use std::time::Duration;

use tracing::Instrument;

use crate::core::Core;

impl Core {
    /// Runs `work` to its end, whether or not the caller goes on waiting. `permit` is what bounds how much of such work there
    /// can be, and is held until the work ends. A panic of the work reaches the caller that waits.
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

    /// Waits up to `deadline` for detached work that is still running. What is left then is settled at the next start.
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
        let folder = TempDir::new().expect("a folder");
        let core = core(&folder);
        let slots = Arc::new(Semaphore::new(1));
        let permit = Arc::clone(&slots).try_acquire_owned().expect("a slot");
        let (go_on, told) = oneshot::channel::<()>();
        let (ended, end) = oneshot::channel();
        let mut caller = Box::pin(core.detached(permit, async move {
            told.await.expect("sent");
            ended.send(()).expect("waited for");
        }));
        let polled = std::future::poll_fn(|context| Poll::Ready(caller.as_mut().poll(context).is_pending()));
        assert!(polled.await, "it waits to go on");
        drop(caller);
        assert_eq!(slots.available_permits(), 0, "the permit is the work's");
        go_on.send(()).expect("it is still there");
        end.await.expect("it ended");
        core.finish_detached(Duration::from_secs(60)).await;
        assert_eq!(slots.available_permits(), 1);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_caller() {
        let folder = TempDir::new().expect("a folder");
        let core = core(&folder);
        let caller = Arc::clone(&core);
        let task = tokio::spawn(async move { caller.detached((), async { panic!("a fault") }).await });
        let error = task.await.expect_err("it panicked");
        assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"a fault"));
    }
}
