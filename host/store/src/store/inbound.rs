//! What comes in from platforms.

use std::collections::BTreeSet;

use async_trait::async_trait;
use weir_domain::id::DeadLetterId;
use weir_domain::inbound::InboundEvent;
use weir_domain::policy::RuleBook;
use weir_domain::record::inbound::Batch;
use weir_domain::time::Timestamp;

use crate::engine::Engine;
use crate::tables::ledger;
use crate::{App, DeadLetter, Listed, Page, Recorded, Result, Source};

/// What comes in from platforms.
#[async_trait]
pub trait Inbound: Send + Sync {
    /// Records what one webhook (or one reading of the history) told: for each event whose key the channel has not seen,
    /// the contact, the conversation with its window and budget, the message or what became of one, and the event log.
    /// Events for accounts that the app does not know, or that were deleted, are counted and not kept.
    /// Our own echo is matched to the message by platform id, and else to the one message of that conversation that is
    /// being sent or is uncertain, so that an echo may come before the answer of the send.
    async fn record_inbound(
        &self,
        app: &App,
        events: Vec<InboundEvent>,
        source: Source,
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Recorded>;
    /// Keeps a verified webhook that could not be translated, or what was polled and is unknown. At the bound of the app
    /// nothing gives way: [`StoreError::Unavailable`](crate::StoreError::Unavailable), and whoever brought it keeps it.
    async fn keep_dead_letter(&self, letter: DeadLetter) -> Result<()>;
    /// Dead letters of these apps, whose workspace they are of, without their bodies, newest first.
    async fn dead_letters(&self, apps: BTreeSet<String>, page: Page) -> Result<Listed<DeadLetter>>;
    /// One, with its body.
    async fn dead_letter(&self, workspace: &str, id: DeadLetterId) -> Result<Option<DeadLetter>>;
    /// Drops one; false if there is none.
    async fn drop_dead_letter(&self, workspace: &str, id: DeadLetterId) -> Result<bool>;
}

#[async_trait]
impl<E: Engine> Inbound for E {
    async fn record_inbound(
        &self,
        app: &App,
        events: Vec<InboundEvent>,
        source: Source,
        book: &RuleBook,
        now: Timestamp,
    ) -> Result<Recorded> {
        let batch = Batch {
            app: app.name.clone(),
            events,
            source,
            book: book.clone(),
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
