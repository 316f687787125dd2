//! What happens while an experiment runs, told to all who show it or keep it.
//!
//! To add a listener: a file with its [`Observer`], and a line in `Experiment::observers`.

use crate::plan::Planned;
use lora_core::train::Event;
use results::Table;
use results::record::RunRecord;

/// One thing that happened. They come in this order: the plan, each run from its start to its end
/// (several at once, if there are jobs), the tables.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// What there is to do.
    Plan {
        /// All runs with their states.
        runs: &'a [Planned],
        /// The device's name.
        device: &'a str,
    },
    /// A run begins, or goes on.
    Started(&'a Planned),
    /// What the training loop of the run says.
    Training(&'a Planned, &'a Event<'a>),
    /// After training, texts are written; so many there are.
    Generating {
        /// The run.
        run: &'a Planned,
        /// Texts that are written.
        done: usize,
        /// Texts in all.
        total: usize,
    },
    /// A run came to its end, good or bad, and its record is kept.
    Ended(&'a Planned, &'a RunRecord),
    /// A run is not computed here.
    Elsewhere {
        /// The run.
        run: &'a Planned,
        /// Whether another process has done it since the plan was made; else it is doing it now.
        done: bool,
    },
    /// Ctrl-C stopped the run; where, in words.
    Interrupted(&'a Planned, &'a str),
    /// Nothing more will be computed.
    Tables {
        /// The tables of the finished runs.
        tables: &'a [Table],
        /// What the experiment's configuration has to say of them.
        closing: Option<&'a str>,
        /// A few of the texts that were written, beside their references.
        texts: Option<&'a str>,
        /// After Ctrl-C the command that goes on.
        go_on: Option<&'a str>,
    },
}

/// Whoever wants to know. What goes wrong with a listener is its own affair and never stops a run.
pub trait Observer: Send {
    /// Is told one thing.
    fn on_event(&mut self, news: &RunEvent);
}
