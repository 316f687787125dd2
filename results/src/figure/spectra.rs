//! Singular values of updates, layer by layer: how few directions carry an update (Section 7.2 of the paper).

use super::phi::{COMMAND, data, delta, foot};
use super::value::{Axis, Content, Figure, FigureKind, Panel, Point, Series};
use crate::analysis::{Analysis, Findings, Module, Spectrum, Subspace};
use crate::error::Result;
use crate::stem::analysis_stem;
use crate::store::Selection;

/// One panel per adapter and projection, with a line per layer.
pub(super) struct Spectra;

impl FigureKind for Spectra {
    fn name(&self) -> &'static str {
        "spectra"
    }

    fn about(&self) -> &'static str {
        "Singular values of updates, layer by layer"
    }

    fn figures(&self, stored: &Selection) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for analysis in &stored.analyses {
            if let Findings::Subspace(found) = &analysis.findings
                && !found.spectra.is_empty()
            {
                figures.push(figure(stored, analysis, found));
            }
        }
        if figures.is_empty() {
            figures.push(unmeasured());
        }
        Ok(figures)
    }
}

fn figure(stored: &Selection, analysis: &Analysis, found: &Subspace) -> Figure {
    let modules: Vec<Module> = Module::ALL
        .into_iter()
        .filter(|m| found.spectra.iter().any(|s| s.module == *m))
        .collect();
    let panels =
        (0..found.adapters.len()).map(|adapter| modules.iter().map(|module| panel(found, adapter, *module)).collect());
    let counts = modules.iter().filter_map(|module| counts(found, *module));
    Figure {
        name: analysis_stem("spectra", analysis, stored),
        title: format!("Singular values of updates: {}", analysis.model),
        foot: foot(analysis, found),
        shows: "Singular values of BA as shares of the layer's largest, a line a layer, the last the darkest. The paper prints no spectrum.".into(),
        caption: format!(
            "{}: {}. In layer {} nine tenths of the squared norm lie in {}.",
            analysis.model,
            data(analysis),
            found.probe,
            counts.collect::<Vec<_>>().join(" and ")
        ),
        verdicts: Vec::new(),
        panels: panels.collect(),
        widths: vec![1.0; modules.len().max(1)],
        height: 190,
        bar: None,
    }
}

fn panel(found: &Subspace, adapter: usize, module: Module) -> Panel {
    let mut of: Vec<&Spectrum> = found
        .spectra
        .iter()
        .filter(|s| (s.adapter, s.module) == (adapter, module))
        .collect();
    of.sort_by_key(|s| s.layer);
    let columns = of.iter().map(|s| s.values.len()).max().unwrap_or_default();
    let line = |spectrum: &&Spectrum| {
        let largest = spectrum
            .values
            .first()
            .map_or(1.0, |v| f64::from(*v).max(f64::MIN_POSITIVE));
        let point = |(i, value): (usize, &f32)| Point {
            x: i as f64 + 1.0,
            y: f64::from(*value) / largest,
            ..Point::default()
        };
        // The lightest colours are hardly seen on white.
        let depth = f64::from(spectrum.layer.saturating_sub(1)) / f64::from(found.layers.saturating_sub(1).max(1));
        Series {
            name: format!("layer {}", spectrum.layer),
            points: spectrum.values.iter().enumerate().map(point).collect(),
            shade: Some(0.3 + 0.7 * depth),
            ..Series::default()
        }
    };
    let whose = found.adapters.get(adapter).map_or_else(String::new, |a| {
        a.seed.map_or_else(
            || format!(", r={}", a.rank),
            |seed| format!(", r={}, seed {seed}", a.rank),
        )
    });
    Panel {
        title: format!("{}{whose}", delta(module)),
        x: Axis::counted("singular value, from the largest", columns, 8),
        y: Axis::exactly("share of the largest", (0.0, 1.0), 6),
        content: Content::Series(of.iter().map(line).collect()),
    }
}

/// Per adapter, the number of directions that hold nine tenths of a projection's update.
fn counts(found: &Subspace, module: Module) -> Option<String> {
    let here = found
        .spectra
        .iter()
        .filter(|s| s.layer == found.probe && s.module == module && !s.values.is_empty());
    let counts: Vec<String> = here
        .map(carrying)
        .map(|(needed, rank)| format!("{needed} of {rank}"))
        .collect();
    (!counts.is_empty()).then(|| format!("{} directions of {}", counts.join(", "), delta(module)))
}

/// Number of directions that hold nine tenths of the update's squared norm, and number of all directions.
fn carrying(spectrum: &Spectrum) -> (usize, usize) {
    let squares: Vec<f64> = spectrum.values.iter().map(|v| f64::from(*v).powi(2)).collect();
    let all: f64 = squares.iter().sum();
    let mut held = 0.0;
    let needed = squares.iter().take_while(|square| {
        let before = held;
        held += **square;
        before < 0.9 * all
    });
    (needed.count(), squares.len())
}

fn unmeasured() -> Figure {
    Figure {
        name: "spectra".into(),
        title: "Singular values of updates".into(),
        foot: Vec::new(),
        shows: "Singular values of updates: not measured yet.".into(),
        caption: String::new(),
        verdicts: Vec::new(),
        panels: vec![vec![Panel::empty("ΔW_q", COMMAND), Panel::empty("ΔW_v", COMMAND)]],
        widths: vec![1.0; 2],
        height: 230,
        bar: None,
    }
}
