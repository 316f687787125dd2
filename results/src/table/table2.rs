//! Table 2 of the paper: GLUE dev sets, a row a (model, method).

use std::collections::{BTreeMap, BTreeSet};

use super::{Cell, Number, Row, RowKind, Table};
use crate::error::Result;
use crate::frame::{Summary, frame, summary};
use crate::paper::{Origin, PaperRow, PaperTable, PaperTask, Setup};
use crate::record::RunRecord;
use crate::store::{Filter, Selection, Store};

/// Runs of one row differ by task and seed alone. Ordered as the rows are printed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RowKey<'a> {
    /// Place in the paper's table, where the row has one.
    place: Option<usize>,
    model: &'a str,
    /// Fewer trained parameters come later, as in the paper.
    trained: std::cmp::Reverse<i64>,
    method: &'a str,
    variant: &'a str,
    preset: Option<&'a str>,
    selection: &'a str,
}

/// Table 2 over the runs that `filter` admits, from a store without unreadable files; see [`build`].
///
/// # Errors
/// As [`Store::select`] and [`build`].
pub fn table2(store: &Store, filter: &Filter) -> Result<Vec<Table>> {
    build(&store.select(filter)?)
}

/// Table 2 over the runs of the experiment `glue`: first the table of the runs that are rows of the paper, with the
/// paper's numbers below each; then, apart from it, a table for each other (preset, label). None for no runs.
///
/// # Errors
/// [`crate::Error::NoPaperRow`], [`crate::Error::Query`].
pub fn build(selection: &Selection) -> Result<Vec<Table>> {
    let paper = PaperTable::table2()?;
    let of_glue = |runs: &[RunRecord]| {
        runs.iter()
            .filter(|run| run.experiment == "glue")
            .cloned()
            .collect::<Vec<_>>()
    };
    let mut parts: BTreeMap<_, Selection> = BTreeMap::new();
    for run in of_glue(&selection.runs) {
        parts.entry(part(&run)).or_default().runs.push(run);
    }
    for run in of_glue(&selection.failed) {
        parts.entry(part(&run)).or_default().failed.push(run);
    }
    let mut names = BTreeSet::new();
    let mut tables = Vec::new();
    for (key, part) in &parts {
        let mut table = one(&paper, key.as_ref().map(|(_, label)| label.as_str()), part)?;
        table.name = match key {
            None => "table2".to_owned(),
            Some((preset, label)) => format!("table2-{}", slug(preset.as_ref().unwrap_or(label))),
        };
        let stem = table.name.clone();
        for i in 2.. {
            if names.insert(table.name.clone()) {
                break;
            }
            table.name = format!("{stem}-{i}");
        }
        tables.push(table);
    }
    Ok(tables)
}

/// Which table a run belongs to: `None` is the paper's.
fn part(run: &RunRecord) -> Option<(Option<String>, String)> {
    run.paper_row.is_none().then(|| (run.preset.clone(), run.label.clone()))
}

fn one(paper: &PaperTable, label: Option<&str>, part: &Selection) -> Result<Table> {
    let tasks = columns(paper, label.is_none(), part);
    let summaries = summary(frame(&part.runs)?)?;
    let mut rows: BTreeMap<RowKey, Vec<&Summary>> = BTreeMap::new();
    for s in &summaries {
        rows.entry(row_key(paper, s, &summaries)?).or_default().push(s);
    }
    let mut table = Table {
        name: String::new(),
        title: match label {
            None => "GLUE dev sets: runs in the paper's setting, beside the numbers of its Table 2".to_owned(),
            Some(label) => format!("GLUE dev sets: {label}"),
        },
        header: ["Model", "Method", "Trained"].map(String::from).to_vec(),
        rows: Vec::new(),
        notes: Vec::new(),
        show_n: false,
    };
    table.header.extend(tasks.iter().map(|task| task.task.clone()));
    table.header.push("Avg".to_owned());
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
    table.show_n = used.windows(2).any(|pair| pair[0].seeds.len() != pair[1].seeds.len());
    let quoted: Vec<&PaperRow> = rows
        .keys()
        .filter_map(|key| key.place)
        .map(|i| &paper.rows[i])
        .collect();
    table.notes = notes(paper, &quoted, &used, part, &tasks);
    Ok(table)
}

/// The paper's columns in its order. A table of other runs has those alone for which there is a run.
fn columns(paper: &PaperTable, all: bool, part: &Selection) -> Vec<PaperTask> {
    let wnli = PaperTask {
        task: "WNLI".to_owned(),
        metric: "accuracy".to_owned(),
    };
    let present: BTreeSet<String> = part
        .runs
        .iter()
        .chain(&part.failed)
        .map(|run| plain(&run.task))
        .collect();
    let wanted = |task: &PaperTask| present.contains(&plain(&task.task));
    let mut tasks = paper.order.clone();
    tasks.retain(|task| all || wanted(task));
    tasks.extend(Some(wnli).filter(|task| !all && wanted(task)));
    tasks
}

fn row_key<'a>(paper: &PaperTable, s: &'a Summary, all: &[Summary]) -> Result<RowKey<'a>> {
    let place = match &s.paper_row {
        None => None,
        Some(id) => {
            let row = paper.row(id)?;
            paper.rows.iter().position(|other| std::ptr::eq(other, row))
        }
    };
    // One place for all tasks of a row, though nothing but the task's head should make them differ.
    let same = all
        .iter()
        .filter(|o| (&o.model, &o.method, &o.variant) == (&s.model, &s.method, &s.variant));
    Ok(RowKey {
        place,
        model: &s.model,
        trained: std::cmp::Reverse(same.map(|o| o.params.1).max().unwrap_or_default()),
        method: &s.method,
        variant: &s.variant,
        preset: s.preset.as_deref(),
        selection: &s.selection,
    })
}

/// The summary of the task's main metric on the dev set (for MNLI: the matched one).
fn main_metric<'a>(group: &[&'a Summary], task: &PaperTask) -> Option<&'a Summary> {
    let is_main = |key: &str| {
        key.strip_prefix("dev/")
            .is_some_and(|metric| metric.starts_with(&task.metric))
    };
    group
        .iter()
        .copied()
        .filter(|s| plain(&s.task) == plain(&task.task))
        .find(|s| is_main(&s.metric))
}

fn our_row<'a>(key: &RowKey, group: &[&'a Summary], tasks: &[PaperTask], used: &mut Vec<&'a Summary>) -> Row {
    let fewest = group.iter().map(|s| s.params.0).min().unwrap_or_default();
    let most = key.trained.0;
    let method = if key.variant.is_empty() {
        key.method.to_owned()
    } else {
        format!("{} {}", key.method, key.variant)
    };
    let trained = if fewest == most {
        Cell::Count(most)
    } else {
        Cell::Text(format!("{fewest} to {most}"))
    };
    let mut cells = vec![Cell::Text(key.model.to_owned()), Cell::Text(method), trained];
    let mut medians = Vec::new();
    for task in tasks {
        let found = main_metric(group, task).and_then(|s| s.median.map(|median| (s, median)));
        cells.push(found.map_or(Cell::Missing, |(s, median)| {
            used.push(s);
            medians.push(median * 100.0);
            let n = Some(s.seeds.len());
            Cell::Number(Number {
                value: median * 100.0,
                spread: s.std.map(|std| std * 100.0),
                n,
                decimals: 1,
            })
        }));
    }
    let whole = !tasks.is_empty() && medians.len() == tasks.len();
    let average = whole.then(|| medians.iter().sum::<f64>() / medians.len() as f64);
    cells.push(average.map_or(Cell::Missing, |average| Cell::Number(Number::plain(average))));
    Row {
        kind: RowKind::Ours,
        cells,
    }
}

fn paper_row(row: &PaperRow) -> Row {
    let star = if row.origin == Origin::Quoted { "*" } else { "" };
    let dagger = if row.setup == Setup::Houlsby { "†" } else { "" };
    let mut cells = vec![
        Cell::Text(row.model.clone()),
        Cell::Text(format!("paper: {}{star}{dagger}", row.name)),
        Cell::Text(format!("{:.1}M", row.params_m)),
    ];
    let number = |value, spread| {
        Cell::Number(Number {
            value,
            spread,
            n: None,
            decimals: 1,
        })
    };
    cells.extend(row.scores.iter().map(|score| number(score.value(), score.spread())));
    cells.push(number(row.average, None));
    Row {
        kind: RowKind::Paper,
        cells,
    }
}

fn difference_row(ours: &Row, paper: &Row) -> Row {
    let mut cells: Vec<Cell> = ours.cells[..1].to_vec();
    cells.extend([Cell::Text("ours - paper".to_owned()), Cell::Missing]);
    let pairs = ours.cells.iter().zip(&paper.cells).skip(cells.len());
    cells.extend(pairs.map(|pair| match pair {
        (Cell::Number(a), Cell::Number(b)) => Cell::Number(Number::plain(a.value - b.value)),
        _ => Cell::Missing,
    }));
    Row {
        kind: RowKind::Difference,
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
    notes.extend(provenance(&part.runs));
    for s in used.iter().filter(|s| !s.undefined.is_empty()) {
        notes.push(format!(
            "{} {} {}: undefined and left out for seeds {}.",
            s.model,
            s.method,
            s.task,
            join(&s.undefined)
        ));
    }
    for run in &part.failed {
        if let crate::record::Status::Failed { error } = &run.status {
            notes.push(format!(
                "Failed: {} {} {} seed {} ({}): {}",
                run.model,
                run.method,
                run.task,
                run.seed,
                run.id,
                error.lines().next().unwrap_or("no message")
            ));
        }
    }
    notes
}

fn metrics(tasks: &[PaperTask]) -> String {
    let mut by_metric: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for task in tasks {
        by_metric.entry(&task.metric).or_default().push(&task.task);
    }
    let phrase = |(metric, tasks): (&&str, &Vec<&str>)| format!("{metric} for {}", tasks.join(", "));
    let mut text = by_metric.iter().map(phrase).collect::<Vec<_>>().join("; ");
    if tasks.iter().any(|task| task.task == "MNLI") {
        text.push_str(" (MNLI: matched)");
    }
    text
}

fn seeds(used: &[&Summary]) -> String {
    let sets: BTreeSet<&Vec<u64>> = used.iter().map(|s| &s.seeds).collect();
    let all: BTreeSet<u64> = sets.iter().flat_map(|set| set.iter().copied()).collect();
    match sets.len() {
        0 => "No seeds yet.".to_owned(),
        1 => format!("Seeds: {}.", join(&all)),
        _ => format!("Seeds: from {}, not the same in every cell.", join(&all)),
    }
}

fn provenance(runs: &[RunRecord]) -> Vec<String> {
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
    let device = runs.iter().map(|run| {
        let p = &run.provenance;
        let cpu = if p.host.cpu.is_empty() {
            String::new()
        } else {
            format!(" ({})", p.host.cpu)
        };
        format!("{}{cpu}, {}, {} threads", p.device, p.dtype, p.threads)
    });
    let line = |what: &str, list: Option<String>| list.map(|list| format!("{what}: {list}."));
    [
        line("Weights (SHA-256)", distinct(weights)),
        line("Data (SHA-256)", distinct(data)),
        line("Device", distinct(device)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The different ones, sorted; `None` where there are none.
fn distinct(items: impl Iterator<Item = String>) -> Option<String> {
    let set: BTreeSet<String> = items.collect();
    (!set.is_empty()).then(|| set.into_iter().collect::<Vec<_>>().join("; "))
}

fn join<'a>(seeds: impl IntoIterator<Item = &'a u64>) -> String {
    seeds.into_iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// `STS-B`, `sts-b` and `stsb` are one task.
fn plain(task: &str) -> String {
    task.chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_ascii_lowercase()
}

/// A file name's stem: lower-case words joined by hyphens.
fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}
