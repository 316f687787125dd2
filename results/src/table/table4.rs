//! Table 4 of the paper, without MNLI: WikiSQL and SAMSum. The paper ran GPT-3 there.

use super::Table;
use super::texts::{Column, TextTable};
use crate::error::Result;
use crate::store::Selection;

const fn column(name: &'static str, task: &'static str, metric: &'static str) -> Column {
    Column {
        name,
        task,
        group: "",
        metric,
        scale: 100.0,
        decimals: 1,
    }
}

static TABLE: TextTable = TextTable {
    stem: "table4",
    title: "WikiSQL (logical form) and SAMSum (ROUGE)",
    experiments: &["wikisql", "samsum"],
    columns: &[
        column("WikiSQL", "wikisql", "logical_form"),
        column("R1", "samsum", "rouge1"),
        column("R2", "samsum", "rouge2"),
        column("RL", "samsum", "rougeL"),
    ],
    paper: ("paper/table4.yaml", include_str!("../../paper/table4.yaml")),
    quoted_anyway: Some("They are of GPT-3 175B: no row of ours is the same experiment, and none is compared."),
};

/// The table without runs of ours: the paper's numbers.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn blank() -> Result<Table> {
    TABLE.blank()
}

/// The tables of the experiments `wikisql` and `samsum`.
///
/// # Errors
/// [`crate::Error::NoPaperRow`], [`crate::Error::Query`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    TABLE.build(selection)
}
