//! Files of a [`Figure`]: its SVG, and a PNG of that by resvg. The font is built in and the compressor is fixed, because default
//! compressors depend on the features that other crates of a build enable: the same figure gives the same bytes everywhere.

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::style::{PNG_SCALE, Style, database};
use super::value::Figure;
use crate::error::{Error, Result};

impl Figure {
    /// Extensions and contents of the figure's files: the SVG, and the same picture as a PNG, twice as large.
    ///
    /// # Errors
    /// [`Error::Draw`].
    pub fn files(&self) -> Result<[(&'static str, Vec<u8>); 2]> {
        let svg = self.svg(Style::Screen)?;
        let png = rasterised(&self.name, &svg)?;
        Ok([("svg", svg.into_bytes()), ("png", png)])
    }
}

fn rasterised(figure: &str, svg: &str) -> Result<Vec<u8>> {
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
