//! Style of all figures: fonts, sizes, colours and markers.

use std::sync::Arc;

use plotters::style::{Color, FontStyle, RGBColor, TextStyle, register_font};
use resvg::usvg::fontdb;

use crate::error::{Error, Result};

/// How figures are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// With title and notes, for pages: SVG and PNG.
    #[default]
    Screen,
    /// Without them, as wide as one or two columns in print: SVG and PDF.
    Paper,
}

/// Width on a page, in pixels.
pub(super) const WIDTH: u32 = 760;
/// Widths of one column and of two in print, in pixels: 3.25 and 6.75 inches.
pub(super) const COLUMN: u32 = 380;
pub(super) const COLUMNS: u32 = 790;
/// Pixels an inch in print, where 12 pixels are 7.4 points.
pub(super) const PRINT: f64 = 117.0;

/// Scale of PNGs relative to the SVG.
pub(super) const PNG_SCALE: f32 = 2.0;

/// Texts are measured, and PNGs drawn, with the built-in Noto Sans; SVG viewers without it fall back to fonts of similar widths.
pub(super) const FAMILY: &str = "Noto Sans, Helvetica, Arial, sans-serif";
const FACE: &str = "Noto Sans";

/// plotters writes `size / 1.24` into the SVG; this factor makes the sizes below those of the SVG, in pixels.
const PLOTTERS: f64 = 1.24;

pub(super) const TITLE: f64 = 16.0;
pub(super) const PANEL: f64 = 13.0;
pub(super) const TEXT: f64 = 12.0;
pub(super) const SMALL: f64 = 11.0;

pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const GREY: RGBColor = RGBColor(105, 105, 105);
pub(super) const LIGHT: RGBColor = RGBColor(218, 218, 218);
/// A cell without a value.
pub(super) const NOTHING: RGBColor = RGBColor(240, 240, 240);

/// Registers the fonts with plotters, before each drawing.
pub(super) fn fonts() -> Result<()> {
    for (style, bytes) in [
        (FontStyle::Normal, notosans::REGULAR_TTF),
        (FontStyle::Bold, notosans::BOLD_TTF),
    ] {
        register_font(FAMILY, style, bytes).map_err(|_| Error::Draw {
            figure: "all figures".into(),
            reason: "the built-in font cannot be read".into(),
        })?;
    }
    Ok(())
}

/// Fonts for resvg: the built-in one alone, so that every machine draws the same.
pub(super) fn database() -> Arc<fontdb::Database> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(notosans::REGULAR_TTF.to_vec());
    fonts.load_font_data(notosans::BOLD_TTF.to_vec());
    fonts.set_sans_serif_family(FACE);
    Arc::new(fonts)
}

/// Text of `size` pixels.
pub(super) fn text(size: f64, colour: RGBColor) -> TextStyle<'static> {
    TextStyle {
        color: colour.to_backend_color(),
        ..TextStyle::from((FAMILY, size * PLOTTERS))
    }
}

/// The same in bold.
pub(super) fn bold(size: f64, colour: RGBColor) -> TextStyle<'static> {
    TextStyle {
        color: colour.to_backend_color(),
        ..TextStyle::from((FAMILY, size * PLOTTERS, FontStyle::Bold))
    }
}

/// Marker of a series, which distinguishes it without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Down,
    Left,
    Right,
    Cross,
    Times,
    Hourglass,
    Bowtie,
    Bar,
    Post,
    Chevron,
    Dome,
    Pentagon,
    Star,
}

/// Colour and marker of a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) colour: RGBColor,
    pub(crate) marker: Marker,
}

/// Colours that are distinguishable with colour blindness (Okabe and Ito, 2008), one for each family of methods.
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const ORANGE: RGBColor = RGBColor(213, 94, 0);
pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(crate) const PINK: RGBColor = RGBColor(204, 121, 167);
pub(crate) const SKY: RGBColor = RGBColor(86, 180, 233);
pub(crate) const DARK: RGBColor = RGBColor(60, 60, 60);
pub(crate) const OLIVE: RGBColor = RGBColor(150, 130, 20);

/// Colours of a colour bar, monotone in lightness, so that it also reads in grey.
const RAMP: [(u8, u8, u8); 6] = [
    (252, 251, 242),
    (206, 228, 217),
    (132, 187, 200),
    (62, 133, 178),
    (32, 79, 138),
    (16, 30, 72),
];

/// Colour of a share in [0, 1] of the range that a colour bar spans.
pub(super) fn shade(share: f64) -> RGBColor {
    let place = share.clamp(0.0, 1.0) * (RAMP.len() - 1) as f64;
    let low = (place.floor() as usize).min(RAMP.len() - 2);
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * (place - low as f64)).round() as u8;
    let (a, b) = (RAMP[low], RAMP[low + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}

/// A light and opaque tint of a colour. (Of several transparent colours svg2pdf writes the list in no fixed order.)
pub(super) fn tint(colour: RGBColor) -> RGBColor {
    let mix = |c: u8| (255.0 - 0.15 * (255.0 - f64::from(c))).round() as u8;
    RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shades_fall_in_lightness() {
        let light = |c: RGBColor| 0.2126 * f64::from(c.0) + 0.7152 * f64::from(c.1) + 0.0722 * f64::from(c.2);
        let all: Vec<f64> = (0..=64).map(|i| light(shade(f64::from(i) / 64.0))).collect();
        assert!(all.windows(2).all(|pair| pair[1] < pair[0]), "{all:?}");
    }
}
