//! Table 13 of the paper: DART.

use super::texts::{Column, TextTable};

const fn column(name: &'static str, metric: &'static str, scale: f64, decimals: usize) -> Column<'static> {
    Column {
        name,
        task: "dart",
        group: "",
        metric,
        scale,
        decimals,
    }
}

pub(super) static TABLE: TextTable<'static> = TextTable {
    name: "table13",
    about: "DART, as Table 3",
    title: "DART",
    experiments: &["dart"],
    columns: &[
        column("BLEU", "BLEU", 100.0, 1),
        column("METEOR", "METEOR", 1.0, 2),
        column("TER", "TER", 1.0, 2),
    ],
    paper: Some(include_str!("../../paper/table13.yaml")),
    quoted_anyway: None,
};
