//! A person reviews a version, starts a canary with it and rolls it back.

use reqwest::Method;
use serde_json::json;
use weir_tests::target;

use crate::{Console, Result};

#[tokio::test]
async fn version_is_previewed_tried_and_rolled_back() -> Result {
    let mut console = Console::signed_in().await?;
    let thread = console.weir.conversation().await?;
    console.weir.say(&thread, "an answer").await?;
    let api = console.weir.stack.api.clone();
    let component = console.weir.stack.binaries().connector("variants/tiktok-mapped")?;
    let request = api.request(Method::POST, "/v1/connectors");
    let request = request.header("content-type", "application/wasm").body(component);
    api.send(request).await?.expect(201)?;
    let browser = &console.browser;
    browser.open(&console.url("/connectors/tiktok")).await?;
    browser.press("Show changes").await?;
    browser.shows("release").await?;
    browser.click("dialog button[value=yes]").await?;
    // Proof before the swap: real calls, and the member that would be another.
    browser.press("Replay").await?;
    browser.shows("calls differ").await?;
    browser.shows("[*].event.Message.contact.display_name").await?;
    browser.screenshot(&target()?.join("screenshots/replay.png")).await?;
    browser.click("dialog button[value=yes]").await?;
    // A share of the accounts, the canary's figures next to the active version's, and the rollback.
    browser.press("Start canary").await?;
    browser.click("dialog button[value=yes]").await?;
    browser
        .holds("document.querySelectorAll('.timeline .canary .figures .chart').length === 5")
        .await?;
    browser.screenshot(&target()?.join("screenshots/trial.png")).await?;
    browser.press("Stop canary").await?;
    browser.write("dialog input", "the names are wrong").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.shows("the names are wrong").await?;
    browser.holds("!document.querySelector('.timeline .canary')").await?;
    // One call, as a sequence that can be read.
    browser.click(".steps button").await?;
    browser.holds("document.querySelector('dialog .sequence')").await?;
    browser.click("dialog button[value=yes]").await?;
    let versions = api.get("/v1/connectors/tiktok").await?.expect(200)?;
    assert_eq!(versions["active_version"], json!("0.1.0"));
    console.is_innocent().await
}
