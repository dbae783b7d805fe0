//! The customer's side: the sandbox's control API as the actions of a person.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// A person with a phone, writing to one business account.
#[derive(Clone, Debug)]
pub struct Phone {
    client: reqwest::Client,
    sandbox: String,
    account: String,
    person: String,
}

impl Phone {
    /// The phone of `person` in the chat with `account`.
    pub fn new(client: reqwest::Client, sandbox: &str, account: &str, person: &str) -> Self {
        Self {
            client,
            sandbox: sandbox.to_owned(),
            account: account.to_owned(),
            person: person.to_owned(),
        }
    }

    /// The same chat on another person's phone.
    #[must_use]
    pub fn of(&self, person: &str) -> Self {
        Self {
            person: person.to_owned(),
            ..self.clone()
        }
    }

    /// Writes a text.
    ///
    /// # Errors
    /// The sandbox refuses.
    pub async fn writes(&self, text: &str) -> anyhow::Result<Value> {
        self.does("write", json!({"type": "text", "text": text})).await
    }

    /// Does one of the sandbox's acts: `write`, `read`, `ad-click`, `link-open`, `app-reply`.
    ///
    /// # Errors
    /// The sandbox refuses.
    pub async fn does(&self, act: &str, how: Value) -> anyhow::Result<Value> {
        self.order(&format!("chats/{}/{}/{act}", self.account, self.person), how)
            .await
    }

    /// The chat as the phone shows it.
    ///
    /// # Errors
    /// The sandbox does not answer.
    pub async fn chat(&self) -> anyhow::Result<Value> {
        self.look(&format!("chats/{}/{}", self.account, self.person)).await
    }

    /// The messages of the chat that the business sent.
    ///
    /// # Errors
    /// The sandbox does not answer.
    pub async fn from_business(&self) -> anyhow::Result<Vec<Value>> {
        let chat = self.chat().await?;
        let messages = chat["messages"].as_array().cloned().unwrap_or_default();
        Ok(messages
            .into_iter()
            .filter(|message| message["direction"] == "outbound")
            .collect())
    }

    /// Requests a fault.
    ///
    /// # Errors
    /// The sandbox refuses.
    pub async fn order_fault(&self, fault: Value) -> anyhow::Result<()> {
        self.order("faults", fault).await.map(|_| ())
    }

    /// Waits until every requested fault has occurred: the sandbox has received the last call.
    ///
    /// # Errors
    /// They do not occur.
    pub async fn faults_struck(&self) -> anyhow::Result<()> {
        crate::until("the ordered faults to strike", async || {
            let orders = self.look("faults").await?;
            Ok((orders["faults"].as_array().is_some_and(Vec::is_empty)).then_some(()))
        })
        .await
    }

    /// Removes the pending faults, and ends the delay of delayed calls.
    ///
    /// # Errors
    /// The sandbox does not answer.
    pub async fn forget_faults(&self) -> anyhow::Result<()> {
        let answer = self
            .client
            .delete(format!("{}/control/faults", self.sandbox))
            .send()
            .await?;
        Self::read("faults", answer).await.map(|_| ())
    }

    /// Changes settings of the sandbox.
    ///
    /// # Errors
    /// The sandbox refuses.
    pub async fn set(&self, settings: Value) -> anyhow::Result<()> {
        self.order("settings", settings).await.map(|_| ())
    }

    /// Every call of TikTok's API so far, or those of one name.
    ///
    /// # Errors
    /// The sandbox does not answer.
    pub async fn calls(&self, name: &str) -> anyhow::Result<Vec<Value>> {
        let log = self.look("calls").await?;
        let calls = log["calls"].as_array().cloned().unwrap_or_default();
        Ok(calls
            .into_iter()
            .filter(|call| name.is_empty() || call["api"] == name)
            .collect())
    }

    /// Sends a read request to the control API.
    ///
    /// # Errors
    /// The sandbox does not answer, or refuses.
    pub async fn look(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self
            .client
            .get(format!("{}/control/{path}", self.sandbox))
            .send()
            .await?;
        Self::read(path, answer).await
    }

    /// Sends a modifying request to the control API.
    ///
    /// # Errors
    /// The sandbox refuses.
    pub async fn order(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let answer = self
            .client
            .post(format!("{}/control/{path}", self.sandbox))
            .json(&body)
            .send()
            .await?;
        Self::read(path, answer).await
    }

    async fn read(path: &str, answer: reqwest::Response) -> anyhow::Result<Value> {
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "the sandbox refuses {path}: {status} {body}");
        serde_json::from_str(&body).with_context(|| format!("the sandbox answers {path} with {body}"))
    }
}
