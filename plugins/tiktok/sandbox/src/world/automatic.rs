//! Automatic messages and Comment-to-Message (TikTok API reference, same titles).
//!
//! Reviews pass after some virtual time; a text that contains "reject" is rejected, so both outcomes can be tested.

use serde::Serialize;
use serde_json::{Value, json};

use super::World;
use super::people::Account;
use super::send::characters;
use crate::api::Call;
use crate::clock::Timestamp;
use crate::params::Params;
use crate::refusal::Refusal;
use crate::region;

const SCOPE: &[&str] = &["message.list.manage"];

/// The kinds of automatic messages that an app manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Welcome,
    Question,
    Prompt,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Welcome, Self::Question, Self::Prompt];

    fn of(params: &Params) -> Result<Self, Refusal> {
        let name = params.text("auto_message_type")?;
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Refusal::invalid("auto_message_type"))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Welcome => "WELCOME_MESSAGE",
            Self::Question => "SUGGESTED_QUESTION",
            Self::Prompt => "CHAT_PROMPT",
        }
    }

    /// The object that contains its texts.
    fn block(self) -> &'static str {
        match self {
            Self::Welcome => "welcome_message",
            Self::Question => "suggested_question",
            Self::Prompt => "chat_prompt",
        }
    }

    /// Its texts, each with its longest length.
    fn fields(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Welcome => &[("content", 250)],
            Self::Question => &[("question", 80), ("answer", 200)],
            Self::Prompt => &[("title", 18), ("content", 150)],
        }
    }

    fn most(self) -> usize {
        match self {
            Self::Welcome => 1,
            Self::Question => 3,
            Self::Prompt => 6,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Audit {
    Reviewing,
    Approved,
    Rejected,
}

#[derive(Debug, Clone)]
struct AutoMessage {
    id: String,
    kind: Kind,
    texts: Vec<String>,
    audit: Audit,
}

impl AutoMessage {
    fn block(&self) -> Value {
        self.kind
            .fields()
            .iter()
            .zip(&self.texts)
            .map(|((name, _), text)| ((*name).to_owned(), Value::from(text.as_str())))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// The automatic messages of one account.
#[derive(Debug, Default)]
pub(super) struct Automatic {
    messages: Vec<AutoMessage>,
    enabled: [bool; 3],
}

impl Automatic {
    fn is_on(&self, kind: Kind) -> bool {
        self.enabled[kind as usize]
    }

    fn offered(&self, kind: Kind) -> impl Iterator<Item = &AutoMessage> {
        let on = self.is_on(kind);
        self.messages
            .iter()
            .filter(move |message| on && message.kind == kind && message.audit == Audit::Approved)
    }

    fn find(&self, kind: Kind, id: &str) -> Option<&AutoMessage> {
        self.messages
            .iter()
            .find(|message| message.kind == kind && message.id == id)
    }

    /// Suggested questions that a phone shows.
    pub(super) fn offered_questions(&self) -> Vec<Value> {
        self.offered(Kind::Question)
            .map(|message| json!({"auto_message_id": message.id, "question": message.texts[0]}))
            .collect()
    }

    /// Chat prompts that a phone shows.
    pub(super) fn offered_prompts(&self) -> Vec<Value> {
        self.offered(Kind::Prompt)
            .map(|message| json!({"auto_message_id": message.id, "title": message.texts[0]}))
            .collect()
    }

    /// A suggested question, and its answer.
    pub(super) fn question(&self, id: &str) -> Option<(String, String)> {
        self.offered(Kind::Question)
            .find(|message| message.id == id)
            .map(|message| (message.texts[0].clone(), message.texts[1].clone()))
    }

    /// The message that a suggested prompt sends for the person.
    pub(super) fn prompt(&self, id: &str) -> Option<String> {
        self.offered(Kind::Prompt)
            .find(|message| message.id == id)
            .map(|message| message.texts[1].clone())
    }
}

/// A pending review.
#[derive(Debug)]
pub struct Review {
    account: String,
    id: String,
    texts: Vec<String>,
}

impl World {
    fn automatic_of(&mut self, account: &str) -> Result<&mut Automatic, Refusal> {
        self.accounts
            .get_mut(account)
            .map(|account| &mut account.automatic)
            .ok_or_else(Refusal::bad_token)
    }

    /// The text sent to a person who writes first to this account.
    pub(super) fn welcome_of(&self, account: &str) -> Option<String> {
        let automatic = &self.accounts.get(account)?.automatic;
        automatic
            .offered(Kind::Welcome)
            .next()
            .map(|message| message.texts[0].clone())
    }

    pub(super) fn finish_review(&mut self, now: Timestamp, review: &Review) {
        let Some(message) = self
            .accounts
            .get_mut(&review.account)
            .and_then(|account| {
                account
                    .automatic
                    .messages
                    .iter_mut()
                    .find(|message| message.id == review.id)
            })
            // Changed or deleted while it waited: another review is pending, or none.
            .filter(|message| message.audit == Audit::Reviewing && message.texts == review.texts)
        else {
            return;
        };
        let rejected = message.texts.iter().any(|text| text.to_lowercase().contains("reject"));
        message.audit = if rejected { Audit::Rejected } else { Audit::Approved };
        let content = json!({
            "auto_message_id": message.id,
            "auto_message_type": message.kind.name(),
            "audit_status": message.audit,
            "timestamp": now.ms(),
        });
        self.revision += 1;
        self.notify_automatic(&review.account, "im_auto_message_audit_update", &content, now);
    }

    fn begin_review(&mut self, account: &str, message: &AutoMessage, now: Timestamp) {
        // Messages of one account are few and each waits once, so reviews stay bounded by accounts.
        self.reviews_started += 1;
        self.reviews.insert(
            (now.plus_ms(self.settings.review_ms), self.reviews_started),
            Review {
                account: account.to_owned(),
                id: message.id.clone(),
                texts: message.texts.clone(),
            },
        );
    }

    fn notify_config(&mut self, account: &str, message: &AutoMessage, action: &str, now: Timestamp) {
        let content = json!({
            "auto_message_id": message.id,
            "auto_message_type": message.kind.name(),
            "auto_message_action": action,
            "timestamp": now.ms(),
            message.kind.block(): message.block(),
        });
        self.notify_automatic(account, "im_auto_message_config_update", &content, now);
    }

    pub(crate) fn auto_create(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        let kind = Kind::of(call.params)?;
        let texts = parse_texts(call.params, kind)?;
        let id = self.mint.snowflake();
        let automatic = self.automatic_of(&caller.account)?;
        if automatic.messages.iter().filter(|message| message.kind == kind).count() >= kind.most() {
            return Err(Refusal::parameter(format!(
                "The account has {} automatic messages of this type already.",
                kind.most()
            )));
        }
        refuse_duplicate(automatic, kind, &texts, None)?;
        let message = AutoMessage {
            id: id.clone(),
            kind,
            texts,
            audit: Audit::Reviewing,
        };
        automatic.messages.push(message.clone());
        self.begin_review(&caller.account, &message, call.now);
        self.notify_config(&caller.account, &message, "CREATE", call.now);
        Ok(json!({"auto_message": {"auto_message_id": id}}))
    }

    pub(crate) fn auto_update(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        let kind = Kind::of(call.params)?;
        let id = call.params.text("auto_message_id")?;
        let texts = parse_texts(call.params, kind)?;
        let automatic = self.automatic_of(&caller.account)?;
        let old = automatic
            .find(kind, id)
            .cloned()
            .ok_or_else(|| Refusal::not_exist("The automatic message"))?;
        if old.audit == Audit::Reviewing {
            return Err(Refusal::parameter("The automatic message is under review."));
        }
        refuse_duplicate(automatic, kind, &texts, Some(id))?;
        let new = AutoMessage {
            id: id.to_owned(),
            kind,
            texts,
            audit: Audit::Reviewing,
        };
        if let Some(place) = automatic.messages.iter_mut().find(|message| message.id == id) {
            *place = new.clone();
        }
        self.begin_review(&caller.account, &new, call.now);
        if kind == Kind::Welcome {
            // TikTok sends no UPDATE of a welcome message.
            self.notify_config(&caller.account, &old, "DELETE", call.now);
            self.notify_config(&caller.account, &new, "CREATE", call.now);
        } else {
            self.notify_config(&caller.account, &new, "UPDATE", call.now);
        }
        Ok(json!({"auto_message": {"auto_message_id": id}}))
    }

    pub(crate) fn auto_status(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        let kind = Kind::of(call.params)?;
        let on = operation_status(call.params)?;
        let id = self.mint.snowflake();
        let display_name = self
            .accounts
            .get(&caller.account)
            .map(|account| account.display_name.clone())
            .unwrap_or_default();
        let automatic = self.automatic_of(&caller.account)?;
        automatic.enabled[kind as usize] = on;
        let none = !automatic.messages.iter().any(|message| message.kind == kind);
        if kind == Kind::Welcome && on && none {
            automatic.messages.push(AutoMessage {
                id,
                kind,
                texts: vec![format!(
                    "Hi there,\nThanks for contacting {display_name}! Feel free to ask a question here or leave us a message and we'll get back to you shortly.\n\nThank you!"
                )],
                audit: Audit::Approved,
            });
        }
        let messages: Vec<AutoMessage> = automatic
            .messages
            .iter()
            .filter(|message| message.kind == kind)
            .cloned()
            .collect();
        for message in messages {
            self.notify_config(
                &caller.account,
                &message,
                if on { "ENABLE" } else { "DISABLE" },
                call.now,
            );
        }
        self.revision += 1;
        Ok(json!({}))
    }

    pub(crate) fn auto_get(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        let kind = Kind::of(call.params)?;
        let wanted = call.params.maybe_text("auto_message_id")?;
        let automatic = self.automatic_of(&caller.account)?;
        let found: Vec<Value> = automatic
            .messages
            .iter()
            .filter(|message| message.kind == kind && wanted.is_none_or(|id| id == message.id))
            .map(|message| {
                json!({
                    "auto_message_id": message.id,
                    "auto_message_type": kind.name(),
                    "audit_status": message.audit,
                    kind.block(): message.block(),
                })
            })
            .collect();
        if wanted.is_some() && found.is_empty() {
            return Err(Refusal::not_exist("The automatic message"));
        }
        Ok(json!({
            "business_id": caller.open_id,
            "operation_status": if automatic.is_on(kind) { "ENABLE" } else { "DISABLE" },
            "auto_messages": found,
        }))
    }

    pub(crate) fn auto_delete(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        let kind = Kind::of(call.params)?;
        if kind == Kind::Welcome {
            return Err(Refusal::invalid("auto_message_type"));
        }
        let id = call.params.text("auto_message_id")?;
        let automatic = self.automatic_of(&caller.account)?;
        let message = automatic
            .find(kind, id)
            .cloned()
            .ok_or_else(|| Refusal::not_exist("The automatic message"))?;
        automatic.messages.retain(|known| known.id != id);
        self.notify_config(&caller.account, &message, "DELETE", call.now);
        self.revision += 1;
        Ok(json!({}))
    }

    pub(crate) fn auto_sort(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        if Kind::of(call.params)? != Kind::Prompt {
            return Err(Refusal::invalid("auto_message_type"));
        }
        let ids = call
            .params
            .maybe_texts("auto_message_ids")?
            .ok_or_else(|| Refusal::missing("auto_message_ids"))?;
        let automatic = self.automatic_of(&caller.account)?;
        let (mut prompts, mut rest): (Vec<_>, Vec<_>) = automatic
            .messages
            .drain(..)
            .partition(|message| message.kind == Kind::Prompt);
        let place = |message: &AutoMessage| ids.iter().position(|id| *id == message.id);
        let complete = ids.len() == prompts.len() && prompts.iter().all(|prompt| place(prompt).is_some());
        if complete {
            prompts.sort_by_key(place);
        }
        rest.extend(prompts);
        automatic.messages = rest;
        self.revision += 1;
        if complete {
            Ok(json!({}))
        } else {
            Err(Refusal::invalid("auto_message_ids"))
        }
    }

    pub(crate) fn direct_reply_update(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        comment_to_message(call.params)?;
        let on = operation_status(call.params)?;
        let account = self.accounts.get_mut(&caller.account).ok_or_else(Refusal::bad_token)?;
        if on && !may_answer_comments(account) {
            return Err(Refusal::forbidden(
                "You don't have permission: Comment-to-Message is not available to this account.",
            ));
        }
        account.comment_to_message = on;
        Ok(json!({}))
    }

    pub(crate) fn direct_reply_get(&mut self, call: &mut Call<'_>) -> Result<Value, Refusal> {
        let caller = self.admit_messaging(call, SCOPE)?;
        comment_to_message(call.params)?;
        let on = self
            .accounts
            .get(&caller.account)
            .is_some_and(|account| account.comment_to_message);
        Ok(json!({
            "business_id": caller.open_id,
            "direct_reply_type": "COMMENT_TO_MESSAGE",
            "operation_status": if on { "ENABLE" } else { "DISABLE" },
        }))
    }
}

fn may_answer_comments(account: &Account) -> bool {
    region::has_comment_to_message(&account.country) && account.age >= 18
}

fn comment_to_message(params: &Params) -> Result<(), Refusal> {
    match params.text("direct_reply_type")? {
        "COMMENT_TO_MESSAGE" => Ok(()),
        _ => Err(Refusal::invalid("direct_reply_type")),
    }
}

fn operation_status(params: &Params) -> Result<bool, Refusal> {
    match params.text("operation_status")? {
        "ENABLE" => Ok(true),
        "DISABLE" => Ok(false),
        _ => Err(Refusal::invalid("operation_status")),
    }
}

fn parse_texts(params: &Params, kind: Kind) -> Result<Vec<String>, Refusal> {
    let block = params.object(kind.block())?;
    kind.fields()
        .iter()
        .map(|(name, longest)| {
            let text = block.text(name)?;
            if characters(text) > *longest {
                return Err(Refusal::invalid(name));
            }
            Ok(text.to_owned())
        })
        .collect()
}

fn refuse_duplicate(automatic: &Automatic, kind: Kind, texts: &[String], but: Option<&str>) -> Result<(), Refusal> {
    let twice = automatic
        .messages
        .iter()
        .any(|known| known.kind == kind && known.texts[0] == texts[0] && Some(known.id.as_str()) != but);
    if twice {
        Err(Refusal::parameter("Such an automatic message exists already."))
    } else {
        Ok(())
    }
}
