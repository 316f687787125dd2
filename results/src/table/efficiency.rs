//! Section 4.2 of the paper: memory, checkpoints and speed of training with LoRA against full fine-tuning.

use super::grid::{Ours, paper_grid};
use super::{Cell, Number, Table};
use crate::analysis::{Cost, Findings, How};
use crate::claims;
use crate::error::Result;
use crate::store::Selection;
use crate::verdict::said;

paper_grid!("efficiency");

/// The table over the analyses of efficiency, a row a model and method. What the records quote from the paper is not ours.
///
/// # Errors
/// [`crate::Error::Paper`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let paper = paper()?;
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    for analysis in &selection.analyses {
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
        return Ok(Vec::new());
    }
    let columns = paper.columns.clone();
    Ok(vec![paper.table("efficiency", Some(Ours { columns, rows, notes }))])
}

fn row(cost: &Cost) -> Vec<Cell> {
    let how = match cost.how {
        How::Measured => "measured",
        How::Computed => "computed",
        How::Paper => "printed",
    };
    let number = |value: Option<f64>, decimals| {
        value.map_or(Cell::Missing, |value| {
            Cell::Number(Number {
                decimals,
                ..Number::plain(value)
            })
        })
    };
    vec![
        Cell::Text(cost.model.clone()),
        Cell::Text(cost.method.clone()),
        Cell::Text(how.to_owned()),
        number(Some(cost.trained_params as f64 / 1e6), 3),
        number(cost.memory_mib.map(|mib| mib / 1024.0), 2),
        number(cost.checkpoint_bytes.map(|bytes| bytes as f64 / 1024.0 / 1024.0), 2),
        number(cost.tokens_per_second, 1),
    ]
}
