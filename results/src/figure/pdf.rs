//! The PDF of a figure for print, by svg2pdf. Texts are outlines, so that a viewer needs no font.

use resvg::usvg::{Options, Tree, WriteOptions};
use svg2pdf::{ConversionOptions, PageOptions};

use super::style::{Style, database};
use super::value::Figure;
use crate::error::{Error, Result};

/// Pixels an inch in SVG.
const DPI: f32 = 96.0;

impl Figure {
    /// Extensions and contents of the figure's files for print: the SVG, and the same picture as a PDF, as wide as one column or two.
    ///
    /// # Errors
    /// [`Error::Draw`].
    pub fn printed(&self) -> Result<[(&'static str, Vec<u8>); 2]> {
        let fail = |reason: String| Error::Draw {
            figure: self.name.clone(),
            reason,
        };
        let svg = self.svg(Style::Paper)?;
        let options = Options {
            fontdb: database(),
            ..Options::default()
        };
        let tree = Tree::from_str(&svg, &options).map_err(|e| fail(e.to_string()))?;
        // svg2pdf has a usvg of its own version: the two meet in SVG.
        let outlined = tree.to_string(&WriteOptions::default());
        let tree = svg2pdf::usvg::Tree::from_str(&outlined, &svg2pdf::usvg::Options::default())
            .map_err(|e| fail(e.to_string()))?;
        let pdf = svg2pdf::to_pdf(&tree, ConversionOptions::default(), PageOptions { dpi: DPI })
            .map_err(|e| fail(e.to_string()))?;
        Ok([("svg", svg.into_bytes()), ("pdf", pdf)])
    }
}
