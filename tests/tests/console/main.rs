//! The console in a real browser, against the real programs: what a person does with it works, and what people write
//! never becomes anything but text.

mod growth;
mod hostile;
mod journey;
mod keyboard;
mod looks;
mod rollout;
#[path = "../support/mod.rs"]
mod support;
mod types;
mod why;

use support::Connected;
use weir_tests::{Chromium, Stack};

type Result = anyhow::Result<()>;

/// A browser on the console of a connected host.
struct Console {
    weir: Connected,
    browser: Chromium,
}

impl Console {
    async fn signed_in() -> anyhow::Result<Self> {
        let weir = Connected::with_endpoints().await?;
        let browser = Chromium::start(weir.stack.client().clone()).await?;
        sign_in(&browser, &weir.stack, "/inbox").await?;
        Ok(Self { weir, browser })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.weir.stack.api.origin())
    }

    async fn conversation(&mut self) -> anyhow::Result<String> {
        let conversation = self.weir.conversation().await?;
        self.browser
            .click(&format!("a[href=\"/inbox/{conversation}\"]"))
            .await?;
        self.browser.holds("document.querySelector('.message')").await?;
        Ok(conversation)
    }

    async fn is_innocent(&self) -> Result {
        assert_eq!(self.browser.sins().await?, Vec::<String>::new());
        Ok(())
    }
}

async fn sign_in(browser: &Chromium, stack: &Stack, path: &str) -> Result {
    browser.open(&format!("{}{path}", stack.api.origin())).await?;
    browser.write("input[name=key]", stack.api.key()).await?;
    browser.press("Sign in").await?;
    browser.holds("document.querySelector('.live.on')").await
}
