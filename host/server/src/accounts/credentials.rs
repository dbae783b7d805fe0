//! Credentials in memory: the single way to read them, including those that are not stored in the database yet.
//!
//! Once a platform has rotated a credential, it no longer accepts the old one, so the new one must not be lost to a
//! locked database or a full disk: it is kept in memory and the write is retried until it succeeds. Every reader gets
//! that credential, and it is not renewed again before it is on the disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use weir_domain::channel::{Channel, ChannelStatus};
use weir_domain::credential::{Credential, Tokens};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_store::StoreError;

use crate::core::Core;
use crate::core::persist::persist;

/// Delay between attempts to store credentials and failures of versions that the database did not accept, and after the
/// stop.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The credentials of channels.
pub(crate) struct Credentials {
    core: Arc<Core>,
    /// Renewed, and not in the database yet.
    renewed: Mutex<BTreeMap<ChannelId, Renewed>>,
    /// First credentials of accounts that are being connected, and not in the database yet.
    first: AtomicUsize,
    /// Wakes the task that stores them.
    pub(crate) wake: Arc<Notify>,
}

/// A renewed credential, and the one that it replaces.
#[derive(Clone, Debug)]
struct Renewed {
    workspace: String,
    old: Credential,
    new: Credential,
}

/// A first credential that is being stored, counted until this is dropped.
struct First<'u>(&'u AtomicUsize);

impl<'u> First<'u> {
    fn count(first: &'u AtomicUsize) -> Self {
        first.fetch_add(1, Ordering::Relaxed);
        Self(first)
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Credentials {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            core,
            renewed: Mutex::default(),
            first: AtomicUsize::new(0),
            wake: Arc::default(),
        }
    }

    fn renewed(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Renewed>> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are not in the database yet.
    pub(crate) fn count(&self) -> usize {
        self.renewed().len() + self.first.load(Ordering::Relaxed)
    }

    /// Whether the channel's credential is in memory only.
    pub(crate) fn holds(&self, channel: ChannelId) -> bool {
        self.renewed().contains_key(&channel)
    }

    /// The channel has another credential, or none any more.
    pub(crate) fn forget(&self, channel: ChannelId) -> Option<Credential> {
        self.renewed().remove(&channel).map(|renewed| renewed.new)
    }

    /// The credential of a channel; the only way to read it.
    pub(crate) async fn of(&self, channel: &Channel) -> Result<Option<Credential>, StoreError> {
        let unwritten = self.renewed().get(&channel.id).map(|renewed| renewed.new.clone());
        match unwritten {
            Some(credential) => Ok(Some(credential)),
            None => self.core.store().credential(&channel.workspace_id, channel.id).await,
        }
    }

    /// Keeps a renewed credential in memory and stores it. From here on it is the channel's credential, even if the
    /// database still has the old one.
    ///
    /// # Errors
    /// It is not on the disk yet; the write is retried until it succeeds.
    pub(crate) async fn keep_renewed(
        &self,
        channel: &Channel,
        old: Credential,
        new: Credential,
    ) -> Result<(), StoreError> {
        let workspace = channel.workspace_id.clone();
        let channel = channel.id;
        self.renewed().insert(channel, Renewed { workspace, old, new });
        let written = persist(|| self.write_renewed(channel)).await;
        if let Err(error) = &written {
            tracing::error!(
                channel.id = %channel,
                "The renewed credential of the channel {channel} is in memory only, and is stored as soon as the database accepts \
                 it; do not stop the host before: {error}"
            );
            self.wake.notify_one();
        }
        written
    }

    /// Stores the renewed credential of a channel, if one is waiting.
    pub(crate) async fn write_renewed(&self, channel: ChannelId) -> Result<(), StoreError> {
        let Some(Renewed { workspace, old, new }) = self.renewed().get(&channel).cloned() else {
            return Ok(());
        };
        let is_taken = self
            .core
            .store
            .put_credential(&workspace, channel, old, new.clone(), self.core.now())
            .await?;
        {
            let mut renewed = self.renewed();
            if renewed.get(&channel).is_some_and(|there| there.new == new) {
                renewed.remove(&channel);
            }
        }
        if is_taken {
            self.core.wakes.messages.notify_one();
        } else {
            tracing::warn!(
                channel.id = %channel,
                "A renewed credential of the channel {channel} is dropped: the channel has a newer authorization, or was deleted"
            );
        }
        Ok(())
    }

    /// Stores the waiting credentials. Returns how many still wait.
    pub(crate) async fn write_unwritten(&self) -> usize {
        let waiting: Vec<ChannelId> = self.renewed().keys().copied().collect();
        for channel in waiting {
            match self.write_renewed(channel).await {
                Ok(()) => {
                    tracing::info!(channel.id = %channel, "The renewed credential of the channel {channel} is on the disk");
                }
                Err(error) => tracing::warn!(
                    channel.id = %channel,
                    "The renewed credential of the channel {channel} is still in memory only: {error}"
                ),
            }
        }
        self.count()
    }

    /// Stores the tokens that the platform issued for a session's code, retrying as long as necessary: the code is
    /// consumed.
    pub(crate) async fn keep_first_tokens(&self, session: ConnectSessionId, tokens: &Tokens) {
        let _counted = First::count(&self.first);
        while let Err(error) = persist(|| self.core.store().keep_first_tokens(session, tokens.clone())).await {
            tracing::error!(
                session.id = %session,
                "The platform's tokens for {session} are in memory only, and are stored as soon as the database accepts them; \
                 do not stop the host before: {error}"
            );
            tokio::time::sleep(WRITE_EVERY).await;
        }
    }

    /// A person must authorize the channel again. The event is written once.
    pub(crate) async fn needs_reauthorization(&self, channel: &Channel, reason: &str) -> Result<(), StoreError> {
        self.core
            .store
            .set_channel_status(
                &channel.workspace_id,
                channel.id,
                ChannelStatus::ReauthorizationRequired,
                reason,
                self.core.now(),
            )
            .await?;
        let channel = channel.id;
        tracing::warn!(channel.id = %channel, "The channel {channel} must be authorized again");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use weir_domain::credential::Secret;

    use super::*;
    use crate::host::NotReady;
    use crate::testing::{account, token};
    use crate::{Config, Host};

    async fn connected(folder: &TempDir) -> (Host, Channel, Credential) {
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let old = token(&host);
        let connected = host.store().connect_channel(account("acme"), old.clone(), host.now());
        let (channel, _) = connected.await.expect("a database");
        (host, channel, old)
    }

    fn renewed(old: &Credential) -> Credential {
        Credential {
            access_token: Secret::new("renewed"),
            ..old.clone()
        }
    }

    #[tokio::test]
    async fn an_unwritten_credential_is_used_and_written_later() {
        let folder = TempDir::new().expect("a directory");
        let (host, channel, old) = connected(&folder).await;
        let new = renewed(&old);
        let entry = |old, new| Renewed {
            workspace: channel.workspace_id.clone(),
            old,
            new,
        };
        let unwritten = entry(old.clone(), new.clone());
        host.accounts.credentials.renewed().insert(channel.id, unwritten);
        // The database accepts no writes: all readers use the credential in memory, and the host reports that it must
        // not stop.
        host.store().close().await;
        assert_eq!(host.accounts.credentials.write_unwritten().await, 1);
        assert_eq!(
            host.accounts.credentials.of(&channel).await.expect("from memory"),
            Some(new.clone())
        );
        drop(host);
        let (host, ..) = (
            Host::open(Config::for_testing(folder.path())).await.expect("a host"),
            (),
        );
        assert_eq!(
            host.accounts.credentials.of(&channel).await.expect("a database"),
            Some(old.clone())
        );
        let unwritten = entry(old, new.clone());
        host.accounts.credentials.renewed().insert(channel.id, unwritten);
        assert!(matches!(host.ready().await, Err(NotReady::Unwritten { count: 1 })));
        assert_eq!(host.accounts.credentials.write_unwritten().await, 0);
        assert!(host.ready().await.is_ok());
        let kept = host.store().credential(&channel.workspace_id, channel.id).await;
        assert_eq!(kept.expect("a database"), Some(new));
    }

    #[tokio::test]
    async fn a_renewal_of_the_old_grant_is_dropped_after_a_new_consent() {
        let folder = TempDir::new().expect("a directory");
        let (host, channel, old) = connected(&folder).await;
        let consent = Credential {
            access_token: Secret::new("of the new consent"),
            ..old.clone()
        };
        let again = host
            .store()
            .connect_channel(account("acme"), consent.clone(), host.now());
        again.await.expect("a database");
        host.accounts
            .credentials
            .keep_renewed(&channel, old.clone(), renewed(&old))
            .await
            .expect("nothing is left to write");
        assert_eq!(
            host.accounts.credentials.of(&channel).await.expect("a database"),
            Some(consent)
        );
        assert_eq!(host.accounts.credentials.count(), 0);
    }
}
