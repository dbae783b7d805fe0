//! Settles uncertain messages by reading the platform's own history.
//!
//! If the history contains a message, it was sent: the database matches it as it would an echo. Only a complete
//! history, read after the grace time and without any entry that could be the message, proves its absence; a text is
//! then sent again, if the operator allows it. Anything less proves nothing, and the message stays uncertain until an
//! echo or a person settles it.

use std::sync::Arc;

use weir_domain::inbound::Fact;
use weir_domain::message::Content;
use weir_domain::time::Timestamp;
use weir_runtime::context::ConversationFacts;
use weir_store::{Resolution, Source, StoreError, UncertainMessage};

use crate::accounts::Accounts;
use crate::accounts::calls::CallFailure;
use crate::connectors::Connectors;
use crate::core::Core;
use crate::messages::inbound::Inbound;

/// Uncertain messages checked in one round; few of them need a call, and those that wait must not hide the others.
const ROUND: u32 = 1_000;
/// Settles uncertain messages.
pub(crate) struct Reconciler {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    accounts: Arc<Accounts>,
    inbound: Arc<Inbound>,
}

impl Reconciler {
    pub(crate) fn new(
        core: Arc<Core>,
        connectors: Arc<Connectors>,
        accounts: Arc<Accounts>,
        inbound: Arc<Inbound>,
    ) -> Self {
        Self {
            core,
            connectors,
            accounts,
            inbound,
        }
    }

    /// Checks each uncertain message whose grace time is over at `now`. Returns how many were settled.
    ///
    /// # Errors
    /// The database failed. A platform's failure is logged, and retried in a later round.
    pub(crate) async fn reconcile_round(&self, now: Timestamp) -> Result<u32, StoreError> {
        let mut settled = 0;
        for uncertain in self.core.store().confirm_uncertain(ROUND, now).await? {
            match self.settle_by_history(&uncertain, now).await {
                Ok(true) => settled += 1,
                Ok(false) => {}
                Err(CallFailure::Store(error)) => return Err(error),
                Err(error) => {
                    let id = uncertain.message.id;
                    tracing::warn!(message.id = %id, "The history that would settle the message {id} cannot be read: {error}");
                }
            }
        }
        if settled > 0 {
            self.core.wakes.messages.notify_one();
        }
        Ok(settled)
    }

    async fn settle_by_history(&self, uncertain: &UncertainMessage, now: Timestamp) -> Result<bool, CallFailure> {
        let serving = self.connectors.serving_of(&uncertain.channel).await?;
        if !serving.policies.manifest().provides("history") {
            return Ok(false);
        }
        let rules = serving.policies.rules(&uncertain.channel);
        let possible_since = rules.possible_since(uncertain.dispatched_at);
        let likely_since = rules.likely_since(uncertain.dispatched_at);
        // By a known clock it cannot be earlier; the further back, the less complete a platform's history is.
        let since = if serving.app.clock.is_known() {
            likely_since
        } else {
            possible_since
        };
        let facts = ConversationFacts::from(&uncertain.conversation);
        let page = self
            .accounts
            .call(&uncertain.channel, |connector, context| {
                let facts = facts.clone();
                Box::pin(async move { connector.messages(context, &facts, since).await })
            })
            .await?;
        // An unreadable entry may be this message.
        let is_readable = !page
            .events
            .iter()
            .any(|event| matches!(event.fact, Fact::Unknown { .. }));
        // Events from the history are recorded like a webhook's: this is also how the message is found.
        self.inbound.record(&serving, page.events, Source::History).await?;
        let workspace = &uncertain.channel.workspace_id;
        let after = self.core.store().message(workspace, uncertain.message.id).await?;
        if after.is_none_or(|message| message.status != uncertain.message.status) {
            return Ok(true);
        }
        // With another clock the query would have been different.
        let is_timely = serving.app.clock.is_settled();
        if !page.complete || !is_readable || !is_timely || !self.may_resend(uncertain) {
            return Ok(false);
        }
        let read = Resolution::HistoryRead {
            possible_since,
            likely_since,
        };
        Ok(self
            .core
            .store()
            .resolve_uncertain(&uncertain.channel.workspace_id, uncertain.message.id, read, now)
            .await?)
    }

    /// Whether a message whose absence is proven is sent again: only a text, and only if the operator leaves it on.
    fn may_resend(&self, uncertain: &UncertainMessage) -> bool {
        self.core.config.delivery.resend_if_absent && matches!(uncertain.message.content, Content::Text { .. })
    }
}
