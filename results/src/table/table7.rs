//! Table 7 of the paper: projection of a frozen weight onto an update's directions, and amplification by the update.

use super::paper_grid::{GridTable, Ours, PaperGrid};
use super::value::{Cell, Table};
use crate::analysis::{Analysis, Findings, Module, Projection, Subspace};
use crate::claims;
use crate::store::Selection;
use crate::verdict::{self, settle};

pub(super) static TABLE: GridTable = GridTable {
    name: "table7",
    about: "Projections of frozen weights onto updates, and amplification",
    paper: include_str!("../../paper/table7.yaml"),
    tables,
};

/// The table of subspace analyses: W_q at the probed layer, one row per adapter.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let (mut rows, mut verdicts, mut notes) = (Vec::new(), Vec::new(), vec!["All are Frobenius norms of W_q, or of its update dW = alpha / r BA, at the probed layer; amplification is ||dW|| over the projection onto dW, and holds the factor alpha / r, which by itself makes a smaller rank amplify more.".to_owned()]);
    for analysis in &stored.analyses {
        let Findings::Subspace(found) = &analysis.findings else {
            continue;
        };
        let of_q = found
            .projections
            .iter()
            .filter(|p| p.module == Module::Query && p.layer == found.probe);
        let before = rows.len();
        rows.extend(of_q.map(|p| row(analysis, found, p)));
        if rows.len() > before {
            let settled = settle(claims::amplification(found));
            notes.push(format!(
                "{}: {}, analysis {}. {}",
                analysis.model,
                analysis.label,
                analysis.id,
                verdict::text(&settled)
            ));
            verdicts.extend(verdict::on(&analysis.model, settled));
        }
    }
    if rows.is_empty() {
        return Vec::new();
    }
    let ours = Ours {
        columns: paper.columns.clone(),
        rows,
        notes,
        verdicts,
    };
    vec![paper.table(Some(ours))]
}

fn row(analysis: &Analysis, found: &Subspace, p: &Projection) -> Vec<Cell> {
    let adapter = found.adapters.get(p.adapter);
    let rank = adapter.map_or_else(
        || "?".to_owned(),
        |a| {
            let directions = a.directions.map(|n| format!(" ({n} directions)")).unwrap_or_default();
            let seed = a.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
            format!("{}{directions}{seed}", a.rank)
        },
    );
    let mut cells: Vec<Cell> = [analysis.model.clone(), format!("{} of {}", p.layer, found.layers), rank]
        .map(Cell::Text)
        .to_vec();
    cells.extend(
        [
            p.weight,
            p.onto_delta,
            p.onto_weight,
            p.onto_random,
            p.delta,
            p.amplification,
            p.amplification_unscaled,
        ]
        .map(|value| Cell::plain(value, 2)),
    );
    cells
}
