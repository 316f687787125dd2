//! Table 13 of the paper: DART.

use super::Table;
use super::texts::{Column, TextTable};
use crate::error::Result;
use crate::store::Selection;

const fn column(name: &'static str, metric: &'static str, scale: f64, decimals: usize) -> Column {
    Column {
        name,
        task: "dart",
        group: "",
        metric,
        scale,
        decimals,
    }
}

static TABLE: TextTable = TextTable {
    stem: "table13",
    title: "DART",
    experiments: &["dart"],
    columns: &[
        column("BLEU", "BLEU", 100.0, 1),
        column("METEOR", "METEOR", 1.0, 2),
        column("TER", "TER", 1.0, 2),
    ],
    paper: ("paper/table13.yaml", include_str!("../../paper/table13.yaml")),
    quoted_anyway: None,
};

/// The table without runs of ours: the paper's numbers.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn blank() -> Result<Table> {
    TABLE.blank()
}

/// The tables of the experiment `dart`.
///
/// # Errors
/// [`crate::Error::NoPaperRow`], [`crate::Error::Query`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    TABLE.build(selection)
}
