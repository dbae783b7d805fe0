//! What a conversation can carry now: the platform's policies, the operator's, and the platform's own response. Sends
//! are checked against the same.

use serde::Serialize;
use utoipa::ToSchema;
use weir_domain::caller::Caller;
use weir_domain::channel::Channel;
use weir_domain::conversation::Conversation;
use weir_domain::id::ConversationId;
use weir_domain::manifest::{ContentRule, Manifest, Statuses, Support};
use weir_domain::message::ContentKind;
use weir_domain::policy::{BudgetView, ContactView, ConversationView, RefusalView, Rules, WindowView, content};
use weir_domain::time::Timestamp;
use weir_runtime::context::ConversationFacts;
use weir_store::StoreError;

use crate::accounts::Accounts;
use crate::accounts::calls::ActError;
use crate::connectors::serving::{NotServed, Serving};

/// What can be shown to a contact besides messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// A typing indicator.
    Typing,
    /// A read receipt.
    Read,
}

/// What a conversation can carry now.
#[derive(Clone, Debug)]
pub struct Features {
    /// Whether a message would be accepted now.
    pub can_reply: bool,
    /// The reason if not.
    pub refusal: Option<RefusalView>,
    /// The messaging window.
    pub window: Option<WindowView>,
    /// The message budget.
    pub budget: Option<BudgetView>,
    /// Each kind of content, with its limits.
    pub contents: Vec<ContentFeature>,
    /// The statuses that can be known.
    pub statuses: Statuses,
    /// What can be shown besides messages.
    pub signals: Vec<Signal>,
    /// When this was determined.
    pub at: Timestamp,
}

/// What a channel supports, independent of a conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChannelFeatures {
    /// Each kind of content, with its limits, in both directions.
    pub contents: Vec<ContentRule>,
    /// The statuses that can be known, and how.
    pub statuses: Statuses,
    /// What can be shown besides messages.
    pub signals: Vec<Signal>,
    /// The length of the messaging window in milliseconds; null if the platform has none.
    pub window_ms: Option<u64>,
    /// Messages until the contact writes again; null if the platform has no limit.
    pub budget_limit: Option<u32>,
    /// Whether a business may write first.
    pub may_write_first: bool,
    /// Whether one message may be sent to many.
    pub broadcast: bool,
}

/// One kind of content, in this conversation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ContentFeature {
    /// The connector's policies, tightened by the operator.
    #[serde(flatten)]
    pub rule: ContentRule,
    /// Whether it may be sent here, as far as is known.
    pub allowed: bool,
    /// The reason if not.
    pub reason: Option<String>,
}

impl Accounts {
    /// What a conversation can carry now; queries the platform if the connector declares that this is required.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn features(&self, caller: &Caller, conversation: ConversationId) -> Result<Features, ActError> {
        let (conversation, channel) = self
            .conversation(caller, conversation)
            .await?
            .ok_or(ActError::NotFound)?;
        let serving = self.connectors.serving_of(&channel).await?;
        let rules = serving.policies.rules(&channel);
        let probed = rules
            .contents
            .iter()
            .find(|rule| rule.probed && rule.outbound == Support::Full);
        let kind = probed.map(|rule| rule.kind);
        let conversation = self.probed(&serving, &channel, conversation, kind).await;
        let now = self.core.now();
        let view = ConversationView::of(&conversation, &channel, &rules, now);
        let manifest = serving.policies.manifest();
        let contents = rules
            .contents
            .iter()
            .map(|rule| ContentFeature::of(rule, &rules, &channel, &conversation))
            .collect();
        Ok(Features {
            can_reply: view.can_reply,
            refusal: view.refusal,
            window: view.window,
            budget: view.budget,
            contents,
            statuses: manifest.statuses,
            signals: signals(manifest),
            at: now,
        })
    }

    /// A conversation that the caller may see, and its channel.
    pub(crate) async fn conversation(
        &self,
        caller: &Caller,
        id: ConversationId,
    ) -> Result<Option<(Conversation, Channel)>, StoreError> {
        let found = self.core.store.conversation(caller.workspace_id(), id).await?;
        let Some(conversation) = found.filter(|found| caller.sees(Some(found.channel_id))) else {
            return Ok(None);
        };
        let channel = self
            .core
            .store
            .channel(caller.workspace_id(), conversation.channel_id)
            .await?;
        Ok(channel.map(|channel| (conversation, channel)))
    }

    /// What a channel supports, by the platform's policies and the operator's.
    ///
    /// # Errors
    /// See [`ActError`].
    pub async fn channel_features(&self, channel: &Channel) -> Result<ChannelFeatures, ActError> {
        let serving = self.connectors.serving_of(channel).await?;
        let rules = serving.policies.rules(channel);
        let manifest = serving.policies.manifest();
        Ok(ChannelFeatures {
            statuses: manifest.statuses,
            signals: signals(manifest),
            window_ms: rules
                .window
                .map(|length| u64::try_from(length.as_millis()).unwrap_or(u64::MAX)),
            budget_limit: rules.budget,
            may_write_first: rules.initiation,
            broadcast: rules.broadcast,
            contents: rules.contents.clone(),
        })
    }

    /// A conversation in the API's format.
    ///
    /// # Errors
    /// The database failed.
    pub async fn view(&self, workspace: &str, conversation: &Conversation) -> Result<ConversationView, StoreError> {
        let id = conversation.channel_id;
        let channel = self
            .core
            .store
            .channel(workspace, id)
            .await?
            .ok_or_else(|| StoreError::Damaged {
                place: format!("channel {id}"),
                reason: format!(
                    "the conversation {} belongs to it, and it does not exist",
                    conversation.id
                ),
            })?;
        match self.connectors.serving_of(&channel).await {
            Ok(serving) => {
                let rules = serving.policies.rules(&channel);
                Ok(ConversationView::of(conversation, &channel, &rules, self.core.now()))
            }
            Err(NotServed::Store(error)) => Err(error),
            Err(error) => Ok(without_rules(conversation, &error.to_string())),
        }
    }

    /// The conversation with the platform's report of what it can carry, queried if that is unknown and `kind` depends
    /// on it. Best effort: after a failure it stays unknown, and the platform decides at the send.
    pub(crate) async fn probed(
        &self,
        serving: &Serving,
        channel: &Channel,
        mut conversation: Conversation,
        kind: Option<ContentKind>,
    ) -> Conversation {
        let rule = kind.and_then(|kind| serving.policies.manifest().content_rule(kind));
        let is_probed = rule.is_some_and(|rule| rule.probed && rule.kind == ContentKind::Image)
            && serving.policies.manifest().provides("probing")
            && conversation.images_allowed.is_none();
        if !is_probed {
            return conversation;
        }
        let facts = ConversationFacts::from(&conversation);
        let probed = self
            .call(channel, |connector, context| {
                let facts = facts.clone();
                Box::pin(async move { connector.probe(context, &facts).await })
            })
            .await;
        match probed {
            Ok(capabilities) => {
                let images = capabilities.iter().find(|found| found.kind == ContentKind::Image);
                if let Some(images) = images {
                    conversation.images_allowed = Some(images.allowed);
                    let until = self.core.now().after(images.keep);
                    let kept = self
                        .core
                        .store
                        .set_images_allowed(&channel.workspace_id, conversation.id, images.allowed, until)
                        .await;
                    if let Err(error) = kept {
                        tracing::warn!(conversation.id = %conversation.id, "Conversation features were not stored: {error}");
                    }
                }
            }
            Err(error) => {
                tracing::debug!(conversation.id = %conversation.id, "The platform could not be queried: {error}");
            }
        }
        conversation
    }
}

fn signals(manifest: &Manifest) -> Vec<Signal> {
    if manifest.provides("signals") {
        vec![Signal::Typing, Signal::Read]
    } else {
        Vec::new()
    }
}

impl ContentFeature {
    fn of(rule: &ContentRule, rules: &Rules, channel: &Channel, conversation: &Conversation) -> Self {
        let reason = match rule.outbound {
            Support::Full if rule.kind == ContentKind::Image => {
                content::admit_images(rules, channel, conversation.images_allowed)
                    .err()
                    .map(|refusal| refusal.code())
            }
            Support::Full => None,
            Support::OptIn => Some("switched_off"),
            Support::Fallback | Support::Rejected => Some("content_type_not_supported"),
        };
        Self {
            rule: rule.clone(),
            allowed: reason.is_none(),
            reason: reason.map(str::to_owned),
        }
    }
}

/// A conversation while no version serves: its policies are unknown, so no message can be sent.
fn without_rules(conversation: &Conversation, detail: &str) -> ConversationView {
    ConversationView {
        id: conversation.id,
        channel_id: conversation.channel_id,
        contact: ContactView::of(&conversation.contact),
        platform_id: conversation.platform_id.clone(),
        status: conversation.status,
        opened_by: conversation.opened_by,
        can_reply: false,
        refusal: Some(RefusalView {
            code: "connector_not_serving".to_owned(),
            detail: detail.to_owned(),
        }),
        window: None,
        budget: None,
        last_message_at: conversation.last_message_at,
        unread: conversation.unread,
        referral: conversation.referral.clone(),
        created_at: conversation.created_at,
    }
}
