//! Registry of figures. To add one: a file in this folder with a [`FigureKind`], a `mod` line, and a line in [`FIGURES`].
//! Layout and style are the same for all: `draw.rs` and `style.rs`.

mod canvas;
mod draw;
mod figure2;
mod figure3;
mod figure4;
mod figure5;
mod figure8;
mod pdf;
mod phi;
mod png;
mod series;
mod spectra;
pub(crate) mod style;
mod svg;
mod value;

pub use style::Style;
pub use value::{Axis, ColourBar, Content, Figure, FigureKind, Panel, Point, Series};

/// All figures.
pub static FIGURES: &[&dyn FigureKind] = &[
    &figure2::Figure2,
    &figure3::FIGURE3,
    &figure4::FIGURE4,
    &figure5::Figure5,
    &figure3::FIGURE6,
    &figure4::FIGURE7,
    &figure8::Figure8,
    &spectra::Spectra,
];

#[cfg(test)]
mod tests;
