//! Every failure in the console shows its reason and the fix.

use serde_json::json;
use weir_tests::{ENTER, HOUR_MS, Subscriber, until};

use crate::support::text_of;
use crate::{Console, Result};

#[tokio::test]
async fn what_did_not_leave_says_why_and_what_to_do() -> Result {
    let mut console = Console::signed_in().await?;
    console.conversation().await?;
    let browser = &console.browser;
    let phone = &console.weir.stack.phone;
    browser.click(".composer textarea").await?;
    browser.keys("Hello again").await?;
    // A typing indicator is sent like a message: the fault must hit the request after it.
    until("the typing mark", async || {
        Ok((!phone.calls("send").await?.is_empty()).then_some(()))
    })
    .await?;
    let fault = json!({"code": 40064, "message": "Due to risk control strategy."});
    phone.order_fault(json!({"on": "send", "fault": fault})).await?;
    browser.keys(ENTER).await?;
    browser.holds("document.querySelector('.trouble.bad')").await?;
    browser.shows("Due to risk control strategy.").await?;
    browser.shows("What to do:").await?;
    browser.press("View attempts").await?;
    browser.shows("Attempt 1: failed").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.press("Retry").await?;
    browser.holds("document.querySelector('.own .standing.sent')").await?;
    console.is_innocent().await
}

#[tokio::test]
async fn an_endpoint_is_added_fails_is_looked_into_and_recovers() -> Result {
    let mut console = Console::signed_in().await?;
    let subscriber = Subscriber::answering(vec![500, 200]).await?;
    let browser = &console.browser;
    browser.open(&console.url("/endpoints")).await?;
    browser.press("Add endpoint").await?;
    browser.write("dialog input[type=url]", subscriber.url()).await?;
    browser.click("dialog button[value=yes]").await?;
    browser.shows("It is shown once").await?;
    assert!(browser.text("dialog code").await?.starts_with("whsec_"));
    browser.click("dialog button[value=yes]").await?;
    browser.shows("Healthy").await?;
    let events = &mut console.weir.events;
    console.weir.stack.receives(events, "Hello").await?;
    until("two calls", async || {
        Ok((subscriber.delivered().len() >= 2).then_some(()))
    })
    .await?;
    browser.open(&console.url("/endpoints")).await?;
    browser.click("a.card").await?;
    browser.holds("document.querySelector('details.tail')").await?;
    browser
        .script(
            "for (const it of document.querySelectorAll('details.tail')) it.open = true",
            json!([]),
        )
        .await?;
    browser.shows("· 500 ·").await?;
    browser.shows("· 200 ·").await?;
    // The event lists its deliveries, however many events came after it.
    let received = until("the message at the endpoint", async || {
        let delivered = subscriber.delivered();
        let received = delivered.iter().find(|it| it.body.contains("\"message.received\""));
        Ok(received.cloned())
    })
    .await?;
    let event = received.header("webhook-id")?;
    browser.open(&console.url("/events")).await?;
    let of_event = "[...document.querySelectorAll('.tail > li > details')].filter((it) => it.textContent.includes('message.received'))";
    browser.holds(&format!("{of_event}.length === 1")).await?;
    browser.script(&format!("{of_event}[0].open = true"), json!([])).await?;
    browser.shows(event).await?;
    browser
        .holds("document.querySelector('.in details.tail .pill')")
        .await?;
    browser.open(&console.url("/endpoints")).await?;
    browser.click("a.card").await?;
    browser.press("Rotate secret").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.shows("It is shown once").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.shows("Valid until").await?;
    console.is_innocent().await
}

#[tokio::test]
async fn every_no_can_be_looked_up_with_both_sides_and_the_way_out() -> Result {
    let mut console = Console::signed_in().await?;
    let conversation = console.conversation().await?;
    let stack = &console.weir.stack;
    stack.time_passes(49 * HOUR_MS).await?;
    let refused = stack.api.say(&conversation, "too late").await?;
    assert_eq!(refused.problem(409)?, "reply_window_closed");
    let browser = &console.browser;
    browser.open(&console.url("/")).await?;
    browser.click("nav a[href=\"/refusals\"]").await?;
    browser.shows("By rule").await?;
    browser.write("input[type=search]", "reply").await?;
    browser
        .holds("document.querySelector('[aria-label=Recent] .line')")
        .await?;
    browser.write("input[type=search]", " no such rule").await?;
    browser.shows("No matching refusals").await?;
    let clear =
        "const it = document.querySelector('input[type=search]'); it.value = ''; it.dispatchEvent(new Event('input'))";
    browser.script(clear, json!([])).await?;
    let id = text_of(&refused.body["refusal_id"])?;
    browser
        .click(&format!("[aria-label=Recent] a[href=\"/refusals/{id}\"]"))
        .await?;
    for words in ["The messaging window closed at", "Allowed again", "What to do"] {
        browser.shows(words).await?;
    }
    // The facts as text: times are readable by people.
    browser
        .holds("document.querySelector('[aria-label=Details] dd time')")
        .await?;
    browser.shows("once").await?;
    browser
        .click(&format!("main a[href=\"/inbox/{conversation}\"]"))
        .await?;
    browser.holds("document.querySelector('.message')").await?;
    // One that is forgotten, or never was.
    browser
        .open(&console.url("/refusals/rfs_00000000000000000000000000"))
        .await?;
    browser.holds("document.querySelector('.problem')").await?;
    console.is_innocent().await
}

#[tokio::test]
async fn every_change_shows_author_and_content() -> Result {
    let console = Console::signed_in().await?;
    let browser = &console.browser;
    browser.open(&console.url("/settings")).await?;
    browser.press("Audit log").await?;
    browser
        .holds("document.querySelectorAll('.tail li').length > 2")
        .await?;
    let open = "const it = [...document.querySelectorAll('.tail details')].find((it) => it.textContent.includes('connector.install')); it.open = true";
    browser.script(open, json!([])).await?;
    browser.shows("by key").await?;
    browser
        .holds("document.querySelector('.tail details[open] dl')")
        .await?;
    browser.shows("sha256:").await?;
    console.is_innocent().await
}
