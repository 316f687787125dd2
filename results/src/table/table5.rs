//! Table 5 of the paper: which weights to adapt with a fixed number of parameters.

use super::Table;
use super::grid::{columns, paper_grid};
use crate::claims;
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry, SweepRow};
use crate::verdict::said;

const SWEPT: [&str; 2] = ["method.r", "method.targets"];

paper_grid!("table5");

/// The table over LoRA's runs, if for some model and task two choices of weights were run with one number of parameters.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let mut entries = Vec::new();
    for run in sweep::full_data(selection) {
        if let (Some((weights, matrices, rank)), Some((_, value))) = (sweep::lora(run), sweep::headline(run)) {
            let row = vec![
                run.model.clone(),
                sweep::task(run),
                rank.saturating_mul(matrices as u64).to_string(),
            ];
            let column = weights;
            entries.push(Entry {
                row,
                column,
                value,
                run,
            });
        }
    }
    let (paper, mut rows) = (paper()?, sweep::compared(&entries, &SWEPT));
    let budget = |row: &SweepRow<'_>| row.heads[2].parse::<u64>().unwrap_or_default();
    rows.sort_by(|a, b| (&a.heads[..2], budget(a)).cmp(&(&b.heads[..2], budget(b))));
    let columns = columns(&paper, &rows, |column| paper.place(column));
    let claims = rows
        .iter()
        .flat_map(|row| claims::table5(&row.name(3), &row.scores(|weights| Some(weights.to_owned()))));
    let verdicts = said(claims.collect());
    Ok(paper.sweep(
        "table5",
        &rows,
        columns,
        &SWEPT,
        "the task's metric on dev in per cent",
        verdicts,
    ))
}
