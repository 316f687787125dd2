//! What an experiment is, and its one main function.

pub mod ablations;
pub mod presets;
pub mod text;

use crate::cli::{self, ExperimentArgs, set_threads};
use crate::config::run_config::RunConfig;
use crate::inputs::assets::Inputs;
use crate::labels::Origin;
use crate::plan::{self, Planned};
use crate::report::console::{Aside, Console};
use crate::report::events::{Observer, RunEvent};
use crate::report::json_events::Json;
use crate::report::resume_command;
use crate::report::tensorboard::TensorBoard;
use crate::report::{samples, tables};
use crate::runner::execute::{Session, add_names, backfill_scores};
use crate::runner::scheduler;
use crate::task::Task;
use crate::task::generation::scorers::{DataArgs, Scorers};
use anyhow::{Context, Result, bail};
use clap::{Args, Command, FromArgMatches};
use results::{Store, Table};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// A program of its own: its tasks, presets, data and tables.
pub struct Experiment {
    /// Its name: that of the program, the log file, and in records.
    pub name: &'static str,
    /// What it does, for `--help`: one line, and more after an empty one.
    pub about: &'static str,
    /// What `--help` ends with.
    pub examples: &'static str,
    /// What lies below every preset and every file, weakest first: what errors call it, and the text.
    pub defaults: &'static [(&'static str, &'static str)],
    /// Name and text of each configuration that comes with the program.
    pub presets: &'static [(&'static str, &'static str)],
    /// Its tasks.
    pub tasks: fn() -> Vec<&'static dyn Task>,
    /// Its tables, by their names in [`results::TABLES`].
    pub tables: &'static [&'static str],
    /// Whether its tasks write texts, so that it takes [`DataArgs`].
    pub writes: bool,
    /// The folder that `--data` names, in words.
    pub folder: &'static str,
    /// The data sets of the hub that can be used.
    pub repositories: &'static [&'static str],
}

/// All experiments.
pub static EXPERIMENTS: &[&Experiment] = &[
    &crate::task::glue::GLUE,
    &text::E2E,
    &text::WIKISQL,
    &text::SAMSUM,
    &text::WEBNLG,
    &text::DART,
    // Last: its tasks are those of others.
    &crate::experiment::ablations::ABLATIONS,
];

static STOP: AtomicBool = AtomicBool::new(false);

/// After Ctrl-C.
const INTERRUPTED: i32 = 130;

impl Experiment {
    /// The task of that name; case, `-` and `_` do not matter (`STS-B`, `sts-b`, `stsb`).
    ///
    /// # Errors
    /// An unknown name, with the known ones.
    pub fn task(&self, name: &str) -> Result<&'static dyn Task> {
        let plain = |s: &str| s.replace(['-', '_'], "").to_ascii_lowercase();
        let tasks = (self.tasks)();
        match tasks.iter().find(|t| plain(t.id()) == plain(name)) {
            Some(task) => Ok(*task),
            None => {
                let known: Vec<&str> = tasks.iter().map(|t| t.id()).collect();
                bail!("unknown task \"{name}\"; known tasks: {}", known.join(", "))
            }
        }
    }

    /// The text of a preset.
    ///
    /// # Errors
    /// An unknown name; the known ones are listed.
    pub fn preset(&self, name: &str) -> Result<&'static str> {
        let found = self.presets.iter().find(|(known, _)| *known == name);
        match found {
            Some((_, text)) => Ok(text),
            None => {
                let known: Vec<&str> = self.presets.iter().map(|(name, _)| *name).collect();
                bail!("unknown preset `{name}`; known: {}", known.join(", "))
            }
        }
    }

    /// The whole program: reads the command line, runs, and says what went wrong.
    pub fn program(&'static self) -> ExitCode {
        let matches = self.command().get_matches();
        let run = || {
            let args = ExperimentArgs::from_arg_matches(&matches)?;
            let tools = match self.writes {
                true => DataArgs::from_arg_matches(&matches)?.open()?,
                false => Scorers::default(),
            };
            self.main(&args, &tools)
        };
        cli::finish(run())
    }

    /// Its command line.
    pub fn command(&self) -> Command {
        let (short, _) = self.about.split_once("\n\n").unwrap_or((self.about, ""));
        let command = ExperimentArgs::augment_args(Command::new(self.name));
        let command = match self.writes {
            true => DataArgs::augment_args(command),
            false => command,
        };
        // What the groups of flags say of themselves is written over.
        command
            .version(env!("CARGO_PKG_VERSION"))
            .about(short)
            .long_about(self.about)
            .after_help(self.examples)
            // The last of two wins, so that an alias can be overridden.
            .args_override_self(true)
    }

    /// Plans, runs what is missing, scores with `tools`, prints the tables. Exit status 1 if a run failed, 130 after Ctrl-C.
    ///
    /// # Errors
    /// Anything that keeps the whole experiment from going on.
    pub fn main(&'static self, args: &ExperimentArgs, tools: &Scorers) -> Result<ExitCode> {
        if args.list {
            print!("{}", args.listing(self));
            return Ok(ExitCode::SUCCESS);
        }
        let mut raw = args.experiment(self)?;
        let origin = Origin::of(args, self)?;
        let threads = set_threads(args.threads)?;
        let device = lora_core::device::parse(&args.device)?;
        let store = Store::open(&args.out)?;
        // Before the data are read, so that what is to be said of them is heard. A plan alone writes nothing.
        let mut observers = match args.dry_run {
            true => Vec::new(),
            false => self.observers(args)?,
        };
        let mut inputs = Inputs::open(self, raw.model.as_deref(), raw.data.as_deref(), args.show.quiet)?;
        origin.name_model(&mut raw, &inputs);
        let mut runs = plan::plan(&raw, self, &mut inputs, &store)?;
        plan::keep(&mut runs, args.keep);
        let split = scheduler::split(args.jobs, threads, &runs, &inputs, device)?;
        if args.dry_run {
            plan::check_starts(&runs, &store)?;
            plan::check_rows(&runs, &inputs)?;
            if args.show.json {
                Json::default().on_event(&RunEvent::Plan {
                    runs: &runs,
                    device: &lora_core::device::name(device),
                });
            } else {
                print!("{}", plan::describe(&runs, &inputs, device, split)?);
            }
            return Ok(ExitCode::SUCCESS);
        }
        plan::check_starts(&runs, &store)?;
        let untouched = args.untouched(self)?;
        let paper_row = |run: &RunConfig| raw.paper_row(self, untouched.as_ref()?, run);
        let session = Session {
            inputs: &inputs,
            store: &store,
            device,
            split,
            words: origin.words(&raw, &inputs, &runs, args.preset()),
            paper_row: &paper_row,
            resume: args.resume,
            stop: &STOP,
            tools,
        };
        self.compute(&session, &runs, &mut observers)
    }

    /// Runs what is missing and shows what came of it.
    fn compute(&self, session: &Session, runs: &[Planned], observers: &mut [Box<dyn Observer>]) -> Result<ExitCode> {
        // One at a time runs on this thread.
        tch::set_num_threads(session.split.threads as i32);
        let mut emit = |news: &RunEvent| observers.iter_mut().for_each(|l| l.on_event(news));
        emit(&RunEvent::Plan {
            runs,
            device: &lora_core::device::name(session.device),
        });
        let outcome = scheduler::run_all(session, runs, &mut emit)?;
        backfill_scores(session, runs)?;
        add_names(session, runs)?;
        let preset = session.words.preset.as_deref();
        let tables = tables::of(self, session.store, preset, runs.iter().map(|r| r.id.clone()));
        if outcome.interrupted {
            stopped(tables, session.resume, &mut emit);
            return Ok(ExitCode::from(INTERRUPTED as u8));
        }
        emit(&RunEvent::Tables {
            tables: &tables?,
            texts: samples::samples(session.store, runs)?.as_deref(),
            closing: session.words.closing.as_deref(),
            go_on: None,
        });
        tables::write(self, session.store)?;
        Ok(if outcome.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Who is told what happens.
    fn observers(&self, args: &ExperimentArgs) -> Result<Vec<Box<dyn Observer>>> {
        let console = Console::start(self.name, &args.show, &args.out)?;
        on_interrupt(console.aside())?;
        let mut observers: Vec<Box<dyn Observer>> = vec![Box::new(console), Box::new(TensorBoard::new(&args.out))];
        if args.show.json {
            observers.push(Box::new(Json::default()));
        }
        Ok(observers)
    }
}

/// The table so far, and how to go on; where there is no table, the latter alone.
fn stopped(tables: Result<Vec<Table>>, resume: bool, emit: &mut dyn FnMut(&RunEvent)) {
    let tables = tables.unwrap_or_else(|error| {
        tracing::warn!("no table: {}", support::printable(format!("{error:#}")));
        Vec::new()
    });
    let go_on = resume_command::command(std::env::args_os(), resume);
    emit(&RunEvent::Tables {
        tables: &tables,
        texts: None,
        closing: None,
        go_on: Some(&go_on),
    });
}

/// The first Ctrl-C asks for a checkpoint and a clean end, the second ends at once: files are written whole or not at all.
fn on_interrupt(aside: Aside) -> Result<()> {
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::Relaxed) {
            // Without the C library's clean-up, which libtorch's threads at work do not survive.
            signal_hook::low_level::exit(INTERRUPTED);
        }
        aside.line("\nStopping after this step; press Ctrl-C again to stop at once.");
    })
    .context("listening for Ctrl-C")
}
