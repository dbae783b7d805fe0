//! Without a mouse.

use std::collections::BTreeSet;

use serde_json::json;
use weir_tests::{ENTER, TAB};

use crate::{Console, Result};

#[tokio::test]
async fn the_keyboard_alone_is_enough() -> Result {
    let mut console = Console::signed_in().await?;
    let browser = &console.browser;
    browser.press("Sign out").await?;
    browser.holds("document.activeElement.name === 'key'").await?;
    browser.keys(console.weir.stack.api.key()).await?;
    browser.keys(ENTER).await?;
    browser.holds("document.querySelector('.live.on')").await?;
    let events = &mut console.weir.events;
    console.weir.stack.receives(events, "Only keys").await?;
    // Every place is reached by Tab, and where one is can be seen.
    let mut reached = BTreeSet::new();
    for _ in 0..14 {
        browser.keys(TAB).await?;
        let at = browser
            .script(
                "const it = document.activeElement; const look = getComputedStyle(it);
                 return [it.getAttribute('href') ?? it.textContent, look.outlineStyle !== 'none' || look.boxShadow !== 'none' || it === document.body]",
                json!([]),
            )
            .await?;
        assert_eq!(at[1], true, "the focus cannot be seen on {}", at[0]);
        reached.insert(at[0].as_str().unwrap_or_default().to_owned());
    }
    for place in [
        "/channels",
        "/events",
        "/refusals",
        "/endpoints",
        "/connectors",
        "/settings",
    ] {
        assert!(reached.contains(place), "{place} is not in {reached:?}");
    }
    browser.script("document.activeElement.blur()", json!([])).await?;
    browser.keys("3").await?;
    browser.holds("document.querySelector('main.channels')").await?;
    browser.keys("2").await?;
    browser.holds("document.querySelector('.row-link')").await?;
    browser.keys("j").await?;
    browser.holds("document.activeElement.matches('.row-link')").await?;
    browser.keys(ENTER).await?;
    browser
        .holds("document.activeElement.matches('.composer textarea')")
        .await?;
    browser.keys("Answered by keys").await?;
    browser.keys(ENTER).await?;
    browser.holds("document.querySelector('.own .standing.sent')").await?;
    console.is_innocent().await
}
