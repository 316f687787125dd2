//! How many runs are computed at once.

use crate::inputs::environment;
use crate::plan::planned::Planned;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;
use tch::Device;

/// Memory of the process beside its runs, in MiB.
const PROCESS_MIB: f64 = 300.0;

/// The part of the machine's memory that runs may fill together.
const SHARE: f64 = 0.6;

/// How many runs are computed at once, and the threads of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parallelism {
    /// Runs at once.
    pub jobs: usize,
    /// libtorch's threads of each.
    pub threads: usize,
}

impl Parallelism {
    /// `wanted` runs at once. For 0 on a CPU as many as there are threads and as memory allows: several runs with one thread each
    /// finish sooner than one after another with all threads. On a GPU one: runs would share its random generator.
    ///
    /// Depends on the plan and the machine alone, not on what is done already or on other processes: the number of threads of
    /// a run may change its last digits, and a resumed run must compute what it would have computed.
    ///
    /// # Errors
    /// More than one wanted on a GPU; a method that does not fit the model.
    pub fn new(wanted: usize, threads: usize, runs: &[Planned], model: &Path, device: Device) -> Result<Parallelism> {
        let jobs = at_once(wanted, threads, runs, model, device)?;
        let threads = (threads / jobs).max(1);
        Ok(Parallelism { jobs, threads })
    }
}

fn at_once(wanted: usize, threads: usize, runs: &[Planned], model: &Path, device: Device) -> Result<usize> {
    ensure!(
        device == Device::Cpu || wanted <= 1,
        "--jobs {wanted}: runs at once on one GPU would share its random generator; start one program for each GPU instead"
    );
    if device != Device::Cpu {
        return Ok(1);
    }
    if wanted > 0 {
        return Ok(wanted);
    }
    let most = threads.min(runs.len());
    match environment::memory_mib() {
        Some(memory) if most > 1 => {
            let fit = SHARE * memory / (largest(runs, model)? + PROCESS_MIB);
            Ok(most.min((fit as usize).max(1)))
        }
        _ => Ok(most.max(1)),
    }
}

/// The predicted memory of the largest run, in MiB.
fn largest(runs: &[Planned], model: &Path) -> Result<f64> {
    let mut counted = BTreeMap::new();
    let mut largest = 0.0;
    for run in runs {
        let method = &run.config.method_name;
        if !counted.contains_key(method) {
            counted.insert(method, run.counted(model).with_context(|| run.title())?);
        }
        largest = f64::max(largest, run.memory_mib(&counted[method]));
    }
    Ok(largest)
}
