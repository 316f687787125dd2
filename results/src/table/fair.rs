//! Methods whose learning rates were chosen on held-out training rows: mean over seeds, and the paired test against full
//! fine-tuning. The number by the paper's rule, the best epoch on dev, stands below, so that a reader sees what that rule is worth.

use std::collections::{BTreeMap, BTreeSet};

use super::shared::{each_part, failures, marks, provenance, seeds_of};
use super::value::{Cell, Number, RowKind, Table, TableKind, TableRow};
use crate::compare::{Difference, compare};
use crate::error::Result;
use crate::record::{RateChoice, RunRecord};
use crate::store::Selection;
use crate::sweep;

/// Name of the row of best epochs.
const BEST: &str = "  best epoch";
/// The method that others are compared with.
const BASELINE: &str = "full";

pub(super) struct Fair;

impl TableKind for Fair {
    fn name(&self) -> &'static str {
        "fair"
    }

    fn about(&self) -> &'static str {
        "Methods with learning rates chosen on held-out rows: means over seeds, tested against full fine-tuning"
    }

    fn tables(&self, stored: &Selection) -> Result<Vec<Table>> {
        let chosen = |runs: &[RunRecord]| {
            runs.iter()
                .filter(|run| run.rates.is_some())
                .cloned()
                .collect::<Vec<_>>()
        };
        let stored = Selection {
            runs: chosen(&stored.runs),
            failed: chosen(&stored.failed),
            ..Selection::default()
        };
        let experiments: BTreeSet<&str> = stored.runs.iter().map(|run| run.experiment.as_str()).collect();
        let experiments: Vec<&str> = experiments.into_iter().collect();
        each_part(&stored, &experiments, self.name(), one)
    }

    fn paper_only(&self) -> Result<Option<Table>> {
        Ok(None)
    }
}

/// The runs of a method by task, as printed.
type ByTask<'a> = BTreeMap<String, Vec<&'a RunRecord>>;

fn one(label: Option<&str>, part: &Selection) -> Result<Table> {
    let runs: Vec<&RunRecord> = sweep::finished(part).collect();
    let tasks: BTreeSet<String> = runs.iter().map(|run| sweep::printed_task(run)).collect();
    let mut methods: Methods = BTreeMap::new();
    let size = |method: &str| {
        let own = runs.iter().filter(|run| run.shown_method() == method);
        own.map(|run| sweep::trained(run)).max().unwrap_or_default()
    };
    for run in &runs {
        let key = (std::cmp::Reverse(size(run.shown_method())), run.shown_method());
        methods
            .entry(key)
            .or_default()
            .entry(sweep::printed_task(run))
            .or_default()
            .push(run);
    }
    let compared = match methods.keys().any(|(_, method)| *method == BASELINE) && methods.len() > 1 {
        true => compare(part, BASELINE, &[])?,
        false => Vec::new(),
    };
    let mut header = vec!["Method".to_owned(), "Trained".to_owned()];
    header.extend(tasks.iter().cloned());
    header.push("Avg".to_owned());
    let mut rows = Vec::new();
    for ((trained, method), by_task) in &methods {
        rows.push(own_row(method, trained.0, by_task, &tasks));
        rows.extend(difference_row(method, &compared, &tasks));
        rows.extend(best_epoch_row(by_task, &tasks));
    }
    let notes = notes(&runs, part, &methods, &rows, compared.len());
    Ok(Table {
        name: String::new(),
        title: format!("Learning rates chosen on held-out rows: {}", label.unwrap_or_default()),
        header,
        show_n: uneven(&rows),
        rows,
        notes,
        verdicts: Vec::new(),
    })
}

/// The methods of a table, the largest first, each with its runs.
type Methods<'a> = BTreeMap<(std::cmp::Reverse<i64>, &'a str), ByTask<'a>>;

/// What stands below the rows.
fn notes(
    runs: &[&RunRecord],
    part: &Selection,
    methods: &Methods,
    rows: &[TableRow],
    comparisons: usize,
) -> Vec<String> {
    let mut notes = vec![
        format!("All numbers are ours, and no row is a row of the paper. {}", seeds_of(runs)),
        "A method's own row: mean over seeds ± sample standard deviation (n - 1) of the last epoch on dev, in per cent. \
         Avg: mean of the cells, only where no task is missing. –: not measured."
            .to_owned(),
    ];
    notes.extend(rules(runs));
    if comparisons > 0 {
        notes.push(format!(
            "- {BASELINE}: mean difference over common seeds; in parentheses the p value of the two-sided paired t test, \
             corrected for {} (Holm).",
            support::counted(comparisons, "comparison")
        ));
    }
    if rows
        .iter()
        .any(|row| row.cells.first() == Some(&Cell::Text(BEST.to_owned())))
    {
        notes.push(format!(
            "{}: the mean of each run's best epoch on dev, which is the paper's rule and flatters every method.",
            BEST.trim()
        ));
    }
    notes.extend(rates(methods));
    notes.extend(provenance(runs));
    notes.extend(failures(&part.failed));
    notes.extend(marks(rows));
    notes
}

/// Whether cells have different numbers of seeds.
fn uneven(rows: &[TableRow]) -> bool {
    let counts: BTreeSet<usize> = rows.iter().flat_map(|row| &row.cells).filter_map(Cell::seeds).collect();
    counts.len() > 1
}

/// Cells of a row, with the mean of the tasks' values as the last, where no task is missing.
fn with_average(first: [Cell; 2], cells: Vec<Cell>) -> TableRow {
    let values: Option<Vec<f64>> = cells
        .iter()
        .map(|cell| match cell {
            Cell::Number(number) => Some(number.value),
            _ => None,
        })
        .collect();
    let average = values
        .filter(|values| !values.is_empty())
        .map(|values| values.iter().sum::<f64>() / values.len() as f64);
    let mut all: Vec<Cell> = first.into_iter().chain(cells).collect();
    all.push(Cell::plain(average, 1));
    TableRow {
        kind: RowKind::Ours,
        cells: all,
    }
}

/// Mean and spread of the runs' values by `value`, in per cent.
fn cell(runs: &[&RunRecord], value: impl Fn(&RunRecord) -> Option<f64>) -> Cell {
    let values: Vec<f64> = runs.iter().filter_map(|run| value(run)).collect();
    if values.is_empty() {
        return Cell::Undefined { undefined: runs.len() };
    }
    Cell::Number(Number {
        n: Some(runs.len()),
        ..sweep::mean(&values)
    })
}

fn cells(by_task: &ByTask, tasks: &BTreeSet<String>, value: impl Fn(&RunRecord) -> Option<f64>) -> Vec<Cell> {
    let of = |task: &String| by_task.get(task).map_or(Cell::Missing, |runs| cell(runs, &value));
    tasks.iter().map(of).collect()
}

fn own_row(method: &str, trained: i64, by_task: &ByTask, tasks: &BTreeSet<String>) -> TableRow {
    let value = |run: &RunRecord| sweep::headline(run).and_then(|(_, value)| value);
    with_average(
        [Cell::Text(method.to_owned()), Cell::Count(trained)],
        cells(by_task, tasks, value),
    )
}

/// `- full`: the mean difference and its p value, task by task.
fn difference_row(method: &str, compared: &[Difference], tasks: &BTreeSet<String>) -> Option<TableRow> {
    let own: Vec<&Difference> = compared.iter().filter(|one| one.method == method).collect();
    let text = |task: &String| {
        let found = own.iter().find(|one| one.task == *task && one.difference.is_finite());
        found.map_or(Cell::Missing, |one| {
            let p = one.p_holm.map_or("no test".to_owned(), |p| format!("p {p:.2}"));
            Cell::Text(format!("{:+.1} ({p})", one.difference))
        })
    };
    let name = Cell::Text(format!("  - {BASELINE}"));
    (!own.is_empty()).then(|| {
        let mut cells = vec![name, Cell::Missing];
        cells.extend(tasks.iter().map(text));
        cells.push(Cell::Missing);
        TableRow {
            kind: RowKind::Ours,
            cells,
        }
    })
}

/// The runs' best epochs on dev; none where a run was evaluated once, or its metric is one of generated texts.
fn best_epoch_row(by_task: &ByTask, tasks: &BTreeSet<String>) -> Option<TableRow> {
    let several = |run: &&RunRecord| run.evals.len() > 1 && !run.metric.ends_with("loss");
    if !by_task.values().flatten().all(several) {
        return None;
    }
    let best = |run: &RunRecord| {
        let values = run.evals.iter().filter_map(|eval| *eval.metrics.get(&run.metric)?);
        values.reduce(f64::max).map(|value| 100.0 * value)
    };
    let first = [Cell::Text(BEST.to_owned()), Cell::Missing];
    Some(with_average(first, cells(by_task, tasks, best)))
}

/// The rules by which epochs and rates were chosen.
fn rules(runs: &[&RunRecord]) -> Option<String> {
    let rules: BTreeSet<&str> = runs.iter().map(|run| run.selection.as_str()).collect();
    (!rules.is_empty()).then(|| format!("Selection: {}.", rules.into_iter().collect::<Vec<_>>().join("; ")))
}

/// The chosen rates; those at an end of the grid are marked.
fn rates(methods: &Methods) -> Option<String> {
    let rate = |choice: &RateChoice| format!("{}{}", choice.rate, if choice.at_an_end() { "*" } else { "" });
    let of_method = |(key, by_task): (&(std::cmp::Reverse<i64>, &str), &ByTask)| {
        let of_task = |(task, runs): (&String, &Vec<&RunRecord>)| {
            let rates: BTreeSet<String> = runs.iter().filter_map(|run| run.rates.as_ref()).map(rate).collect();
            format!("{task} {}", rates.into_iter().collect::<Vec<_>>().join(" or "))
        };
        format!(
            "{} ({})",
            key.1,
            by_task.iter().map(of_task).collect::<Vec<_>>().join(", ")
        )
    };
    let all: Vec<String> = methods.iter().map(of_method).collect();
    (!all.is_empty()).then(|| {
        format!(
            "Learning rates (* at an end of the grid, so that a better one may lie beyond): {}.",
            all.join("; ")
        )
    })
}
