//! Table 18 of the paper: the rank of LoRA on E2E, metric by metric.

use std::collections::{BTreeMap, BTreeSet};

use super::Table;
use super::grid::paper_grid;
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry};

const SWEPT: [&str; 1] = ["method.r"];

/// Column, the metric's name in records, and the factor that brings it into the column's unit.
const METRICS: [(&str, &str, f64); 6] = [
    ("loss", "dev/loss", 1.0),
    ("BLEU", "test/BLEU", 100.0),
    ("NIST", "test/NIST", 1.0),
    ("METEOR", "test/METEOR", 1.0),
    ("ROUGE-L", "test/ROUGE_L", 1.0),
    ("CIDEr", "test/CIDEr", 1.0),
];

paper_grid!("table18");

/// The table over LoRA's runs of E2E, if for some model and weights two ranks were run.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let mut ranks: BTreeMap<Vec<String>, BTreeSet<u64>> = BTreeMap::new();
    let mut entries = Vec::new();
    for run in sweep::full_data(selection).into_iter().filter(|run| run.task == "e2e") {
        let (Some((weights, _, rank)), Some(eval)) = (sweep::lora(run), run.best_eval()) else {
            continue;
        };
        // The last head orders the rows.
        let row = vec![run.model.clone(), weights, rank.to_string(), format!("{rank:06}")];
        ranks.entry(row[..2].to_vec()).or_default().insert(rank);
        for (column, metric, scale) in METRICS {
            if let Some(Some(value)) = eval.metrics.get(metric) {
                entries.push(Entry {
                    row: row.clone(),
                    column: column.to_owned(),
                    value: Some(value * scale),
                    run,
                });
            }
        }
    }
    entries.retain(|entry| ranks.get(&entry.row[..2]).is_some_and(|ranks| ranks.len() > 1));
    let (paper, mut rows) = (paper()?, sweep::collect(&entries, &SWEPT));
    rows.sort_by(|a, b| (&a.heads[0], &a.heads[1], &a.heads[3]).cmp(&(&b.heads[0], &b.heads[1], &b.heads[3])));
    let columns = paper.columns.clone();
    Ok(paper.sweep(
        "table18",
        &rows,
        columns,
        &SWEPT,
        "loss on dev, all others on test; BLEU in per cent",
        String::new(),
    ))
}
