//! Table 1 of the paper: slow-down of a forward pass by adapters.

use std::collections::BTreeSet;

use super::paper_grid::{GridTable, Ours, PaperGrid};
use super::value::{Cell, Number, Table};
use crate::analysis::{self, Analysis, Design, Findings, Latency};
use crate::claims;
use crate::methods;
use crate::stem::analysis_stem;
use crate::store::Selection;
use crate::verdict::{self, settle};

pub(super) static TABLE: GridTable = GridTable {
    name: "table1",
    about: "Latency of forward passes with adapters",
    paper: include_str!("../../paper/table1.yaml"),
    tables,
};

/// One table per latency analysis.
fn tables(paper: &PaperGrid, stored: &Selection) -> Vec<Table> {
    let mut tables = Vec::new();
    for analysis in &stored.analyses {
        let Findings::Latency(found) = &analysis.findings else {
            continue;
        };
        let mut table = paper.table(Some(ours(analysis, found)));
        table.name = analysis_stem("table1", analysis, stored);
        table.title = format!("{}: {}", table.title, analysis.model);
        tables.push(table);
    }
    tables
}

/// Batch and length of the columns: the paper's if all were measured, otherwise the largest, the middle and the smallest.
fn settings(found: &Latency) -> Vec<(u32, u32)> {
    let all: BTreeSet<(u64, u32, u32)> = found
        .cells
        .iter()
        .map(|c| (u64::from(c.batch) * u64::from(c.length), c.batch, c.length))
        .collect();
    let all: Vec<(u32, u32)> = all
        .into_iter()
        .rev()
        .map(|(_, batch, length)| (batch, length))
        .collect();
    let papers: Vec<(u32, u32)> = [(32, 512), (16, 256), (1, 128)]
        .into_iter()
        .filter(|s| all.contains(s))
        .collect();
    if papers.len() == 3 || all.len() <= 3 {
        return if papers.len() == 3 { papers } else { all };
    }
    [0, all.len() / 2, all.len() - 1].map(|i| all[i]).to_vec()
}

fn ours(analysis: &Analysis, found: &Latency) -> Ours {
    let settings = settings(found);
    let columns = settings
        .iter()
        .flat_map(|(batch, length)| ["ms", "%"].map(|unit| format!("{batch} x {length} {unit}")));
    let designs: BTreeSet<(Design, u32, i64)> = found
        .cells
        .iter()
        .map(|c| (c.design, c.bottleneck, c.added_params))
        .collect();
    let rows = designs.iter().map(|&(design, bottleneck, added)| {
        let mut cells = vec![
            Cell::Text(analysis.model.clone()),
            Cell::Text(named(design).to_owned()),
            if design == Design::Base {
                Cell::Missing
            } else {
                Cell::Count(bottleneck.into())
            },
            if design == Design::Base {
                Cell::Missing
            } else {
                Cell::Count(added)
            },
        ];
        for &(batch, length) in &settings {
            let meant = |c: &&analysis::LatencyCell| {
                (c.design, c.bottleneck, c.batch, c.length) == (design, bottleneck, batch, length)
            };
            let cell = found.cells.iter().find(meant);
            cells.push(cell.map_or(Cell::Missing, |c| {
                Cell::Number(Number {
                    value: c.mean_ms,
                    spread: Some(c.sd_ms).filter(|_| c.trials > 1),
                    n: None,
                    decimals: 1,
                })
            }));
            let slower = cell.filter(|_| design != Design::Base).and_then(|c| found.slowdown(c));
            cells.push(Cell::plain(slower, 1));
        }
        cells
    });
    let rows = rows.collect();
    let settled = settle(claims::latency(found));
    Ours {
        columns: columns.collect(),
        rows,
        notes: notes(analysis, found, &verdict::text(&settled)),
        verdicts: verdict::on(&analysis.model, settled),
    }
}

fn notes(analysis: &Analysis, found: &Latency, verdicts: &str) -> Vec<String> {
    let trials: BTreeSet<u32> = found.cells.iter().map(|c| c.trials).collect();
    let trials: Vec<String> = trials.iter().map(u32::to_string).collect();
    vec![
        format!(
            "Columns: batch x length; ms: mean of single forward passes ± sample standard deviation, as in the paper; %: slow-down of \
                the mean over the model alone. Passes a cell: {}, after {} that do not count.",
            trials.join(", "),
            found.warmup
        ),
        format!("Ours: {}, analysis {}. {verdicts}", analysis.label, analysis.id),
        format!("Device: {}.", analysis.provenance.place()),
    ]
}

fn named(design: Design) -> &'static str {
    match design {
        Design::Base => "full or merged LoRA",
        Design::LoraUnmerged => "LoRA, not merged",
        Design::AdapterL => methods::name("adapter_l"),
        Design::AdapterH => methods::name("adapter_h"),
    }
}
