//! Table 6 of the paper: the rank of LoRA.

use super::Table;
use super::grid::{columns, paper_grid};
use crate::claims;
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry};
use crate::verdict::said;

const SWEPT: [&str; 2] = ["method.r", "method.targets"];

paper_grid!("table6");

/// The table over LoRA's runs, if for some model, task and weights two ranks were run.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let mut entries = Vec::new();
    for run in sweep::full_data(selection) {
        if let (Some((weights, _, rank)), Some((_, value))) = (sweep::lora(run), sweep::headline(run)) {
            let row = vec![run.model.clone(), sweep::task(run), weights];
            let column = format!("r={rank}");
            entries.push(Entry {
                row,
                column,
                value,
                run,
            });
        }
    }
    let (paper, rows) = (paper()?, sweep::compared(&entries, &SWEPT));
    let columns = columns(&paper, &rows, rank);
    let claims = rows
        .iter()
        .flat_map(|row| claims::table6(&row.name(3), &row.heads[2], &row.scores(|column| Some(rank(column)))));
    let verdicts = said(claims.collect());
    Ok(paper.sweep(
        "table6",
        &rows,
        columns,
        &SWEPT,
        "the task's metric on dev in per cent",
        verdicts,
    ))
}

fn rank(column: &str) -> u64 {
    column.trim_start_matches("r=").parse().unwrap_or_default()
}
