//! Apps: registrations at a platform's developer portal.

use async_trait::async_trait;

use crate::engine::Engine;
use crate::tables::keys;
use crate::{App, Result};

/// Apps: registrations at a platform's developer portal.
#[async_trait]
pub trait Apps: Send + Sync {
    /// Creates or replaces an app. Its secrets are encrypted at rest, with the row as associated data.
    async fn put_app(&self, app: App) -> Result<()>;
    /// The app of this name.
    async fn app(&self, name: &str) -> Result<Option<App>>;
    /// All apps, by name.
    async fn apps(&self) -> Result<Vec<App>>;
}

#[async_trait]
impl<E: Engine> Apps for E {
    async fn put_app(&self, app: App) -> Result<()> {
        self.write(move |db| keys::put_app(db, &app)).await
    }
    async fn app(&self, name: &str) -> Result<Option<App>> {
        let name = name.to_owned();
        self.lookup(move |db| keys::app(db, &name)).await
    }
    async fn apps(&self) -> Result<Vec<App>> {
        self.read(keys::apps).await
    }
}
