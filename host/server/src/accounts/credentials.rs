//! Credentials in the host's hands: one way to read them, and those that the record has not taken yet.
//!
//! A platform that has rotated a credential takes the old one no more, so the new one must not be lost to a locked record or a
//! full disk: it is kept in memory and written until it is written. Whoever reads a credential gets that one, and it is not
//! renewed in its turn before it is on the disk.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_domain::credential::{Credential, Tokens};
use weir_domain::id::{ChannelId, ConnectSessionId};
use weir_store::StoreError;

use crate::core::persist::persist;
use crate::host::Host;

/// What platforms have given and the record has not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Unwritten {
    renewed: Mutex<BTreeMap<ChannelId, Renewed>>,
    /// First credentials of accounts that are being connected.
    first: AtomicUsize,
    /// Ends the sleep of the loop that writes them.
    pub(crate) wake: Arc<Notify>,
}

/// A renewed credential, and what it was made from.
#[derive(Clone, Debug)]
struct Renewed {
    old: Credential,
    new: Credential,
}

impl Unwritten {
    fn renewed(&self) -> MutexGuard<'_, BTreeMap<ChannelId, Renewed>> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.renewed().len() + self.first.load(Ordering::Relaxed)
    }

    pub(crate) fn holds(&self, channel: ChannelId) -> bool {
        self.renewed().contains_key(&channel)
    }

    /// The channel has another credential, or none any more.
    pub(crate) fn forget(&self, channel: ChannelId) -> Option<Credential> {
        self.renewed().remove(&channel).map(|renewed| renewed.new)
    }
}

/// A first credential that is being written, counted until this is dropped.
struct First<'u>(&'u AtomicUsize);

impl<'u> First<'u> {
    fn count(unwritten: &'u Unwritten) -> Self {
        unwritten.first.fetch_add(1, Ordering::Relaxed);
        Self(&unwritten.first)
    }
}

impl Drop for First<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Host {
    /// The credential of a channel: what everything reads it by.
    pub(crate) async fn credential(&self, channel: ChannelId) -> Result<Option<Credential>, StoreError> {
        let unwritten = self
            .0
            .unwritten
            .renewed()
            .get(&channel)
            .map(|renewed| renewed.new.clone());
        match unwritten {
            Some(credential) => Ok(Some(credential)),
            None => self.store().credential(channel).await,
        }
    }

    /// Takes a renewed credential into keeping and writes it down. From here on it is the channel's, whatever the record says.
    ///
    /// # Errors
    /// It is not on the disk yet, and is written until it is.
    pub(crate) async fn keep_renewed(
        &self,
        channel: ChannelId,
        old: Credential,
        new: Credential,
    ) -> Result<(), StoreError> {
        self.0.unwritten.renewed().insert(channel, Renewed { old, new });
        let written = persist(|| self.write_renewed(channel)).await;
        if let Err(error) = &written {
            tracing::error!(
                channel.id = %channel,
                "The renewed credential of the channel {channel} is in memory only, and is written as soon as the record takes it; \
                 do not end the host before: {error}"
            );
            self.0.unwritten.wake.notify_one();
        }
        written
    }

    /// Writes the renewed credential of a channel, if it waits for that.
    pub(crate) async fn write_renewed(&self, channel: ChannelId) -> Result<(), StoreError> {
        let Some(Renewed { old, new }) = self.0.unwritten.renewed().get(&channel).cloned() else {
            return Ok(());
        };
        let is_taken = self
            .store()
            .put_credential(channel, old, new.clone(), self.now())
            .await?;
        {
            let mut renewed = self.0.unwritten.renewed();
            if renewed.get(&channel).is_some_and(|there| there.new == new) {
                renewed.remove(&channel);
            }
        }
        if is_taken {
            self.wake_senders();
        } else {
            tracing::warn!(
                channel.id = %channel,
                "A renewed credential of the channel {channel} is dropped: the channel has a newer authorization, or was deleted"
            );
        }
        Ok(())
    }

    /// Writes what waits for it. How many still do.
    pub(crate) async fn write_unwritten(&self) -> usize {
        let waiting: Vec<ChannelId> = self.0.unwritten.renewed().keys().copied().collect();
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
        self.0.unwritten.count()
    }

    /// Writes down what the platform gave for a session's code, for as long as it takes: the code is spent.
    pub(crate) async fn keep_first_tokens(&self, session: ConnectSessionId, tokens: &Tokens) {
        let _counted = First::count(&self.0.unwritten);
        while let Err(error) = persist(|| self.store().keep_first_tokens(session, tokens.clone())).await {
            tracing::error!(
                session.id = %session,
                "What the platform gave for {session} is in memory only, and is written as soon as the record takes it; do not end \
                 the host before: {error}"
            );
            tokio::time::sleep(crate::loops::WRITE_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use weir_domain::credential::Secret;
    use weir_domain::id::ChannelId;

    use super::*;
    use crate::host::NotReady;
    use crate::testing::{account, token};
    use crate::{Config, Host};

    async fn connected(folder: &TempDir) -> (Host, ChannelId, Credential) {
        let host = Host::open(Config::for_testing(folder.path())).await.expect("a host");
        let old = token(&host);
        let connected = host.store().connect_channel(account("acme"), old.clone(), host.now());
        let (channel, _) = connected.await.expect("a record");
        (host, channel.id, old)
    }

    fn renewed(old: &Credential) -> Credential {
        Credential {
            access_token: Secret::new("renewed"),
            ..old.clone()
        }
    }

    #[tokio::test]
    async fn an_unwritten_credential_is_used_and_written_later() {
        let folder = TempDir::new().expect("a folder");
        let (host, channel, old) = connected(&folder).await;
        let new = renewed(&old);
        let entry = Renewed {
            old: old.clone(),
            new: new.clone(),
        };
        host.0.unwritten.renewed().insert(channel, entry);
        // The record takes nothing: everybody reads the one in memory, and the host says that it must not end.
        host.store().close().await;
        assert_eq!(host.write_unwritten().await, 1);
        assert_eq!(host.credential(channel).await.expect("from memory"), Some(new.clone()));
        drop(host);
        let (host, ..) = (
            Host::open(Config::for_testing(folder.path())).await.expect("a host"),
            (),
        );
        assert_eq!(host.credential(channel).await.expect("a record"), Some(old.clone()));
        let entry = Renewed { old, new: new.clone() };
        host.0.unwritten.renewed().insert(channel, entry);
        assert!(matches!(host.ready().await, Err(NotReady::Unwritten { count: 1 })));
        assert_eq!(host.write_unwritten().await, 0);
        assert!(host.ready().await.is_ok());
        assert_eq!(host.store().credential(channel).await.expect("a record"), Some(new));
    }

    #[tokio::test]
    async fn a_renewal_of_the_old_grant_is_dropped_after_a_new_consent() {
        let folder = TempDir::new().expect("a folder");
        let (host, channel, old) = connected(&folder).await;
        let consent = Credential {
            access_token: Secret::new("of the new consent"),
            ..old.clone()
        };
        let again = host
            .store()
            .connect_channel(account("acme"), consent.clone(), host.now());
        again.await.expect("a record");
        host.keep_renewed(channel, old.clone(), renewed(&old))
            .await
            .expect("nothing is left to write");
        assert_eq!(host.credential(channel).await.expect("a record"), Some(consent));
        assert_eq!(host.0.unwritten.count(), 0);
    }
}
