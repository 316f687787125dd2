//! The flags that say who computes the runs.

use crate::experiment::flags::ExperimentArgs;
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Who computes the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Launcher {
    /// This process
    Local,
    /// Worker processes on this machine
    Processes,
    /// Jobs of Slurm, which this program submits
    Slurm,
}

impl Launcher {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Launcher::Local => "local",
            Launcher::Processes => "processes",
            Launcher::Slurm => "slurm",
        }
    }
}

/// The flags.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sweeps")]
pub struct LaunchArgs {
    /// Who computes the runs (docs/cluster.md)
    #[arg(long, value_name = "WHO", value_enum, default_value_t = Launcher::Local)]
    pub launcher: Launcher,
    /// Workers of --launcher processes (by default as many as local runs at once, or one for each GPU) or slurm (by default one for
    /// each missing run)
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Compute only these runs of the plan, by their ids
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub only: Vec<String>,
    /// This process is the worker with this place in a sweep's folder
    #[arg(long, value_name = "PATH", hide = true)]
    pub worker: Option<PathBuf>,
}

impl LaunchArgs {
    /// Refuses flags without effect; this is one of so many `ranks`.
    ///
    /// # Errors
    /// The flag, and why it has none.
    pub fn check(&self, args: &ExperimentArgs, json: bool, ranks: usize) -> Result<()> {
        let name = self.launcher.name();
        ensure!(
            ranks == 1 || self.launcher == Launcher::Local || self.worker.is_some(),
            "--launcher {name} starts processes of its own, and this is one of {ranks} ranks: start it without mpirun or srun"
        );
        ensure!(
            ranks == 1 || args.jobs <= 1,
            "--jobs {}: {ranks} ranks compute one run at a time, together",
            args.jobs
        );
        if self.worker.is_some() {
            return Ok(());
        }
        ensure!(
            self.workers != Some(0),
            "--workers 0: give the number of workers, 1 or more"
        );
        ensure!(
            self.workers.is_none() || self.launcher != Launcher::Local,
            "--workers has no effect with --launcher local; --jobs is the number of runs at once"
        );
        if self.launcher == Launcher::Local {
            return Ok(());
        }
        ensure!(
            args.jobs == 0,
            "--jobs has no effect with --launcher {name}: a worker computes one run at a time, and --workers is their number"
        );
        ensure!(
            args.profile.is_none(),
            "--profile has no effect with --launcher {name}: it measures this process, which computes nothing"
        );
        if self.launcher == Launcher::Slurm {
            ensure!(
                args.threads == 0,
                "--threads has no effect with --launcher slurm; set slurm.cpus, which is the number of threads of a run"
            );
            ensure!(
                !json || args.dry_run,
                "--json has no effect with --launcher slurm, which returns when the jobs are queued; `lora sweep status --json` prints their state"
            );
        }
        Ok(())
    }

    /// Refuses `--set slurm...` where nothing is submitted to Slurm.
    ///
    /// # Errors
    /// The flag.
    pub fn check_sets(&self, sets: &[String]) -> Result<()> {
        let of_slurm = |set: &&String| set.starts_with("slurm.") || set.starts_with("slurm=");
        match sets.iter().find(of_slurm) {
            Some(set) if self.launcher != Launcher::Slurm => {
                anyhow::bail!("--set {set} has no effect without --launcher slurm")
            }
            _ => Ok(()),
        }
    }
}
