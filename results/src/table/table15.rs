//! Table 15 of the paper: methods at several sizes, the points of Figure 2.

use std::collections::{BTreeMap, BTreeSet};

use super::paper_grid::{GridTable, PaperGrid, columns};
use super::value::Table;
use crate::store::Selection;
use crate::sweep::{self, SweepValue};

const SWEPT: [&str; 2] = ["method", "task"];

pub(super) static TABLE: GridTable = GridTable {
    name: "table15",
    about: "Methods at several sizes",
    paper: include_str!("../../paper/table15.yaml"),
    tables,
};

/// The table of models with runs of at least two methods, or two sizes of one.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let mut points: BTreeMap<&str, BTreeSet<Vec<String>>> = BTreeMap::new();
    let mut entries = Vec::new();
    let runs = sweep::full_data(stored);
    for &run in &runs {
        if let Some((_, value)) = sweep::headline(run) {
            // The last head is a sort key: fewer parameters come first, as in the paper.
            let trained = sweep::trained(run);
            let row = vec![
                run.model.clone(),
                sweep::kind(run).to_owned(),
                sweep::sizes_text(run, &runs),
                millions(trained),
                format!("{trained:015}"),
            ];
            points.entry(&run.model).or_default().insert(row.clone());
            let column = sweep::printed_task(run);
            entries.push(SweepValue {
                row,
                column,
                value,
                run,
            });
        }
    }
    entries.retain(|entry| points.get(entry.row[0].as_str()).is_some_and(|points| points.len() > 1));
    let mut rows = sweep::collect(&entries, &SWEPT);
    rows.sort_by(|a, b| (&a.heads[0], &a.heads[1], &a.heads[4]).cmp(&(&b.heads[0], &b.heads[1], &b.heads[4])));
    for row in &mut rows {
        // The largest head of any task.
        if let Some(head) = row
            .runs
            .iter()
            .map(|run| run.params.head)
            .max()
            .filter(|head| *head > 0)
        {
            row.heads[3] = format!("{} +{}", row.heads[3], millions(head));
        }
    }
    let columns = columns(paper, &rows, |column| paper.place(column));
    paper.sweep(
        &rows,
        columns,
        &SWEPT,
        "the task's metric on dev in per cent, of texts BLEU or ROUGE-1 on test; what the task's head trains besides stands behind the +",
        Vec::new(),
    )
}

/// In millions: `0.295M` for `294912`; three decimals below a million, one above.
fn millions(count: i64) -> String {
    let millions = count as f64 / 1e6;
    if count == 0 {
        return "0".to_owned();
    }
    if millions < 1.0 {
        format!("{millions:.3}M")
    } else {
        format!("{millions:.1}M")
    }
}
