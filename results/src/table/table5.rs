//! Table 5 of the paper: which weights to adapt with a fixed number of parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::Table;
use super::grid::{columns, paper_grid};
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry};

const SWEPT: [&str; 2] = ["method.r", "method.targets"];

paper_grid!("table5");

/// The table over LoRA's runs, if for some model and task two choices of weights were run with one number of parameters.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let mut choices: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    let mut entries = Vec::new();
    for run in sweep::full_data(selection) {
        if let (Some((weights, matrices, rank)), Some((_, value))) = (sweep::lora(run), sweep::headline(run)) {
            let row = vec![
                run.model.clone(),
                sweep::task(run),
                (rank * matrices as u64).to_string(),
            ];
            choices.entry(row.clone()).or_default().insert(weights.clone());
            let column = weights;
            entries.push(Entry {
                row,
                column,
                value,
                run,
            });
        }
    }
    entries.retain(|entry| choices.get(&entry.row).is_some_and(|weights| weights.len() > 1));
    let (paper, rows) = (paper()?, sweep::collect(&entries, &SWEPT));
    let columns = columns(&paper, &rows, |column| paper.place(column));
    Ok(paper.sweep("table5", &rows, columns, &SWEPT, "the task's metric on dev in per cent"))
}
