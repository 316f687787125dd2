//! Scores by the value of one setting: the table and the figure at the end of `glue --sweep`.

use std::collections::{BTreeMap, BTreeSet};

use crate::estimator::Estimator;
use crate::figure::{Axis, Content, Figure, Panel, Point, Series};
use crate::methods;
use crate::record::RunRecord;
use crate::stem::slug;
use crate::sweep;
use crate::table::{Cell, Number, RowKind, Table, TableRow, provenance, seeds_of};

/// A method with one value of the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Its name in the records: `lora-r4`.
    pub name: String,
    /// The method: `lora`.
    pub method: String,
    /// The value: `4`.
    pub value: String,
}

/// The runs of a sweep.
#[derive(Clone, Debug, Default)]
pub struct BySetting {
    /// The setting's path: `r`, `train.lr`.
    pub key: String,
    /// The values, in the order that was asked for.
    pub values: Vec<String>,
    /// The methods with each value.
    pub members: Vec<Swept>,
    /// Methods that lack the setting and so were not run.
    pub left_out: Vec<String>,
}

/// Model, task and method of a row, and the metric's name.
type Row<'a> = (&'a str, String, &'a str, String);

impl BySetting {
    /// The table and the figure of the finished runs among `runs`.
    #[must_use]
    pub fn report(&self, runs: &[RunRecord]) -> (Table, Figure) {
        let mut rows: BTreeMap<Row, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
        let mut used: Vec<&RunRecord> = Vec::new();
        for run in runs.iter().filter(|run| run.finished()) {
            let Some(member) = self.members.iter().find(|member| member.name == run.method) else {
                continue;
            };
            let column = self.values.iter().position(|value| *value == member.value);
            let (Some(column), Some((metric, score))) = (column, sweep::headline(run)) else {
                continue;
            };
            let row = (
                run.model.as_str(),
                sweep::printed_task(run),
                member.method.as_str(),
                metric,
            );
            rows.entry(row).or_default().entry(column).or_default().extend(score);
            used.push(run);
        }
        let numbers: BTreeMap<Row, BTreeMap<usize, Number>> = rows
            .into_iter()
            .map(|(row, columns)| {
                let estimator = Estimator::of(&row.1.to_lowercase());
                let defined = columns.into_iter().filter(|(_, scores)| !scores.is_empty());
                let number = |(column, scores): (usize, Vec<f64>)| (column, estimator.number(&scores));
                (row, defined.map(number).collect())
            })
            .collect();
        (self.table(&numbers, &used), self.figure(&numbers, &used))
    }

    fn stem(&self) -> String {
        format!("sweep-{}", slug(&self.key))
    }

    fn table(&self, numbers: &BTreeMap<Row, BTreeMap<usize, Number>>, used: &[&RunRecord]) -> Table {
        let heads = ["Model", "Task", "Method", "Metric"].map(String::from);
        let values = self.values.iter().map(|value| format!("{}={value}", last(&self.key)));
        let row = |(row, columns): (&Row, &BTreeMap<usize, Number>)| {
            let names = [row.0.to_owned(), row.1.clone(), row.2.to_owned(), row.3.clone()];
            let cell = |column| {
                columns
                    .get(&column)
                    .map_or(Cell::Missing, |number| Cell::Number(*number))
            };
            TableRow {
                kind: RowKind::Ours,
                cells: names
                    .map(Cell::Text)
                    .into_iter()
                    .chain((0..self.values.len()).map(cell))
                    .collect(),
            }
        };
        let counts: BTreeSet<Option<usize>> = numbers.values().flat_map(BTreeMap::values).map(|n| n.n).collect();
        Table {
            name: self.stem(),
            title: format!("Score by {}", self.key),
            header: heads.into_iter().chain(values).collect(),
            rows: numbers.iter().map(row).collect(),
            notes: self.notes(used),
            show_n: counts.len() > 1,
            verdicts: Vec::new(),
        }
    }

    fn notes(&self, used: &[&RunRecord]) -> Vec<String> {
        let mut notes = vec![format!(
            "Cells: {}, in per cent. {}",
            Estimator::words(used.iter().map(|run| run.task.as_str())),
            seeds_of(used)
        )];
        if !self.left_out.is_empty() {
            notes.push(format!(
                "Not run, since they have no setting `{}`: {}.",
                self.key,
                self.left_out.join(", ")
            ));
        }
        notes.extend(provenance(used));
        notes
    }

    /// The kind whose look each method has.
    fn looks<'a>(&'a self, used: &[&'a RunRecord]) -> BTreeMap<&'a str, &'a str> {
        let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
        for run in used {
            if let Some(member) = self.members.iter().find(|member| member.name == run.method) {
                kinds.insert(&member.method, sweep::kind(run));
            }
        }
        let looks = methods::looks_apart(&kinds.values().copied().collect::<Vec<_>>());
        kinds.into_keys().zip(looks).collect()
    }

    /// A panel a model and task, a line a method; the values stand at equal distances.
    fn figure(&self, numbers: &BTreeMap<Row, BTreeMap<usize, Number>>, used: &[&RunRecord]) -> Figure {
        let looks = self.looks(used);
        let mut panels: BTreeMap<(&str, &str, &str), Vec<Series>> = BTreeMap::new();
        for ((model, task, method, metric), columns) in numbers {
            let point = |(column, number): (&usize, &Number)| Point {
                x: *column as f64 + 1.0,
                y: number.value,
                spread: number.spread,
                filled: number.n.is_some_and(|n| n > 1),
            };
            let series = Series {
                name: (*method).to_owned(),
                method: looks.get(method).unwrap_or(method).to_string(),
                points: columns.iter().map(point).collect(),
                ..Series::default()
            };
            panels.entry((model, task, metric)).or_default().push(series);
        }
        let panel = |((model, task, metric), series): ((&str, &str, &str), Vec<Series>)| {
            let ends = series.iter().flat_map(|series| &series.points);
            let ends: Vec<f64> = ends
                .flat_map(|p| [p.y - p.spread.unwrap_or(0.0), p.y + p.spread.unwrap_or(0.0)])
                .collect();
            Panel {
                title: format!("{task}, {model}"),
                x: Axis::named(self.key.clone(), self.values.iter().cloned()),
                y: Axis::spanning(format!("{metric} (%)"), ends, 6),
                content: Content::Series(series),
            }
        };
        let panels: Vec<Panel> = panels.into_iter().map(panel).collect();
        let columns = panels.len().clamp(1, 2);
        let counts: BTreeSet<Option<usize>> = numbers.values().flat_map(BTreeMap::values).map(|n| n.n).collect();
        let one = counts.contains(&Some(1)).then_some("Hollow: one seed.");
        let bars = counts.iter().any(|n| n.is_some_and(|n| n > 1));
        let bars = bars.then_some("Bars: ± sample standard deviation (n - 1).");
        let mut foot = vec![seeds_of(used)];
        foot.extend(one.into_iter().chain(bars).map(String::from));
        foot.extend(provenance(used));
        Figure {
            name: self.stem(),
            title: format!("Score by {}", self.key),
            foot,
            shows: format!("Scores by the value of {}.", self.key),
            caption: seeds_of(used),
            verdicts: Vec::new(),
            panels: panels.chunks(columns).map(<[Panel]>::to_vec).collect(),
            widths: vec![1.0; columns],
            height: 270,
            bar: None,
        }
    }
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Store;

    #[test]
    fn scores_stand_by_value_and_missing_ones_are_dashes() {
        let store = Store::existing(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut runs = store.records().unwrap();
        let of = |run: &RunRecord| run.task == "mrpc" && run.method == "lora" && run.model == "minilm-l6";
        runs.retain(|run| of(run) && run.config["method"]["r"] == 8);
        let scores: Vec<f64> = runs.iter().map(|run| run.best.unwrap().value * 100.0).collect();
        for run in &mut runs {
            run.method = "lora-r8".into();
        }
        let member = |value: &str| Swept {
            name: format!("lora-r{value}"),
            method: "lora".into(),
            value: value.into(),
        };
        let by = BySetting {
            key: "r".into(),
            values: vec!["4".into(), "8".into()],
            members: vec![member("4"), member("8")],
            left_out: vec!["head".into()],
        };
        let (table, figure) = by.report(&runs);
        assert_eq!(table.header[4..], ["r=4", "r=8"]);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0].cells[4], Cell::Missing);
        let Cell::Number(number) = table.rows[0].cells[5] else {
            panic!("{:?}", table.rows[0]);
        };
        assert!(
            scores.iter().any(|score| (score - number.value).abs() < 1e-9),
            "the median of an odd number"
        );
        assert_eq!(number.n, Some(scores.len()));
        assert!(
            table.notes.iter().any(|note| note.contains("`r`: head")),
            "{:?}",
            table.notes
        );
        assert_eq!(figure.panels.len(), 1);
        assert!(figure.files().unwrap().iter().all(|(_, bytes)| !bytes.is_empty()));
    }
}
