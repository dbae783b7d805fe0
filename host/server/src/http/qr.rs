//! QR codes of a channel's links, rendered here so that no third party learns the links.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::{ECL, QRBuilder, QRCode};
use serde::Deserialize;
use utoipa::IntoParams;
use weir_domain::id::ChannelId;
use weir_domain::manifest::EntryKind;

use super::body::{Named, Params};
use super::caller::{InChannels, May, Read};
use super::problem::{ApiResult, Problem};
use super::{channels, codes};
use crate::Host;

/// Modules of quiet zone on each side (ISO/IEC 18004, 5.3.8).
const QUIET: usize = 4;
/// The maximum side of the PNG in pixels: use the SVG for larger prints.
const SIZE: u32 = 2_048;
/// The side in pixels by default.
const SIZE_DEFAULT: u32 = 512;

/// The target of the code.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Link {
    /// `chat` or `profile`; default: the app's setting `qr_target`, else `chat`.
    #[param(value_type = Option<String>)]
    target: Option<EntryKind>,
    /// A message that is put into the composer, if the platform supports it.
    message: Option<String>,
    /// Your own value, which is returned with the referral, if the platform supports it.
    #[serde(rename = "ref")]
    reference: Option<String>,
    /// The side in pixels, at most 2048; default: 512.
    size: Option<u32>,
}

/// Render a link as a QR code (SVG)
#[utoipa::path(get, path = "/v1/channels/{id}/qr.svg", tag = "channels", params(("id" = ChannelId, Path), Link),
    responses((status = 200, content_type = "image/svg+xml", body = String)))]
pub(crate) async fn svg(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
    Params(link): Params<Link>,
) -> ApiResult<Response> {
    let code = code(&host, &caller, id, &link).await?;
    let drawing = SvgBuilder::default().margin(QUIET).to_str(&code);
    Ok(([(CONTENT_TYPE, "image/svg+xml")], drawing).into_response())
}

/// Render a link as a QR code (PNG)
#[utoipa::path(get, path = "/v1/channels/{id}/qr.png", tag = "channels", params(("id" = ChannelId, Path), Link),
    responses((status = 200, content_type = "image/png", body = Vec<u8>)))]
pub(crate) async fn png(
    caller: May<Read, InChannels>,
    State(host): State<Host>,
    Named(id): Named<ChannelId>,
    Params(link): Params<Link>,
) -> ApiResult<Response> {
    let size = match link.size {
        None => SIZE_DEFAULT,
        Some(size @ 64..=SIZE) => size,
        Some(_) => return Err(Problem::parameter("size", format_args!("it is between 64 and {SIZE}"))),
    };
    let code = code(&host, &caller, id, &link).await?;
    Ok((
        [(CONTENT_TYPE, "image/png")],
        picture(&code, size).map_err(Problem::internal)?,
    )
        .into_response())
}

async fn code(host: &Host, caller: &weir_domain::caller::Caller, id: ChannelId, link: &Link) -> ApiResult<QRCode> {
    let channel = channels::find(host, caller, id).await?;
    let url = host
        .accounts
        .entry_point(
            &channel,
            link.target,
            link.message.as_deref(),
            link.reference.as_deref(),
        )
        .await?;
    QRBuilder::new(url)
        .ecl(ECL::M)
        .build()
        .map_err(|_| Problem::of(&codes::ENTRY_POINT_NOT_SUPPORTED).detail("the link is too long for a QR code"))
}

/// A PNG of one bit per pixel, each module a whole number of pixels, so that the edges stay sharp.
fn picture(code: &QRCode, size: u32) -> Result<Vec<u8>, png::EncodingError> {
    let modules = code.size + 2 * QUIET;
    let scale = (size as usize / modules).max(1);
    let side = modules * scale;
    let width = side.div_ceil(8);
    let mut pixels = vec![0xff_u8; width * side];
    for y in 0..side {
        for x in 0..side {
            let (row, column) = ((y / scale).checked_sub(QUIET), (x / scale).checked_sub(QUIET));
            let is_dark = match (row, column) {
                (Some(row), Some(column)) if row < code.size && column < code.size => code[row][column].value(),
                _ => false,
            };
            if is_dark {
                pixels[y * width + x / 8] &= !(0x80 >> (x % 8));
            }
        }
    }
    let mut bytes = Vec::new();
    let side = u32::try_from(side).unwrap_or(SIZE);
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_sharp_modules_and_a_quiet_zone() {
        let code = QRBuilder::new("https://example.com/")
            .ecl(ECL::M)
            .build()
            .expect("short enough");
        let bytes = picture(&code, 256).expect("drawn");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes))
            .read_info()
            .expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        let info = reader.next_frame(&mut pixels).expect("one frame");
        assert_eq!(info.width as usize % (code.size + 2 * QUIET), 0);
        assert!(
            pixels[..info.line_size].iter().all(|byte| *byte == 0xff),
            "the first row is white"
        );
        assert!(pixels.iter().any(|byte| *byte != 0xff), "something is drawn");
    }
}
