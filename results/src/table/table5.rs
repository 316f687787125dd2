//! Table 5 of the paper: which weights to adapt at a fixed number of parameters.

use super::paper_grid::{GridTable, PaperGrid, columns};
use super::value::Table;
use crate::claims;
use crate::store::Selection;
use crate::sweep::{self, SweepRow, SweepValue};
use crate::verdict::settle;

const SWEPT: [&str; 2] = ["method.r", "method.targets"];

pub(super) static TABLE: GridTable = GridTable {
    name: "table5",
    about: "Which weights LoRA adapts, at a fixed number of parameters",
    paper: include_str!("../../paper/table5.yaml"),
    tables,
};

/// The table of LoRA runs with at least two choices of weights for the same model, task and number of parameters.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let mut entries = Vec::new();
    for run in sweep::full_data(stored) {
        if let (Some((weights, matrices, rank)), Some((_, value))) = (sweep::lora(run), sweep::headline(run)) {
            let row = vec![
                run.model.clone(),
                sweep::printed_task(run),
                rank.saturating_mul(matrices as u64).to_string(),
            ];
            let column = weights;
            entries.push(SweepValue {
                row,
                column,
                value,
                run,
            });
        }
    }
    let mut rows = sweep::compared(&entries, &SWEPT);
    let budget = |row: &SweepRow<'_>| row.heads[2].parse::<u64>().unwrap_or_default();
    rows.sort_by(|a, b| (&a.heads[..2], budget(a)).cmp(&(&b.heads[..2], budget(b))));
    let columns = columns(paper, &rows, |column| paper.place(column));
    let claims = rows
        .iter()
        .flat_map(|row| claims::table5(&row.name(3), &row.scores(|weights| Some(weights.to_owned()))));
    let verdicts = settle(claims.collect());
    paper.sweep(&rows, columns, &SWEPT, "the task's metric on dev in per cent", verdicts)
}
