//! One worker of a sweep.

use crate::launch::args::Launcher;
use crate::launch::stop::Signals;
use crate::launch::sweep::Sweep;
use crate::runner::sharing::Sharing;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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

/// Seconds before each further question to Slurm, whose controller may be too busy to answer: together less than the shortest
/// warning before a time limit that is of use.
const WAITS: [u64; 5] = [1, 2, 4, 8, 15];

/// How long Slurm may take to end a job that it queues again.
const END: Duration = Duration::from_secs(30);

/// Asks Slurm to queue this job again, and waits for the end that it makes of it: the end of a process that has left by itself may
/// reach a busy controller after the next start, and be taken for that of the job.
///
/// # Errors
/// `scontrol` is missing, or refuses whenever it is asked.
pub fn requeue(signals: &Signals) -> Result<()> {
    let Ok(job) = std::env::var("SLURM_JOB_ID") else {
        return Ok(());
    };
    repeated(&WAITS.map(Duration::from_secs), || {
        let asked = Command::new("scontrol").args(["requeue", &job]).output();
        let output = asked.with_context(|| format!("running `scontrol requeue {job}`"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "`scontrol requeue {job}`: {}", said.trim());
        Ok(())
    })?;
    signals.wait_for_term(END);
    Ok(())
}

/// Asks once and, until there is no error, again after each of `waits`.
fn repeated(waits: &[Duration], mut ask: impl FnMut() -> Result<()>) -> Result<()> {
    let mut answer = ask();
    for wait in waits {
        if answer.is_ok() {
            break;
        }
        std::thread::sleep(*wait);
        answer = ask();
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_controller_is_asked_again_and_the_last_refusal_is_said() {
        let waits = [Duration::ZERO; 3];
        let mut asked = 0;
        let answered_by = |at: usize, asked: &mut usize| {
            *asked = 0;
            repeated(&waits, || {
                *asked += 1;
                anyhow::ensure!(*asked >= at, "busy at question {asked}");
                Ok(())
            })
        };
        answered_by(1, &mut asked).unwrap();
        assert_eq!(asked, 1);
        answered_by(3, &mut asked).unwrap();
        assert_eq!(asked, 3);
        let refusal = answered_by(9, &mut asked).unwrap_err();
        assert_eq!((asked, refusal.to_string().as_str()), (4, "busy at question 4"));
    }
}
