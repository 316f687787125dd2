//! Section 4.2 of the paper: memory, checkpoint size and speed of training with LoRA and with full fine-tuning.

use super::paper_grid::{GridTable, Ours, PaperGrid};
use super::value::{Cell, Table};
use crate::analysis::{Cost, CostSource, Findings};
use crate::claims;
use crate::store::Selection;
use crate::verdict::{self, settle};

pub(super) static TABLE: GridTable = GridTable {
    name: "efficiency",
    about: "Memory, checkpoints and speed of training (Section 4.2)",
    paper: include_str!("../../paper/efficiency.yaml"),
    tables,
};

/// The table of efficiency analyses, one row per model and method, without rows that the records quote from the paper.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let (mut rows, mut notes, mut verdicts) = (Vec::new(), Vec::new(), Vec::new());
    for analysis in &stored.analyses {
        let Findings::Efficiency(found) = &analysis.findings else {
            continue;
        };
        for cost in found.costs.iter().filter(|cost| cost.how != CostSource::Paper) {
            rows.push(row(cost));
            notes.push(format!(
                "{} {}: {}.",
                cost.model,
                cost.method,
                cost.note.trim_end_matches('.')
            ));
        }
        let settled = settle(claims::efficiency(found));
        notes.push(format!(
            "{}, analysis {}, on {}. {}",
            analysis.label,
            analysis.id,
            analysis.provenance.place(),
            verdict::text(&settled)
        ));
        verdicts.extend(settled);
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let columns = paper.columns.clone();
    vec![paper.table(Some(Ours {
        columns,
        rows,
        notes,
        verdicts,
    }))]
}

fn row(cost: &Cost) -> Vec<Cell> {
    let how = match cost.how {
        CostSource::Measured => "measured",
        CostSource::Computed => "computed",
        CostSource::Paper => "printed",
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
