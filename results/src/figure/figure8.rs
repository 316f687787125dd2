//! Figure 8 of the paper: directions of updates in the strongest directions of the frozen weight.

use super::phi::{COMMAND, analyses, axis, caption, foot, layers, panel};
use super::value::{ColourBar, Figure, FigureKind, Panel};
use crate::analysis::{Analysis, Comparison, Module, PhiGrid, Subspace};
use crate::claims;
use crate::error::Result;
use crate::stem::analysis_stem;
use crate::store::Selection;
use crate::verdict::{on, settle};

pub(super) struct Figure8;

const SHOWS: &str = "φ(i, j): how much of the j strongest directions of an update lies in the i strongest of W_q (eq. 4). The paper shows GPT-3, with \
    colours from 0.1 to 0.2.";
const TICKS: (usize, usize) = (6, 8);

impl FigureKind for Figure8 {
    fn name(&self) -> &'static str {
        "figure8"
    }

    fn about(&self) -> &'static str {
        "Directions of updates in the strongest directions of the frozen weight"
    }

    fn figures(&self, stored: &Selection) -> Result<Vec<Figure>> {
        let mut figures: Vec<Figure> = analyses(stored, &[Comparison::Weight])
            .map(|(a, found)| figure(stored, a, found))
            .collect();
        if figures.is_empty() {
            figures.push(unmeasured());
        }
        Ok(figures)
    }
}

fn figure(stored: &Selection, analysis: &Analysis, found: &Subspace) -> Figure {
    let at = layers(found, Comparison::Weight);
    let layer = at
        .iter()
        .copied()
        .find(|layer| *layer == found.probe)
        .or(at.first().copied());
    let of = |about| move |g: &&PhiGrid| g.about == about && (g.module == Some(Module::Query) || g.module.is_none());
    let mut shown: Vec<&PhiGrid> = found
        .grids
        .iter()
        .filter(of(Comparison::Weight))
        .filter(|g| g.layer == layer)
        .collect();
    shown.sort_by_key(|grid| grid.j.len);
    let controls = found
        .grids
        .iter()
        .filter(of(Comparison::WeightRandom))
        .filter(|g| g.layer == layer || g.layer.is_none());
    let mut panels: Vec<Panel> = Vec::new();
    for grid in shown.iter().copied().chain(controls) {
        let title = if grid.about == Comparison::Weight {
            format!("ΔW_q, {}", axis(found, grid.j.of, false))
        } else {
            "random".into()
        };
        panels.push(panel(found, &title, grid, None, TICKS));
    }
    let range = range(&shown);
    let layer = layer.unwrap_or(found.probe);
    let place = format!("layer {layer} of {}", found.layers);
    Figure {
        name: analysis_stem("figure8", analysis, stored),
        title: format!(
            "Updates in the strongest directions of W_q: {}, layer {layer} of {}",
            analysis.model, found.layers
        ),
        foot: foot(analysis, found),
        shows: SHOWS.into(),
        caption: caption(analysis, found, &place),
        verdicts: on(&analysis.model, settle(claims::weight(found, layer))),
        widths: vec![1.0; panels.len().max(1)],
        panels: vec![panels],
        height: 300,
        bar: Some(ColourBar {
            label: "φ(i, j)".into(),
            range,
        }),
    }
}

/// Colour range: from 0 to the largest value, at least 0.2. The paper's begins at 0.1, chance for the top tenth of directions, but
/// smaller subspaces are shown here too.
fn range(grids: &[&PhiGrid]) -> (f64, f64) {
    let values = grids.iter().flat_map(|grid| grid.values.iter().copied());
    let most = values.fold(0.2f32, f32::max);
    (0.0, (f64::from(most) * 20.0 - 1e-6).ceil() / 20.0)
}

fn unmeasured() -> Figure {
    Figure {
        name: "figure8".into(),
        title: "Updates in the strongest directions of W_q".into(),
        foot: Vec::new(),
        shows: "Directions of updates in the strongest directions of the frozen weight: not measured yet.".into(),
        caption: String::new(),
        verdicts: Vec::new(),
        panels: vec![
            ["ΔW_q, r=4", "ΔW_q, r=8", "ΔW_q, r=64", "random"]
                .map(|title| Panel::empty(title, COMMAND))
                .to_vec(),
        ],
        widths: vec![1.0; 4],
        height: 230,
        bar: Some(ColourBar {
            label: "φ(i, j)".into(),
            range: (0.0, 0.2),
        }),
    }
}
