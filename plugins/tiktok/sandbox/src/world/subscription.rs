//! The webhook subscriptions of apps (TikTok API reference, Business Messaging webhook configuration).
//!
//! A deliberate difference from TikTok: the address must be `http` on this machine. The sandbox sends nothing to other
//! machines.

use serde_json::{Value, json};

use super::World;
use super::apps::is_loopback_http;
use crate::api::Call;
use crate::refusal::Refusal;

/// The event types to which an app can subscribe. Events of messages use `DIRECT_MESSAGE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Category {
    /// Every event that the sandbox sends.
    DirectMessage,
    /// Accepted and never sent.
    Comment,
    /// Accepted and never sent.
    Video,
    /// Accepted and never sent.
    BrandMention,
}

impl Category {
    /// TikTok's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::DirectMessage => "DIRECT_MESSAGE",
            Self::Comment => "COMMENT",
            Self::Video => "VIDEO",
            Self::BrandMention => "BRAND_MENTION",
        }
    }

    fn parse(name: &str) -> Result<Self, Refusal> {
        [Self::DirectMessage, Self::Comment, Self::Video, Self::BrandMention]
            .into_iter()
            .find(|category| category.name() == name)
            .ok_or_else(|| Refusal::invalid("event_type"))
    }
}

impl World {
    fn subscriber(&self, call: &mut Call<'_>) -> Result<(String, Category), Refusal> {
        let app_id = call.params.text("app_id")?;
        self.app_with_secret(app_id, call.params.text("secret")?)?;
        call.trace.client_key = Some(app_id.to_owned());
        Ok((app_id.to_owned(), Category::parse(call.params.text("event_type")?)?))
    }

    pub(crate) fn webhook_update(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let (app_id, category) = self.subscriber(call)?;
        let callback = call.params.text("callback_url")?;
        if !is_loopback_http(callback) {
            return Err(Refusal::parameter(
                "Param callback_url is invalid. (The sandbox delivers only to http:// addresses of this machine: 127.0.0.0/8, [::1], localhost.)",
            ));
        }
        let app = self.apps.get_mut(&app_id).ok_or_else(Refusal::bad_app)?;
        app.subscriptions.insert(category, callback.to_owned());
        self.revision += 1;
        Ok(json!({"app_id": app_id, "callback_url": callback, "event_type": category.name()}))
    }

    pub(crate) fn webhook_list(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let (app_id, category) = self.subscriber(call)?;
        let mut data = json!({"app_id": app_id, "event_type": category.name()});
        if let Some(callback) = self.apps.get(&app_id).and_then(|app| app.subscriptions.get(&category)) {
            data["callback_url"] = callback.as_str().into();
        }
        Ok(data)
    }

    pub(crate) fn webhook_delete(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let (app_id, category) = self.subscriber(call)?;
        if let Some(app) = self.apps.get_mut(&app_id) {
            app.subscriptions.remove(&category);
        }
        self.revision += 1;
        Ok(json!({"app_id": app_id, "event_type": category.name()}))
    }

    /// The URL to deliver to for an app now, and the secret to sign with.
    pub(super) fn callback(&self, client_key: &str) -> Option<(&str, &str)> {
        let app = self.apps.get(client_key)?;
        let url = app.subscriptions.get(&Category::DirectMessage)?;
        Some((url, &app.secret))
    }
}
