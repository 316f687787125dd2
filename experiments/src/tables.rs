//! From the store to the terminal and to `tables/`.

use anyhow::Result;
use results::{Filter, Store, Table};
use std::path::PathBuf;

/// Prints the tables of these runs, and writes the tables of everything in the store to `OUT/tables`.
///
/// # Errors
/// Records or folders that cannot be read or written.
pub fn publish(store: &Store, ids: impl Iterator<Item = String>) -> Result<Vec<PathBuf>> {
    for table in results::table2(store, &Filter::ids(ids))? {
        println!("{}", table.terminal(width()));
    }
    let mut written = Vec::new();
    for table in results::table2(store, &Filter::default())? {
        written.extend(Table::write(&table, &store.dir().join("tables"))?);
    }
    Ok(written)
}

/// Columns of the terminal, or of a file.
fn width() -> usize {
    let term = console::Term::stdout();
    if term.is_term() {
        usize::from(term.size().1)
    } else {
        results::table::TERMINAL_WIDTH
    }
}
