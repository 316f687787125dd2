//! From the store to `tables/`.

use anyhow::Result;
use results::{Filter, Store, Table};

/// The tables of the runs with these ids.
///
/// # Errors
/// Records that cannot be read.
pub fn of(store: &Store, ids: impl Iterator<Item = String>) -> Result<Vec<Table>> {
    Ok(results::tables(store, &Filter::ids(ids))?)
}

/// Writes the tables of everything in the store to `OUT/tables`.
///
/// # Errors
/// Records or folders that cannot be read or written.
pub fn write(store: &Store) -> Result<()> {
    for table in results::tables(store, &Filter::default())? {
        table.write(&store.dir().join("tables"))?;
    }
    Ok(())
}
