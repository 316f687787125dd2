//! The folder of a sweep.

use crate::launch::args::Launcher;
use crate::plan::planned::Planned;
use crate::report::resume_command;
use crate::runner::host::Host;
use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use support::write_atomic;

/// The folder of all sweeps below the folder of records.
pub const SWEEPS: &str = "sweeps";

/// Version of the files of a sweep.
const VERSION: u32 = 1;

/// A sweep's folder.
#[derive(Clone, Debug)]
pub struct Sweep {
    dir: PathBuf,
}

/// What a sweep is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Info {
    /// Version of the layout.
    pub version: u32,
    /// The experiment.
    pub experiment: String,
    /// Who computes the runs.
    pub launcher: Launcher,
    /// The words of the command, the program first.
    pub command: Vec<String>,
    /// The folder in which the command was given.
    pub folder: PathBuf,
    /// When, RFC 3339.
    pub started: String,
    /// The number of workers.
    pub workers: usize,
    /// The process that started it.
    pub by: Host,
    /// Slurm's ids of its arrays.
    pub jobs: Vec<String>,
}

/// A run of a sweep's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedRun {
    /// Its id.
    pub id: String,
    /// Task, method and seed.
    pub title: String,
    /// Its optimiser steps.
    pub steps: u64,
}

impl Sweep {
    /// Makes the folder of a new sweep below the folder of records `out`.
    ///
    /// # Errors
    /// A folder that cannot be written; words that are not UTF-8.
    pub fn create(out: &Path, experiment: &str, launcher: Launcher, workers: usize, by: Host) -> Result<Sweep> {
        let now = chrono::Local::now();
        let words = std::env::args_os().map(|word| word.into_string().ok());
        let mut command: Vec<String> = words
            .collect::<Option<_>>()
            .context("a word of the command line is not UTF-8, and cannot be kept for the workers")?;
        let shown = resume_command::command(std::env::args_os(), true, false);
        ensure!(
            shlex::split(&shown).as_ref() == Some(&command),
            "the command holds a secret, which a sweep would keep for its workers in {}; set HF_TOKEN in its place: {shown}",
            out.join(SWEEPS).display()
        );
        if let (Some(program), Ok(path)) = (command.first_mut(), std::env::current_exe()) {
            *program = path.to_string_lossy().into_owned();
        }
        let name = format!("{}-{}", now.format("%Y%m%d-%H%M%S"), std::process::id());
        let dir = std::path::absolute(out.join(SWEEPS).join(name))?;
        fs::create_dir_all(dir.join("workers")).with_context(|| format!("making {}", dir.display()))?;
        let sweep = Sweep { dir };
        sweep.keep(&Info {
            version: VERSION,
            experiment: experiment.into(),
            launcher,
            command,
            folder: std::env::current_dir().context("finding the present folder")?,
            started: now.to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
            workers,
            by,
            jobs: Vec::new(),
        })?;
        Ok(sweep)
    }

    /// The sweep in this folder.
    ///
    /// # Errors
    /// A folder that is none.
    pub fn open(dir: &Path) -> Result<Sweep> {
        let sweep = Sweep { dir: dir.to_owned() };
        sweep.info()?;
        Ok(sweep)
    }

    /// The sweep of that name below the folder of records `out`, or the newest.
    ///
    /// # Errors
    /// There is none.
    pub fn find(out: &Path, name: Option<&str>) -> Result<Sweep> {
        let all = Sweep::names(out)?;
        let last = all.last().with_context(|| {
            format!(
                "{} has no sweeps; one is made by --launcher processes or slurm; --out names the folder of records",
                out.display()
            )
        })?;
        let name = name.unwrap_or(last);
        ensure!(
            all.iter().any(|known| known == name),
            "there is no sweep {name} in {}; there are {}",
            out.display(),
            all.join(", ")
        );
        Sweep::open(&out.join(SWEEPS).join(name))
    }

    /// The sweeps in the same folder of records that began before this one, the newest first; one that cannot be opened is left out.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn earlier(&self) -> Result<Vec<Sweep>> {
        let names = Sweep::names(self.out())?;
        let own = self.name();
        let earlier = names.iter().rev().skip_while(|name| **name != own).skip(1);
        let open = |name: &String| Sweep::open(&self.out().join(SWEEPS).join(name)).ok();
        Ok(earlier.filter_map(open).collect())
    }

    /// The names of all sweeps below `out`, the oldest first.
    fn names(out: &Path) -> Result<Vec<String>> {
        let mut names = file_names(&out.join(SWEEPS))?;
        names.retain(|name| !name.starts_with('.'));
        Ok(names)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The folder of records.
    pub fn out(&self) -> &Path {
        self.dir.ancestors().nth(2).unwrap_or(&self.dir)
    }

    /// What it is.
    ///
    /// # Errors
    /// A file that cannot be read, or of another version.
    pub fn info(&self) -> Result<Info> {
        let path = self.dir.join("sweep.json");
        let info: Info = read_json(&path)?;
        ensure!(
            info.version == VERSION,
            "{}: version {}, and this program knows version {VERSION}",
            path.display(),
            info.version
        );
        Ok(info)
    }

    /// Keeps what it is.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep(&self, info: &Info) -> Result<()> {
        write_json(&self.dir.join("sweep.json"), info)
    }

    /// Keeps the runs of a plan, under the name of the first one, so that each worker writes the same file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_plan(&self, runs: &[Planned]) -> Result<()> {
        let Some(first) = runs.first() else { return Ok(()) };
        let planned = |run: &Planned| PlannedRun {
            id: run.id.clone(),
            title: run.title(),
            steps: run.steps(),
        };
        let path = self.dir.join("plans").join(format!("{}.json", first.id));
        if path.exists() {
            return Ok(());
        }
        write_json(&path, &runs.iter().map(planned).collect::<Vec<_>>())
    }

    /// The runs of all plans, each once.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub fn runs(&self) -> Result<Vec<PlannedRun>> {
        let folder = self.dir.join("plans");
        let mut plans = file_names(&folder)?;
        plans.retain(|name| name.ends_with(".json") && !name.starts_with('.'));
        let age = |name: &String| fs::metadata(folder.join(name)).and_then(|m| m.modified()).ok();
        plans.sort_by_key(age);
        let (mut runs, mut seen) = (Vec::new(), BTreeSet::new());
        for plan in plans {
            let plan: Vec<PlannedRun> = read_json(&folder.join(plan))?;
            runs.extend(plan.into_iter().filter(|run| seen.insert(run.id.clone())));
        }
        Ok(runs)
    }

    /// The folder that has a file for each run that failed in this sweep.
    pub fn failed(&self) -> PathBuf {
        self.dir.join("failed")
    }

    /// The place of a worker: its journal, its log and its output, by endings.
    pub fn worker(&self, name: &str) -> PathBuf {
        self.dir.join("workers").join(name)
    }

    /// The files of all workers with an ending, sorted.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn files(&self, ending: &str) -> Result<Vec<PathBuf>> {
        let folder = self.dir.join("workers");
        let names = file_names(&folder)?.into_iter().map(|name| folder.join(name));
        Ok(names
            .filter(|path| path.extension().is_some_and(|e| e == ending))
            .collect())
    }

    /// The file that asks the workers to stop.
    fn cancelled(&self) -> PathBuf {
        self.dir.join("cancelled")
    }

    /// Asks the workers to stop after a checkpoint.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn cancel(&self) -> Result<()> {
        Ok(write_atomic(self.cancelled(), b"")?)
    }

    /// Whether the workers are asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled().exists()
    }
}

/// The names in a folder, sorted. A missing folder has none.
fn file_names(folder: &Path) -> Result<Vec<String>> {
    let reading = || format!("reading {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(reading)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.with_context(reading)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    Ok(write_atomic(
        path,
        (serde_json::to_string_pretty(value)? + "\n").as_bytes(),
    )?)
}
