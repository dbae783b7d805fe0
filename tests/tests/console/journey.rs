//! From an empty host to a conversation that ends, as a person goes through it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use weir_tests::{Chromium, ENTER, HOUR_MS, Options, Stack, target, until};

use crate::{Console, Result, sign_in};

/// A small picture that every platform accepts, and a file that TikTok never accepts.
fn files(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let picture = folder.join("blue.png");
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 64, 64);
    encoder.set_color(png::ColorType::Rgb);
    encoder
        .write_header()?
        .write_image_data(&[30, 90, 200].repeat(64 * 64))?;
    std::fs::write(&picture, bytes)?;
    let animation = folder.join("dance.gif");
    std::fs::write(&animation, b"GIF89a\x01\x00\x01\x00\x00\x00\x00;")?;
    Ok((picture, animation))
}

#[tokio::test]
async fn console_journey_from_install_to_closed_window() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let browser = Chromium::start(stack.client().clone()).await?;

    // A wrong key shows an error text, and the right one signs in.
    browser.open(&format!("{}/connectors", stack.api.origin())).await?;
    browser.write("input[name=key]", "weir_0000000000000000").await?;
    browser.press("Sign in").await?;
    browser.shows("Wrong key").await?;
    sign_in(&browser, &stack, "/connectors").await?;
    let cookie = browser.script("return document.cookie", json!([])).await?;
    assert_eq!(cookie, "", "no script can read the session");

    // The component, the grants that it requests, the operator's consent, and the promotion.
    let component = target()?.join("connectors/tiktok.wasm");
    let component = component.to_str().context("an odd path")?;
    browser.write("input[type=file]", component).await?;
    browser.shows("undecided").await?;
    browser.shows("the connector never sees it").await?;
    browser.press("Grant selected").await?;
    browser.shows("All decided").await?;
    browser.press("Promote").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.holds("document.querySelector('.timeline .active')").await?;
    stack.put_app().await?;

    // An account, through the platform's own pages in another tab.
    let mut events = stack.api.listen().await?;
    browser.click("a[href=\"/channels\"]").await?;
    browser.press("Connect account").await?;
    browser.shows("Let everyone send direct messages").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.click("#consent").await?;
    browser.to_page(1).await?;
    browser.press("Authorize").await?;
    browser.shows("You can close this page").await?;
    browser.to_page(0).await?;
    browser.shows("Connected.").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.holds("document.querySelector('a.card .pill.good')").await?;

    // A customer writes; the message appears without a reload, and is unread until it is marked as read.
    browser.click("a[href=\"/inbox\"]").await?;
    browser.shows("No conversations yet").await?;
    stack.receives(&mut events, "Is the blue one in stock?").await?;
    assert_eq!(browser.text(".badge").await?, "1");
    browser.click(".row-link").await?;
    browser.shows("of 10 messages left").await?;
    assert!(browser.text(".count").await?.starts_with("47 h 59 min"));
    browser.press("Mark as read").await?;
    browser.holds("!document.querySelector('.badge')").await?;

    // An answer, its way to the phone, and the read mark.
    browser.click(".composer textarea").await?;
    browser.keys("It is! See www.acme.example for sizes").await?;
    browser.shows("shows links as plain text").await?;
    browser.keys(ENTER).await?;
    until("the answer on the phone", async || {
        let sent = stack.phone.from_business().await?;
        Ok(sent
            .iter()
            .any(|it| it["text"] == "It is! See www.acme.example for sizes")
            .then_some(()))
    })
    .await?;
    browser.holds("document.querySelector('.own .standing.sent')").await?;
    browser.shows("9 of 10 messages left").await?;
    stack.phone.does("read", json!({})).await?;
    browser.holds("document.querySelector('.own .standing.read')").await?;
    let event = events.wait_for("message.read").await?;
    assert_eq!(event["data"]["origin"], "console");

    // A picture; and one that the platform would refuse, refused before it is uploaded.
    let (picture, animation) = files(folder.path())?;
    let input = ".composer input[type=file]";
    browser.write(input, animation.to_str().context("an odd path")?).await?;
    browser.shows("image/gif is not supported").await?;
    browser.script(DROP, json!(["image/gif"])).await?;
    browser.shows("image/gif is not supported").await?;
    browser.write(input, picture.to_str().context("an odd path")?).await?;
    browser.holds("document.querySelector('.attached canvas')").await?;
    browser.click(".send").await?;
    browser
        .holds("[...document.querySelectorAll('.own .picture img')].some((it) => it.naturalWidth === 64)")
        .await?;
    // It must be sent before time advances: later another window would apply.
    browser.holds("document.querySelector('.own .standing.sent')").await?;
    let uploads = browser
        .script(
            "return performance.getEntriesByType('resource').filter((it) => it.name.endsWith('/v1/media')).length",
            json!([]),
        )
        .await?;
    assert_eq!(uploads, 1, "what is refused is never uploaded");

    // The window counts down, and closes.
    stack.time_passes(47 * HOUR_MS).await?;
    browser
        .holds("document.querySelector('.fact.warn .count')?.textContent.match(/^(59|58) min/)")
        .await?;
    stack.time_passes(HOUR_MS).await?;
    browser
        .holds("document.querySelector('.no [data-code=reply_window_closed]')")
        .await?;
    browser
        .holds("document.querySelector('.composer textarea').disabled")
        .await?;
    browser.shows("The messaging window is closed").await?;
    stack.receives(&mut events, "Are you there?").await?;
    browser
        .holds("!document.querySelector('.composer textarea').disabled")
        .await?;
    browser.shows("10 of 10 messages left").await?;

    // And out.
    browser.press("Sign out").await?;
    browser.holds("document.querySelector('.signin')").await?;
    browser.open(&format!("{}/inbox", stack.api.origin())).await?;
    browser.holds("document.querySelector('.signin')").await?;
    assert_eq!(browser.sins().await?, Vec::<String>::new());
    drop(events);
    browser.close().await?;
    stack.stop().await
}

/// Drops a file of a type on the open conversation.
const DROP: &str = "
    const carried = new DataTransfer();
    carried.items.add(new File(['x'], 'x', { type: arguments[0] }));
    for (const name of ['dragover', 'drop'])
      document.querySelector('.pane').dispatchEvent(new DragEvent(name, { dataTransfer: carried, bubbles: true, cancelable: true }));";

#[tokio::test]
async fn what_was_written_is_found_and_opened() -> Result {
    let mut console = Console::signed_in().await?;
    console.conversation().await?;
    console
        .weir
        .stack
        .receives(&mut console.weir.events, "Do you ship to Łódź?")
        .await?;
    let browser = &console.browser;
    browser.open(&console.url("/inbox")).await?;
    browser.holds("document.querySelector('.row-link')").await?;
    browser.write("input[type=search]", "łódź").await?;
    browser.shows("No matching contacts").await?;
    browser.holds("document.querySelector('.texts .row-link')").await?;
    browser.click(".texts .row-link").await?;
    // The search result opens at the message, not only in its conversation.
    let found = "document.querySelector('.message.found .bubble')?.textContent.includes('Łódź')";
    browser.holds(found).await?;
    browser.write("input[type=search]", " nowhere").await?;
    browser.shows("No matching messages").await?;
    console.is_innocent().await
}

#[tokio::test]
async fn a_link_with_a_key_asks_first() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let browser = Chromium::start(stack.client().clone()).await?;
    let link = format!("{}/connectors#key={}", stack.api.origin(), stack.api.key());
    browser.open(&link).await?;
    browser.shows("Sign in with this link?").await?;
    browser.shows("of the workspace default").await?;
    browser
        .holds("!location.hash && !document.querySelector('.rail')")
        .await?;
    // No account is signed in yet, and one that denies consent is not signed in either.
    browser.press("Use another key").await?;
    browser.holds("document.querySelector('input[name=key]')").await?;
    browser.open(&format!("{}/inbox", stack.api.origin())).await?;
    browser.holds("document.querySelector('input[name=key]')").await?;
    browser.open(&link).await?;
    browser.press("Sign in").await?;
    browser.holds("document.querySelector('.live.on')").await?;
    assert_eq!(browser.sins().await?, Vec::<String>::new());
    browser.close().await?;
    stack.stop().await
}
