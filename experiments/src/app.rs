//! The program of every experiment: flags and files -> resolved experiment -> plan -> outcome -> report.

use crate::experiment::Experiment;
use crate::experiment::flags::ExperimentArgs;
use crate::experiment::rates::{self, Stage};
use crate::experiment::registry;
use crate::experiment::resolved::Resolved;
use crate::plan::{Plan, dry_run};
use crate::report::console::{Console, LineWriter, OutputArgs};
use crate::report::json_events::JsonEvents;
use crate::report::profile::{Ceiling, Profiling};
use crate::report::tensorboard::TensorBoard;
use crate::report::{Report, Status};
use crate::runner::events::{Observer, RunEvent};
use crate::runner::{self, Outcome};
use crate::task::generation::scorers::{DataArgs, Scorers};
use anyhow::{Context, Result};
use clap::{Args, Command, FromArgMatches};
use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// Exit status after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Runs the experiment of that name: the whole of its binary.
pub fn main(name: &str) -> ExitCode {
    main_of(name, name, std::env::args_os().skip(1))
}

/// Runs the experiment of that name with these flags, under the program's name `program`.
pub fn main_of(name: &str, program: &str, flags: impl IntoIterator<Item = OsString>) -> ExitCode {
    let flags: Vec<OsString> = flags.into_iter().collect();
    if let [word, preset] = &flags[..]
        && word.as_os_str() == "config"
    {
        let text = registry::find(name).and_then(|experiment| experiment.preset(&preset.to_string_lossy()));
        return finish(text.map(|text| {
            print!("{text}");
            ExitCode::SUCCESS
        }));
    }
    let words = std::iter::once(OsString::from(program)).chain(flags);
    let cli = registry::find(name).and_then(|experiment| Cli::parse(experiment, program, words));
    finish(cli.and_then(|cli| match &cli.args {
        args if args.list => cli.list(),
        args if args.print_config => cli.print_config(),
        args if args.dry_run => cli.dry_run(),
        _ => cli.run(),
    }))
}

/// The exit status of a result; an error is printed on one line, with its causes.
pub fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("error: {}", support::printable(format!("{error:#}")));
        ExitCode::FAILURE
    })
}

/// The command line of an experiment.
pub fn command(experiment: &Experiment) -> Command {
    let (short, _) = experiment.about.split_once("\n\n").unwrap_or((&experiment.about, ""));
    let command = OutputArgs::augment_args(ExperimentArgs::augment_args(Command::new(experiment.name)));
    let command = experiment.flags.iter().fold(command, |command, add| add(command));
    // After the groups of flags, whose descriptions would replace it.
    command
        .version(env!("CARGO_PKG_VERSION"))
        .about(short.to_owned())
        .long_about(experiment.about.to_string())
        .after_help(experiment.examples.to_string())
        // The last of two wins, so that an alias can be overridden.
        .args_override_self(true)
}

/// An experiment and its command line.
struct Cli {
    experiment: &'static Experiment,
    args: ExperimentArgs,
    show: OutputArgs,
    scorers: Scorers,
}

impl Cli {
    /// Reads the command line; `words` begin with the name of the program.
    fn parse(experiment: &'static Experiment, program: &str, words: impl Iterator<Item = OsString>) -> Result<Cli> {
        let matches = command(experiment).bin_name(program.to_owned()).get_matches_from(words);
        Ok(Cli {
            experiment,
            args: ExperimentArgs::from_arg_matches(&matches)?,
            show: OutputArgs::from_arg_matches(&matches)?,
            scorers: DataArgs::scorers(&matches)?,
        })
    }

    /// The phases of an experiment. Observers start before model and data are read, whose warnings go to the log.
    fn run(&self) -> Result<ExitCode> {
        let resolved = Resolved::new(self.experiment, &self.args)?;
        let mut observers = self.observers()?;
        let mut emit = |event: &RunEvent| observers.iter_mut().for_each(|observer| observer.on_event(event));
        let profiling = Profiling::start(self.args.profile.as_deref())?;
        let (outcome, ceiling) = self.outcome(resolved, &mut emit)?;
        let report = Report::new(outcome)?;
        let status = report.publish(&mut emit)?;
        drop(observers);
        if let Some(profiling) = profiling {
            eprint!("\n{}", profiling.finish(ceiling.measure())?);
        }
        Ok(exit_code(status))
    }

    /// Computes the runs, after those that try learning rates where the configuration asks for them.
    fn outcome(&self, mut resolved: Resolved, emit: &mut (dyn FnMut(&RunEvent) + Send)) -> Result<(Outcome, Ceiling)> {
        let mut compute = |resolved: Resolved| {
            let plan = Plan::new(resolved, self.show.quiet)?;
            let ceiling = Ceiling::of(&plan)?;
            Ok::<_, anyhow::Error>((runner::run(plan, &self.scorers, &STOP, &mut *emit)?, ceiling))
        };
        if let Some(tries) = resolved.tries() {
            let (tried, ceiling) = compute(tries)?;
            if tried.interrupted {
                return Ok((tried, ceiling));
            }
            let runs = tried.runs.iter().map(|run| (&run.config, run.id.as_str()));
            resolved.stage = Stage::Chosen(rates::choose(runs, &tried.store)?);
        }
        compute(resolved)
    }

    /// Prints the configuration.
    fn print_config(&self) -> Result<ExitCode> {
        print!("{}", self.args.config(self.experiment)?.commented()?);
        Ok(ExitCode::SUCCESS)
    }

    /// Prints presets, tasks and methods.
    fn list(&self) -> Result<ExitCode> {
        print!("{}", self.args.listing(self.experiment));
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the plan; where learning rates are tried, that of the tries, and then that of the runs that count. Nothing is
    /// written.
    fn dry_run(&self) -> Result<ExitCode> {
        let resolved = Resolved::new(self.experiment, &self.args)?;
        if let Some(tries) = resolved.tries() {
            self.show_plan(tries)?;
            if !self.show.json {
                println!("Then, with the best rate of each task and method in place of the configured one:\n");
            }
        }
        self.show_plan(resolved)?;
        Ok(ExitCode::SUCCESS)
    }

    fn show_plan(&self, resolved: Resolved) -> Result<()> {
        let plan = Plan::new(resolved, self.show.quiet)?;
        dry_run::check_rows(&plan)?;
        if self.show.json {
            JsonEvents::default().on_event(&RunEvent::Plan {
                runs: &plan.runs,
                device: &lora_core::device::name(plan.device),
            });
        } else {
            print!("{}", dry_run::describe(&plan)?);
        }
        Ok(())
    }

    fn observers(&self) -> Result<Vec<Box<dyn Observer>>> {
        let out = &self.args.out;
        let console = Console::start(self.experiment.name, &self.show, out)?;
        on_interrupt(console.aside())?;
        let mut observers: Vec<Box<dyn Observer>> = vec![Box::new(console), Box::new(TensorBoard::new(out))];
        if self.show.json {
            observers.push(Box::new(JsonEvents::default()));
        }
        Ok(observers)
    }
}

fn exit_code(status: Status) -> ExitCode {
    match status {
        Status::Finished => ExitCode::SUCCESS,
        Status::Failed => ExitCode::FAILURE,
        Status::Interrupted => ExitCode::from(INTERRUPTED as u8),
    }
}

/// The first Ctrl-C stops after a checkpoint, the second at once: files are written whole or not at all.
fn on_interrupt(aside: LineWriter) -> Result<()> {
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::Relaxed) {
            // Without the C library's clean-up, which libtorch's running threads do not survive.
            signal_hook::low_level::exit(INTERRUPTED);
        }
        aside.line("\nStopping after this step; press Ctrl-C again to stop at once.");
    })
    .context("listening for Ctrl-C")
}
