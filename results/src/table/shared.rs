//! Shared parts of tables of runs: the split into tables and rows, and notes.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

use super::render::grouped;
use super::value::{Cell, Number, RowKind, Table, TableRow};
use crate::error::Result;
use crate::frame::Summary;
use crate::record::{RunRecord, Status};
use crate::stem::slugs;
use crate::store::Selection;

/// Key of a row, whose runs differ in task and seed alone. Keys are ordered as the rows are printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey<'a> {
    /// Place in the paper's table, if the row is one of the paper's.
    pub(super) place: Option<usize>,
    pub(super) model: &'a str,
    /// Trained parameters, falling, as in the paper.
    pub(super) trained: std::cmp::Reverse<i64>,
    pub(super) method: &'a str,
    pub(super) variant: &'a str,
    pub(super) preset: Option<&'a str>,
    pub(super) selection: &'a str,
}

impl<'a> RowKey<'a> {
    /// The row of `s`, one of `all`.
    pub(super) fn new(place: Option<usize>, s: &'a Summary, all: &[Summary]) -> Self {
        // The maximum over tasks, so that all tasks of a row share one key.
        let same = all
            .iter()
            .filter(|o| (&o.model, &o.method, &o.variant) == (&s.model, &s.method, &s.variant));
        RowKey {
            place,
            model: &s.model,
            trained: std::cmp::Reverse(same.map(|o| o.params.1).max().unwrap_or_default()),
            method: &s.method,
            variant: &s.variant,
            preset: s.preset.as_deref(),
            selection: &s.selection,
        }
    }

    /// The first cells of the row: model, method, trained parameters.
    pub(super) fn cells(&self, group: &[&Summary]) -> Vec<Cell> {
        let fewest = group.iter().map(|s| s.params.0).min().unwrap_or_default();
        let most = self.trained.0;
        let method = if self.variant.is_empty() {
            self.method.to_owned()
        } else {
            format!("{} {}", self.method, self.variant)
        };
        let trained = if fewest == most {
            Cell::Count(most)
        } else {
            Cell::Text(format!("{fewest} to {most}"))
        };
        vec![Cell::Text(self.model.to_owned()), Cell::Text(method), trained]
    }
}

/// Preset and label of the table that a run belongs to; `None` for the paper's.
fn part(run: &RunRecord) -> Option<(Option<String>, String)> {
    run.paper_row.is_none().then(|| (run.preset.clone(), run.label.clone()))
}

/// Tables of the runs of some experiments: first that of the runs in the paper's settings, then one for each other
/// (preset, label), each built by `one` from its label and records. Names begin with `stem`, followed by the experiment if there
/// are several.
pub(super) fn each_part(
    selection: &Selection,
    experiments: &[&str],
    stem: &str,
    mut one: impl FnMut(Option<&str>, &Selection) -> Result<Table>,
) -> Result<Vec<Table>> {
    let ours = |runs: &[RunRecord]| {
        runs.iter()
            .filter(|run| experiments.contains(&run.experiment.as_str()))
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut parts: BTreeMap<_, Selection> = BTreeMap::new();
    for run in ours(&selection.runs) {
        parts.entry(part(&run)).or_default().runs.push(run);
    }
    for run in ours(&selection.failed) {
        parts.entry(part(&run)).or_default().failed.push(run);
    }
    let named = |(preset, label): &(Option<String>, String), part: &Selection| {
        let which: BTreeSet<&str> = part.runs.iter().map(|run| run.experiment.as_str()).collect();
        let which = which.iter().filter(|_| experiments.len() > 1 && which.len() == 1);
        let words = which.copied().chain([preset.as_ref().unwrap_or(label).as_str()]);
        (words.collect::<Vec<_>>().join(" "), format!("{preset:?} {label}"))
    };
    let others = parts.iter().filter_map(|(key, part)| Some(named(key.as_ref()?, part)));
    let mut names = slugs(&others.collect::<Vec<_>>()).into_iter();
    let mut tables = Vec::new();
    for (key, part) in &parts {
        let mut table = one(key.as_ref().map(|(_, label)| label.as_str()), part)?;
        let own = key.as_ref().and_then(|_| names.next());
        table.name = own.map_or_else(|| stem.to_owned(), |own| format!("{stem}-{own}"));
        tables.push(table);
    }
    Ok(tables)
}

/// Ours minus the paper's, with the paper's number of decimals.
pub(super) fn difference_row(ours: &TableRow, paper: &TableRow) -> TableRow {
    let mut cells: Vec<Cell> = ours.cells[..1].to_vec();
    cells.extend([Cell::Text("ours - paper".to_owned()), Cell::Missing]);
    let pairs = ours.cells.iter().zip(&paper.cells).skip(cells.len());
    cells.extend(pairs.map(|pair| match pair {
        (Cell::Number(a), Cell::Number(b)) => Cell::Number(Number {
            decimals: b.decimals,
            ..Number::plain(a.value - b.value)
        }),
        _ => Cell::Missing,
    }));
    TableRow {
        kind: RowKind::Difference,
        cells,
    }
}

/// Cells of the row of dashes in a table without runs.
pub(super) fn not_run(columns: usize) -> Vec<Cell> {
    let first = std::iter::once(Cell::Text("not run yet".into()));
    first.chain((1..columns).map(|_| Cell::Missing)).collect()
}

/// Note on `undef.`, if a cell shows it.
pub(super) fn marks(rows: &[TableRow]) -> Option<String> {
    let cells = || rows.iter().flat_map(|row| &row.cells);
    let undefined = cells().any(|cell| matches!(cell, Cell::Undefined { .. }));
    let words = "undef.: it was run and the metric is undefined, as a correlation with answers that are all the same.";
    undefined.then(|| words.to_owned())
}

/// Notes on seeds for which the metric of a cell is undefined.
pub(super) fn undefined(used: &[&Summary]) -> Vec<String> {
    let some = used.iter().filter(|s| !s.undefined.is_empty());
    some.map(|s| {
        format!(
            "{} {} {}: undefined and left out for seeds {}, which count as seeds.",
            s.model,
            s.method,
            s.task,
            join(&s.undefined)
        )
    })
    .collect()
}

/// Notes on failed runs.
pub(super) fn failures(failed: &[RunRecord]) -> Vec<String> {
    let reason = |run: &RunRecord| match &run.status {
        Status::Finished => None,
        Status::Failed { error } => Some(format!(
            "Failed: {} {} {} seed {} ({}): {}",
            run.model,
            run.method,
            run.task,
            run.seed,
            run.id,
            error.lines().next().unwrap_or("no message")
        )),
    };
    failed.iter().filter_map(reason).collect()
}

/// Note on the seeds of some runs.
pub(crate) fn seeds_of(runs: &[&RunRecord]) -> String {
    let all: BTreeSet<u64> = runs.iter().map(|run| run.seed).collect();
    if all.is_empty() {
        "No seeds yet.".to_owned()
    } else {
        format!("Seeds: {}.", join(&all))
    }
}

/// Note on the seeds behind the cells.
pub(super) fn seeds(used: &[&Summary]) -> String {
    let sets: BTreeSet<Vec<u64>> = used.iter().map(|s| s.run_seeds()).collect();
    let all: BTreeSet<u64> = sets.iter().flat_map(|set| set.iter().copied()).collect();
    match sets.len() {
        0 => "No seeds yet.".to_owned(),
        1 => format!("Seeds: {}.", join(&all)),
        _ => format!("Seeds: from {}, not the same in every cell.", join(&all)),
    }
}

/// Limits on the rows of a run whose record has no numbers of rows, if any: `mrpc 800 training rows, 100 dev rows`.
fn limited(run: &RunRecord) -> Option<String> {
    if run.rows.is_some() {
        return None;
    }
    let limit = run.config.get("limit")?;
    let parts = [("train", "training rows"), ("dev", "dev rows"), ("test", "contexts")];
    let limits = parts
        .iter()
        .filter_map(|(key, what)| Some(format!("{} {what}", limit.get(key)?.as_u64()?)));
    let limits = limits.collect::<Vec<_>>().join(", ");
    (!limits.is_empty()).then(|| format!("{} {limits}", run.task))
}

/// The metrics of tasks, from pairs of both: `accuracy for MRPC, RTE; pearson for STS-B`.
pub(crate) fn metrics_of<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut tasks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (metric, task) in pairs {
        let of_metric = tasks.entry(metric).or_default();
        if !of_metric.contains(&task) {
            of_metric.push(task);
        }
    }
    let phrase = |(metric, tasks): (&&str, &Vec<&str>)| format!("{metric} for {}", tasks.join(", "));
    tasks.iter().map(phrase).collect::<Vec<_>>().join("; ")
}

/// A number of rows, marked where it is what one of the run's limits of these names allows.
fn counted_rows(run: &RunRecord, rows: u64, limits: &[&str]) -> String {
    let limit = |key: &&str| run.config.get("limit")?.get(*key)?.as_u64();
    let at_limit = limits.iter().any(|key| limit(key) == Some(rows));
    format!("{}{}", grouped(rows as i64), if at_limit { " (the limit)" } else { "" })
}

/// The numbers of rows of the runs whose records have them: `8,551 to train on, 1,043 of dev (cola)`.
fn rows(runs: &[&RunRecord]) -> Option<String> {
    let mut tasks: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        let Some(rows) = run.rows.as_ref() else { continue };
        let evaluated = rows.evaluated.iter().map(|n| counted_rows(run, *n, &["dev", "test"]));
        let numbers = format!(
            "{} to train on, {} of dev",
            counted_rows(run, rows.train, &["train"]),
            evaluated.collect::<Vec<_>>().join(" and ")
        );
        tasks.entry(numbers).or_default().insert(&run.task);
    }
    let named = |(numbers, tasks): (&String, &BTreeSet<&str>)| {
        format!("{numbers} ({})", tasks.iter().copied().collect::<Vec<_>>().join(", "))
    };
    distinct(tasks.iter().map(named))
}

/// Notes on limits of rows, on hashes of weights and data, and on devices.
pub(crate) fn provenance<R: Borrow<RunRecord>>(runs: &[R]) -> Vec<String> {
    let runs: Vec<&RunRecord> = runs.iter().map(Borrow::borrow).collect();
    let short = |hash: &Option<String>| {
        hash.as_ref()
            .map_or("not hashed", |hash| hash.get(..12).unwrap_or(hash))
            .to_owned()
    };
    let weights = runs
        .iter()
        .map(|run| format!("{} {}", run.model, short(&run.provenance.weights_sha256)));
    let data = runs
        .iter()
        .map(|run| format!("{} {}", run.task, short(&run.provenance.data_sha256)));
    let line = |what: &str, list: Option<String>| list.map(|list| format!("{what}: {list}."));
    [
        line("Rows", rows(&runs)),
        line("Not all rows", distinct(runs.iter().filter_map(|run| limited(run)))),
        line("Weights (SHA-256)", distinct(weights)),
        line("Data (SHA-256)", distinct(data)),
        line("Device", places(&runs)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Most methods of one device that are named; more are "the rest".
const NAMED: usize = 6;

/// Devices of the runs; if there are several, with the methods of each.
fn places(runs: &[&RunRecord]) -> Option<String> {
    let mut places: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for run in runs {
        places
            .entry(run.provenance.place())
            .or_default()
            .insert(run.shown_method());
    }
    let several = places.len() > 1;
    let most = places.values().map(BTreeSet::len).max().filter(|most| *most > NAMED);
    let mut rest = false;
    let named: Vec<String> = places
        .iter()
        .map(|(place, methods)| {
            if several && !rest && Some(methods.len()) == most {
                rest = true;
                return format!("{place} (the rest)");
            }
            let elsewhere = |method: &str| places.iter().any(|(p, m)| p != place && m.contains(method));
            let name = |method: &&str| {
                if elsewhere(method) {
                    format!("{method} in part")
                } else {
                    (*method).to_owned()
                }
            };
            let methods = methods.iter().map(name).collect::<Vec<_>>().join(", ");
            if several {
                format!("{place} ({methods})")
            } else {
                place.clone()
            }
        })
        .collect();
    distinct(named.into_iter())
}

/// Distinct items, sorted and joined; `None` without any.
pub(super) fn distinct(items: impl Iterator<Item = String>) -> Option<String> {
    let set: BTreeSet<String> = items.collect();
    (!set.is_empty()).then(|| set.into_iter().collect::<Vec<_>>().join("; "))
}

/// Seeds, separated by commas.
pub(crate) fn join<'a>(seeds: impl IntoIterator<Item = &'a u64>) -> String {
    seeds.into_iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// Lower-case letters and digits of a task's name, equal for `STS-B`, `sts-b` and `stsb`.
pub(super) fn plain(task: &str) -> String {
    task.chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase()
}
