//! Table 4 of the paper, without MNLI: WikiSQL and SAMSum. The paper ran GPT-3 there.

use super::texts::{Column, TextTable};

const fn column(name: &'static str, task: &'static str, metric: &'static str) -> Column<'static> {
    Column {
        name,
        task,
        group: "",
        metric,
        scale: 100.0,
        decimals: 1,
    }
}

pub(super) static TABLE: TextTable<'static> = TextTable {
    name: "table4",
    about: "WikiSQL and SAMSum, likewise",
    title: "WikiSQL (logical form) and SAMSum (ROUGE)",
    experiments: &["wikisql", "samsum"],
    columns: &[
        column("WikiSQL", "wikisql", "logical_form"),
        column("R1", "samsum", "rouge1"),
        column("R2", "samsum", "rouge2"),
        column("RL", "samsum", "rougeL"),
    ],
    paper: Some(include_str!("../../paper/table4.yaml")),
    quoted_anyway: Some("They are of GPT-3 175B: no row of ours is the same experiment, and none is compared."),
};
