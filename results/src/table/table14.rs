//! Table 14 of the paper: WebNLG, categories unseen (U) and seen (S) in training, and all (A).

use super::texts::{Column, TextTable};

const fn column(
    name: &'static str,
    metric: &'static str,
    group: &'static str,
    scale: f64,
    decimals: usize,
) -> Column<'static> {
    Column {
        name,
        task: "webnlg",
        group,
        metric,
        scale,
        decimals,
    }
}

pub(super) static TABLE: TextTable<'static> = TextTable {
    name: "table14",
    about: "WebNLG, likewise: unseen categories, seen ones, and all",
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
    paper: Some(include_str!("../../paper/table14.yaml")),
    quoted_anyway: None,
};
