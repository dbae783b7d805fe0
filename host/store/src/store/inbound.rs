//! Inbound data from platforms.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::DeadLetterId;
use weir_domain::inbound::InboundEvent;
use weir_domain::policy::PolicySet;
use weir_domain::record::inbound::Batch;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::ledger;
use crate::{App, DeadLetter, Listed, Page, Recorded, Result, Source};

/// Inbound data from platforms.
#[async_trait]
pub trait Inbound: Send + Sync {
    /// Applies one webhook, or one page of the history: for each event whose key the channel has not received, the
    /// contact, the conversation with its window and budget, the message or its change, and the event log. Events for
    /// accounts that the app does not know, or that were deleted, are counted and not stored. An echo of an outbound
    /// message is matched by platform id, or else to the one message of that conversation that is sending or uncertain,
    /// so that an echo may arrive before the response of the send.
    async fn record_inbound(
        &self,
        app: &App,
        events: Vec<InboundEvent>,
        source: Source,
        policies: &PolicySet,
        now: Timestamp,
    ) -> Result<Recorded>;
    /// Stores a verified webhook, or a polled page, that could not be translated. At the app's bound nothing is
    /// displaced: the result is [`StoreError::Unavailable`](crate::StoreError::Unavailable), and the sender keeps it.
    async fn keep_dead_letter(&self, letter: DeadLetter) -> Result<()>;
    /// Dead letters of these apps, each in its app's workspace, without their bodies, newest first.
    async fn dead_letters(&self, apps: BTreeSet<String>, page: Page) -> Result<Listed<DeadLetter>>;
    /// One dead letter, with its body.
    async fn dead_letter(&self, workspace: &str, id: DeadLetterId) -> Result<Option<DeadLetter>>;
    /// Deletes a dead letter; returns false if it does not exist.
    async fn drop_dead_letter(&self, workspace: &str, id: DeadLetterId) -> Result<bool>;
}

#[async_trait]
impl<E: Engine> Inbound for E {
    async fn record_inbound(
        &self,
        app: &App,
        events: Vec<InboundEvent>,
        source: Source,
        policies: &PolicySet,
        now: Timestamp,
    ) -> Result<Recorded> {
        let batch = Batch {
            app: app.name.clone(),
            events,
            source,
            policies: policies.clone(),
            now,
        };
        self.write_shared(batch).await
    }
    async fn keep_dead_letter(&self, letter: DeadLetter) -> Result<()> {
        self.write(move |db| ledger::keep_letter(db, letter.clone())).await
    }
    async fn dead_letters(&self, apps: BTreeSet<String>, page: Page) -> Result<Listed<DeadLetter>> {
        self.read(move |db| ledger::letters(db, &apps, &page)).await
    }
    async fn dead_letter(&self, workspace: &str, id: DeadLetterId) -> Result<Option<DeadLetter>> {
        let workspace = workspace.to_owned();
        self.read(move |db| ledger::letter(db, &workspace, id)).await
    }
    async fn drop_dead_letter(&self, workspace: &str, id: DeadLetterId) -> Result<bool> {
        let workspace = workspace.to_owned();
        self.write(move |db| ledger::drop_letter(db, &workspace, id)).await
    }
}
