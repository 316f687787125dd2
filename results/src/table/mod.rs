//! Tables as values: what stands in the cells and what must be said below them. [`TABLES`] lists the queries that
//! make them; a new table is a file here and a line there.

pub mod efficiency;
mod grid;
mod render;
mod shared;
pub mod table1;
pub mod table13;
pub mod table14;
pub mod table15;
pub mod table16;
pub mod table18;
pub mod table2;
pub mod table3;
pub mod table4;
pub mod table5;
pub mod table6;
pub mod table7;
mod texts;

pub use render::TERMINAL_WIDTH;
pub(crate) use render::{grouped, wrap};
pub(crate) use shared::{provenance, seeds_of};
pub use table2::table2;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::atomic::write_atomic;
use crate::error::Result;
use crate::store::{Filter, Selection, Store};

/// A kind of table.
#[derive(Debug)]
pub struct TableKind {
    /// Its name, also the stem of its files.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Makes the tables of some runs: runs that must not stand side by side go into tables of their own.
    pub build: fn(&Selection) -> Result<Vec<Table>>,
    /// The table without anything of ours: the paper's numbers below a row of dashes.
    pub blank: fn() -> Result<Table>,
}

/// All tables.
pub static TABLES: &[TableKind] = &[
    TableKind {
        name: "table1",
        about: "Latency of forward passes with adapters",
        build: table1::build,
        blank: table1::blank,
    },
    TableKind {
        name: "table2",
        about: "GLUE: each method's median over seeds, task by task",
        build: table2::build,
        blank: table2::blank,
    },
    TableKind {
        name: "table3",
        about: "E2E: each method's mean over seeds, metric by metric",
        build: table3::build,
        blank: table3::blank,
    },
    TableKind {
        name: "table4",
        about: "WikiSQL and SAMSum, likewise",
        build: table4::build,
        blank: table4::blank,
    },
    TableKind {
        name: "table5",
        about: "Which weights LoRA adapts, at a fixed number of parameters",
        build: table5::build,
        blank: table5::blank,
    },
    TableKind {
        name: "table6",
        about: "The rank of LoRA, task by task",
        build: table6::build,
        blank: table6::blank,
    },
    TableKind {
        name: "table7",
        about: "Projections of frozen weights onto updates, and amplification",
        build: table7::build,
        blank: table7::blank,
    },
    TableKind {
        name: "table13",
        about: "DART, as Table 3",
        build: table13::build,
        blank: table13::blank,
    },
    TableKind {
        name: "table14",
        about: "WebNLG, likewise: unseen categories, seen ones, and all",
        build: table14::build,
        blank: table14::blank,
    },
    TableKind {
        name: "table15",
        about: "Methods at several sizes",
        build: table15::build,
        blank: table15::blank,
    },
    TableKind {
        name: "table16",
        about: "Little training data",
        build: table16::build,
        blank: table16::blank,
    },
    TableKind {
        name: "table18",
        about: "The rank of LoRA on E2E, metric by metric",
        build: table18::build,
        blank: table18::blank,
    },
    TableKind {
        name: "efficiency",
        about: "Memory, checkpoints and speed of training (Section 4.2)",
        build: efficiency::build,
        blank: efficiency::blank,
    },
];

/// Every table of a kind that `wants` admits by its name, of the runs that `filter` admits. A record that cannot be read is
/// left out, and named below every table.
///
/// # Errors
/// As [`Store::select_readable`], and those of the tables.
pub fn tables(store: &Store, filter: &Filter, wants: impl Fn(&str) -> bool) -> Result<Vec<Table>> {
    let (selection, bad) = store.select_readable(filter)?;
    let kinds = TABLES.iter().filter(|kind| wants(kind.name));
    let built: Result<Vec<_>> = kinds.map(|kind| (kind.build)(&selection)).collect();
    let mut built: Vec<Table> = built?.into_iter().flatten().collect();
    for table in &mut built {
        let left_out = bad.iter().map(|error| format!("Left out: {}.", error.whole()));
        table.notes.extend(left_out);
    }
    Ok(built)
}

/// A table, ready for any renderer: [`Table::terminal`], [`Table::markdown`], [`Table::latex`], [`Table::csv`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Table {
    /// Stem of its files.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Column names.
    pub header: Vec<String>,
    /// As many cells a row as the header has names.
    pub rows: Vec<Row>,
    /// Seeds, aggregate, selection rule, model, data, device, whose numbers these are, and what is missing.
    pub notes: Vec<String>,
    /// Whether rows, or cells where a row's differ, show their number of seeds: set where it is not the same everywhere.
    pub show_n: bool,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Whose numbers these are.
    pub kind: RowKind,
    /// The cells.
    pub cells: Vec<Cell>,
}

/// Whose numbers a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKind {
    /// Computed by this program.
    Ours,
    /// Quoted from the paper.
    Paper,
    /// Ours minus the paper's, from the row two above and the row above.
    Difference,
}

impl RowKind {
    /// As the CSV names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Paper => "paper",
            Self::Difference => "difference",
        }
    }
}

/// A cell. As JSON its bare content; `null` where nothing was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(i64),
    /// A measured or quoted number.
    Number(Number),
    /// It was run, for so many seeds, and the metric is defined for none of them.
    Undefined {
        /// How many.
        undefined: usize,
    },
    /// Nothing was measured; printed as a dash, never filled in.
    Missing,
}

/// A number with what is known of its spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Number {
    /// In the unit of the column.
    pub value: f64,
    /// What stands behind the ±.
    pub spread: Option<f64>,
    /// Seeds behind it, with those for which the metric is undefined; `None` for quoted numbers, averages and differences.
    pub n: Option<usize>,
    /// Digits behind the point.
    pub decimals: usize,
}

impl Cell {
    /// Whether it is this word.
    pub(crate) fn says(&self, word: &str) -> bool {
        matches!(self, Self::Text(text) if text == word)
    }
}

impl Number {
    /// A bare value with one decimal.
    #[must_use]
    pub fn plain(value: f64) -> Self {
        Self {
            value,
            spread: None,
            n: None,
            decimals: 1,
        }
    }
}

impl Table {
    /// Writes `NAME.md`, `NAME.tex` and `NAME.csv` into `dir`, each whole or not at all.
    ///
    /// # Errors
    /// [`crate::Error::Io`], [`crate::Error::Csv`].
    pub fn write(&self, dir: &Path) -> Result<Vec<PathBuf>> {
        let files = [("md", self.markdown()), ("tex", self.latex()), ("csv", self.csv()?)];
        let write = |(extension, text): (&str, String)| {
            let path = dir.join(format!("{}.{extension}", self.name));
            write_atomic(&path, text.as_bytes()).map(|()| path)
        };
        files.into_iter().map(write).collect()
    }
}
