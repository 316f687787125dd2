//! The events of a batch of runs, and who observes them.
//!
//! To add an observer: a file with its [`Observer`] and a line in `crate::app`.

use crate::plan::planned::Planned;
use lora_core::train::Event;
use results::Table;
use results::record::RunRecord;

/// One event. Their order: the plan, each run from its start to its end (those of several runs interleaved), the tables.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The runs are planned.
    Plan {
        /// All runs with their states.
        runs: &'a [Planned],
        /// The device's name.
        device: &'a str,
    },
    /// A run starts or resumes.
    Started(&'a Planned),
    /// An event of the training loop of a run.
    Training(&'a Planned, &'a Event<'a>),
    /// The stage after training has done some of its inputs.
    Generating {
        /// The run.
        run: &'a Planned,
        /// Inputs done.
        done: usize,
        /// Inputs in all.
        total: usize,
    },
    /// A run finished or failed, and its record is kept.
    Ended(&'a Planned, &'a RunRecord),
    /// Another process computes the run.
    Elsewhere {
        /// The run.
        run: &'a Planned,
        /// Whether another process has computed it since the plan was made; else it is computing it now.
        done: bool,
    },
    /// Ctrl-C stopped the run, with the place in words.
    Interrupted(&'a Planned, &'a str),
    /// All runs have ended.
    Tables {
        /// The tables of the finished runs.
        tables: &'a [Table],
        /// The text after the tables.
        closing: Option<&'a str>,
        /// Some generated texts beside their references.
        texts: Option<&'a str>,
        /// Where everything was written, and the next commands.
        next: Option<&'a str>,
        /// After Ctrl-C, the command that resumes.
        resume_command: Option<&'a str>,
    },
}

/// An observer of events. Its errors are its own and never stop a run.
pub trait Observer: Send {
    /// Receives one event.
    fn on_event(&mut self, event: &RunEvent);
}
