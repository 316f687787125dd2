//! The tables of an experiment, from its records.

use crate::experiment::Experiment;
use crate::plan::planned::Planned;
use anyhow::Result;
use results::by_value::BySetting;
use results::{Figure, Filter, RunRecord, Store, Table};

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

/// The tables and figures of what was swept.
///
/// # Errors
/// Records that cannot be read.
pub fn swept(store: &Store, runs: &[Planned], sweeps: &[BySetting]) -> Result<Vec<(Table, Figure)>> {
    if sweeps.is_empty() {
        return Ok(Vec::new());
    }
    let mut records = Vec::new();
    for run in runs {
        let names = std::iter::once(&run.config).chain(run.also.iter().map(|(config, _)| config));
        if let Some(record) = store.get(&run.id)? {
            // A stored run may have other names, too.
            records.extend(names.map(|config| RunRecord {
                method: config.method_name.clone(),
                ..record.clone()
            }));
        }
    }
    Ok(sweeps.iter().map(|by| by.report(&records)).collect())
}

/// Where [`write_swept`] draws them, one a line.
pub fn plots(store: &Store, swept: &[(Table, Figure)]) -> String {
    let path = |figure: &Figure| store.dir().join("figures").join(format!("{}.png", figure.name));
    let line = |(table, figure): &(Table, Figure)| format!("{}: {}\n", table.title, path(figure).display());
    swept.iter().map(line).collect()
}

/// Writes them to `OUT/tables` and `OUT/figures`.
///
/// # Errors
/// Folders that cannot be written, figures that cannot be drawn.
pub fn write_swept(store: &Store, swept: &[(Table, Figure)]) -> Result<()> {
    for (table, figure) in swept {
        table.write(&store.dir().join("tables"))?;
        for (extension, bytes) in figure.files()? {
            let path = store.dir().join("figures").join(format!("{}.{extension}", figure.name));
            support::write_atomic(path, &bytes)?;
        }
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
