//! Table 6 of the paper: the rank of LoRA.

use std::collections::{BTreeMap, BTreeSet};

use super::Table;
use super::grid::{columns, paper_grid};
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry};

const SWEPT: [&str; 2] = ["method.r", "method.targets"];

paper_grid!("table6");

/// The table over LoRA's runs, if for some model, task and weights two ranks were run.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let mut ranks: BTreeMap<Vec<String>, BTreeSet<u64>> = BTreeMap::new();
    let mut entries = Vec::new();
    for run in sweep::full_data(selection) {
        if let (Some((weights, _, rank)), Some((_, value))) = (sweep::lora(run), sweep::headline(run)) {
            let row = vec![run.model.clone(), sweep::task(run), weights];
            ranks.entry(row.clone()).or_default().insert(rank);
            let column = format!("r={rank}");
            entries.push(Entry {
                row,
                column,
                value,
                run,
            });
        }
    }
    entries.retain(|entry| ranks.get(&entry.row).is_some_and(|ranks| ranks.len() > 1));
    let (paper, rows) = (paper()?, sweep::collect(&entries, &SWEPT));
    let rank = |column: &str| column.trim_start_matches("r=").parse::<u64>().unwrap_or_default();
    let columns = columns(&paper, &rows, rank);
    Ok(paper.sweep("table6", &rows, columns, &SWEPT, "the task's metric on dev in per cent"))
}
