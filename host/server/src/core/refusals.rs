//! Each refusal is stored with an explanation: the rule that decided, the facts on both sides, when it changes, and how
//! to make it allowed.
//!
//! Storing refusals is best effort: a refusal takes effect even if it is not stored. Stored refusals are bounded in
//! number and age; the counts per rule and subject are permanent.

use serde_json::{Value, json};
use weir_domain::caller::OPERATORS_WORKSPACE;
use weir_domain::channel::Channel;
use weir_domain::id::{ChannelId, ConversationId, MessageId, RefusalId};
use weir_domain::policy::Refusal;
use weir_runtime::context::{Act, Refused};
use weir_store::{RefusalRecord, RefusedWhat};

use crate::core::{Core, codes};

/// Appended to a refusal that the operator's own limit decided.
pub(crate) const OPERATORS_LIMIT: &str =
    "; the limit is the operator's own for this channel, tighter than the platform's";

/// A refusal in a connector's call, to be stored.
#[derive(Debug)]
pub(crate) struct ActRefused {
    about: RefusedWhat,
    connector: String,
    channel_id: Option<ChannelId>,
    rule: &'static str,
    detail: String,
    facts: Value,
}

impl ActRefused {
    pub(crate) fn of(refused: &Refused<'_>) -> Self {
        let mut facts = json!({
            "connector": refused.connector,
            "version": refused.version,
            "call": refused.kind.as_str(),
        });
        let about = match refused.act {
            Act::Request { method, url } => {
                facts["method"] = method.into();
                facts["url"] = url.into();
                RefusedWhat::Request
            }
            Act::State { key } => {
                facts["key"] = key.into();
                RefusedWhat::State
            }
        };
        Self {
            about,
            connector: refused.connector.to_owned(),
            channel_id: refused.channel_id,
            rule: refused.rule,
            detail: refused.detail.to_owned(),
            facts,
        }
    }
}

impl Core {
    /// Stores a refusal of a message, and returns its id.
    pub(crate) async fn keep_send_refusal(
        &self,
        channel: &Channel,
        conversation: Option<ConversationId>,
        message: Option<MessageId>,
        refusal: &Refusal,
    ) -> Option<RefusalId> {
        self.metrics.refusal(refusal.code());
        let by_operator = refusal.is_set_by(&channel.policy);
        let mut facts = serde_json::to_value(refusal).unwrap_or_default();
        facts["set_by"] = if by_operator { "operator" } else { "platform" }.into();
        let mut detail = refusal.to_string();
        if by_operator {
            detail.push_str(OPERATORS_LIMIT);
        }
        self.keep_refusal(RefusalRecord {
            id: self.mint.id(self.now()),
            workspace_id: channel.workspace_id.clone(),
            channel_id: Some(channel.id),
            conversation_id: conversation,
            message_id: message,
            about: RefusedWhat::Send,
            whom: channel.id.to_string(),
            rule: refusal.code().to_owned(),
            detail,
            facts,
            changes: refusal.changes().to_owned(),
            remedy: codes::named(refusal.code()).map_or_else(String::new, |code| code.remedy.to_owned()),
            at: self.now(),
        })
        .await
    }

    /// Stores a refusal in a connector's call.
    pub(crate) async fn keep_act_refusal(&self, refused: ActRefused) {
        let channel = match refused.channel_id {
            Some(id) => self.store.channel_of_any(id).await.ok().flatten(),
            None => None,
        };
        let workspace = channel.map_or_else(|| OPERATORS_WORKSPACE.to_owned(), |channel| channel.workspace_id);
        let (changes, remedy) = of_connector(refused.rule);
        self.keep_refusal(RefusalRecord {
            id: self.mint.id(self.now()),
            workspace_id: workspace,
            channel_id: refused.channel_id,
            conversation_id: None,
            message_id: None,
            about: refused.about,
            whom: refused.connector,
            rule: refused.rule.to_owned(),
            detail: refused.detail,
            facts: refused.facts,
            changes: changes.to_owned(),
            remedy: remedy.to_owned(),
            at: self.now(),
        })
        .await;
    }

    /// Stores a refusal to install or promote a version, and returns its id.
    pub(crate) async fn keep_grant_refusal(
        &self,
        workspace: &str,
        connector: &str,
        rule: &str,
        detail: String,
        facts: Value,
    ) -> Option<RefusalId> {
        let code = codes::named(rule);
        self.keep_refusal(RefusalRecord {
            id: self.mint.id(self.now()),
            workspace_id: workspace.to_owned(),
            channel_id: None,
            conversation_id: None,
            message_id: None,
            about: RefusedWhat::Grant,
            whom: connector.to_owned(),
            rule: rule.to_owned(),
            detail,
            facts,
            changes: "when the operator changes the decision".to_owned(),
            remedy: code.map_or_else(String::new, |code| code.remedy.to_owned()),
            at: self.now(),
        })
        .await
    }

    async fn keep_refusal(&self, record: RefusalRecord) -> Option<RefusalId> {
        let id = record.id;
        match self.store.keep_refusal(record).await {
            Ok(()) => Some(id),
            Err(error) => {
                tracing::warn!("A refusal was not stored: {error}");
                None
            }
        }
    }
}

/// When a rule for connectors changes its decision, and how to make the action allowed.
fn of_connector(rule: &str) -> (&'static str, &'static str) {
    const VERSION: &str = "with a version of the connector that makes a different request";
    const DECISION: &str = "when the operator changes the decision";
    match rule {
        "not_granted" => (DECISION, "Grant the route: `PUT /v1/connectors/{name}/grants`."),
        "withheld" => (
            DECISION,
            "The operator withheld this route. To allow it, grant it: `PUT /v1/connectors/{name}/grants`.",
        ),
        "narrowed" => (
            DECISION,
            "The operator granted fewer hosts than the connector requested. To allow this one, grant it: `PUT /v1/connectors/{name}/grants`.",
        ),
        "no_route" => (
            VERSION,
            "The manifest has to declare the route, and the operator to grant it.",
        ),
        "address" => (
            "when the name resolves to a public address",
            "Weir never allows a connector private addresses; the operator can map the platform's origin with `origins` of the app.",
        ),
        "no_permit" => (
            "with the next message",
            "One permit is one message-send request. The connector has to make one and return its outcome.",
        ),
        "too_many_requests" => (
            "with the next call",
            "The connector has to make fewer requests in one call.",
        ),
        "state_quota" => (
            "when the connector deletes what it no longer needs",
            "The connector has to store less: small facts, not message content.",
        ),
        "secret" => (
            "when the app has the secret that the route requires",
            "Enter it: `weir app set NAME --secret …`.",
        ),
        // no_network, wrong_call, no_state, url, header, body, plain_text, stream
        _ => (
            VERSION,
            "Only a fix of the connector resolves this; no operator setting allows it.",
        ),
    }
}
