//! The fourth phase: what is shown while runs are computed, and the tables at the end.

pub mod console;
pub mod json_events;
pub mod next;
pub mod profile;
pub mod resume_command;
pub mod samples;
pub mod tables;
pub mod tensorboard;
pub mod tfevents;

use crate::experiment::Experiment;
use crate::runner::Outcome;
use crate::runner::events::RunEvent;
use anyhow::Result;
use results::{Figure, Store, Table};

/// The tables, and the text around them.
pub struct Report {
    tables: Vec<Table>,
    swept: Vec<(Table, Figure)>,
    samples: Option<String>,
    closing: Option<String>,
    next: Option<String>,
    resume_command: Option<String>,
    status: Status,
    experiment: &'static Experiment,
    store: Store,
}

/// How the runs ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All finished.
    Finished,
    /// Some failed.
    Failed,
    /// Ctrl-C stopped them.
    Interrupted,
}

impl Report {
    /// Reads the tables of the runs from their records. After Ctrl-C they may be missing, and the command that resumes is added.
    ///
    /// # Errors
    /// Records or texts that cannot be read.
    pub fn new(outcome: Outcome) -> Result<Report> {
        let Outcome {
            experiment,
            runs,
            store,
            ..
        } = outcome;
        let ids = runs.iter().map(|run| run.id.clone());
        let tables = tables::of(experiment, &store, outcome.preset.as_deref(), ids);
        let swept = tables::swept(&store, &runs, &outcome.sweeps)?;
        if outcome.interrupted {
            let by_cargo = resume_command::by_cargo();
            let tables = tables.unwrap_or_else(|error| {
                tracing::warn!("no table: {}", support::printable(format!("{error:#}")));
                Vec::new()
            });
            return Ok(Report {
                tables,
                swept,
                samples: None,
                closing: None,
                next: None,
                resume_command: Some(resume_command::command(std::env::args_os(), outcome.resume, by_cargo)),
                status: Status::Interrupted,
                experiment,
                store,
            });
        }
        let next = tables::plots(&store, &swept) + &next::commands(experiment, &store, &runs, outcome.base.as_deref());
        Ok(Report {
            tables: tables?
                .into_iter()
                .chain(swept.iter().map(|(table, _)| table.clone()))
                .collect(),
            swept,
            samples: samples::samples(&store, &runs)?,
            closing: outcome.closing,
            next: Some(next),
            resume_command: None,
            status: if outcome.failed == 0 {
                Status::Finished
            } else {
                Status::Failed
            },
            experiment,
            store,
        })
    }

    /// Shows the report, and writes the tables of all records unless Ctrl-C stopped the runs.
    ///
    /// # Errors
    /// Tables that cannot be written.
    pub fn publish(&self, emit: &mut dyn FnMut(&RunEvent)) -> Result<Status> {
        emit(&RunEvent::Tables {
            tables: &self.tables,
            texts: self.samples.as_deref(),
            closing: self.closing.as_deref(),
            next: self.next.as_deref(),
            resume_command: self.resume_command.as_deref(),
        });
        if self.status != Status::Interrupted {
            tables::write(self.experiment, &self.store)?;
            tables::write_swept(&self.store, &self.swept)?;
        }
        Ok(self.status)
    }
}
