//! Figures 3 and 6 of the paper: similarity of the subspaces learned with a small and a large rank.

use super::phi::{COMMAND, caption, delta, figures, find, foot, layers_in_words, panel};
use super::value::{ColourBar, Content, Figure, FigureKind, Panel};
use crate::analysis::{Analysis, Comparison, Module, Subspace};
use crate::claims;
use crate::error::Result;
use crate::stem::analysis_stem;
use crate::store::Selection;
use crate::verdict::{on, settle};

/// Similarity of two ranks at the probed layer (Figure 3) or at the others (Figure 6).
pub(super) struct Ranks {
    name: &'static str,
    about: &'static str,
    probe: bool,
}

pub(super) static FIGURE3: Ranks = Ranks {
    name: "figure3",
    about: "Subspaces learned with a small rank and with a large one, at the probed layer",
    probe: true,
};

pub(super) static FIGURE6: Ranks = Ranks {
    name: "figure6",
    about: "The same at other layers",
    probe: false,
};

const SHOWS: &str = "φ(i, j): how much of the i strongest directions of the lower rank lies in the j strongest of the higher one (eq. 4); the right \
    panels enlarge the first columns. Colours end at the largest value, the paper's at 1. The paper shows GPT-3.";
const MODULES: [Module; 2] = [Module::Query, Module::Value];

impl FigureKind for Ranks {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn figures(&self, stored: &Selection) -> Result<Vec<Figure>> {
        let figure =
            |analysis: &Analysis, found: &Subspace, layers: &[u32]| self.figure(stored, analysis, found, layers);
        Ok(figures(stored, Comparison::Ranks, self.probe, figure, || {
            self.unmeasured()
        }))
    }
}

impl Ranks {
    fn figure(&self, stored: &Selection, analysis: &Analysis, found: &Subspace, layers: &[u32]) -> Figure {
        let words = layers_in_words(layers);
        let title = "Subspaces learned with two ranks";
        let place = format!("{words} of {}", found.layers);
        let panels: Vec<Vec<Panel>> = layers
            .iter()
            .map(|layer| row(found, *layer, layers.len() > 1))
            .collect();
        Figure {
            name: analysis_stem(self.name, analysis, stored),
            title: format!("{title}: {}, {place}", analysis.model),
            foot: foot(analysis, found),
            shows: SHOWS.into(),
            caption: caption(analysis, found, &place),
            verdicts: on(&analysis.model, settle(claims::ranks(found, layers))),
            bar: Some(bar(&panels)),
            panels,
            widths: WIDTHS.to_vec(),
            height: if self.probe { 250 } else { 190 },
        }
    }

    fn unmeasured(&self) -> Figure {
        let titles = ["ΔW_q", "ΔW_v", "ΔW_q, first j", "ΔW_v, first j"];
        Figure {
            name: self.name.into(),
            title: self.about.into(),
            foot: Vec::new(),
            shows: format!("{}: not measured yet.", self.about),
            caption: String::new(),
            verdicts: Vec::new(),
            panels: vec![titles.map(|title| Panel::empty(title, COMMAND)).to_vec()],
            widths: vec![1.0; 4],
            height: 220,
            bar: Some(bar(&[])),
        }
    }
}

const WIDTHS: [f64; 4] = [1.25, 1.25, 0.75, 0.75];

/// Colours from 0 to the largest value, in tenths.
fn bar(panels: &[Vec<Panel>]) -> ColourBar {
    let cells = panels.iter().flatten().filter_map(|panel| match &panel.content {
        Content::Cells { rows, .. } => Some(rows.iter().flatten().flatten()),
        _ => None,
    });
    let most = cells.flatten().copied().fold(0.0, f64::max);
    ColourBar {
        label: "φ(i, j)".into(),
        range: (
            0.0,
            if most > 0.0 {
                (most * 10.0 - 1e-6).ceil() / 10.0
            } else {
                1.0
            },
        ),
    }
}

/// Panels of query and value, then of both with as many columns as rows.
fn row(found: &Subspace, layer: u32, named: bool) -> Vec<Panel> {
    let mut panels = Vec::new();
    for zoomed in [false, true] {
        for module in MODULES {
            let mut title = delta(module);
            // The enlarged panels stand in the same row and have less room.
            if named && !zoomed {
                title = format!("{title}, layer {layer}");
            }
            panels.push(match find(found, Comparison::Ranks, Some(layer), Some(module)) {
                Some(grid) => {
                    let most = zoomed.then_some(grid.i.len);
                    if zoomed {
                        title = format!("{title}, j ≤ {}", grid.i.len);
                    }
                    panel(found, &title, grid, most, if zoomed { (4, 8) } else { (8, 8) })
                }
                None => Panel::empty(title, COMMAND),
            });
        }
    }
    panels
}
