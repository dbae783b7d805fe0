//! How people contact a business other than by writing: an ad, a link or its code, a comment under a post.

use serde::Deserialize;
use serde_json::{Value, json};

use super::chat::Referral;
use super::people::Comment;
use super::send::characters;
use super::write::invalid;
use super::{ControlError, World};
use crate::clock::Timestamp;
use crate::limits;

/// A click on an ad.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdClick {
    /// `manual`, `smart_plus` or `upgraded_smart_plus`; only the last reports the creative.
    pub campaign: Option<String>,
    /// The ad.
    pub ad_id: Option<String>,
    /// Its name.
    pub ad_name: Option<String>,
    /// The account.
    pub advertiser_id: Option<String>,
    /// The creative, overriding the campaign's default; an empty text removes it.
    pub message_material_id: Option<String>,
}

/// A `tiktok.me` link being opened.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkOpen {
    /// The parameters of the link.
    #[serde(rename = "ref")]
    pub reference: String,
    /// The prefilled text.
    pub message: String,
    /// `PASS` or `REJECT`.
    pub audit: Option<String>,
}

/// A comment under a post of the account.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommentOrder {
    /// The text.
    pub text: String,
    /// Whether it is a reply to another comment, which cannot be answered by message.
    #[serde(default)]
    pub reply: bool,
}

impl World {
    /// The person arrives by an ad. No message, and no window.
    ///
    /// # Errors
    /// An unknown person, or an unknown kind of campaign.
    pub fn click_ad(
        &mut self,
        account: &str,
        person: &str,
        click: AdClick,
        now: Timestamp,
    ) -> Result<Value, ControlError> {
        let index = self.chat_between(account, person)?;
        let material = match click.campaign.as_deref() {
            None | Some("manual" | "smart_plus") => None,
            Some("upgraded_smart_plus") => Some(self.mint.snowflake()),
            Some(_) => return Err(invalid("campaign is manual, smart_plus or upgraded_smart_plus")),
        };
        let video_id = self.mint.post_id(account, 1);
        let referral = Referral::Ad {
            advertiser_id: click.advertiser_id.unwrap_or_else(|| self.mint.snowflake()),
            ad_id: click.ad_id.unwrap_or_else(|| self.mint.snowflake()),
            ad_name: click.ad_name.unwrap_or_else(|| "Spring sale".into()),
            video_id,
            material: click.message_material_id.or(material),
            at: now,
        };
        Ok(self.arrive(index, referral, now))
    }

    /// The person arrives by a link or its QR code. No message, and no window.
    ///
    /// # Errors
    /// An unknown person, or a `ref` that TikTok does not allow.
    pub fn open_link(
        &mut self,
        account: &str,
        person: &str,
        link: LinkOpen,
        now: Timestamp,
    ) -> Result<Value, ControlError> {
        let index = self.chat_between(account, person)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        if link.reference.len() > limits::LINK_REF || !link.reference.bytes().all(plain) {
            return Err(invalid(format!(
                "a ref has at most {} letters, digits, '-', '_', '='",
                limits::LINK_REF
            )));
        }
        if characters(&link.message) > limits::TEXT_CHARACTERS {
            return Err(invalid("the prefilled message is too long"));
        }
        let passed = match link.audit.as_deref() {
            None | Some("PASS") => true,
            Some("REJECT") => false,
            Some(_) => return Err(invalid("audit is PASS or REJECT")),
        };
        let referral = Referral::Link {
            reference: link.reference,
            message: link.message,
            passed,
            at: now,
        };
        Ok(self.arrive(index, referral, now))
    }

    fn arrive(&mut self, index: usize, referral: Referral, now: Timestamp) -> Value {
        self.chats[index].add_referral(referral.clone());
        self.touch(index, now);
        let follower = self
            .people
            .get(&self.chats[index].person)
            .is_some_and(|person| person.follower);
        let notified = self.notify_referral(index, &referral, follower, now);
        json!({"conversation_id": self.chats[index].conversation, "referral": referral.show(false), "webhook": notified})
    }

    /// The person comments under a post of the account, with interest.
    ///
    /// # Errors
    /// An unknown person, or an empty text.
    pub fn comment(
        &mut self,
        account: &str,
        person: &str,
        order: CommentOrder,
        now: Timestamp,
    ) -> Result<Value, ControlError> {
        if order.text.is_empty() || characters(&order.text) > limits::TEXT_CHARACTERS {
            return Err(invalid("a comment has a text"));
        }
        let index = self.chat_between(account, person)?;
        let id = self.mint.snowflake();
        let Some(owner) = self.accounts.get_mut(account) else {
            return Err(ControlError::Unknown(format!("account {account}")));
        };
        if owner.comments.len() >= limits::COMMENTS {
            owner.comments.pop_front();
        }
        owner.comments.push_back(Comment {
            id: id.clone(),
            person: person.to_owned(),
            at: now,
            first_level: !order.reply,
            answered: false,
        });
        let enabled = owner.comment_to_message;
        let follower = self.people.get(person).is_some_and(|person| person.follower);
        let notified = enabled && self.notify_comment(index, &id, &order.text, follower, now);
        Ok(json!({"comment_id": id, "comment_to_message": enabled, "webhook": notified}))
    }
}
