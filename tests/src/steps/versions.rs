//! Changes of versions: two versions that fail to send on each other's state, and accounts that move between them.

use anyhow::{Context, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use super::{ACCOUNT, Steps, id_of, text};
use crate::Stack;

/// The accounts that are checked after each change.
const ACCOUNTS: [&str; 4] = [ACCOUNT, "shop_north", "shop_south", "shop_west"];
/// The components of the version that is active before each act, and of the one that is added or removed, with its
/// number.
const EARLIER: &str = "variants/tiktok-owns";
const LATER: &str = "variants/tiktok-owns-later";
const LATER_NUMBER: &str = "0.4.0";

/// The versions that are active, and whether the later one is a canary.
type Stages = (Vec<String>, bool);

impl Steps {
    /// One version is active, each account's state belongs to the version that serves it, and no message is lost or
    /// duplicated.
    pub(super) async fn change_versions(&mut self, act: &str, point: &str) -> anyhow::Result<String> {
        if !self.has_versions {
            self.prepare_versions().await?;
            self.has_versions = true;
        }
        let canary = || json!({"percent": 50});
        let (before, step, body) = match act {
            "promote" => (None, "promote", json!({})),
            "roll back" => (Some(("promote", json!({}))), "rollback", json!({})),
            "begin a canary" => (None, "canary", canary()),
            "end a canary" => (Some(("canary", canary())), "rollback", json!({})),
            _ => anyhow::bail!("unknown act {act}"),
        };
        let earlier = self.stages().await?;
        if let Some((step, body)) = before {
            change(&self.stack, step, &body).await?;
        }
        let stood = self.stages().await?;
        for account in ACCOUNTS {
            self.works(account).await?;
        }
        self.dies_at(point, async |stack: &Stack| change(stack, step, &body).await)
            .await?;
        let written = format!("while dead {}", self.number);
        for account in ACCOUNTS {
            self.phone(account).writes(&written).await?;
        }
        self.restarts(point, Stack::weir_command).await?;
        let stands = self.stages().await?;
        let done = match act {
            "promote" => (vec![LATER_NUMBER.to_owned()], false),
            "begin a canary" => (earlier.0.clone(), true),
            _ => earlier.clone(),
        };
        ensure!(stands == done || stands == stood, "{stood:?} became {stands:?}");
        for account in ACCOUNTS {
            let channel = self.channel_of(account).await?.context("the account has no channel")?;
            self.arrives_once(&id_of(&channel)?, &written).await?;
            self.works(account).await?;
        }
        if stands != done {
            change(&self.stack, step, &body).await?;
        }
        if done != earlier {
            change(&self.stack, "rollback", &json!({})).await?;
        }
        Ok(if stands == done {
            "finished"
        } else {
            "undone, and made again"
        }
        .into())
    }

    /// Connects the other accounts, stages both versions, and promotes the earlier one.
    async fn prepare_versions(&mut self) -> anyhow::Result<()> {
        for account in &ACCOUNTS[1..] {
            let order = json!({"username": account, "country": "ID"});
            self.stack.phone.order("accounts", order).await?;
            self.stack.connect(account).await?;
        }
        let api = &self.stack.api;
        for name in [EARLIER, LATER] {
            let request = api.request(Method::POST, "/v1/connectors");
            let request = request.header("content-type", "application/wasm");
            let staged = api.send(request.body(self.stack.binaries().connector(name)?)).await?;
            let staged = staged.expect(201)?;
            let yes = json!({"version": staged["version"], "grants": staged["wanted_grants"]});
            api.put("/v1/connectors/tiktok/grants", yes).await?.expect(200)?;
            if name == EARLIER {
                let version = text(&staged["version"]).context("the version has no number")?;
                let path = format!("/v1/connectors/tiktok/versions/{version}/promote");
                api.post(&path, json!({})).await?.expect(200)?;
            }
        }
        Ok(())
    }

    async fn stages(&self) -> anyhow::Result<Stages> {
        let connector = self.stack.api.get("/v1/connectors/tiktok").await?.expect(200)?;
        let versions = connector["versions"].as_array().context("no versions")?;
        let active = versions.iter().filter(|version| version["state"] == "active");
        let active: Vec<String> = active.filter_map(|version| text(&version["version"])).collect();
        ensure!(
            active.len() == 1 && connector["active_version"] == *active[0],
            "one version is active: {connector:#}"
        );
        let on_trial = versions.iter().any(|version| version["state"] == "canary");
        Ok((active, on_trial))
    }
}

/// Requests a stage change of the later version.
async fn change(stack: &Stack, step: &str, body: &Value) -> anyhow::Result<Value> {
    let path = format!("/v1/connectors/tiktok/versions/{LATER_NUMBER}/{step}");
    stack.api.post(&path, body.clone()).await?.expect(200)
}
