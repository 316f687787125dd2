//! All tables and figures of some records.

use crate::error::Result;
use crate::figure::{FIGURES, Figure};
use crate::store::Selection;
use crate::table::{RowKind, TABLES, Table, TableRow};

/// The published tables and figures.
#[derive(Clone, Debug, Default)]
pub struct Published {
    /// The tables; those without runs show the paper's numbers alone.
    pub tables: Vec<Table>,
    /// The figures; those without measurements have empty panels.
    pub figures: Vec<Figure>,
}

impl Published {
    /// What was measured, and what was not.
    pub(crate) fn parted(self) -> (Self, Self) {
        let ours = |table: &Table| {
            let measured = |row: &TableRow| row.cells.first().is_some_and(|cell| !cell.is_word("not run yet"));
            table.rows.iter().any(|row| row.kind == RowKind::Ours && measured(row))
        };
        let (tables, no_tables) = self.tables.into_iter().partition(ours);
        let (figures, no_figures) = self.figures.into_iter().partition(|figure| !figure.is_empty());
        let measured = Self { tables, figures };
        let unmeasured = Self {
            tables: no_tables,
            figures: no_figures,
        };
        (measured, unmeasured)
    }
}

/// The tables and figures of the selected records, of the kinds that `wanted` accepts by name.
///
/// # Errors
/// As [`crate::table::TableKind::tables`] and [`crate::figure::FigureKind::figures`].
pub fn gather(stored: &Selection, wanted: impl Fn(&str) -> bool) -> Result<Published> {
    let mut all = Published::default();
    for kind in TABLES.iter().filter(|kind| wanted(kind.name())) {
        let built = crate::table::built(*kind, stored)?;
        if !built.iter().any(|table| table.name == kind.name()) {
            all.tables.extend(kind.paper_only()?);
        }
        all.tables.extend(built);
    }
    for kind in FIGURES.iter().filter(|kind| wanted(kind.name())) {
        all.figures.extend(kind.figures(stored)?);
    }
    Ok(all)
}
