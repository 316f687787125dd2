//! Tables as values, and the trait of their kinds.

use serde::Serialize;

use crate::error::Result;
use crate::paper::Score;
use crate::store::Selection;
use crate::verdict::Verdict;

/// A kind of table: a query over the stored records.
pub trait TableKind: Sync {
    /// Name, and stem of its files: `table2`.
    fn name(&self) -> &'static str;

    /// One line of help.
    fn about(&self) -> &'static str;

    /// The tables of the selected records. Runs that must not stand side by side go into tables of their own; without any
    /// record there is no table.
    ///
    /// # Errors
    /// [`crate::Error::NoPaperRow`], [`crate::Error::Query`], [`crate::Error::Paper`].
    fn tables(&self, stored: &Selection) -> Result<Vec<Table>>;

    /// The table before anything was run: the paper's numbers below a row of dashes; `None` if the paper has none.
    ///
    /// # Errors
    /// [`crate::Error::Paper`].
    fn paper_only(&self) -> Result<Option<Table>>;
}

/// A table that can be rendered by [`Table::terminal`], [`Table::markdown`], [`Table::latex`] and [`Table::csv`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Stem of its files.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Column names.
    pub header: Vec<String>,
    /// Rows with one cell per column.
    pub rows: Vec<TableRow>,
    /// Notes printed below: source, aggregate, seeds, selection rule, data, device, what is missing.
    pub notes: Vec<String>,
    /// Whether to print numbers of seeds (per row, or per cell where they differ within a row); set when they are not all the same.
    pub show_n: bool,
    /// The paper's conclusions, tested on the rows; the notes hold them in words.
    #[serde(skip)]
    pub verdicts: Vec<Verdict>,
}

/// A row of a [`Table`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableRow {
    /// Whose numbers these are.
    pub kind: RowKind,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// Whose numbers a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// Computed by this program.
    Ours,
    /// Quoted from the paper.
    Paper,
    /// Ours minus the paper's, from the row two above and the row above.
    Difference,
}

impl RowKind {
    /// The value of the CSV column `numbers`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Paper => "paper",
            Self::Difference => "difference",
        }
    }
}

/// A cell. As JSON its bare content; `null` where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A count.
    Count(i64),
    /// A measured or quoted number.
    Number(Number),
    /// Runs exist, but the metric is undefined for every seed.
    Undefined {
        /// Number of seeds.
        undefined: usize,
    },
    /// Nothing was measured; printed as a dash, never filled in.
    Missing,
}

/// A number with its spread, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Number {
    /// In the unit of the column.
    pub value: f64,
    /// The number after ±.
    pub spread: Option<f64>,
    /// Number of seeds, including those for which the metric is undefined; `None` for quoted numbers, averages and differences.
    pub n: Option<usize>,
    /// Digits after the decimal point.
    pub decimals: usize,
}

impl Cell {
    /// Whether the cell is exactly this word.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Text(text) if text == word)
    }

    /// Whether the cell can name its row: text that does not begin with a digit. Variants and numbers of seeds are appended
    /// to the last such cell of a row.
    pub(super) fn is_name(&self) -> bool {
        matches!(self, Self::Text(text) if !text.starts_with(|first: char| first.is_ascii_digit()))
    }

    /// Number of seeds behind the cell.
    pub(super) fn seeds(&self) -> Option<usize> {
        match self {
            Self::Number(number) => number.n,
            Self::Undefined { undefined } => Some(*undefined),
            _ => None,
        }
    }

    /// A score that the paper prints.
    pub(super) fn quoted(score: Score, decimals: usize) -> Self {
        Self::Number(Number {
            value: score.value(),
            spread: score.spread(),
            n: None,
            decimals,
        })
    }

    /// A number without spread; missing where there is none.
    pub(crate) fn plain(value: Option<f64>, decimals: usize) -> Self {
        value.map_or(Self::Missing, |value| {
            Self::Number(Number {
                decimals,
                ..Number::plain(value)
            })
        })
    }
}

impl Number {
    /// A bare value with one decimal.
    #[must_use]
    pub fn plain(value: f64) -> Self {
        Self {
            value,
            spread: None,
            n: None,
            decimals: 1,
        }
    }
}
