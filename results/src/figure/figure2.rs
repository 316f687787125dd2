//! Figure 2 of the paper: quality against trained parameters, one line per method and choice of weights.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::value::{Axis, Content, Figure, FigureKind, Panel, Point, Series};
use crate::claims::{self, TriedSetting};
use crate::error::Result;
use crate::estimator::Estimator;
use crate::methods;
use crate::record::RunRecord;
use crate::stem::slugs;
use crate::store::Selection;
use crate::sweep::{self, SweepRow, SweepValue};
use crate::table::{Number, grouped, provenance, seeds_of};
use crate::verdict::{on, settle};

pub(super) struct Figure2;

const SHOWS: &str = "Scores against trained parameters, full fine-tuning dashed; hollow points have one seed; letters are LoRA's matrices. The paper shows GPT-3 175B on WikiSQL and MultiNLI.";
const COMMAND: &str = "cargo run -p experiments --bin ablations";
const BASELINE: &str = "full";
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
    lines: BTreeMap<LineKey, Line>,
}

/// Method, and its settings without sizes.
type LineKey = (String, String);

/// Settings that differ in size alone.
#[derive(Default)]
struct Line {
    /// Trained parameters and score.
    points: Vec<(i64, Number)>,
    /// The adapted matrices, of LoRA: `q,v`.
    matrices: Option<String>,
    rate: Option<f64>,
}

fn figure(model: &str, runs: &[&RunRecord], name: &str) -> Option<Figure> {
    let tasks: Vec<TaskPoints> = tasks(runs)
        .into_iter()
        .filter(|task| task.lines.values().map(|line| line.points.len()).sum::<usize>() > 1)
        .collect();
    if tasks.is_empty() {
        return None;
    }
    let columns = tasks.len().min(2);
    let sizes: Vec<i64> = tasks.iter().flat_map(sizes).collect();
    let mut panels: Vec<Vec<Panel>> = Vec::new();
    for row in tasks.chunks(columns) {
        panels.push(row.iter().map(|task| panel(task, &sizes)).collect());
    }
    let mut foot = vec![format!(
        "Model: {model}. {} A point: {}; hollow: one seed; at the edge: with its value. A line joins what differs in size alone; letters are the matrices that LoRA \
        adapts (lr: the learning rate, where they are the same). Dashed: full fine-tuning, its band the spread. Parameters are counted without \
        the task's head, which trains {} besides; the head alone (none) is not drawn.",
        seeds_of(runs),
        Estimator::words(runs.iter().map(|run| run.task.as_str())),
        grouped(runs.iter().map(|run| run.params.head).max().unwrap_or_default())
    )];
    foot.extend(provenance(runs));
    let claims = tasks.iter().flat_map(|task| claims::figure2(&task.name, &task.tried));
    let labels: BTreeSet<&str> = runs.iter().map(|run| sweep::data_words(run)).collect();
    let caption = format!(
        "{model}: {}; {}.",
        labels.into_iter().collect::<Vec<_>>().join("; "),
        seeds_of(runs).trim_end_matches('.').to_lowercase(),
    );
    Some(Figure {
        name: format!("figure2-{name}"),
        title: format!("Quality against trained parameters: {model}"),
        foot,
        shows: SHOWS.into(),
        caption,
        verdicts: on(model, settle(claims.collect())),
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
            let line = task.lines.entry((heads[2].clone(), heads[3].clone())).or_default();
            line.points.push((trained, number));
            let run = runs.first();
            let matrices = run.and_then(|run| sweep::lora(run));
            line.matrices = matrices.map(|(weights, ..)| weights.replace('W', ""));
            line.rate = run.and_then(|run| run.config.pointer("/train/lr")?.as_f64());
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

/// Full fine-tuning with the most seeds, of those the best: drawn over the whole width.
fn across(task: &TaskPoints) -> Option<(&LineKey, i64, Number)> {
    let full = task.lines.iter().filter(|((method, _), _)| method == BASELINE);
    let all = full.flat_map(|(key, line)| {
        line.points
            .iter()
            .map(move |(trained, number)| (key, *trained, *number))
    });
    let strength = |(_, _, n): &(&LineKey, i64, Number)| (n.n, n.value);
    all.max_by(|a, b| strength(a).partial_cmp(&strength(b)).unwrap_or(Ordering::Equal))
}

/// Trained parameters of the points that have a place along the axis.
fn sizes(task: &TaskPoints) -> Vec<i64> {
    let full = across(task);
    let all = task.lines.iter().flat_map(|(key, line)| {
        line.points
            .iter()
            .map(move |(trained, number)| (key, *trained, *number))
    });
    all.filter(|point| full.as_ref() != Some(point))
        .map(|(_, trained, _)| trained)
        .collect()
}

/// A task over the trained parameters of all tasks.
fn panel(task: &TaskPoints, sizes: &[i64]) -> Panel {
    let full = across(task);
    let (mut series, mut ends) = (Vec::new(), Vec::new());
    for (key, line) in &task.lines {
        let points: Vec<_> = line
            .points
            .iter()
            .filter(|(trained, n)| full != Some((key, *trained, *n)))
            .collect();
        ends.extend(line.points.iter().flat_map(|(_, n)| {
            let spread = n.spread.unwrap_or_default();
            [n.value - spread, n.value + spread]
        }));
        if points.is_empty() {
            continue;
        }
        series.push(Series {
            name: methods::name(&key.0).to_owned(),
            method: key.0.clone(),
            points: points
                .into_iter()
                .map(|(trained, number)| point(*trained, number))
                .collect(),
            label: label(task, key, line),
            ..Series::default()
        });
    }
    if let Some((_, trained, number)) = full {
        series.push(Series {
            name: format!("{} ({})", methods::name(BASELINE), grouped(trained)),
            method: BASELINE.to_owned(),
            points: vec![point(trained, &number)],
            across: true,
            ..Series::default()
        });
    }
    Panel {
        title: task.name.clone(),
        x: Axis::of_counts("trained parameters", sizes.iter().copied()),
        y: Axis::of_most(format!("{} (%)", words(&task.metric)), ends, 6),
        content: Content::Series(series),
    }
}

fn point(trained: i64, number: &Number) -> Point {
    Point {
        x: (trained.max(1) as f64).log10(),
        y: number.value,
        spread: number.spread,
        filled: number.n.is_some_and(|n| n > 1),
    }
}

/// The matrices of a line of LoRA, if the panel has several, and the rate if they alone do not tell it from another.
fn label(task: &TaskPoints, key: &LineKey, line: &Line) -> String {
    let others = || {
        task.lines
            .iter()
            .filter(|(other, _)| other.0 == key.0 && *other != key)
            .map(|(_, line)| line)
    };
    let Some(matrices) = line.matrices.as_ref().filter(|_| others().next().is_some()) else {
        return String::new();
    };
    let same = others().any(|other| other.matrices.as_ref() == Some(matrices));
    match line.rate.filter(|_| same) {
        Some(rate) => format!("{matrices} (lr {rate})"),
        None => matrices.clone(),
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
        shows: "Quality against trained parameters: no runs yet.".into(),
        caption: String::new(),
        verdicts: Vec::new(),
        panels: vec![vec![
            Panel::empty("a task", COMMAND),
            Panel::empty("another task", COMMAND),
        ]],
        widths: vec![1.0; 2],
        height: 240,
        bar: None,
    }
}
