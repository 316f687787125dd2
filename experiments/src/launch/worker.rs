//! One worker of a sweep.

use crate::launch::args::Launcher;
use crate::launch::sweep::Sweep;
use crate::runner::sharing::Sharing;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A worker's place in the folder of its sweep.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The sweep.
    pub sweep: Sweep,
    /// The sweep's launcher.
    pub launcher: Launcher,
    place: PathBuf,
}

impl Worker {
    /// The worker whose place is `OUT/sweeps/SWEEP/workers/NAME`.
    ///
    /// # Errors
    /// There is no sweep.
    pub fn open(place: &Path) -> Result<Worker> {
        let dir = place.ancestors().nth(2);
        let dir = dir.with_context(|| format!("--worker {}: not a place in a sweep's folder", place.display()))?;
        let sweep = Sweep::open(dir).with_context(|| format!("--worker {}", place.display()))?;
        Ok(Worker {
            launcher: sweep.info()?.launcher,
            sweep,
            place: place.to_owned(),
        })
    }

    /// Its file with this ending.
    pub fn file(&self, ending: &str) -> PathBuf {
        self.place.with_extension(ending)
    }

    /// Its part in the sweep. A job of Slurm leaves when living jobs have all runs that are left, and gives its node back.
    pub fn sharing(&self) -> Sharing {
        Sharing {
            sweep: self.sweep.name(),
            failed: self.sweep.failed(),
            stays: self.launcher == Launcher::Processes,
        }
    }
}

/// Asks Slurm to queue this job again, which ends it.
///
/// # Errors
/// `scontrol` is missing, or refuses.
pub fn requeue() -> Result<()> {
    let Ok(job) = std::env::var("SLURM_JOB_ID") else {
        return Ok(());
    };
    let asked = Command::new("scontrol").args(["requeue", &job]).output();
    let output = asked.with_context(|| format!("running `scontrol requeue {job}`"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "`scontrol requeue {job}`: {}", said.trim());
    Ok(())
}
