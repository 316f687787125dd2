//! Figure 5 of the paper: slow-down of a forward pass by adapters.

use std::collections::BTreeSet;

use super::phi::data;
use super::value::{Axis, ColourBar, Content, Figure, FigureKind, Panel};
use crate::analysis::{Analysis, Design, Findings, Latency, LatencyCell};
use crate::claims;
use crate::error::Result;
use crate::stem::analysis_stem;
use crate::store::Selection;
use crate::verdict::{on, settle};

pub(super) struct Figure5;

const SHOWS: &str = "Slow-down of a forward pass by adapters over batch size, length and bottleneck, in per cent ± standard error. Colours end at the largest value, the paper's at 35. The paper measured GPT-2 medium on a GPU.";
const COMMAND: &str = "cargo run -p experiments --bin latency";
const DESIGNS: [(Design, &str); 3] = [
    (Design::AdapterH, "Adapter^H"),
    (Design::AdapterL, "Adapter^L"),
    (Design::LoraUnmerged, "LoRA, not merged"),
];

impl FigureKind for Figure5 {
    fn name(&self) -> &'static str {
        "figure5"
    }

    fn about(&self) -> &'static str {
        "How much slower adapters make a forward pass"
    }

    fn figures(&self, stored: &Selection) -> Result<Vec<Figure>> {
        let mut figures = Vec::new();
        for analysis in &stored.analyses {
            match &analysis.findings {
                Findings::Latency(found) if is_grid(found) => figures.push(figure(stored, analysis, found)),
                _ => {}
            }
        }
        if figures.is_empty() {
            figures.push(unmeasured());
        }
        Ok(figures)
    }
}

/// Whether several batch sizes or lengths were measured; a single one is only a column of Table 1.
fn is_grid(found: &Latency) -> bool {
    let places: BTreeSet<_> = found.cells.iter().map(|c| (c.batch, c.length)).collect();
    places.len() > 1
}

fn figure(stored: &Selection, analysis: &Analysis, found: &Latency) -> Figure {
    let lengths: BTreeSet<u32> = found.cells.iter().map(|c| c.length).collect();
    let measured = |design: Design| found.cells.iter().any(|c| c.design == design);
    let designs: Vec<_> = DESIGNS.into_iter().filter(|(design, _)| measured(*design)).collect();
    let panels: Vec<Vec<Panel>> = designs
        .iter()
        .map(|(design, name)| {
            lengths
                .iter()
                .map(|length| panel(found, *design, name, *length))
                .collect()
        })
        .collect();
    let slowest = found
        .cells
        .iter()
        .filter_map(|c| found.slowdown(c))
        .fold(0.0f64, f64::max);
    let trials: BTreeSet<u32> = found.cells.iter().map(|c| c.trials).collect();
    let trials: Vec<String> = trials.iter().map(u32::to_string).collect();
    let device = analysis.provenance.place();
    Figure {
        name: analysis_stem("figure5", analysis, stored),
        title: format!("Slow-down by adapters: {}", analysis.model),
        foot: vec![format!(
            "Model: {} ({} blocks, width {}). Slow-down of the mean forward pass over the model alone, which merged LoRA is, in \
            per cent ± its standard error. Device: {device}. Passes a cell: {}, after {} that do not count. Analysis {}.",
            analysis.model,
            found.layers,
            found.hidden,
            trials.join(", "),
            found.warmup,
            analysis.id
        )],
        shows: SHOWS.into(),
        caption: format!("{}: {}; on {device}.", analysis.model, data(analysis)),
        verdicts: on(&analysis.model, settle(claims::latency(found))),
        widths: vec![1.0; lengths.len().max(1)],
        height: if lengths.len() > 3 { 170 } else { 190 },
        panels,
        bar: Some(ColourBar {
            label: "slow-down (%)".into(),
            range: (
                0.0,
                if slowest > 0.0 {
                    (slowest / 2.0).ceil() * 2.0
                } else {
                    35.0
                },
            ),
        }),
    }
}

fn panel(found: &Latency, design: Design, name: &str, length: u32) -> Panel {
    let here = |c: &&LatencyCell| c.length == length && c.design == design;
    let batches: BTreeSet<u32> = found.cells.iter().filter(here).map(|c| c.batch).collect();
    let sizes: BTreeSet<u32> = found.cells.iter().filter(here).map(|c| c.bottleneck).collect();
    let cell = |size: u32, batch: u32| {
        let meant = |c: &&LatencyCell| here(c) && (c.bottleneck, c.batch) == (size, batch);
        found.cells.iter().find(meant)
    };
    let by_size = |size: &u32| batches.iter().map(|batch| cell(*size, *batch)).collect::<Vec<_>>();
    let cells: Vec<Vec<Option<&LatencyCell>>> = sizes.iter().map(by_size).collect();
    let rows = cells
        .iter()
        .map(|row| row.iter().map(|cell| found.slowdown((*cell)?)).collect());
    let texts = cells
        .iter()
        .map(|row| row.iter().map(|cell| printed(found, *cell)).collect());
    let names = |set: &BTreeSet<u32>| set.iter().map(u32::to_string).collect::<Vec<_>>();
    Panel {
        title: format!("{name}, length {length}"),
        x: Axis::named("batch size", names(&batches)),
        y: Axis::named(
            if design == Design::LoraUnmerged {
                "rank r"
            } else {
                "bottleneck r"
            },
            names(&sizes),
        ),
        content: Content::Cells {
            rows: rows.collect(),
            texts: texts.collect(),
        },
    }
}

/// Slow-down of a cell in per cent ± standard error.
fn printed(found: &Latency, cell: Option<&LatencyCell>) -> String {
    let number = cell.and_then(|cell| Some((found.slowdown(cell)?, slowdown_error(found, cell))));
    match number {
        None => "–".to_owned(),
        Some((value, None)) => format!("{value:.1}"),
        Some((value, Some(error))) => format!("{value:.1} ±{error:.1}"),
    }
}

/// Standard error of a slow-down, in per cent: that of a ratio of two means. `None` for single passes.
fn slowdown_error(found: &Latency, cell: &LatencyCell) -> Option<f64> {
    let base = found.base_of(cell)?;
    let relative = |c: &LatencyCell| (c.trials > 1).then(|| (c.sd_ms / c.mean_ms).powi(2) / f64::from(c.trials));
    let error = (relative(cell)? + relative(base)?).sqrt();
    Some(100.0 * error * cell.mean_ms / base.mean_ms).filter(|error| error.is_finite())
}

fn unmeasured() -> Figure {
    let row = |design: &str| {
        [128, 256, 512]
            .map(|length| Panel::empty(format!("{design}, length {length}"), COMMAND))
            .to_vec()
    };
    Figure {
        name: "figure5".into(),
        title: "Slow-down of a forward pass by adapters".into(),
        foot: Vec::new(),
        shows: "Slow-down of a forward pass by adapters: not measured yet.".into(),
        caption: String::new(),
        verdicts: Vec::new(),
        panels: vec![row("Adapter^H"), row("Adapter^L")],
        widths: vec![1.0; 3],
        height: 180,
        bar: Some(ColourBar {
            label: "slow-down (%)".into(),
            range: (0.0, 35.0),
        }),
    }
}
