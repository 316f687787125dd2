//! Table 2 of the paper: GLUE dev sets, one row per (model, method).

use std::collections::{BTreeMap, BTreeSet};

use super::in_words::in_words;
use super::render::grouped;
use super::shared::{
    RowKey, difference_row, distinct, each_part, failures, marks, metrics_of, not_run, plain, provenance, seeds,
    undefined,
};
use super::value::{Cell, Number, RowKind, Table, TableKind, TableRow};
use crate::error::Result;
use crate::frame::{Summary, frame, summary};
use crate::paper::{Origin, PaperRow, PaperTable, PaperTask, Setup};
use crate::record::RunRecord;
use crate::store::Selection;

pub(super) struct Table2;

impl TableKind for Table2 {
    fn name(&self) -> &'static str {
        "table2"
    }

    fn about(&self) -> &'static str {
        "GLUE: each method's median over seeds, task by task"
    }

    /// First the table of the runs in the paper's settings, with the paper's numbers below each; then one table for each other
    /// (preset, label).
    fn tables(&self, stored: &Selection) -> Result<Vec<Table>> {
        let paper = PaperTable::table2()?;
        let own = |runs: &[RunRecord]| {
            runs.iter()
                .filter(|run| run.rates.is_none())
                .cloned()
                .collect::<Vec<_>>()
        };
        // The others have a table of their own.
        let stored = &Selection {
            runs: own(&stored.runs),
            failed: own(&stored.failed),
            ..Selection::default()
        };
        each_part(stored, &["glue"], self.name(), |label, part| one(&paper, label, part))
    }

    fn paper_only(&self) -> Result<Option<Table>> {
        let paper = PaperTable::table2()?;
        let mut table = empty(None, &paper.order);
        table.name = self.name().to_owned();
        let cells = not_run(table.header.len());
        let kind = RowKind::Ours;
        table.rows.push(TableRow { kind, cells });
        table.rows.extend(paper.rows.iter().map(paper_row));
        let quoted: Vec<&PaperRow> = paper.rows.iter().collect();
        table.notes = notes(&paper, &quoted, &[], &Selection::default(), &paper.order);
        Ok(Some(table))
    }
}

fn empty(label: Option<&str>, tasks: &[PaperTask]) -> Table {
    let mut table = Table {
        name: String::new(),
        title: match label {
            None => "GLUE dev sets: runs in the paper's setting, beside the numbers of its Table 2".to_owned(),
            Some(label) if tasks.iter().all(|task| task.task == "own") => format!("Dev set of own data: {label}"),
            Some(label) => format!("GLUE dev sets: {label}"),
        },
        header: ["Model", "Method", "Trained", "+ Head"].map(String::from).to_vec(),
        rows: Vec::new(),
        notes: Vec::new(),
        show_n: false,
        verdicts: Vec::new(),
    };
    table.header.extend(tasks.iter().map(|task| task.task.clone()));
    table.header.push("Avg".to_owned());
    table
}

fn one(paper: &PaperTable, label: Option<&str>, part: &Selection) -> Result<Table> {
    let tasks = columns(paper, label.is_none(), part);
    let summaries = summary(frame(&part.runs)?)?;
    let mut rows: BTreeMap<RowKey, Vec<&Summary>> = BTreeMap::new();
    for s in &summaries {
        let key = RowKey::new(place(paper, s)?, s, &summaries);
        rows.entry(key).or_default().push(s);
    }
    let mut table = empty(label, &tasks);
    let mut used = Vec::new();
    for (key, group) in &rows {
        let ours = our_row(key, group, &tasks, &mut used);
        match key.place.map(|i| &paper.rows[i]) {
            None => table.rows.push(ours),
            Some(quoted) => {
                let theirs = paper_row(quoted);
                let difference = difference_row(&ours, &theirs);
                table.rows.extend([ours, theirs, difference]);
            }
        }
    }
    table.show_n = used
        .windows(2)
        .any(|pair| pair[0].run_seeds().len() != pair[1].run_seeds().len());
    let quoted: Vec<&PaperRow> = rows
        .keys()
        .filter_map(|key| key.place)
        .map(|i| &paper.rows[i])
        .collect();
    table.notes = notes(paper, &quoted, &used, part, &tasks);
    table.notes.extend(marks(&table.rows));
    let names: Vec<&str> = tasks.iter().map(|task| task.task.as_str()).collect();
    table.notes.extend(label.and_then(|_| in_words(&table.rows, &names)));
    Ok(table)
}

/// The paper's columns; in tables of other runs, only those with a run, and WNLI.
fn columns(paper: &PaperTable, all: bool, part: &Selection) -> Vec<PaperTask> {
    let wnli = PaperTask {
        task: "WNLI".to_owned(),
        metric: "accuracy".to_owned(),
    };
    let runs = || part.runs.iter().chain(&part.failed);
    let present: BTreeSet<String> = runs().map(|run| plain(&run.task)).collect();
    let wanted = |task: &PaperTask| present.contains(&plain(&task.task));
    let mut tasks = paper.order.clone();
    tasks.retain(|task| all || wanted(task));
    tasks.extend(Some(wnli).filter(|task| !all && wanted(task)));
    let own = runs().filter(|run| run.task == "own").map(|run| PaperTask {
        task: run.task.clone(),
        metric: run.metric.rsplit('/').next().unwrap_or_default().to_owned(),
    });
    tasks.extend(own.take(1).filter(|_| !all));
    tasks
}

/// Place of the row in the paper's table, if it is one of the paper's.
fn place(paper: &PaperTable, s: &Summary) -> Result<Option<usize>> {
    let Some(id) = &s.paper_row else { return Ok(None) };
    let row = paper.row(id)?;
    Ok(paper.rows.iter().position(|other| std::ptr::eq(other, row)))
}

/// The summary of the task's main metric on the dev set (for MNLI: the matched one).
fn main_metric<'a>(group: &[&'a Summary], task: &PaperTask) -> Option<&'a Summary> {
    let split = if task.task == "MNLI" { "dev_matched" } else { "dev" };
    let is_main = |key: &str| {
        key.split_once('/')
            .is_some_and(|(of, metric)| of == split && metric.starts_with(&task.metric))
    };
    group
        .iter()
        .copied()
        .filter(|s| plain(&s.task) == plain(&task.task))
        .find(|s| is_main(&s.metric))
}

fn our_row<'a>(key: &RowKey, group: &[&'a Summary], tasks: &[PaperTask], used: &mut Vec<&'a Summary>) -> TableRow {
    let mut cells = key.cells(group);
    cells.push(Cell::Count(group.iter().map(|s| s.head).max().unwrap_or_default()));
    let mut medians = Vec::new();
    for task in tasks {
        cells.push(main_metric(group, task).map_or(Cell::Missing, |s| {
            used.push(s);
            let n = s.run_seeds().len();
            let Some(median) = s.median else {
                return Cell::Undefined { undefined: n };
            };
            medians.push(median * 100.0);
            Cell::Number(Number {
                value: median * 100.0,
                spread: s.std.map(|std| std * 100.0),
                n: Some(n),
                decimals: 1,
            })
        }));
    }
    let whole = !tasks.is_empty() && medians.len() == tasks.len();
    let average = whole.then(|| medians.iter().sum::<f64>() / medians.len() as f64);
    cells.push(Cell::plain(average, 1));
    TableRow {
        kind: RowKind::Ours,
        cells,
    }
}

fn paper_row(row: &PaperRow) -> TableRow {
    let star = if row.origin == Origin::Quoted { "*" } else { "" };
    let dagger = if row.setup == Setup::Houlsby { "†" } else { "" };
    let mut cells = vec![
        Cell::Text(row.model.clone()),
        Cell::Text(format!("paper: {}{star}{dagger}", row.name)),
        Cell::Text(format!("{:.1}M", row.params_m)),
        Cell::Missing,
    ];
    cells.extend(row.scores.iter().map(|score| Cell::quoted(*score, 1)));
    cells.push(Cell::plain(row.average, 1));
    TableRow {
        kind: RowKind::Paper,
        cells,
    }
}

fn notes(
    paper: &PaperTable,
    quoted: &[&PaperRow],
    used: &[&Summary],
    part: &Selection,
    tasks: &[PaperTask],
) -> Vec<String> {
    let mut notes = Vec::new();
    if quoted.is_empty() {
        notes.push("All numbers are ours; none is quoted, and no row is a row of the paper.".to_owned());
    } else {
        notes.push(format!(
            "Rows named \"paper\" quote {}; all others are ours. * quoted there from earlier work. † the \
            restricted setting. Below each, ours minus the paper's.",
            paper.source
        ));
        notes.extend(paper.notes.iter().cloned());
        notes.extend(
            quoted
                .iter()
                .flat_map(|row| row.notes.iter().map(|note| format!("Paper's {}: {note}.", row.id))),
        );
        notes.extend(distinct(part.runs.iter().map(|run| run.label.clone())).map(|labels| format!("Ours: {labels}.")));
    }
    notes.push(format!(
        "Cells: median over seeds ± sample standard deviation (n - 1), in per cent; {}. {}",
        metrics(tasks),
        seeds(used)
    ));
    notes.extend(distinct(used.iter().map(|s| s.selection.clone())).map(|rules| format!("Selection: {rules}.")));
    notes.push(
        "Trained: parameters trained without the task's head, as the paper counts. Avg: mean of the cells, only \
        where no task is missing. –: not measured."
            .to_owned(),
    );
    notes.extend(heads(used));
    notes.extend(provenance(&part.runs));
    notes.extend(undefined(used));
    notes.extend(failures(&part.failed));
    notes
}

/// Note on the parameters of heads.
fn heads(used: &[&Summary]) -> Option<String> {
    let mut sizes: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    for s in used {
        sizes.entry(s.head).or_default().insert(&s.task);
    }
    let words = "+ Head: parameters of the task's head, which every row trains besides";
    match sizes.len() {
        0 => None,
        1 => Some(format!("{words}; the paper leaves them out.")),
        _ => {
            let size = |(count, tasks): (&i64, &BTreeSet<&str>)| {
                let tasks = tasks.iter().copied().collect::<Vec<_>>().join(", ");
                format!("{} for {tasks}", grouped(*count))
            };
            let each = sizes.iter().rev().map(size).collect::<Vec<_>>().join("; ");
            Some(format!(
                "{words}, the most of any task ({each}); the paper leaves them out."
            ))
        }
    }
}

fn metrics(tasks: &[PaperTask]) -> String {
    let mut text = metrics_of(tasks.iter().map(|task| (task.metric.as_str(), task.task.as_str())));
    if tasks.iter().any(|task| task.task == "MNLI") {
        text.push_str(" (MNLI: matched)");
    }
    text
}
