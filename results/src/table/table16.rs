//! Table 16 of the paper: little training data.

use super::grid::{columns, paper_grid};
use super::{Number, Table};
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
    let mut entries = Vec::new();
    for run in sweep::finished(selection) {
        if let Some((_, value)) = sweep::headline(run) {
            let method = format!("{} {}", sweep::kind(run), sweep::described(run));
            let row = vec![run.model.clone(), sweep::task(run), method.trim_end().to_owned()];
            let column = sweep::rows_of_data(run).map_or_else(|| "all".to_owned(), |rows| rows.to_string());
            entries.push(Entry {
                row,
                column,
                value,
                run,
            });
        }
    }
    let (paper, rows) = (paper()?, sweep::compared(&entries, &[&SWEPT[..], &RECIPE].concat()));
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
        let shared = lora.cells.iter().filter_map(|(rows, cell)| Some([*cell, *full.cells.get(rows)?]));
        let shared: Vec<[Number; 2]> = shared.collect();
        let as_good = shared.iter().filter(|[lora, full]| lora.value >= full.value).count();
        let words = if 2 * as_good > shared.len() { "as in the paper" } else { "unlike in the paper" };
        (!shared.is_empty()).then(|| {
            format!(
                "{}: {} is as good as full fine-tuning or better at {as_good} of {} amounts of data, {words}, where it is 3 of 4{}.",
                lora.name(2),
                lora.heads[2],
                shared.len(),
                sweep::doubt(shared.as_flattened())
            )
        })
    });
    said.collect()
}
