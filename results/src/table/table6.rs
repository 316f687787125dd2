//! Table 6 of the paper: the rank of LoRA.

use super::Table;
use super::grid::{columns, paper_grid};
use crate::error::Result;
use crate::store::Selection;
use crate::sweep::{self, Entry, SweepRow};

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
    let verdicts = rows.iter().filter_map(verdict).collect();
    Ok(paper.sweep(
        "table6",
        &rows,
        columns,
        &SWEPT,
        "the task's metric on dev in per cent",
        verdicts,
    ))
}

/// How far the smallest rank is behind the best in the paper's table, at most: Wq on WikiSQL.
const GAP: f64 = 1.7;

/// The paper's: a very small rank suffices.
fn verdict(row: &SweepRow<'_>) -> Option<String> {
    let (smallest, first) = row.cells.iter().min_by_key(|(column, _)| rank(column))?;
    let (largest, best) = row.best(|_| true)?;
    let (name, gap) = (row.name(3), best.value - first.value);
    let doubt = sweep::doubt(&[*first, best]);
    if smallest == largest {
        return Some(format!(
            "{name}: {smallest} is the best, no larger rank is needed, as the paper found{doubt}."
        ));
    }
    let words = if gap <= GAP { "no more" } else { "more" };
    Some(format!(
        "{name}: {smallest} has {:.1}, {largest}, the best, {:.1}: {gap:.1} less, {words} than in the paper, where it is {GAP} at most{doubt}.",
        first.value, best.value
    ))
}

fn rank(column: &str) -> u64 {
    column.trim_start_matches("r=").parse().unwrap_or_default()
}
