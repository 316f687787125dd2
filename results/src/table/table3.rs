//! Table 3 of the paper: the E2E NLG Challenge.

use super::Table;
use super::texts::{Column, TextTable};
use crate::error::Result;
use crate::store::Selection;

const fn column(name: &'static str, metric: &'static str, scale: f64, decimals: usize) -> Column {
    Column {
        name,
        task: "e2e",
        group: "",
        metric,
        scale,
        decimals,
    }
}

static TABLE: TextTable = TextTable {
    stem: "table3",
    title: "E2E NLG Challenge",
    experiments: &["e2e"],
    columns: &[
        column("BLEU", "BLEU", 100.0, 1),
        column("NIST", "NIST", 1.0, 2),
        column("METEOR", "METEOR", 100.0, 1),
        column("ROUGE-L", "ROUGE_L", 100.0, 1),
        column("CIDEr", "CIDEr", 1.0, 2),
    ],
    paper: ("paper/table3.yaml", include_str!("../../paper/table3.yaml")),
    quoted_anyway: None,
};

/// The table without runs of ours: the paper's numbers.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn blank() -> Result<Table> {
    TABLE.blank()
}

/// The tables of the experiment `e2e`.
///
/// # Errors
/// [`crate::Error::NoPaperRow`], [`crate::Error::Query`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    TABLE.build(selection)
}
