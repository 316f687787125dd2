//! Table 16 of the paper: little training data.

use std::collections::{BTreeMap, BTreeSet};

use super::Table;
use super::grid::{columns, paper_grid};
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry};

const SWEPT: [&str; 3] = ["limit.train", "limit.sample", "task"];

paper_grid!("table16");

/// The table over the runs of models and tasks that were trained on two amounts of data.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let mut sizes: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    let mut entries = Vec::new();
    for run in sweep::finished(selection) {
        if let Some((_, value)) = sweep::headline(run) {
            let method = format!("{} {}", sweep::kind(run), sweep::described(run));
            let row = vec![run.model.clone(), sweep::task(run), method.trim_end().to_owned()];
            let column = sweep::rows_of_data(run).map_or_else(|| "all".to_owned(), |rows| rows.to_string());
            sizes.entry(row.clone()).or_default().insert(column.clone());
            entries.push(Entry {
                row,
                column,
                value,
                run,
            });
        }
    }
    entries.retain(|entry| sizes.get(&entry.row).is_some_and(|sizes| sizes.len() > 1));
    let (paper, rows) = (paper()?, sweep::collect(&entries, &SWEPT));
    let columns = columns(&paper, &rows, |column| column.parse().unwrap_or(u64::MAX));
    Ok(paper.sweep(
        "table16",
        &rows,
        columns,
        &SWEPT,
        "the task's metric on all of dev in per cent, by rows of training data",
    ))
}
