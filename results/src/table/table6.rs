//! Table 6 of the paper: the rank of LoRA.

use super::paper_grid::{GridTable, PaperGrid, columns};
use super::value::Table;
use crate::claims;
use crate::store::Selection;
use crate::sweep::{self, SweepValue};
use crate::verdict::settle;

const SWEPT: [&str; 2] = ["method.r", "method.targets"];

pub(super) static TABLE: GridTable = GridTable {
    name: "table6",
    about: "The rank of LoRA, task by task",
    paper: include_str!("../../paper/table6.yaml"),
    tables,
};

/// The table of LoRA runs with at least two ranks for the same model, task and weights.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let mut entries = Vec::new();
    for run in sweep::full_data(stored) {
        if let (Some((weights, _, rank)), Some((_, value))) = (sweep::lora(run), sweep::headline(run)) {
            let row = vec![run.model.clone(), sweep::printed_task(run), weights];
            let column = format!("r={rank}");
            entries.push(SweepValue {
                row,
                column,
                value,
                run,
            });
        }
    }
    let rows = sweep::compared(&entries, &SWEPT);
    let columns = columns(paper, &rows, rank);
    let claims = rows
        .iter()
        .flat_map(|row| claims::table6(&row.name(3), &row.heads[2], &row.scores(|column| Some(rank(column)))));
    let verdicts = settle(claims.collect());
    paper.sweep(&rows, columns, &SWEPT, "the task's metric on dev in per cent", verdicts)
}

fn rank(column: &str) -> u64 {
    column.trim_start_matches("r=").parse().unwrap_or_default()
}
