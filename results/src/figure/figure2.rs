//! Figure 2 of the paper: quality against trained parameters, one line per method and choice of weights.

use std::collections::BTreeMap;

use super::value::{Axis, Content, Figure, FigureKind, Panel, Point, Series};
use crate::claims::{self, TriedSetting};
use crate::error::Result;
use crate::estimator::Estimator;
use crate::record::RunRecord;
use crate::stem::slugs;
use crate::store::Selection;
use crate::sweep::{self, SweepRow, SweepValue};
use crate::table::{Number, grouped, provenance, seeds_of};
use crate::verdict::conclude;

pub(super) struct Figure2;

const COMMAND: &str = "cargo run -p experiments --bin ablations";
/// Prefixes of config keys that points represent.
const SWEPT: [&str; 4] = ["method", "train", "task", "decode"];

impl FigureKind for Figure2 {
    fn name(&self) -> &'static str {
        "figure2"
    }

    fn about(&self) -> &'static str {
        "Quality against trained parameters, a line a method"
    }

    fn figures(&self, stored: &Selection) -> Result<Vec<Figure>> {
        let mut models: BTreeMap<&str, Vec<&RunRecord>> = BTreeMap::new();
        for run in sweep::full_data(stored) {
            models.entry(&run.model).or_default().push(run);
        }
        let same = |model: &&str| ((*model).to_owned(), (*model).to_owned());
        let names = slugs(&models.keys().map(same).collect::<Vec<_>>());
        let all = models.iter().zip(names);
        let figures: Vec<Figure> = all
            .filter_map(|((model, runs), name)| figure(model, runs, &name))
            .collect();
        Ok(if figures.is_empty() {
            vec![unmeasured()]
        } else {
            figures
        })
    }
}

/// Points of a task.
struct TaskPoints {
    name: String,
    metric: String,
    /// All settings of all methods, for the claims.
    tried: Vec<TriedSetting>,
    lines: BTreeMap<Line, Vec<(i64, Number)>>,
}

/// Method, and its settings without sizes.
type Line = (String, String);

fn figure(model: &str, runs: &[&RunRecord], name: &str) -> Option<Figure> {
    let tasks: Vec<TaskPoints> = tasks(runs)
        .into_iter()
        .filter(|task| task.lines.values().map(Vec::len).sum::<usize>() > 1)
        .collect();
    if tasks.is_empty() {
        return None;
    }
    let columns = tasks.len().min(2);
    let mut panels: Vec<Vec<Panel>> = Vec::new();
    for row in tasks.chunks(columns) {
        panels.push(row.iter().map(panel).collect());
    }
    let mut foot = vec![format!(
        "Model: {model}. {} A point: {}. A line joins what differs in size alone. Parameters are counted without the task's head, \
        which trains {} besides; the head alone (none) is not drawn.",
        seeds_of(runs),
        Estimator::words(runs.iter().map(|run| run.task.as_str())),
        grouped(runs.iter().map(|run| run.params.head).max().unwrap_or_default())
    )];
    foot.extend(provenance(runs));
    let claims = tasks.iter().flat_map(|task| claims::figure2(&task.name, &task.tried));
    let caption = format!(
        "Quality on the dev sets against trained parameters, {model} ({}). The paper shows GPT-3 175B on WikiSQL and MultiNLI, \
        where LoRA matches or exceeds full fine-tuning at a ten-thousandth of its parameters. {}",
        seeds_of(runs).trim_end_matches('.').to_lowercase(),
        conclude(claims.collect())
    );
    Some(Figure {
        name: format!("figure2-{name}"),
        title: format!("Quality against trained parameters: {model}"),
        foot,
        caption,
        panels,
        widths: vec![1.0; columns],
        height: 270,
        bar: None,
    })
}

fn tasks(runs: &[&RunRecord]) -> Vec<TaskPoints> {
    let mut entries = Vec::new();
    for &run in runs {
        if let Some((metric, value)) = sweep::headline(run).filter(|_| sweep::trained(run) > 0) {
            // All settings of method and training, so that a point never averages over two of them.
            let recipe = format!("{:?} {:?}", run.config.get("method"), run.config.get("train"));
            let trained = format!("{:015}", sweep::trained(run));
            let row = vec![
                sweep::printed_task(run),
                metric,
                sweep::kind(run).to_owned(),
                sweep::without_sizes(run),
                trained,
                recipe,
            ];
            let column = String::new();
            entries.push(SweepValue {
                row,
                column,
                value,
                run,
            });
        }
    }
    let mut tasks: Vec<TaskPoints> = Vec::new();
    for SweepRow { heads, cells, runs, .. } in sweep::collect(&entries, &SWEPT) {
        let Some(level) = cells.into_values().next() else {
            continue;
        };
        let Some(number) = level.number else { continue };
        if !tasks.iter().any(|task| task.name == heads[0]) {
            tasks.push(TaskPoints {
                name: heads[0].clone(),
                metric: heads[1].clone(),
                tried: Vec::new(),
                lines: BTreeMap::new(),
            });
        }
        let task = tasks.iter_mut().find(|task| task.name == heads[0]);
        let trained = heads[4].parse().unwrap_or_default();
        if let Some(task) = task {
            let line = (heads[2].clone(), heads[3].clone());
            task.lines.entry(line).or_default().push((trained, number));
            task.tried.push(TriedSetting {
                method: heads[2].clone(),
                setting: runs.first().map(|run| sweep::settings_text(run)).unwrap_or_default(),
                trained,
                scores: level.scores,
            });
        }
    }
    tasks
}

fn panel(task: &TaskPoints) -> Panel {
    let all = || task.lines.values().flatten();
    let log = |trained: i64| (trained.max(1) as f64).log10();
    let ends = all().flat_map(|(_, n)| [n.value - n.spread.unwrap_or(0.0), n.value + n.spread.unwrap_or(0.0)]);
    let series = task.lines.iter().map(|((method, _), points)| Series {
        name: method.clone(),
        method: method.clone(),
        points: points
            .iter()
            .map(|(trained, n)| Point {
                x: log(*trained),
                y: n.value,
                spread: n.spread,
            })
            .collect(),
    });
    Panel {
        title: task.name.clone(),
        x: Axis::spanning(
            "log10 of trained parameters",
            all().map(|(trained, _)| log(*trained)),
            7,
        ),
        y: Axis::spanning(format!("{} (%)", words(&task.metric)), ends, 6),
        content: Content::Series(series.collect()),
    }
}

fn words(metric: &str) -> &str {
    match metric {
        "matthews" => "Matthews correlation",
        "pearson" => "Pearson correlation",
        other => other,
    }
}

fn unmeasured() -> Figure {
    Figure {
        name: "figure2".into(),
        title: "Quality against trained parameters".into(),
        foot: Vec::new(),
        caption: "Quality against trained parameters: no runs yet.".into(),
        panels: vec![vec![
            Panel::empty("a task", COMMAND),
            Panel::empty("another task", COMMAND),
        ]],
        widths: vec![1.0; 2],
        height: 240,
        bar: None,
    }
}
