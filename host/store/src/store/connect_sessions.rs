//! Sessions in which somebody connects an account.

use async_trait::async_trait;
use weir_domain::credential::Tokens;
use weir_domain::id::ConnectSessionId;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::connect;
use crate::{ConnectEnd, ConnectSession, Result};

/// Sessions in which somebody connects an account.
#[async_trait]
pub trait ConnectSessions: Send + Sync {
    /// Keeps a connect session.
    async fn insert_connect_session(&self, session: ConnectSession) -> Result<()>;
    /// The session, expired if its time is over at `now`.
    async fn connect_session(
        &self,
        workspace: &str,
        id: ConnectSessionId,
        now: Timestamp,
    ) -> Result<Option<ConnectSession>>;
    /// The same, whosever it is: for who has its link or has proved to be its browser.
    async fn connect_session_of_any(&self, id: ConnectSessionId, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// The session with this OAuth state, a secret, wherever it stands.
    async fn connect_session_of(&self, state: &str, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// Takes the pending session with this OAuth state, a secret, for `node`: of two callers, one gets it.
    async fn take_connect_session(&self, state: &str, node: &str, now: Timestamp) -> Result<Option<ConnectSession>>;
    /// Keeps what the platform gave for the code of a session that was taken: the code is spent, so from here on a start goes
    /// on with these. Only who took the session by its secret has what to keep.
    async fn keep_first_tokens(&self, id: ConnectSessionId, tokens: Tokens) -> Result<()>;
    /// Sessions of all workspaces that were taken and have not ended: those of `node`, at work or cut off, and from now on those of dead nodes.
    async fn taken_connect_sessions(&self, node: &str, now: Timestamp) -> Result<Vec<ConnectSession>>;
    /// Says how a session ended that was taken by its secret.
    async fn finish_connect_session(&self, id: ConnectSessionId, end: ConnectEnd) -> Result<()>;
    /// Ends the sessions that nobody came to in time; those that were taken are finished by whoever took them, or by the next
    /// start. How many.
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
        // Whose it is, is sealed.
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
        // Mostly there is none, and nobody needs the writer.
        match self.look(connect::next_over).await? {
            Some(over) if over <= now => self.write(move |db| connect::end_over(db, now)).await,
            _ => Ok(0),
        }
    }
}
