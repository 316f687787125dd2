//! What is drawn on: plotters' areas and charts, with axes whose ticks are given.

use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use super::value::Axis;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Chart<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Along, Along>>;
pub(super) type Drawn<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Around the figure, in pixels.
pub(super) const MARGIN: i32 = 14;

/// An axis for plotters, with given ticks, possibly reversed.
pub(super) struct Along {
    ends: (f64, f64),
    ticks: Vec<f64>,
}

impl Along {
    pub(super) fn new(axis: &Axis, backwards: bool) -> Self {
        let (low, high) = axis.range;
        Self {
            ends: if backwards { (high, low) } else { (low, high) },
            ticks: axis.ticks.iter().map(|(at, _)| *at).collect(),
        }
    }
}

impl Ranged for Along {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.ends.0) / (self.ends.1 - self.ends.0);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            Vec::new()
        } else {
            self.ticks.clone()
        }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.ends.0..self.ends.1
    }
}

/// Width in pixels. plotters takes the font's full height as its size, so its estimate is a tenth too small.
pub(super) fn wide<T: plotters::coord::CoordTranslate>(
    ruler: &DrawingArea<SVGBackend<'_>, T>,
    text: &str,
    style: &TextStyle<'_>,
) -> Drawn<i32> {
    Ok(ruler.estimate_text_size(text, style)?.0 as i32 * 11 / 10)
}
