//! Every page, checked by axe-core and saved as screenshots for review.

use anyhow::Context;
use serde_json::json;
use weir_tests::{Chromium, target};

use crate::support::text_of;
use crate::{Console, Result};

/// The places, and what shows that they are there.
const PLACES: [(&str, &str, &str); 11] = [
    ("overview", "/", ".figures"),
    ("inbox", "/inbox", ".row-link"),
    ("channels", "/channels", ".card"),
    ("events", "/events", ".tail li"),
    ("refusals", "/refusals", ".tablewrap"),
    ("endpoints", "/endpoints", ".card, .empty"),
    ("connectors", "/connectors", ".card"),
    ("connector", "/connectors/tiktok", ".grants li"),
    ("settings", "/settings", "tbody tr"),
    ("changes", "/settings?show=audit", ".tail li"),
    ("nodes", "/settings?show=nodes", "tbody tr"),
];

#[tokio::test]
async fn every_page_is_sound_in_both_themes_and_at_three_widths() -> Result {
    let mut console = Console::signed_in().await?;
    let conversation = console.conversation().await?;
    console
        .weir
        .say(&conversation, "It is! Shall I put one aside for you? 💙")
        .await?;
    let phone = console.weir.stack.phone.clone();
    phone.does("read", json!({})).await?;
    phone.writes("Yes please, in size M. This one:").await?;
    phone.does("write", json!({"type": "image"})).await?;
    phone.writes("هل يمكنكم الشحن إلى دبي؟ 🙂").await?;
    phone.does("ad-click", json!({"ad_name": "Summer in blue"})).await?;
    phone.does("write", json!({"type": "sticker"})).await?;
    console
        .weir
        .say(&conversation, "We ship everywhere. Shall I send it there?")
        .await?;
    let too_long = "a".repeat(6_001);
    let refused = console.weir.stack.api.say(&conversation, &too_long).await?;
    let channel = text_of(&console.weir.channel["id"])?;
    let axe = std::fs::read_to_string(target()?.join("axe/node_modules/axe-core/axe.min.js"))
        .context("axe-core is not here; `cargo xtask test` fetches it")?;
    let pictures = target()?.join("screenshots");
    let browser = &console.browser;
    let mut places: Vec<(&str, String, &str)> = PLACES.map(|(name, path, ready)| (name, path.to_owned(), ready)).into();
    places.push((
        "conversation",
        format!("/inbox/{conversation}"),
        ".message:nth-of-type(8) .bubble, .own .standing",
    ));
    places.push((
        "refusal",
        format!("/refusals/{}", text_of(&refused.body["refusal_id"])?),
        ".card dl",
    ));
    places.push(("channel", format!("/channels/{channel}"), ".checks"));
    for (name, path, ready) in &places {
        browser.open(&console.url(path)).await?;
        browser
            .holds(&format!("document.querySelector({})", json!(ready)))
            .await?;
        browser
            .holds("document.querySelector('.live.on') && !document.querySelector('[aria-busy]')")
            .await?;
        browser
            .holds("[...document.images].every((it) => it.complete || it.loading === 'lazy')")
            .await?;
        browser.script(&axe, json!([])).await?;
        for theme in ["light", "dark"] {
            for (width, height) in [(1280, 860), (820, 1100), (390, 800)] {
                browser.looks(width, height, theme).await?;
                browser
                    .screenshot(&pictures.join(format!("{name}-{theme}-{width}.png")))
                    .await?;
                let wide = browser
                    .script("return document.documentElement.scrollWidth <= innerWidth", json!([]))
                    .await?;
                assert_eq!(wide, true, "{name} is wider than {width}");
            }
            browser.looks(1280, 860, theme).await?;
            assert_eq!(findings(browser).await?, Vec::<String>::new(), "{name}, {theme}");
        }
    }
    // The first page, before anybody is signed in.
    let fresh = Chromium::start(console.weir.stack.client().clone()).await?;
    fresh.open(&console.url("/")).await?;
    fresh.holds("document.querySelector('.signin')").await?;
    fresh.script(&axe, json!([])).await?;
    fresh.screenshot(&pictures.join("sign-in-light-1280.png")).await?;
    assert_eq!(findings(&fresh).await?, Vec::<String>::new(), "sign-in");
    let size = fresh
        .script(
            "return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).reduce((sum, it) => sum + it.decodedBodySize, 0)",
            json!([]),
        )
        .await?;
    assert!(
        size.as_u64().is_some_and(|size| (10_000..100_000).contains(&size)),
        "{size} bytes"
    );
    fresh.close().await
}

/// The serious findings of axe-core as text.
async fn findings(browser: &Chromium) -> anyhow::Result<Vec<String>> {
    let found = browser
        .script_later(
            "const done = arguments[arguments.length - 1];
             axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(violations
                 .filter((it) => ['serious', 'critical'].includes(it.impact))
                 .map((it) => `${it.id}: ${it.help}: ${it.nodes.slice(0, 4).map((node) => `${node.html.slice(0, 160)} ${node.any.map((one) => one.message).join(' ')}`).join(' | ')}`)), (error) => done([String(error)]));",
            json!([]),
        )
        .await?;
    Ok(serde_json::from_value(found)?)
}
