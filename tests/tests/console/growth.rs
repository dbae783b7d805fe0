//! Links and signs that lead people to the account.

use anyhow::{Context, ensure};
use serde_json::json;

use crate::support::text_of;
use crate::{Console, Result};

#[tokio::test]
async fn the_code_on_the_sign_is_the_link_that_is_shown() -> Result {
    let console = Console::signed_in().await?;
    let browser = &console.browser;
    let channel = text_of(&console.weir.channel["id"])?;
    browser.open(&console.url(&format!("/channels/{channel}"))).await?;
    browser.write("input[placeholder^=Hello]", "Привет! ☺ & more").await?;
    browser.write("input[placeholder=shop-window]", "window_7").await?;
    browser
        .holds("document.querySelector('[aria-label^=Links] code').textContent.includes('window_7')")
        .await?;
    let link = browser.text("[aria-label^=Links] code").await?;
    ensure!(link.contains("%D0%9F") && link.contains("%26"), "{link}");
    let drawn = browser
        .script_later(
            "const done = arguments[arguments.length - 1];
             const at = [...document.querySelectorAll('[aria-label^=Links] a[download]')].find((it) => it.textContent === 'PNG').href;
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

/// The content of a QR code.
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
