//! Tables of Section 7 and of the appendix (Tables 1, 5, 6, 7, 15, 16 and 18): rows with several heads, one column per swept value,
//! our rows above the paper's.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::shared::{join, marks, not_run, provenance, seeds_of};
use super::value::{Cell, Number, RowKind, Table, TableKind, TableRow};
use crate::error::Result;
use crate::estimator::Estimator;
use crate::paper::{self, Score};
use crate::record::RunRecord;
use crate::store::Selection;
use crate::sweep::{self, SweepRow};
use crate::verdict::{self, Verdict};

/// The paper's rows of a [`GridTable`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PaperGrid {
    /// The table's name.
    #[serde(skip)]
    name: &'static str,
    /// Citation.
    pub(super) source: String,
    /// Title.
    pub(super) title: String,
    /// Names of the head columns.
    pub(super) heads: Vec<String>,
    /// Names of the columns of numbers.
    pub(super) columns: Vec<String>,
    /// Digits after the decimal point, by column; as printed if left out.
    #[serde(default)]
    pub(super) decimals: Vec<usize>,
    /// The rows in their order.
    rows: Vec<PaperGridRow>,
    /// Notes on the table.
    notes: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PaperGridRow {
    heads: Vec<String>,
    cells: Vec<Option<Score>>,
}

/// A table with the paper's rows below ours.
pub(super) struct GridTable {
    /// [`TableKind::name`].
    pub(super) name: &'static str,
    /// [`TableKind::about`].
    pub(super) about: &'static str,
    /// The paper's numbers: text of `paper/NAME.yaml`.
    pub(super) paper: &'static str,
    /// [`TableKind::tables`], given the paper's numbers.
    pub(super) tables: fn(&PaperGrid, &Selection) -> Vec<Table>,
}

impl GridTable {
    fn paper(&self) -> Result<PaperGrid> {
        let grid = paper::read(self.name, self.paper)?;
        Ok(PaperGrid {
            name: self.name,
            ..grid
        })
    }
}

impl TableKind for GridTable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn tables(&self, stored: &Selection) -> Result<Vec<Table>> {
        Ok((self.tables)(&self.paper()?, stored))
    }

    fn paper_only(&self) -> Result<Option<Table>> {
        Ok(Some(self.paper()?.table(None)))
    }
}

/// Our rows of a [`GridTable`].
pub(super) struct Ours {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) notes: Vec<String>,
    /// The paper's conclusions, tested on the rows; the notes hold them in words.
    pub(super) verdicts: Vec<Verdict>,
}

impl PaperGrid {
    /// Our rows, then the paper's. Without rows of ours, a row of dashes takes their place.
    pub(super) fn table(&self, ours: Option<Ours>) -> Table {
        let ours = ours.unwrap_or_else(|| Ours {
            columns: self.columns.clone(),
            rows: vec![not_run(self.heads.len() + self.columns.len())],
            notes: Vec::new(),
            verdicts: Vec::new(),
        });
        let columns = ours.columns;
        let header = self.heads.iter().chain(&columns).cloned().collect();
        let row = |kind| move |cells| TableRow { kind, cells };
        let mut rows: Vec<TableRow> = ours.rows.into_iter().map(row(RowKind::Ours)).collect();
        // Table 1 shares no column with the paper's if other batches and lengths were measured.
        let shared = self.columns.iter().any(|column| columns.contains(column));
        rows.extend(
            self.rows
                .iter()
                .filter(|_| shared)
                .map(|quoted| self.quoted(quoted, &columns))
                .map(row(RowKind::Paper)),
        );
        let mut notes = Vec::new();
        if shared {
            let source = &self.source;
            notes.push(format!(
                "Rows named \"paper\" quote {source}; all others are ours, and none is the paper's setting."
            ));
            notes.extend(self.notes.iter().cloned());
        }
        notes.extend(ours.notes);
        notes.push("–: not measured.".to_owned());
        notes.extend(marks(&rows));
        let n = rows.iter().flat_map(|row| &row.cells).filter_map(Cell::seeds);
        Table {
            name: self.name.to_owned(),
            title: self.title.clone(),
            header,
            show_n: n.collect::<BTreeSet<_>>().len() > 1,
            rows,
            notes,
            verdicts: ours.verdicts,
        }
    }

    fn quoted(&self, row: &PaperGridRow, columns: &[String]) -> Vec<Cell> {
        let mut cells: Vec<Cell> = row.heads.iter().cloned().map(Cell::Text).collect();
        if let Some(Cell::Text(first)) = cells.first_mut() {
            *first = format!("paper: {first}");
        }
        cells.extend(columns.iter().map(|column| {
            let at = self.columns.iter().position(|c| c == column);
            let score = at.and_then(|at| row.cells.get(at).copied().flatten());
            score.map_or(Cell::Missing, |score| {
                Cell::quoted(score, at.map_or(1, |at| self.decimals(at, score.value())))
            })
        }));
        cells
    }

    /// Sort key of a column: its place in the paper's table; other columns come last, by name.
    pub(super) fn place(&self, column: &str) -> (usize, String) {
        let at = self.columns.iter().position(|c| c == column);
        (at.unwrap_or(usize::MAX), column.to_owned())
    }

    fn decimals(&self, column: usize, value: f64) -> usize {
        let printed = value.to_string();
        let own = printed.split_once('.').map_or(0, |(_, digits)| digits.len()).max(1);
        self.decimals.get(column).copied().unwrap_or(own)
    }

    /// The table of a sweep over runs; none without rows. `note` describes the cells, and `verdicts` the outcomes of the claims.
    pub(super) fn sweep(
        &self,
        rows: &[SweepRow<'_>],
        columns: Vec<String>,
        swept: &[&str],
        note: &str,
        verdicts: Vec<Verdict>,
    ) -> Vec<Table> {
        if rows.is_empty() {
            return Vec::new();
        }
        let cells = rows.iter().map(|row| self.swept(row, &columns)).collect();
        let mut runs: Vec<&RunRecord> = rows.iter().flat_map(|row| row.runs.iter().copied()).collect();
        runs.sort_by(|a, b| a.id.cmp(&b.id));
        runs.dedup_by(|a, b| a.id == b.id);
        let mut notes = vec![format!(
            "Cells: {note}; {}. {}",
            Estimator::words(runs.iter().map(|run| run.task.as_str())),
            seeds_of(&runs)
        )];
        notes.extend(matched(&runs));
        notes.extend(Some(verdict::text(&verdicts)).filter(|text| !text.is_empty()));
        notes.extend(rows.iter().flat_map(undefined));
        let uneven = sweep::uneven_settings(rows, swept);
        if !uneven.is_empty() {
            notes.push(format!("Not the same in all cells of a row: {}.", uneven.join("; ")));
        }
        notes.extend(provenance(&runs));
        let ours = Ours {
            columns,
            rows: cells,
            notes,
            verdicts,
        };
        vec![self.table(Some(ours))]
    }

    fn swept(&self, row: &SweepRow<'_>, columns: &[String]) -> Vec<Cell> {
        let mut cells: Vec<Cell> = row
            .heads
            .iter()
            .take(self.heads.len())
            .map(|head| {
                if head.is_empty() {
                    Cell::Missing
                } else {
                    Cell::Text(head.clone())
                }
            })
            .collect();
        let name = cells.iter_mut().rfind(|cell| cell.is_name());
        if let (false, Some(Cell::Text(name))) = (row.variant.is_empty(), name) {
            *name = format!("{name} ({})", row.variant);
        }
        cells.extend(columns.iter().map(|column| {
            row.cells.get(column).map_or(Cell::Missing, |level| {
                let Some(number) = level.number else {
                    return Cell::Undefined {
                        undefined: level.undefined.len(),
                    };
                };
                let at = self.columns.iter().position(|c| c == column);
                let decimals = at.and_then(|at| self.decimals.get(at).copied()).unwrap_or(1);
                Cell::Number(Number { decimals, ..number })
            })
        }));
        cells
    }
}

/// Note on MNLI's dev sets.
fn matched(runs: &[&RunRecord]) -> Option<String> {
    let shown = runs.iter().any(|run| run.metric.starts_with("dev_matched/"));
    shown.then(|| {
        "MNLI: the accuracy on the matched dev set; records have the mismatched and the pooled one too.".to_owned()
    })
}

/// Notes on seeds for which the metric of a cell is undefined.
fn undefined(row: &SweepRow<'_>) -> Vec<String> {
    let some = row.cells.iter().filter(|(_, level)| !level.undefined.is_empty());
    some.map(|(column, level)| {
        let (name, seeds) = (row.name(2), join(&level.undefined));
        format!("{name} {column}: undefined and left out for seeds {seeds}, which count as seeds.")
    })
    .collect()
}

/// The paper's columns and ours, in the order of `key`.
pub(super) fn columns<K: Ord>(paper: &PaperGrid, rows: &[SweepRow<'_>], key: impl Fn(&str) -> K) -> Vec<String> {
    let ours: BTreeSet<&String> = rows.iter().flat_map(|row| row.cells.keys()).collect();
    let mut all: BTreeSet<&String> = paper.columns.iter().collect();
    all.extend(ours);
    let mut all: Vec<String> = all.into_iter().cloned().collect();
    all.sort_by_key(|column| key(column));
    all
}
