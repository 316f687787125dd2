//! `lora sweep`: the state of a sweep of several processes, its end, its repetition and its logs.

mod state;

use crate::launch::args::Launcher;
use crate::launch::journal::{BEGIN, END};
use crate::launch::slurm;
use crate::launch::sweep::{Info, PlannedRun, Sweep};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use results::listing::{Column, listing, terminal_width, wrapped};
use state::{RunState, State};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What to do with a sweep.
#[derive(Subcommand)]
pub enum SweepCommand {
    /// Print which runs are done, running (where, since when, at which step), failed or waiting
    Status {
        /// The sweep
        #[command(flatten)]
        which: Which,
        /// Print one JSON object a line, one a run
        #[arg(long)]
        json: bool,
    },
    /// Stop the workers after a checkpoint; jobs of Slurm are cancelled
    Cancel {
        /// The sweep
        #[command(flatten)]
        which: Which,
    },
    /// Give the sweep's command again, in its folder: everything that is not done, or what failed alone
    Retry {
        /// The sweep
        #[command(flatten)]
        which: Which,
        /// Only the runs that failed
        #[arg(long)]
        failed: bool,
    },
    /// Print what the workers logged while they computed a run
    Logs {
        /// The run: the beginning of its id, or of its task, method and seed as `status` prints them
        run: String,
        /// The sweep
        #[command(flatten)]
        which: Which,
    },
}

/// A sweep.
#[derive(Args)]
pub struct Which {
    /// Folder of the records
    #[arg(long, value_name = "DIR", default_value = results::OWN)]
    out: PathBuf,
    /// The sweep's name; by default the newest
    #[arg(long, value_name = "NAME")]
    sweep: Option<String>,
}

impl Which {
    fn find(&self) -> Result<Sweep> {
        Sweep::find(&self.out, self.sweep.as_deref())
    }
}

/// Does it; the text to print, and the exit status.
///
/// # Errors
/// There is no such sweep or run; files that cannot be read; Slurm's commands that fail.
pub fn run(command: &SweepCommand) -> Result<ExitCode> {
    let text = match command {
        SweepCommand::Status { which, json } => status(&which.find()?, *json)?,
        SweepCommand::Cancel { which } => cancel(&which.find()?)?,
        SweepCommand::Logs { run, which } => logs(&which.find()?, run)?,
        SweepCommand::Retry { which, failed } => return retry(&which.find()?, *failed),
    };
    support::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn status(sweep: &Sweep, json: bool) -> Result<String> {
    let (info, states) = (sweep.info()?, state::of(sweep)?);
    if json {
        let lines = states.iter().map(|state| Ok(serde_json::to_string(state)? + "\n"));
        return lines.collect();
    }
    let mut text = format!(
        "sweep {}: {}, {} workers of --launcher {}, begun {}\n",
        sweep.name(),
        info.experiment,
        info.workers,
        info.launcher.name(),
        info.started
    );
    if sweep.is_cancelled() {
        text += &format!(
            "it was cancelled; `lora sweep retry --out {}` resumes it\n",
            shown(sweep.out())
        );
    }
    text += &queue(&info);
    let earlier: Vec<String> = sweep.earlier()?.iter().map(Sweep::name).collect();
    if let Some(last) = earlier.first() {
        let all = earlier.join(", ");
        text += &format!("before it: {all}; `--sweep {last}` shows that one\n");
    }
    let count = |state: State| states.iter().filter(|run| run.state == state).count();
    text += &format!(
        "{} runs: {} done, {} running, {} failed, {} waiting\n",
        states.len(),
        count(State::Done),
        count(State::Running),
        count(State::Failed),
        count(State::Waiting)
    );
    let columns = ["", "", "", ""].map(Column::text);
    text = wrapped(&text, terminal_width());
    text += &listing(&columns, states.iter().map(RunState::cells), terminal_width());
    Ok(text)
}

/// What Slurm says of the sweep's jobs.
fn queue(info: &Info) -> String {
    if info.launcher != Launcher::Slurm {
        return String::new();
    }
    let jobs = info.jobs.join(", ");
    match slurm::queue(&info.jobs) {
        Err(error) => format!("job {jobs}: {error:#}\n"),
        Ok(tasks) if tasks.is_empty() => format!("job {jobs}: no task is queued or runs\n"),
        Ok(tasks) => {
            let line = |(task, state, place): &(String, String, String)| format!("job {task}: {state} {place}\n");
            tasks.iter().map(line).collect()
        }
    }
}

/// A folder as a word of a shell.
fn shown(folder: &Path) -> String {
    let text = folder.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), Into::into)
}

fn cancel(sweep: &Sweep) -> Result<String> {
    let (info, states) = (sweep.info()?, state::of(sweep)?);
    let ended = |run: &RunState| matches!(run.state, State::Done | State::Failed);
    if states.iter().all(ended) {
        return Ok(format!(
            "sweep {}: all of its runs have ended, so that there is nothing to stop\n",
            sweep.name()
        ));
    }
    sweep.cancel()?;
    if info.launcher == Launcher::Slurm {
        slurm::cancel(&info.jobs)?;
    }
    Ok(format!(
        "sweep {}: its workers stop after a checkpoint; `lora sweep retry --out {}` resumes it\n",
        sweep.name(),
        shown(sweep.out())
    ))
}

fn retry(sweep: &Sweep, failed: bool) -> Result<ExitCode> {
    let info = sweep.info()?;
    let states = state::of(sweep)?;
    ensure!(
        !states.iter().any(|run| run.state == State::Running),
        "sweep {} is still running; `lora sweep cancel` stops it",
        sweep.name()
    );
    let (program, flags) = info.command.split_first().context("the sweep has no command")?;
    let mut command = Command::new(program);
    command.args(flags).current_dir(&info.folder);
    if failed {
        let ids: Vec<&str> = states
            .iter()
            .filter(|run| run.state == State::Failed)
            .map(|run| run.run.id.as_str())
            .collect();
        ensure!(!ids.is_empty(), "no run of sweep {} has failed", sweep.name());
        command.args(["--only", &ids.join(",")]);
    }
    let status = command.status().with_context(|| format!("starting {program}"))?;
    Ok(match status.code() {
        Some(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        None => ExitCode::FAILURE,
    })
}

/// The run that a word means.
fn meant(runs: &[PlannedRun], word: &str) -> Result<PlannedRun> {
    let plain = |text: &str| text.replace([' ', '·'], "").to_lowercase();
    let means = |run: &&PlannedRun| run.id.starts_with(word) || plain(&run.title).starts_with(&plain(word));
    let found: Vec<&PlannedRun> = runs.iter().filter(means).collect();
    match found[..] {
        [run] => Ok(run.clone()),
        [] => bail!("the sweep has no run {word}; `lora sweep status` prints them"),
        _ => {
            let names: Vec<String> = found.iter().map(|run| format!("{} ({})", run.id, run.title)).collect();
            bail!("{word} may be {}", names.join(" or "))
        }
    }
}

fn logs(sweep: &Sweep, word: &str) -> Result<String> {
    let run = meant(&sweep.runs()?, word)?;
    let mut text = sections(sweep, &run.id)?;
    // A sweep that repeats another finds its runs done.
    let mut earlier = sweep.earlier()?.into_iter();
    while text.is_empty()
        && let Some(sweep) = earlier.next()
    {
        text = sections(&sweep, &run.id)?;
    }
    let state = state::of(sweep)?.into_iter().find(|state| state.run.id == run.id);
    text += &state
        .map(|state| state.cells().join("  ").trim_end().to_owned() + "\n")
        .unwrap_or_default();
    Ok(text)
}

/// What the workers of a sweep logged of a run, file by file.
fn sections(sweep: &Sweep, id: &str) -> Result<String> {
    let mut text = String::new();
    for path in sweep.files("log")? {
        let lines = section(&path, id)?;
        if !lines.is_empty() {
            text += &format!("{}\n{lines}", path.display());
        }
    }
    Ok(text)
}

/// The lines of a log from the beginnings of a run to its ends.
fn section(path: &Path, id: &str) -> Result<String> {
    let log = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let log = String::from_utf8_lossy(&log);
    let (begin, end) = (format!("{BEGIN} {id}"), format!("{END} {id}"));
    let (mut text, mut inside) = (String::new(), false);
    for line in log.lines() {
        // A worker that was killed leaves no end; the next beginning is one.
        if line.contains(BEGIN) {
            inside = line.contains(&begin);
        }
        if inside {
            text += &format!("  {line}\n");
        }
        inside &= !line.contains(&end);
    }
    Ok(text)
}
