//! Table 14 of the paper: WebNLG, categories unseen (U) and seen (S) in training, and all (A).

use super::Table;
use super::texts::{Column, TextTable};
use crate::error::Result;
use crate::store::Selection;

const fn column(name: &'static str, metric: &'static str, group: &'static str, scale: f64, decimals: usize) -> Column {
    Column {
        name,
        task: "webnlg",
        group,
        metric,
        scale,
        decimals,
    }
}

static TABLE: TextTable = TextTable {
    stem: "table14",
    title: "WebNLG",
    experiments: &["webnlg"],
    columns: &[
        column("BLEU U", "BLEU", "_unseen", 100.0, 1),
        column("BLEU S", "BLEU", "_seen", 100.0, 1),
        column("BLEU A", "BLEU", "", 100.0, 1),
        column("MET U", "METEOR", "_unseen", 1.0, 2),
        column("MET S", "METEOR", "_seen", 1.0, 2),
        column("MET A", "METEOR", "", 1.0, 2),
        column("TER U", "TER", "_unseen", 1.0, 2),
        column("TER S", "TER", "_seen", 1.0, 2),
        column("TER A", "TER", "", 1.0, 2),
    ],
    paper: ("paper/table14.yaml", include_str!("../../paper/table14.yaml")),
    quoted_anyway: None,
};

/// The table without runs of ours: the paper's numbers.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn blank() -> Result<Table> {
    TABLE.blank()
}

/// The tables of the experiment `webnlg`.
///
/// # Errors
/// [`crate::Error::NoPaperRow`], [`crate::Error::Query`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    TABLE.build(selection)
}
