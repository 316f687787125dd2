//! Table 16 of the paper: little training data.

use super::paper_grid::{GridTable, PaperGrid, columns};
use super::value::Table;
use crate::claims;
use crate::store::Selection;
use crate::sweep::{self, SweepRow, SweepValue};
use crate::verdict::{Verdict, settle};

const SWEPT: [&str; 3] = ["limit.train", "limit.sample", "task"];
/// Settings that may differ between cells of a row, and are then noted below: fewer rows are trained for more epochs in smaller
/// batches, as in the paper's Table 17.
const RECIPE: [&str; 2] = ["train.epochs", "train.batch_size"];

pub(super) static TABLE: GridTable = GridTable {
    name: "table16",
    about: "Little training data",
    paper: include_str!("../../paper/table16.yaml"),
    tables,
};

/// The table of models and tasks with runs on at least two amounts of data.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let mut entries = Vec::new();
    for run in sweep::of_one_rule(stored) {
        if let Some((_, value)) = sweep::headline(run) {
            let method = format!("{} {}", sweep::kind(run), sweep::settings_text(run));
            let row = vec![
                run.model.clone(),
                sweep::printed_task(run),
                method.trim_end().to_owned(),
            ];
            let column = sweep::rows_of_data(run).map_or_else(|| "all".to_owned(), |rows| rows.to_string());
            entries.push(SweepValue {
                row,
                column,
                value,
                run,
            });
        }
    }
    let rows = sweep::compared(&entries, &[&SWEPT[..], &RECIPE].concat());
    let columns = columns(paper, &rows, |column| column.parse().unwrap_or(u64::MAX));
    paper.sweep(
        &rows,
        columns,
        &SWEPT,
        "the task's metric on all of dev in per cent, by rows of training data",
        verdicts(&rows),
    )
}

/// Claims on each setting of LoRA, full fine-tuning and every prefix method of the same model and task.
fn verdicts(rows: &[SweepRow<'_>]) -> Vec<Verdict> {
    let of = |place: &[String], kind: &str| {
        let is = |row: &&SweepRow<'_>| row.heads[..2] == *place && row.heads[2].split(' ').next() == Some(kind);
        rows.iter().filter(is).collect::<Vec<_>>()
    };
    let scores = |row: &SweepRow<'_>| row.scores(|column| Some(column.parse().unwrap_or(u64::MAX)));
    let mut claims = Vec::new();
    for lora in rows.iter().filter(|row| row.heads[2].starts_with("lora ")) {
        let place = &lora.heads[..2];
        let prefixes = ["pre_embed", "pre_layer"].map(|kind| of(place, kind)).concat();
        let prefixes: Vec<_> = prefixes.iter().map(|row| (row.heads[2].clone(), scores(row))).collect();
        for full in of(place, "full") {
            claims.extend(claims::table16(&lora.name(3), &scores(lora), &scores(full), &prefixes));
        }
    }
    settle(claims)
}
