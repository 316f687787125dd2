//! Table 18 of the paper: the rank of LoRA on E2E, metric by metric.

use std::collections::{BTreeMap, BTreeSet};

use super::paper_grid::{GridTable, PaperGrid};
use super::value::Table;
use crate::store::Selection;
use crate::sweep::{self, SweepValue};

const SWEPT: [&str; 1] = ["method.r"];

/// Column, metric in records, and factor into the column's unit.
const METRICS: [(&str, &str, f64); 6] = [
    ("loss", "dev/loss", 1.0),
    ("BLEU", "test/BLEU", 100.0),
    ("NIST", "test/NIST", 1.0),
    ("METEOR", "test/METEOR", 1.0),
    ("ROUGE-L", "test/ROUGE_L", 1.0),
    ("CIDEr", "test/CIDEr", 1.0),
];

pub(super) static TABLE: GridTable = GridTable {
    name: "table18",
    about: "The rank of LoRA on E2E, metric by metric",
    paper: include_str!("../../paper/table18.yaml"),
    tables,
};

/// The table of LoRA runs on E2E with at least two ranks for the same model and weights.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let mut ranks: BTreeMap<Vec<String>, BTreeSet<u64>> = BTreeMap::new();
    let mut entries = Vec::new();
    for run in sweep::full_data(stored).into_iter().filter(|run| run.task == "e2e") {
        let (Some((weights, _, rank)), Some(eval)) = (sweep::lora(run), run.best_eval()) else {
            continue;
        };
        // The last head is a sort key.
        let row = vec![run.model.clone(), weights, rank.to_string(), format!("{rank:06}")];
        ranks.entry(row[..2].to_vec()).or_default().insert(rank);
        for (column, metric, scale) in METRICS {
            if let Some(Some(value)) = eval.metrics.get(metric) {
                entries.push(SweepValue {
                    row: row.clone(),
                    column: column.to_owned(),
                    value: Some(value * scale),
                    run,
                });
            }
        }
    }
    entries.retain(|entry| ranks.get(&entry.row[..2]).is_some_and(|ranks| ranks.len() > 1));
    let mut rows = sweep::collect(&entries, &SWEPT);
    rows.sort_by(|a, b| (&a.heads[0], &a.heads[1], &a.heads[3]).cmp(&(&b.heads[0], &b.heads[1], &b.heads[3])));
    let columns = paper.columns.clone();
    paper.sweep(
        &rows,
        columns,
        &SWEPT,
        "loss on dev, all others on test; BLEU in per cent",
        Vec::new(),
    )
}
