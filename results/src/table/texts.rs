//! Tables of generated texts: one row per (model, method), one column per metric.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::shared::{
    RowKey, difference_row, distinct, each_part, failures, marks, not_run, provenance, seeds, undefined,
};
use super::value::{Cell, Number, RowKind, Table, TableKind, TableRow};
use crate::error::Result;
use crate::frame::{Summary, frame, summary};
use crate::paper::{Origin, PaperRow, PaperTable};
use crate::record::RunRecord;
use crate::store::Selection;

/// A table of generated texts.
pub(super) struct TextTable<'a> {
    /// [`TableKind::name`].
    pub name: &'a str,
    /// [`TableKind::about`].
    pub about: &'static str,
    /// Start of the title.
    pub title: &'a str,
    /// Experiments whose runs the table shows.
    pub experiments: &'a [&'a str],
    /// Columns, in the order of the paper's scores.
    pub columns: &'a [Column<'a>],
    /// The paper's numbers: text of `paper/NAME.yaml`; `None` for data sets that are not in the paper.
    pub paper: Option<&'static str>,
    /// Note for tables that quote the paper although none of their runs is a row of it; `None` for tables that do not.
    pub quoted_anyway: Option<&'static str>,
}

/// Metrics that need data files which may be missing.
const NEED_DATA: [&str; 2] = ["METEOR", "TER"];

/// A column of a [`TextTable`].
pub(super) struct Column<'a> {
    /// Heading.
    pub name: &'a str,
    /// The task.
    pub task: &'a str,
    /// Part of the split: empty for all, `_seen`, `_unseen`.
    pub group: &'static str,
    /// The metric's name in records.
    pub metric: &'a str,
    /// Factor from the recorded to the printed unit: 100 for per cent, else 1.
    pub scale: f64,
    /// Digits after the decimal point.
    pub decimals: usize,
}

impl TableKind for TextTable<'static> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn tables(&self, stored: &Selection) -> Result<Vec<Table>> {
        self.build(stored)
    }

    fn paper_only(&self) -> Result<Option<Table>> {
        let paper = self.paper()?;
        let mut table = self.empty(None);
        table.name = self.name.to_owned();
        let cells = not_run(table.header.len());
        let kind = RowKind::Ours;
        table.rows.push(TableRow { kind, cells });
        table.rows.extend(paper.rows.iter().map(|row| self.paper_row(row)));
        let quoted: Vec<&PaperRow> = paper.rows.iter().collect();
        table.notes = self.notes(&paper, &quoted, &[], &Selection::default(), false);
        Ok(Some(table))
    }
}

impl TextTable<'_> {
    /// First the table of the runs in the paper's settings, with the paper's numbers below each; then one table for each other
    /// (preset, label).
    pub(super) fn build(&self, stored: &Selection) -> Result<Vec<Table>> {
        let paper = self.paper()?;
        each_part(stored, self.experiments, self.name, |label, part| {
            self.one(&paper, label, part)
        })
    }

    fn paper(&self) -> Result<PaperTable> {
        let read = |text| PaperTable::read(self.name, text);
        self.paper.map_or_else(|| Ok(PaperTable::default()), read)
    }

    fn empty(&self, label: Option<&str>) -> Table {
        let mut table = Table {
            name: String::new(),
            title: match label {
                None => format!("{}: runs in the paper's setting, beside its numbers", self.title),
                Some(label) => format!("{}: {label}", self.title),
            },
            header: ["Model", "Method", "Trained"].map(String::from).to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
            show_n: false,
            verdicts: Vec::new(),
        };
        table.header.extend(self.columns.iter().map(|c| c.name.to_owned()));
        table
    }

    fn one(&self, paper: &PaperTable, label: Option<&str>, part: &Selection) -> Result<Table> {
        let summaries = summary(frame(&part.runs)?)?;
        let mut rows: BTreeMap<RowKey, Vec<&Summary>> = BTreeMap::new();
        for s in &summaries {
            let quoted = s.paper_row.as_ref().map(|id| paper.row(id)).transpose()?;
            let place = quoted.and_then(|row| paper.rows.iter().position(|other| std::ptr::eq(other, row)));
            rows.entry(RowKey::new(place, s, &summaries)).or_default().push(s);
        }
        let mut table = self.empty(label);
        let (mut used, mut quoted) = (Vec::new(), Vec::new());
        for (key, group) in &rows {
            let ours = self.our_row(key, group, &mut used);
            match key.place.map(|i| &paper.rows[i]) {
                None => table.rows.push(ours),
                Some(row) => {
                    let theirs = self.paper_row(row);
                    let difference = difference_row(&ours, &theirs);
                    table.rows.extend([ours, theirs, difference]);
                    quoted.push(row);
                }
            }
        }
        if label.is_some() && self.quoted_anyway.is_some() {
            table.rows.extend(paper.rows.iter().map(|row| self.paper_row(row)));
            quoted.extend(&paper.rows);
        }
        table.show_n = used
            .windows(2)
            .any(|pair| pair[0].run_seeds().len() != pair[1].run_seeds().len());
        table.notes = self.notes(paper, &quoted, &used, part, label.is_some());
        table.notes.extend(marks(&table.rows));
        Ok(table)
    }

    fn our_row<'a>(&self, key: &RowKey, group: &[&'a Summary], used: &mut Vec<&'a Summary>) -> TableRow {
        let mut cells = key.cells(group);
        for column in self.columns {
            let found = group.iter().copied().find(|s| column.is_of(s));
            // Scorers without their data files record no value.
            let found = found.filter(|s| s.mean.is_some() || !NEED_DATA.contains(&column.metric));
            cells.push(found.map_or(Cell::Missing, |s| {
                used.push(s);
                let n = s.run_seeds().len();
                let Some(mean) = s.mean else {
                    return Cell::Undefined { undefined: n };
                };
                Cell::Number(Number {
                    value: mean * column.scale,
                    spread: s.std.map(|std| std * column.scale),
                    n: Some(n),
                    decimals: column.decimals,
                })
            }));
        }
        TableRow {
            kind: RowKind::Ours,
            cells,
        }
    }

    fn paper_row(&self, row: &PaperRow) -> TableRow {
        let star = if row.origin == Origin::Quoted { "*" } else { "" };
        let mut cells = vec![
            Cell::Text(row.model.clone()),
            Cell::Text(format!("paper: {}{star}", row.name)),
            Cell::Text(format!("{}M", row.params_m)),
        ];
        let scores = self.columns.iter().zip(&row.scores);
        cells.extend(scores.map(|(column, score)| Cell::quoted(*score, column.decimals)));
        TableRow {
            kind: RowKind::Paper,
            cells,
        }
    }

    fn notes(
        &self,
        paper: &PaperTable,
        quoted: &[&PaperRow],
        used: &[&Summary],
        part: &Selection,
        apart: bool,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        if quoted.is_empty() {
            notes.push("All numbers are ours; none is quoted, and no row is a row of the paper.".to_owned());
        } else {
            let star = "* quoted there from earlier work.";
            let below = self.quoted_anyway.filter(|_| apart);
            let below = below.unwrap_or("Below each, ours minus the paper's.");
            notes.push(format!(
                "Rows named \"paper\" quote {}; all others are ours. {star} {below}",
                paper.source
            ));
            notes.extend(paper.notes.iter().cloned());
            let own = |row: &&PaperRow| {
                row.notes
                    .iter()
                    .map(|n| format!("Paper's {}: {n}.", row.id))
                    .collect::<Vec<_>>()
            };
            notes.extend(quoted.iter().flat_map(own));
            let labels = distinct(part.runs.iter().map(|run| run.label.clone()));
            notes.extend(labels.filter(|_| !apart).map(|labels| format!("Ours: {labels}.")));
        }
        notes.push(format!(
            "Cells: mean over seeds ± sample standard deviation (n - 1). {}{}",
            self.units(),
            seeds(used)
        ));
        notes.extend(distinct(used.iter().map(|s| s.selection.clone())).map(|rules| format!("Selection: {rules}.")));
        notes.extend(distinct(part.runs.iter().filter_map(decoding)).map(|how| format!("Texts: {how}.")));
        notes.extend(distinct(part.runs.iter().filter_map(limit)).map(|most| format!("Not all of the data: {most}.")));
        notes.push("Trained: all parameters that are trained; there is no head. –: not measured.".to_owned());
        for (metric, needs) in [
            ("METEOR", "its data are at hand (--meteor-data)"),
            ("TER", "the parameters of NLTK's tokenizer are at hand (--punkt-data)"),
        ] {
            if self.lacks(metric, part) {
                notes.push(format!("{metric} is measured where {needs}; it is never filled in."));
            }
        }
        notes.extend(provenance(&part.runs));
        notes.extend(undefined(used));
        notes.extend(failures(&part.failed));
        notes
    }

    /// Note on columns in per cent, and on those where less is better.
    fn units(&self) -> String {
        let named = |of: &dyn Fn(&Column) -> bool| {
            let names: BTreeSet<&str> = self.columns.iter().filter(|c| of(c)).map(|c| c.metric).collect();
            (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
        };
        let percent = named(&|c| c.scale == 100.0).map(|names| format!("In per cent: {names}. "));
        let lower = named(&|c| c.metric == "TER").map(|names| format!("Less is better: {names}. "));
        percent.unwrap_or_default() + &lower.unwrap_or_default()
    }

    fn lacks(&self, metric: &str, part: &Selection) -> bool {
        let of_metric = |key: &String| key.rsplit('/').next() == Some(metric);
        let lacks = |run: &RunRecord| {
            let metrics = run.best_eval().map(|eval| &eval.metrics);
            metrics.is_some_and(|m| m.iter().any(|(key, value)| of_metric(key) && value.is_none()))
        };
        self.columns.iter().any(|c| c.metric == metric) && part.runs.iter().any(lacks)
    }
}

impl Column<'_> {
    /// Whether the summary belongs in this column: its metric, on whichever split was decoded.
    fn is_of(&self, s: &Summary) -> bool {
        let Some((split, metric)) = s.metric.split_once('/') else {
            return false;
        };
        let group = ["test", "dev"].iter().find_map(|name| split.strip_prefix(name));
        s.task == self.task && metric == self.metric && group == Some(self.group)
    }
}

/// Description of the run's decoding: `test by beam search as in the paper's code, 10 beams, ...`.
fn decoding(run: &RunRecord) -> Option<String> {
    let decode = run.config.get("decode")?;
    let get = |key: &str| decode.get(key).map(plain).unwrap_or_default();
    let how = match get("strategy").as_str() {
        "beam" => format!(
            "beam search as in {}, {} beams, length penalty {}",
            match get("flavour").as_str() {
                "paper" => "the paper's code",
                "transformers_3" => "transformers 3",
                _ => "transformers",
            },
            get("beams"),
            get("length_penalty")
        ),
        "sample" => format!("sampling at temperature {}", get("temperature")),
        other => other.to_owned(),
    };
    let ban = match get("no_repeat_ngram").as_str() {
        "0" => String::new(),
        n => format!(", no {n} tokens in a row twice"),
    };
    let words = decode.get("bad_words").and_then(Value::as_array);
    let words: Vec<String> = words.into_iter().flatten().map(plain).collect();
    let words = match words.is_empty() {
        true => String::new(),
        false => format!(", never the tokens {}", words.join(", ")),
    };
    Some(format!(
        "{} by {how}{ban}{words}, at most {} tokens",
        get("split"),
        get("max_new_tokens")
    ))
}

/// Description of limits on the run's rows: `the first rows of train 100, test 50`.
fn limit(run: &RunRecord) -> Option<String> {
    let limit = run.config.get("limit")?.as_object()?;
    let parts: Vec<String> = limit
        .iter()
        .map(|(key, rows)| format!("{key} {}", plain(rows)))
        .collect();
    (!parts.is_empty()).then(|| format!("the first rows of {}", parts.join(", ")))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), String::from)
}
