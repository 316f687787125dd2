//! Shared parts of the figures of Section 7: selection of grids of phi, and their panels.

use std::collections::BTreeSet;

use super::value::{Axis, Content, Figure, Panel};
use crate::analysis::{Adapter, Analysis, Comparison, Directions, Findings, Module, PhiGrid, Subspace};
use crate::store::Selection;
use crate::table::join;

pub(super) const COMMAND: &str = "cargo run -p experiments --bin subspace";

/// Subspace analyses with grids of one of these comparisons.
pub(super) fn analyses<'a>(
    stored: &'a Selection,
    about: &[Comparison],
) -> impl Iterator<Item = (&'a Analysis, &'a Subspace)> {
    let about = about.to_vec();
    stored
        .analyses
        .iter()
        .filter_map(move |analysis| match &analysis.findings {
            Findings::Subspace(found) if found.grids.iter().any(|g| about.contains(&g.about)) => {
                Some((analysis, found))
            }
            _ => None,
        })
}

/// The grid of this comparison, layer and projection.
pub(super) fn find(
    found: &Subspace,
    about: Comparison,
    layer: Option<u32>,
    module: Option<Module>,
) -> Option<&PhiGrid> {
    let meant = |g: &&PhiGrid| {
        g.about == about && (layer.is_none() || g.layer == layer) && (module.is_none() || g.module == module)
    };
    found.grids.iter().find(meant)
}

/// Layers with grids of this comparison, in order.
pub(super) fn layers(found: &Subspace, about: Comparison) -> Vec<u32> {
    let mut layers: Vec<u32> = found
        .grids
        .iter()
        .filter(|g| g.about == about)
        .filter_map(|g| g.layer)
        .collect();
    layers.sort_unstable();
    layers.dedup();
    layers
}

/// One figure per analysis with grids of the comparison, at the probed layer (`probe`) or at the others; `unmeasured` without any.
pub(super) fn figures(
    stored: &Selection,
    about: Comparison,
    probe: bool,
    figure: impl Fn(&Analysis, &Subspace, &[u32]) -> Figure,
    unmeasured: impl FnOnce() -> Figure,
) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (analysis, found) in analyses(stored, &[about]) {
        let probed = |layer: &u32| (*layer == found.probe) == probe;
        let shown: Vec<u32> = layers(found, about).into_iter().filter(probed).collect();
        if !shown.is_empty() {
            figures.push(figure(analysis, found, &shown));
        }
    }
    if figures.is_empty() {
        figures.push(unmeasured());
    }
    figures
}

/// `layer 2` or `layers 1, 3, 4`.
pub(super) fn layers_in_words(layers: &[u32]) -> String {
    let numbers: Vec<String> = layers.iter().map(u32::to_string).collect();
    format!(
        "layer{} {}",
        if layers.len() > 1 { "s" } else { "" },
        numbers.join(", ")
    )
}

/// Printed name of an update: `ΔW_q`.
pub(super) fn delta(module: Module) -> String {
    format!("ΔW_{}", module.letter())
}

/// Label of the matrix behind an axis: `r=8`, `r=8, seed 2`, `W` or `random`.
pub(super) fn axis(found: &Subspace, of: Directions, seeds: bool) -> String {
    match of {
        Directions::Weight => "W".to_owned(),
        Directions::Random => "random".to_owned(),
        Directions::Adapter(n) => match found.adapters.get(n) {
            Some(Adapter {
                rank, seed: Some(seed), ..
            }) if seeds => format!("r={rank}, seed {seed}"),
            Some(adapter) => format!("r={}", adapter.rank),
            None => "?".to_owned(),
        },
    }
}

/// A panel of the grid's first `most` columns, with i downwards and j across.
pub(super) fn panel(
    found: &Subspace,
    title: &str,
    grid: &PhiGrid,
    most: Option<usize>,
    ticks: (usize, usize),
) -> Panel {
    let columns = most.map_or(grid.j.len, |most| most.min(grid.j.len));
    let rows = (1..=grid.i.len).map(|i| (1..=columns).map(|j| Some(f64::from(grid.at(i, j)))).collect());
    let seeds = grid.about == Comparison::Seeds;
    Panel {
        title: title.to_owned(),
        x: Axis::counted(format!("j ({})", axis(found, grid.j.of, seeds)), columns, ticks.0),
        y: Axis::counted(format!("i ({})", axis(found, grid.i.of, seeds)), grid.i.len, ticks.1),
        content: Content::Cells {
            rows: rows.collect(),
            texts: Vec::new(),
        },
    }
}

/// Notes on model, device and adapters.
pub(super) fn foot(analysis: &Analysis, found: &Subspace) -> Vec<String> {
    let adapter = |a: &Adapter| {
        let seed = a.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        let task = a.task.as_ref().map(|task| format!(", {task}")).unwrap_or_default();
        format!("r={}{seed}{task}: {}", a.rank, a.origin)
    };
    let adapters: Vec<String> = found.adapters.iter().map(adapter).collect();
    let p = &analysis.provenance;
    vec![
        format!(
            "Model: {} ({} blocks). Analysis {} on {}, {}.",
            analysis.model, found.layers, analysis.id, p.device, p.dtype
        ),
        format!("Adapters: {}.", adapters.join("; ")),
    ]
}

/// Label of an analysis without what the paper shows.
pub(super) fn data(analysis: &Analysis) -> &str {
    let label = &analysis.label;
    label.split("; the paper").next().unwrap_or(label)
}

/// Caption: model, place, label of the analysis, seeds.
pub(super) fn caption(analysis: &Analysis, found: &Subspace, place: &str) -> String {
    let seeds: BTreeSet<u64> = found.adapters.iter().filter_map(|adapter| adapter.seed).collect();
    let seeds = match seeds.len() {
        0 => String::new(),
        1 => format!("; seed {}", join(&seeds)),
        _ => format!("; seeds {}", join(&seeds)),
    };
    format!(
        "{}, {place}: {}{seeds}; chance is max(i, j) / {} on average.",
        analysis.model,
        data(analysis),
        found.width
    )
}
