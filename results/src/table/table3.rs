//! Table 3 of the paper: the E2E NLG Challenge.

use super::texts::{Column, TextTable};

const fn column(name: &'static str, metric: &'static str, scale: f64, decimals: usize) -> Column<'static> {
    Column {
        name,
        task: "e2e",
        group: "",
        metric,
        scale,
        decimals,
    }
}

pub(super) static TABLE: TextTable<'static> = TextTable {
    name: "table3",
    about: "E2E: each method's mean over seeds, metric by metric",
    title: "E2E NLG Challenge",
    experiments: &["e2e"],
    columns: &[
        column("BLEU", "BLEU", 100.0, 1),
        column("NIST", "NIST", 1.0, 2),
        column("METEOR", "METEOR", 100.0, 1),
        column("ROUGE-L", "ROUGE_L", 100.0, 1),
        column("CIDEr", "CIDEr", 1.0, 2),
    ],
    paper: Some(include_str!("../../paper/table3.yaml")),
    quoted_anyway: None,
};
