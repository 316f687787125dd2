//! Figures as values, panels with axes and contents, and the trait of their kinds.

use crate::error::Result;
use crate::store::Selection;
use crate::verdict::Verdict;

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

/// A figure that can be drawn by [`Figure::svg`] and [`Figure::files`].
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Stem of its files.
    pub name: String,
    /// Title, above the panels.
    pub title: String,
    /// Notes on model, data, seeds and device, below the panels.
    pub foot: Vec<String>,
    /// What is shown, in one sentence: the same for all figures of a kind.
    pub shows: String,
    /// Caption below that, in one line: model, data, seeds.
    pub caption: String,
    /// The paper's conclusions, tested on what is shown.
    pub verdicts: Vec<Verdict>,
    /// Rows of panels, one panel per entry of `widths`.
    pub panels: Vec<Vec<Panel>>,
    /// Relative widths of the columns.
    pub widths: Vec<f64>,
    /// Height of a row of panels in pixels.
    pub height: u32,
    /// Colour bar of the panels with cells.
    pub bar: Option<ColourBar>,
}

/// A colour bar.
#[derive(Clone, Debug, PartialEq)]
pub struct ColourBar {
    /// Quantity, with its unit.
    pub label: String,
    /// Values of the lightest and of the darkest colour; values outside are clamped.
    pub range: (f64, f64),
}

/// A panel.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Title.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis: upwards, for cells downwards.
    pub y: Axis,
    /// Contents.
    pub content: Content,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Axis {
    /// Quantity, with its unit.
    pub label: String,
    /// Range.
    pub range: (f64, f64),
    /// Ticks: position and text.
    pub ticks: Vec<(f64, String)>,
}

/// Contents of a panel.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Coloured cells, the first row on top.
    Cells {
        /// Values by row; `None` where nothing was measured.
        rows: Vec<Vec<Option<f64>>>,
        /// Texts in the cells, by row; none at all if empty.
        texts: Vec<Vec<String>>,
    },
    /// Points joined by lines.
    Series(Vec<Series>),
    /// Nothing was measured; the command that fills the panel.
    Empty(String),
}

/// Points of one method, joined by a line in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Kind of method whose colour and marker it has.
    pub method: String,
    /// The points.
    pub points: Vec<Point>,
    /// Printed beside the last point; may be empty.
    pub label: String,
    /// Whether a point is a level over the whole width, its spread a band.
    pub across: bool,
    /// For a line without markers: its place among the colours of a colour bar, from 0 to 1.
    pub shade: Option<f64>,
}

/// A point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// Horizontal position.
    pub x: f64,
    /// Vertical position.
    pub y: f64,
    /// Half the length of the error bar, if any.
    pub spread: Option<f64>,
    /// Whether the marker is filled.
    pub filled: bool,
}

impl Axis {
    /// Cells counted from 1 to `n`, with ticks at 1 and about `ticks` round numbers.
    #[must_use]
    pub fn counted(label: impl Into<String>, n: usize, ticks: usize) -> Self {
        let step = [1, 2, 4, 8, 16, 32, 64, 128, 256]
            .into_iter()
            .find(|step| n / step <= ticks.max(1));
        let step = step.unwrap_or(n.max(1));
        // A tick too close to the first would be unreadable.
        let apart = |at: &usize| 4 * (at - 1) >= 3 * step;
        let at = std::iter::once(1).chain((1..=n / step).map(|i| i * step).filter(apart));
        Self {
            label: label.into(),
            range: (0.5, n as f64 + 0.5),
            ticks: at.map(|at| (at as f64, at.to_string())).collect(),
        }
    }

    /// Named cells.
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

    /// From the smallest to the largest of `values` with a margin, and about `ticks` ticks at round numbers.
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

    /// As [`Axis::spanning`], without values far below or above most: by more than three times the distance of the quartiles.
    #[must_use]
    pub fn of_most(label: impl Into<String>, values: impl IntoIterator<Item = f64>, ticks: usize) -> Self {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let quartile = |part: usize| {
            values
                .get(part * (values.len().max(1) - 1) / 4)
                .copied()
                .unwrap_or_default()
        };
        let (low, high) = (quartile(1), quartile(3));
        let far = 3.0 * (high - low);
        let near = |value: &f64| far <= 0.0 || (low - far..=high + far).contains(value);
        Self::spanning(label, values.iter().copied().filter(near), ticks)
    }

    /// Counts on a logarithmic scale of at least a decade, as their decimal logarithms, with ticks such as `10k`.
    #[must_use]
    pub fn of_counts(label: impl Into<String>, counts: impl IntoIterator<Item = i64>) -> Self {
        let logs = counts.into_iter().map(|count| (count.max(1) as f64).log10());
        let Self { label, range, .. } = Self::spanning(label, logs, 1);
        let (middle, half) = ((range.0 + range.1) / 2.0, ((range.1 - range.0) / 2.0).max(0.5));
        let range = (middle - half, middle + half);
        let steps: &[i64] = if range.1 - range.0 > 2.0 { &[1] } else { &[1, 2, 5] };
        let all = (0..18).flat_map(|power| steps.iter().map(move |step| step * 10i64.pow(power)));
        let ticks = all.map(|count| ((count as f64).log10(), short_count(count)));
        Self {
            label,
            range,
            ticks: ticks.filter(|(at, _)| (range.0..=range.1).contains(at)).collect(),
        }
    }

    /// Exactly `range`, with about `ticks` ticks at round numbers.
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

/// A round count as `500`, `20k`, `1M`.
fn short_count(count: i64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count / 1_000),
        1_000_000..1_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

impl Panel {
    /// A panel without measurements, which `command` fills.
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
    /// What is shown, and the caption.
    #[must_use]
    pub fn description(&self) -> String {
        format!("{} {}", self.shows, self.caption).trim().to_owned()
    }

    /// Whether nothing was measured for any panel.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.panels
            .iter()
            .flatten()
            .all(|panel| matches!(panel.content, Content::Empty(_)))
    }
}
