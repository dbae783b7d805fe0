//! Sessions in which a person connects an account.

use async_trait::async_trait;
use weir_domain::credential::Tokens;
use weir_domain::id::ConnectSessionId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::connect;
use crate::{ConnectEnd, ConnectSession, Result};

/// Sessions in which a person connects an account.
#[async_trait]
pub trait ConnectSessions: Send + Sync {
    /// Stores a connect session.
    async fn insert_connect_session(&self, session: ConnectSession) -> Result<()>;
    /// The session, expired if its time has passed at `now`.
    async fn connect_session(
        &self,
        workspace: &str,
        id: ConnectSessionId,
        now: Timestamp,
    ) -> Result<Option<ConnectSession>>;
    /// The same in any workspace: for a caller that has its link or proved to be its browser.
    async fn connect_session_of_any(&self, id: ConnectSessionId, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// The session with this OAuth state, a secret, whatever its status.
    async fn connect_session_of(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// Claims the pending session with this OAuth state, a secret, for `node`: of two concurrent callers, one gets it.
    async fn take_connect_session(&self, state: &str, node: &str, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// Stores the tokens that the platform returned for the code of a claimed session: the code is consumed, so a
    /// restart continues with the tokens. Only a caller that claimed the session by its secret has tokens to store.
    async fn keep_first_tokens(&self, id: ConnectSessionId, tokens: Tokens) -> Result<()>;
    /// Sessions of all workspaces that were claimed and have not ended: those of `node`, in progress or interrupted,
    /// and from now on those of dead nodes.
    async fn taken_connect_sessions(&self, node: &str, now: Timestamp) -> Result<Vec<ConnectSession>>;
    /// Stores the end of a session that was claimed by its secret.
    async fn finish_connect_session(&self, id: ConnectSessionId, end: ConnectEnd) -> Result<()>;
    /// Ends the sessions that were not completed in time; claimed ones are completed by the node that claimed them, or
    /// by the next start. Returns their number.
    async fn end_connect_sessions(&self, now: Timestamp) -> Result<u32>;
}

#[async_trait]
impl<E: Engine> ConnectSessions for E {
    async fn insert_connect_session(&self, session: ConnectSession) -> Result<()> {
        self.write(move |db| connect::insert(db, session.clone())).await
    }
    async fn connect_session(
        &self,
        workspace: &str,
        id: ConnectSessionId,
        now: Timestamp,
    ) -> Result<Option<ConnectSession>> {
        let session = self.read(move |db| connect::one(db, id, now)).await?;
        // The workspace is in the sealed part.
        Ok(session.filter(|session| session.workspace_id == workspace))
    }
    async fn connect_session_of_any(&self, id: ConnectSessionId, now: Timestamp) -> Result<Option<ConnectSession>> {
        self.read(move |db| connect::one(db, id, now)).await
    }
    async fn connect_session_of(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>> {
        let state = state.to_owned();
        self.read(move |db| connect::of_state(db, &state, now)).await
    }
    async fn take_connect_session(&self, state: &str, node: &str, now: Timestamp) -> Result<Option<ConnectSession>> {
        let (state, node) = (state.to_owned(), node.to_owned());
        self.write(move |db| connect::take(db, &state, &node, now)).await
    }
    async fn keep_first_tokens(&self, id: ConnectSessionId, tokens: Tokens) -> Result<()> {
        self.write(move |db| connect::keep_tokens(db, id, &tokens)).await
    }
    async fn taken_connect_sessions(&self, node: &str, now: Timestamp) -> Result<Vec<ConnectSession>> {
        let node = node.to_owned();
        if self.read(connect::has_orphans).await? {
            let node = node.clone();
            self.write(move |db| connect::adopt(db, &node)).await?;
        }
        self.read(move |db| connect::taken(db, &node, now)).await
    }
    async fn finish_connect_session(&self, id: ConnectSessionId, end: ConnectEnd) -> Result<()> {
        self.write(move |db| connect::finish(db, id, &end)).await
    }
    async fn end_connect_sessions(&self, now: Timestamp) -> Result<u32> {
        // Usually there is none, and the writer is not needed.
        match self.lookup(connect::next_over).await? {
            Some(over) if over <= now => self.write(move |db| connect::end_over(db, now)).await,
            _ => Ok(0),
        }
    }
}
