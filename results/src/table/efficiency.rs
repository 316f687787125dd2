//! Section 4.2 of the paper: memory, checkpoints and speed of training with LoRA against full fine-tuning.

use super::paper_grid::{GridTable, Ours, PaperGrid};
use super::value::{Cell, Table};
use crate::analysis::{Cost, Findings, How};
use crate::claims;
use crate::store::Selection;
use crate::verdict::said;

pub(super) static TABLE: GridTable = GridTable {
    name: "efficiency",
    about: "Memory, checkpoints and speed of training (Section 4.2)",
    paper: include_str!("../../paper/efficiency.yaml"),
    tables,
};

/// The table over the analyses of efficiency, a row a model and method. What the records quote from the paper is not ours.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for analysis in &stored.analyses {
        let Findings::Efficiency(found) = &analysis.findings else {
            continue;
        };
        for cost in found.costs.iter().filter(|cost| cost.how != How::Paper) {
            rows.push(row(cost));
            notes.push(format!(
                "{} {}: {}.",
                cost.model,
                cost.method,
                cost.note.trim_end_matches('.')
            ));
        }
        notes.push(format!(
            "{}, analysis {}, on {}. {}",
            analysis.label,
            analysis.id,
            analysis.provenance.place(),
            said(claims::efficiency(found))
        ));
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = paper.columns.clone();
    vec![paper.table(Some(Ours { columns, rows, notes }))]
}

fn row(cost: &Cost) -> Vec<Cell> {
    let how = match cost.how {
        How::Measured => "measured",
        How::Computed => "computed",
        How::Paper => "printed",
    };
    vec![
        Cell::Text(cost.model.clone()),
        Cell::Text(cost.method.clone()),
        Cell::Text(how.to_owned()),
        Cell::plain(Some(cost.trained_params as f64 / 1e6), 3),
        Cell::plain(cost.memory_mib.map(|mib| mib / 1024.0), 2),
        Cell::plain(cost.checkpoint_bytes.map(|bytes| bytes as f64 / 1024.0 / 1024.0), 2),
        Cell::plain(cost.tokens_per_second, 1),
    ]
}
