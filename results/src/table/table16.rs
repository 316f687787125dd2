//! Table 16 of the paper: little training data.

use std::collections::{BTreeMap, BTreeSet};

use super::Table;
use super::grid::{columns, paper_grid};
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry, SweepRow};

const SWEPT: [&str; 3] = ["limit.train", "limit.sample", "task"];
/// What may differ between the cells of a row, and is then said below: fewer rows are gone through more often, in smaller
/// batches, as in the paper's Table 17.
const RECIPE: [&str; 2] = ["train.epochs", "train.batch_size"];

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
    let (paper, mut rows) = (paper()?, sweep::collect(&entries, &[&SWEPT[..], &RECIPE].concat()));
    rows.retain(|row| row.cells.len() > 1);
    let columns = columns(&paper, &rows, |column| column.parse().unwrap_or(u64::MAX));
    Ok(paper.sweep(
        "table16",
        &rows,
        columns,
        &SWEPT,
        "the task's metric on all of dev in per cent, by rows of training data",
        verdicts(&rows),
    ))
}

/// The paper's: LoRA is as good as full fine-tuning or better at three of its four amounts of data.
fn verdicts(rows: &[SweepRow<'_>]) -> Vec<String> {
    let pairs = rows.iter().flat_map(|lora| rows.iter().map(move |full| (lora, full)));
    let pairs = pairs.filter(|(lora, full)| {
        lora.heads[..2] == full.heads[..2] && lora.heads[2].starts_with("lora ") && full.heads[2] == "full"
    });
    let said = pairs.filter_map(|(lora, full)| {
        let shared = lora.cells.iter().filter_map(|(rows, cell)| Some((cell, full.cells.get(rows)?)));
        let shared: Vec<bool> = shared.map(|(lora, full)| lora.value >= full.value).collect();
        let as_good = shared.iter().filter(|yes| **yes).count();
        let words = if 2 * as_good > shared.len() { "as the paper found" } else { "unlike in the paper" };
        (!shared.is_empty()).then(|| {
            format!(
                "{}: {} is as good as full fine-tuning or better at {as_good} of {} amounts of data, {words} (there 3 of 4).",
                lora.name(2),
                lora.heads[2],
                shared.len()
            )
        })
    });
    said.collect()
}
