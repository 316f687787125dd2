//! From SVG to PNG, by resvg with the built-in font: the same bytes on every machine.

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
    pixels.encode_png().map_err(|e| fail(e.to_string()))
}
