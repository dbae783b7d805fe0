//! Persists the result of an external step, which is known only in this process. Retries if the database is locked,
//! full, or cannot confirm the write: all these writes are idempotent.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;
use weir_domain::limits;
use weir_store::StoreError;

/// The first wait between two attempts; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Retries a write until the database accepts it, for [`limits::PERSIST`] at most.
///
/// # Errors
/// The database did not accept it by then, or failed permanently.
pub(crate) async fn persist<T, F>(mut write: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let end = Instant::now() + limits::PERSIST;
    let mut wait = FIRST_WAIT;
    loop {
        let written = write().await;
        let heals = written.as_ref().is_err_and(StoreError::may_heal);
        if !heals || Instant::now() + wait >= end {
            return written;
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A write that fails a number of times, and how often it was attempted.
    async fn failing(times: u32, error: fn() -> StoreError) -> (Result<(), StoreError>, u32) {
        let mut tries = 0;
        let written = persist(|| {
            tries += 1;
            std::future::ready(if tries > times { Ok(()) } else { Err(error()) })
        });
        let written = written.await;
        (written, tries)
    }

    fn locked() -> StoreError {
        StoreError::Unavailable {
            reason: "locked".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn locked_database_is_retried_within_bounds() {
        let (written, tries) = failing(3, locked).await;
        assert_eq!((written.is_ok(), tries), (true, 4));
        let unknown = || StoreError::Unknown {
            reason: "the connection broke".to_owned(),
        };
        assert_eq!(failing(1, unknown).await.1, 2, "an uncertain write is retried");
        let begin = Instant::now();
        let (written, _) = failing(u32::MAX, locked).await;
        assert!(written.is_err() && begin.elapsed() <= limits::PERSIST);
        let damaged = || StoreError::Database("no".to_owned());
        assert_eq!(failing(1, damaged).await.1, 1, "permanent errors are not retried");
    }
}
