//! The program of every experiment: flags and files -> resolved experiment -> plan -> outcome -> report.

use crate::experiment::Experiment;
use crate::experiment::flags::ExperimentArgs;
use crate::experiment::rates::{self, Stage};
use crate::experiment::registry;
use crate::experiment::resolved::Resolved;
use crate::launch::args::{LaunchArgs, Launcher};
use crate::launch::journal::Journal;
use crate::launch::processes::Fleet;
use crate::launch::sweep::Sweep;
use crate::launch::worker::{self, Worker};
use crate::launch::world::{World, refuse_ranks, refuse_several};
use crate::launch::{slurm, stop};
use crate::plan::calibrate::Paces;
use crate::plan::planned::State;
use crate::plan::{Plan, dry_run};
use crate::report::console::{Console, LineWriter, OutputArgs};
use crate::report::json_events::JsonEvents;
use crate::report::profile::{Ceiling, Profiling};
use crate::report::tensorboard::TensorBoard;
use crate::report::{Report, Status};
use crate::runner::events::{Observer, RunEvent};
use crate::runner::scheduler::{self, BatchEnd, Emit, INTERRUPTED};
use crate::runner::session::Session;
use crate::runner::sharing::Sharing;
use crate::runner::{self, Compute, Outcome, host};
use crate::task::generation::scorers::{DataArgs, Scorers};
use anyhow::{Context, Result, ensure};
use clap::{Args, Command, FromArgMatches};
use lora_core::train::Ranks;
use results::listing;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

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
        return finish_with(text.map(String::from));
    }
    let words = std::iter::once(OsString::from(program)).chain(flags);
    let cli = registry::find(name).and_then(|experiment| Cli::parse(experiment, program, words));
    finish(cli.and_then(|cli| {
        let ended = cli.main();
        if let (Err(error), false) = (&ended, cli.ranks().is_alone()) {
            // The others may wait for this rank.
            cli.ranks().abort(&support::printable(format!("{error:#}")));
        }
        ended
    }))
}

/// Prints a program's answer, and its errors as [`finish`] does.
pub fn finish_with(answer: Result<String>) -> ExitCode {
    finish(answer.and_then(|text| {
        support::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }))
}

/// Runs a program of one process that is no experiment, with warnings on stderr, and prints its answer.
pub fn tool(answer: impl FnOnce() -> Result<String>) -> ExitCode {
    show_warnings();
    finish_with(refuse_several().and_then(|()| answer()))
}

/// Shows warnings on stderr, such as those of a hub that does not answer. Experiments have a console and a log.
pub fn show_warnings() {
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        .with_max_level(tracing::Level::WARN);
    // A program has one reader of them: the first.
    let _ = lines.try_init();
}

/// The exit status of a result; an error is printed on one line, with its causes.
pub fn finish(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        let text = support::printable(format!("error: {error:#}"));
        eprintln!("{}", listing::wrapped(&text, listing::error_width()));
        ExitCode::FAILURE
    })
}

/// The command line of an experiment.
pub fn command(experiment: &Experiment) -> Command {
    let (short, _) = experiment.about.split_once("\n\n").unwrap_or((&experiment.about, ""));
    let command = LaunchArgs::augment_args(ExperimentArgs::augment_args(Command::new(experiment.name)));
    let command = OutputArgs::augment_args(command);
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
    launch: LaunchArgs,
    show: OutputArgs,
    scorers: Scorers,
    world: World,
}

impl Cli {
    fn main(&self) -> Result<ExitCode> {
        self.launch.check(&self.args, self.show.json, self.ranks().size())?;
        let shows = self.args.list || self.args.print_config || self.args.dry_run;
        match &self.launch.worker {
            _ if shows && !self.ranks().is_first() => Ok(ExitCode::SUCCESS),
            _ if self.args.list => self.list(),
            _ if self.args.print_config => self.print_config(),
            _ if self.args.dry_run => self.dry_run(),
            Some(place) => self.work(place),
            None => self.run(),
        }
    }

    /// The processes that compute each run together.
    fn ranks(&self) -> &dyn Ranks {
        self.world.ranks()
    }

    /// Reads the command line; `words` begin with the name of the program.
    fn parse(experiment: &'static Experiment, program: &str, words: impl Iterator<Item = OsString>) -> Result<Cli> {
        let matches = command(experiment).bin_name(program.to_owned()).get_matches_from(words);
        Ok(Cli {
            experiment,
            args: ExperimentArgs::from_arg_matches(&matches)?,
            launch: LaunchArgs::from_arg_matches(&matches)?,
            show: OutputArgs::from_arg_matches(&matches)?,
            scorers: DataArgs::scorers(&matches)?,
            world: World::join()?,
        })
    }

    /// The phases of an experiment. Observers start before model and data are read, whose warnings go to the log.
    fn run(&self) -> Result<ExitCode> {
        let resolved = self.resolved()?;
        let mut observers = self.observers()?;
        let mut emit = |event: &RunEvent| observers.iter_mut().for_each(|observer| observer.on_event(event));
        stop::watch(&STOP, None)?;
        if self.launch.launcher == Launcher::Slurm
            && let Some(said) = self.submit(&resolved)?
        {
            support::print(&said)?;
            return Ok(ExitCode::SUCCESS);
        }
        let profiling = Profiling::start(self.args.profile.as_deref())?;
        let (outcome, ceiling) = match self.launch.launcher {
            Launcher::Processes => self.outcome_of_processes(resolved, &mut emit)?,
            // What Slurm's jobs have computed is only shown.
            Launcher::Local | Launcher::Slurm => self.outcome(resolved, None, &mut scheduler::run_all, &mut emit)?,
        };
        if !self.ranks().is_first() {
            return Ok(ExitCode::SUCCESS);
        }
        let report = Report::new(outcome)?;
        let status = report.publish(&mut emit)?;
        drop(observers);
        if let Some(profiling) = profiling {
            eprint!("\n{}", profiling.finish(ceiling.measure())?);
        }
        Ok(exit_code(status))
    }

    /// The configuration with all flags, which must have an effect.
    fn resolved(&self) -> Result<Resolved> {
        self.launch.check_sets(&self.args.sets)?;
        let resolved = self.resolved_for_ranks()?;
        resolved.config.slurm.validate()?;
        Ok(resolved)
    }

    /// The configuration, whose runs several ranks compute one after the other.
    fn resolved_for_ranks(&self) -> Result<Resolved> {
        let mut resolved = Resolved::new(self.experiment, &self.args)?;
        if !self.ranks().is_alone() {
            let (size, execution) = (self.ranks().size(), &mut resolved.execution);
            ensure!(
                execution.device == tch::Device::Cpu,
                "{size} ranks compute on the CPU, where MPI sums their gradients: say --device cpu, or start one process for each GPU"
            );
            execution.jobs = 1;
        }
        Ok(resolved)
    }

    /// Computes the runs, after those that try learning rates where the configuration asks for them.
    fn outcome(
        &self,
        mut resolved: Resolved,
        sharing: Option<&Sharing>,
        compute: &mut Compute,
        emit: &mut Emit,
    ) -> Result<(Outcome, Ceiling)> {
        let mut stage = |resolved: Resolved, sharing: Option<&Sharing>| {
            let plan = self.plan(resolved)?;
            let ceiling = Ceiling::of(&plan)?;
            Ok::<_, anyhow::Error>((
                runner::run(
                    plan,
                    (&self.scorers, sharing),
                    (self.ranks(), &STOP),
                    &mut *compute,
                    &mut *emit,
                )?,
                ceiling,
            ))
        };
        if let Some(tries) = resolved.tries() {
            // A worker waits for all tries, which the runs that count depend on.
            let all = sharing.map(|sharing| Sharing {
                stays: true,
                ..sharing.clone()
            });
            let (tried, ceiling) = stage(tries, all.as_ref())?;
            if tried.interrupted {
                return Ok((tried, ceiling));
            }
            let runs = tried.runs.iter().map(|run| (&run.config, run.id.as_str()));
            resolved.stage = Stage::Chosen(rates::choose(runs, &tried.store)?);
        }
        stage(resolved, sharing)
    }

    /// The plan, or the part of it that --only names. Rank 0 comes first, and fills the caches of downloads and tokenised rows.
    fn plan(&self, resolved: Resolved) -> Result<Plan> {
        let tries = matches!(resolved.stage, Stage::Tries(_));
        let (ranks, shows) = (self.ranks(), self.args.dry_run);
        if !ranks.is_first() {
            ranks.broadcast(&mut Vec::new())?;
        }
        let mut plan = Plan::new(resolved, self.show.quiet || !ranks.is_first())?;
        if ranks.is_first() && !shows {
            ranks.broadcast(&mut Vec::new())?;
        }
        let only = &self.launch.only;
        let known = |id: &String| plan.runs.iter().any(|run| run.id == *id);
        if tries && !only.iter().any(known) {
            return Ok(plan);
        }
        if let Some(id) = only.iter().find(|id| !known(id)) {
            anyhow::bail!("--only {id}: the plan has no run with this id; `--dry-run --json` prints them");
        }
        plan.runs
            .retain(|run| only.is_empty() || run.state == State::Done || only.contains(&run.id));
        Ok(plan)
    }

    /// Computes the runs in worker processes.
    fn outcome_of_processes(&self, resolved: Resolved, emit: &mut Emit) -> Result<(Outcome, Ceiling)> {
        let mut fleet: Option<Fleet> = None;
        let threads = resolved.execution.threads;
        let mut compute = |session: &Session, emit: &mut Emit| {
            if session.plan.runs.iter().all(|run| run.state == State::Done) {
                return Ok(BatchEnd::default());
            }
            let fleet = match &mut fleet {
                Some(fleet) => fleet,
                none => {
                    let gpus = self.gpus(session.plan.device);
                    let usual = gpus.unwrap_or(session.plan.parallelism.jobs);
                    let workers = self.launch.workers.unwrap_or(usual);
                    let sweep = self.new_sweep(workers)?;
                    none.insert(Fleet::new(sweep, workers, (threads / workers).max(1), gpus)?)
                }
            };
            fleet.compute(session, emit)
        };
        self.outcome(resolved, None, &mut compute, emit)
    }

    /// The GPUs to spread workers over, where no single one is asked for.
    fn gpus(&self, device: tch::Device) -> Option<usize> {
        let any = ["auto", "cuda"].contains(&self.args.device.as_str()) && device != tch::Device::Cpu;
        any.then(|| (tch::Cuda::device_count() as usize).max(1))
    }

    fn new_sweep(&self, workers: usize) -> Result<Sweep> {
        Sweep::create(
            &self.args.out,
            self.experiment.name,
            self.launch.launcher,
            workers,
            host::this(),
        )
    }

    /// Submits the missing runs to Slurm, and says so; none where no run is missing.
    fn submit(&self, resolved: &Resolved) -> Result<Option<String>> {
        refuse_ranks(&resolved.config.slurm, &self.args.device)?;
        let first = resolved.tries().unwrap_or_else(|| resolved.clone());
        let tries = resolved.tries().is_some();
        let mut plan = self.plan(first)?;
        let missing = |plan: &Plan| plan.runs.iter().filter(|run| run.state != State::Done).count();
        if tries && missing(&plan) == 0 {
            let mut resolved = resolved.clone();
            let runs = plan.runs.iter().map(|run| (&run.config, run.id.as_str()));
            resolved.stage = Stage::Chosen(rates::choose(runs, &plan.store)?);
            plan = self.plan(resolved)?;
        }
        let missing = missing(&plan);
        if missing == 0 {
            return Ok(None);
        }
        let workers = self.launch.workers.unwrap_or(missing).min(missing);
        let sweep = self.new_sweep(workers)?;
        sweep.keep_plan(&plan.runs)?;
        Ok(Some(slurm::launch(&sweep, workers, &resolved.config.slurm, missing)?))
    }

    /// Computes runs of a sweep until none is left that another worker does not compute. Of several ranks the first is the worker,
    /// and the others follow it.
    fn work(&self, place: &Path) -> Result<ExitCode> {
        let worker = Worker::open(place)?;
        let resolved = self.resolved_for_ranks()?;
        if !self.ranks().is_first() {
            on_interrupt(None)?;
            stop::watch(&STOP, None)?;
            self.outcome(resolved, Some(&worker.sharing()), &mut scheduler::run_all, &mut |_| {})?;
            return Ok(ExitCode::SUCCESS);
        }
        let quiet = OutputArgs {
            quiet: true,
            json: false,
            ..self.show.clone()
        };
        let console = Console::start(&worker.file("log"), &quiet, &self.args.out)?;
        on_interrupt(Some(console.aside()))?;
        let signals = stop::watch(&STOP, Some(worker.sweep.clone()))?;
        if worker.launcher == Launcher::Processes {
            stop::watch_input(&STOP);
        }
        let mut tensorboard = TensorBoard::new(&self.args.out);
        let (mut console, mut journal) = (console, Journal::open(&worker.file("jsonl"))?);
        let mut emit = |event: &RunEvent| {
            let observers: [&mut dyn Observer; 3] = [&mut console, &mut journal, &mut tensorboard];
            observers.into_iter().for_each(|observer| observer.on_event(event));
        };
        let mut compute = |session: &Session, emit: &mut Emit| {
            worker.sweep.keep_plan(&session.plan.runs)?;
            scheduler::run_all(session, emit)
        };
        let (outcome, _) = self.outcome(resolved, Some(&worker.sharing()), &mut compute, &mut emit)?;
        if signals.time_is_up() && outcome.interrupted {
            worker::requeue(&signals)?;
        }
        Ok(match (outcome.interrupted, worker.launcher) {
            (true, _) => ExitCode::from(INTERRUPTED as u8),
            // Slurm is to show it; the process that started this one reads the journal.
            (false, Launcher::Slurm) if outcome.failed > 0 => ExitCode::FAILURE,
            (false, _) => ExitCode::SUCCESS,
        })
    }

    /// Prints the configuration.
    fn print_config(&self) -> Result<ExitCode> {
        support::print(&self.args.config(self.experiment)?.commented()?)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints presets, tasks and methods.
    fn list(&self) -> Result<ExitCode> {
        support::print(&self.args.listing(self.experiment))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the plan; where learning rates are tried, that of the tries, and then that of the runs that count. Nothing is
    /// written.
    fn dry_run(&self) -> Result<ExitCode> {
        let resolved = self.resolved()?;
        let mut paces = Paces::new();
        if let Some(tries) = resolved.tries() {
            self.show_plan(tries, &mut paces)?;
            if !self.show.json {
                support::print("Then, with the best rate of each task and method in place of the configured one:\n\n")?;
            }
        }
        self.show_plan(resolved, &mut paces)?;
        Ok(ExitCode::SUCCESS)
    }

    fn show_plan(&self, resolved: Resolved, paces: &mut Paces) -> Result<()> {
        let plan = self.plan(resolved)?;
        dry_run::check_rows(&plan)?;
        if self.show.json {
            JsonEvents::default().on_event(&RunEvent::Plan {
                runs: &plan.runs,
                device: &lora_core::device::name(plan.device),
            });
        } else {
            support::print(&dry_run::describe(&plan, paces)?)?;
        }
        Ok(())
    }

    fn observers(&self) -> Result<Vec<Box<dyn Observer>>> {
        if !self.ranks().is_first() {
            on_interrupt(None)?;
            return Ok(Vec::new());
        }
        let out = &self.args.out;
        let log = out.join("logs").join(format!("{}.log", self.experiment.name));
        let console = Console::start(&log, &self.show, out)?;
        on_interrupt(Some(console.aside()))?;
        let mut observers: Vec<Box<dyn Observer>> = vec![Box::new(console)];
        // Workers write their own.
        if self.launch.launcher == Launcher::Local {
            observers.push(Box::new(TensorBoard::new(out)));
        }
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
fn on_interrupt(aside: Option<LineWriter>) -> Result<()> {
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::Relaxed) {
            // Without the C library's clean-up, which libtorch's running threads do not survive.
            signal_hook::low_level::exit(INTERRUPTED);
        }
        if let Some(aside) = &aside {
            aside.line("\nStopping after this step; press Ctrl-C again to stop at once.");
        }
    })
    .context("listening for Ctrl-C")
}
