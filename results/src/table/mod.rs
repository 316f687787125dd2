//! Registry of tables. To add one: a file in this folder with a [`TableKind`], a `mod` line, and a line in [`TABLES`].

mod efficiency;
mod fair;
mod in_words;
mod other_texts;
mod paper_grid;
mod render;
mod shared;
mod table1;
mod table13;
mod table14;
mod table15;
mod table16;
mod table18;
mod table2;
mod table3;
mod table4;
mod table5;
mod table6;
mod table7;
mod texts;
mod value;

pub use other_texts::{table_of_texts, text_metric};
pub use render::TERMINAL_WIDTH;
pub(crate) use render::{grouped, markdown_escape, wrap};
pub(crate) use shared::{join, metrics_of, provenance, seeds_of};
pub use value::{Cell, Number, RowKind, Table, TableKind, TableRow};

use std::collections::BTreeSet;

use crate::error::Result;
use crate::store::{Filter, Selection, Store};

/// All tables.
pub static TABLES: &[&dyn TableKind] = &[
    &table1::TABLE,
    &table2::Table2,
    &table3::TABLE,
    &table4::TABLE,
    &table5::TABLE,
    &table6::TABLE,
    &table7::TABLE,
    &table13::TABLE,
    &table14::TABLE,
    &table15::TABLE,
    &table16::TABLE,
    &table18::TABLE,
    &efficiency::TABLE,
    &fair::Fair,
    &other_texts::OtherTexts,
];

/// The tables of the kinds that `wanted` accepts by name, made from the records that `filter` admits. A record that cannot be
/// read is skipped and named in the notes of every table.
///
/// # Errors
/// As [`Store::select_readable`] and [`TableKind::tables`].
pub fn tables(store: &Store, filter: &Filter, wanted: impl Fn(&str) -> bool) -> Result<Vec<Table>> {
    let (selection, bad) = store.select_readable(filter)?;
    let kinds = TABLES.iter().filter(|kind| wanted(kind.name()));
    let built: Result<Vec<_>> = kinds.map(|kind| built(*kind, &selection)).collect();
    let mut built: Vec<Table> = built?.into_iter().flatten().collect();
    for table in &mut built {
        let left_out = bad.iter().map(|error| format!("Left out: {}.", error.with_causes()));
        table.notes.extend(left_out);
    }
    Ok(built)
}

/// The tables of a kind, with titles that say which numbers are of one seed.
///
/// # Errors
/// As [`TableKind::tables`].
pub(crate) fn built(kind: &dyn TableKind, selection: &Selection) -> Result<Vec<Table>> {
    let mut built = kind.tables(selection)?;
    for table in &mut built {
        let words = of_one_seed(table);
        table.title.push_str(words);
    }
    Ok(built)
}

/// What the title says of numbers from one seed.
fn of_one_seed(table: &Table) -> &'static str {
    let ours = table.rows.iter().filter(|row| row.kind == RowKind::Ours);
    let seeds: BTreeSet<usize> = ours.flat_map(|row| &row.cells).filter_map(Cell::seeds).collect();
    match (seeds.contains(&1), seeds.len()) {
        (true, 1) => "; one seed",
        (true, _) => "; one seed where n = 1",
        _ => "",
    }
}
