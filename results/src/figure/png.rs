//! From SVG to PNG, by resvg with the built-in font: the same bytes on every machine and in every build (which deflate
//! libraries' default compressor is depends on what else is built beside them).

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::style::{PNG_SCALE, database};
use crate::error::{Error, Result};

/// `svg` as PNG, [`PNG_SCALE`] times as large.
pub(super) fn png(figure: &str, svg: &str) -> Result<Vec<u8>> {
    let fail = |reason: String| Error::Draw {
        figure: figure.to_owned(),
        reason,
    };
    let options = Options {
        fontdb: database(),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).map_err(|e| fail(e.to_string()))?;
    let side = |length: f32| (length * PNG_SCALE).round() as u32;
    let (width, height) = (side(tree.size().width()), side(tree.size().height()));
    let mut pixels = Pixmap::new(width, height).ok_or_else(|| fail(format!("{width} x {height} pixels")))?;
    resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
    encode(pixels).map_err(|e| fail(e.to_string()))
}

fn encode(pixels: Pixmap) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, pixels.width(), pixels.height());
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_deflate_compression(png::DeflateCompression::FdeflateUltraFast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels.take_demultiplied())?;
    writer.finish()?;
    Ok(bytes)
}
