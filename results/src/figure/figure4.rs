//! Figures 4 and 7 of the paper: similarity of the subspaces learned from two seeds.

use super::phi::{COMMAND, caption, delta, figures, find, foot, layers_in_words, panel};
use super::value::{ColourBar, Content, Figure, FigureKind, Panel};
use crate::analysis::{Analysis, Comparison, Module, Subspace};
use crate::claims;
use crate::error::Result;
use crate::stem::analysis_stem;
use crate::store::Selection;
use crate::verdict::{on, settle};

/// Similarity of two seeds at the probed layer beside a random control (Figure 4), or at the others (Figure 7).
pub(super) struct Seeds {
    name: &'static str,
    about: &'static str,
    probe: bool,
    /// Colour range of the paper's figure.
    range: (f64, f64),
}

pub(super) static FIGURE4: Seeds = Seeds {
    name: "figure4",
    about: "Subspaces learned from two seeds, at the probed layer, beside random ones",
    probe: true,
    range: (0.0, 0.5),
};

pub(super) static FIGURE7: Seeds = Seeds {
    name: "figure7",
    about: "The same at other layers",
    probe: false,
    range: (0.0, 0.8),
};

const SHOWS: &str = "φ(i, j): how much of the i strongest directions of one seed lies in the j strongest of another (eq. 4). The paper shows GPT-3.";

impl FigureKind for Seeds {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn figures(&self, stored: &Selection) -> Result<Vec<Figure>> {
        let figure =
            |analysis: &Analysis, found: &Subspace, layers: &[u32]| self.figure(stored, analysis, found, layers);
        Ok(figures(stored, Comparison::Seeds, self.probe, figure, || {
            self.unmeasured()
        }))
    }
}

impl Seeds {
    fn figure(&self, stored: &Selection, analysis: &Analysis, found: &Subspace, layers: &[u32]) -> Figure {
        let words = layers_in_words(layers);
        let pairs = layers
            .iter()
            .map(|layer| [Module::Query, Module::Value].map(|module| one(found, *layer, module, layers.len() > 1)));
        let panels = if self.probe {
            let mut row: Vec<Panel> = pairs.flatten().collect();
            row.push(match find(found, Comparison::Random, None, None) {
                Some(grid) => panel(found, "random Gaussian", grid, None, (8, 8)),
                None => Panel::empty("random Gaussian", COMMAND),
            });
            vec![row]
        } else {
            let all: Vec<Panel> = pairs.flatten().collect();
            all.chunks(4).map(<[Panel]>::to_vec).collect()
        };
        let columns = panels.first().map_or(1, Vec::len);
        let bar = self.bar(&panels);
        let ends = if bar.range == self.range {
            format!("colours end at {:.1}, as in the paper", self.range.1)
        } else {
            format!("colours end at {:.1}, in the paper at {:.1}", bar.range.1, self.range.1)
        };
        let place = format!("{words} of {}; {ends}", found.layers);
        Figure {
            name: analysis_stem(self.name, analysis, stored),
            title: format!(
                "Subspaces learned from two seeds: {}, {words} of {}",
                analysis.model, found.layers
            ),
            foot: foot(analysis, found),
            shows: SHOWS.into(),
            caption: caption(analysis, found, &place),
            verdicts: on(&analysis.model, settle(claims::seeds(found, layers))),
            panels,
            widths: vec![1.0; columns],
            height: if self.probe { 262 } else { 220 },
            bar: Some(bar),
        }
    }

    fn unmeasured(&self) -> Figure {
        let titles: &[&str] = if self.probe {
            &["ΔW_q", "ΔW_v", "random Gaussian"]
        } else {
            &["ΔW_q", "ΔW_v", "ΔW_q", "ΔW_v"]
        };
        Figure {
            name: self.name.into(),
            title: self.about.into(),
            foot: Vec::new(),
            shows: format!("{}: not measured yet.", self.about),
            caption: String::new(),
            verdicts: Vec::new(),
            panels: vec![titles.iter().map(|title| Panel::empty(*title, COMMAND)).collect()],
            widths: vec![1.0; titles.len()],
            height: 230,
            bar: Some(self.bar(&[])),
        }
    }

    /// The paper's colour range, unless more than a quarter of the values exceeds it.
    fn bar(&self, panels: &[Vec<Panel>]) -> ColourBar {
        let shown = panels.iter().flatten().filter_map(|panel| match &panel.content {
            Content::Cells { rows, .. } => Some(rows.iter().flatten().flatten()),
            _ => None,
        });
        let (mut all, mut beyond) = (0, 0);
        for phi in shown.flatten() {
            all += 1;
            beyond += usize::from(*phi > self.range.1);
        }
        ColourBar {
            label: "φ(i, j)".into(),
            range: if 4 * beyond > all { (0.0, 1.0) } else { self.range },
        }
    }
}

fn one(found: &Subspace, layer: u32, module: Module, named: bool) -> Panel {
    let mut title = delta(module);
    if named {
        title = format!("{title}, layer {layer}");
    }
    match find(found, Comparison::Seeds, Some(layer), Some(module)) {
        // Four panels a row leave less room than three.
        Some(grid) => panel(found, &title, grid, None, if named { (4, 8) } else { (8, 8) }),
        None => Panel::empty(title, COMMAND),
    }
}
