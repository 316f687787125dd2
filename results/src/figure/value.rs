//! Figures as values, panels with axes and contents, and the trait of their kinds.

use crate::error::Result;
use crate::store::Selection;

/// A kind of figure: a query over the stored records.
pub trait FigureKind: Sync {
    /// Name, and stem of its files: `figure3`.
    fn name(&self) -> &'static str;

    /// One line of help.
    fn about(&self) -> &'static str;

    /// One figure for each model and setting that was measured; where nothing was, one whose empty panels name the command
    /// that fills them.
    ///
    /// # Errors
    /// [`crate::Error::Query`], [`crate::Error::Paper`].
    fn figures(&self, stored: &Selection) -> Result<Vec<Figure>>;
}

/// A figure, ready to be drawn: [`Figure::svg`], [`Figure::png`].
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Stem of its files.
    pub name: String,
    /// What it shows, above the panels.
    pub title: String,
    /// Model, data, seeds and device, below the panels.
    pub foot: Vec<String>,
    /// What it is, and whether it shows what the paper found: for the page that the figure stands on.
    pub caption: String,
    /// Rows of panels, as many in each as there are `widths`.
    pub panels: Vec<Vec<Panel>>,
    /// Shares of the width, a column each.
    pub widths: Vec<f64>,
    /// Height of a row of panels in pixels.
    pub height: u32,
    /// The colour bar of the panels with cells.
    pub bar: Option<Bar>,
}

/// A colour bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What the colour stands for, with its unit.
    pub label: String,
    /// Values of the lightest and of the darkest colour; what lies outside takes the nearest of the two.
    pub range: (f64, f64),
}

/// A panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Upwards, for cells downwards.
    pub y: Axis,
    /// What stands in it.
    pub content: Content,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// What is along it, with its unit.
    pub label: String,
    /// Where it begins and ends.
    pub range: (f64, f64),
    /// Where it has ticks, and what they say.
    pub ticks: Vec<(f64, String)>,
}

/// What stands in a panel.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Coloured cells, the first row on top.
    Cells {
        /// A row of cells each; `None` where nothing was measured.
        rows: Vec<Vec<Option<f64>>>,
        /// Whether the values are written into the cells, with no decimals.
        written: bool,
    },
    /// Points joined by lines.
    Series(Vec<Series>),
    /// Nothing was measured: which command fills it.
    Empty(String),
}

/// Points of one method, joined by a line in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// In the legend.
    pub name: String,
    /// Decides colour and marker, in all figures alike.
    pub method: String,
    /// The points.
    pub points: Vec<Point>,
}

/// A point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Across.
    pub x: f64,
    /// Upwards.
    pub y: f64,
    /// Half the length of its error bar.
    pub spread: Option<f64>,
}

impl Axis {
    /// Cells counted from 1 to `n`, with ticks at 1 and about `ticks` round numbers.
    #[must_use]
    pub fn counted(label: impl Into<String>, n: usize, ticks: usize) -> Self {
        let step = [1, 2, 4, 8, 16, 32, 64, 128, 256]
            .into_iter()
            .find(|step| n / step <= ticks.max(1));
        let step = step.unwrap_or(n.max(1));
        // Right beside the first, a second one would be unreadable.
        let apart = |at: &usize| 4 * (at - 1) >= 3 * step;
        let at = std::iter::once(1).chain((1..=n / step).map(|i| i * step).filter(apart));
        Self {
            label: label.into(),
            range: (0.5, n as f64 + 0.5),
            ticks: at.map(|at| (at as f64, at.to_string())).collect(),
        }
    }

    /// Cells with names.
    #[must_use]
    pub fn named(label: impl Into<String>, names: impl IntoIterator<Item = String>) -> Self {
        let ticks: Vec<_> = names
            .into_iter()
            .enumerate()
            .map(|(i, name)| (i as f64 + 1.0, name))
            .collect();
        Self {
            label: label.into(),
            range: (0.5, ticks.len() as f64 + 0.5),
            ticks,
        }
    }

    /// From the smallest to the largest of `values` with some room, and about as many ticks as asked for, at round numbers.
    #[must_use]
    pub fn spanning(label: impl Into<String>, values: impl IntoIterator<Item = f64>, ticks: usize) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let room = ((high - low) * 0.08).max(high.abs() * 1e-3).max(1e-6);
        Self::exactly(label, (low - room, high + room), ticks)
    }

    /// Over this range and no more.
    #[must_use]
    pub fn exactly(label: impl Into<String>, range: (f64, f64), ticks: usize) -> Self {
        let ends = |step: f64| {
            (
                (range.0 / step - 1e-9).ceil() as i64,
                (range.1 / step + 1e-9).floor() as i64,
            )
        };
        let ten = 10f64.powf(((range.1 - range.0) / ticks.max(1) as f64).log10().floor());
        let off = |step: &f64| {
            let (first, last) = ends(*step);
            (last - first + 1).abs_diff(ticks as i64)
        };
        let steps = [1.0, 2.0, 5.0, 10.0].map(|f| f * ten);
        let step = steps.into_iter().min_by_key(off).unwrap_or(ten);
        let decimals = (-step.log10() - 1e-9).ceil().max(0.0) as usize;
        let (first, last) = ends(step);
        let at = (first..=last).map(|i| i as f64 * step);
        Self {
            label: label.into(),
            range,
            ticks: at.map(|at| (at, format!("{at:.decimals$}"))).collect(),
        }
    }
}

impl Panel {
    /// A panel that nothing was measured for: `command` fills it.
    #[must_use]
    pub fn empty(title: impl Into<String>, command: &str) -> Self {
        Self {
            title: title.into(),
            x: Axis::default(),
            y: Axis::default(),
            content: Content::Empty(command.to_owned()),
        }
    }
}

impl Figure {
    /// Whether nothing was measured for any panel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.panels
            .iter()
            .flatten()
            .all(|panel| matches!(panel.content, Content::Empty(_)))
    }
}
