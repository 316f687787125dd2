//! The tables of an experiment, from its records.

use crate::experiment::Experiment;
use anyhow::Result;
use results::{Filter, Store, Table};

/// The experiment's tables of the runs with these ids, under their names in the experiment.
///
/// # Errors
/// Records that cannot be read.
pub fn of(
    experiment: &Experiment,
    store: &Store,
    preset: Option<&str>,
    ids: impl Iterator<Item = String>,
) -> Result<Vec<Table>> {
    let filter = Filter {
        experiment: Some(experiment.name.into()),
        preset: preset.map(String::from),
        ..Filter::ids(ids)
    };
    kinds(experiment, store, &filter)
}

/// Writes the experiment's tables of all records to `OUT/tables`.
///
/// # Errors
/// Records or folders that cannot be read or written.
pub fn write(experiment: &Experiment, store: &Store) -> Result<()> {
    for table in kinds(experiment, store, &Filter::default())? {
        table.write(&store.dir().join("tables"))?;
    }
    Ok(())
}

fn kinds(experiment: &Experiment, store: &Store, filter: &Filter) -> Result<Vec<Table>> {
    Ok(results::tables(store, filter, |kind| {
        experiment.tables.contains(&kind)
    })?)
}

#[cfg(test)]
mod tests {
    use crate::experiment::registry::EXPERIMENTS;

    #[test]
    fn every_experiment_has_tables_and_they_are_known() {
        let known: Vec<&str> = results::TABLES.iter().map(|kind| kind.name()).collect();
        for experiment in EXPERIMENTS.iter() {
            assert!(!experiment.tables.is_empty(), "{}", experiment.name);
            for table in &experiment.tables {
                assert!(known.contains(table), "{}: {table}", experiment.name);
            }
        }
    }
}
