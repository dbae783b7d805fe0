//! Connect sessions that this process is working on, so that none is processed twice and repeated requests can wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use weir_domain::id::ConnectSessionId;

type Sessions = Mutex<BTreeMap<ConnectSessionId, watch::Sender<()>>>;

/// Connect sessions in progress.
#[derive(Clone, Debug, Default)]
pub(crate) struct AtWork(Arc<Sessions>);

/// A session in progress, until this is dropped.
#[derive(Debug)]
pub(crate) struct Work {
    sessions: Arc<Sessions>,
    id: ConnectSessionId,
}

impl AtWork {
    /// Starts work on a session; `None` if a task is working on it already.
    pub(crate) fn begin(&self, id: ConnectSessionId) -> Option<Work> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.contains_key(&id) {
            return None;
        }
        sessions.insert(id, watch::Sender::new(()));
        Some(Work {
            sessions: Arc::clone(&self.0),
            id,
        })
    }

    /// Waits until no task works on the session.
    pub(crate) async fn ended(&self, id: ConnectSessionId) {
        let watched = {
            let sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.get(&id).map(watch::Sender::subscribe)
        };
        if let Some(mut watched) = watched {
            // Nothing is sent: dropping the sender signals the end of the work.
            let _ = watched.changed().await;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::Poll;

    use weir_domain::id::Mint;
    use weir_domain::time::Timestamp;

    use super::*;

    #[tokio::test]
    async fn one_works_and_the_others_wait() {
        let at_work = AtWork::default();
        let id = Mint::from_seed([1; 32]).id(Timestamp::default());
        at_work.ended(id).await;
        let work = at_work.begin(id).expect("no task works on it");
        assert!(at_work.begin(id).is_none());
        let mut ended = std::pin::pin!(at_work.ended(id));
        let polled = std::future::poll_fn(|context| Poll::Ready(ended.as_mut().poll(context).is_pending()));
        assert!(polled.await);
        drop(work);
        ended.await;
        assert!(at_work.begin(id).is_some());
    }
}
