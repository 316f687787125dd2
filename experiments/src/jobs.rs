//! How many runs are computed at once.

use crate::host;
use crate::inputs::Inputs;
use crate::plan::Planned;
use anyhow::{Context, Result};
use lora_core::model;
use std::collections::BTreeMap;
use tch::Device;

/// What the process holds beside its runs, in MiB.
const PROCESS_MIB: f64 = 300.0;

/// The part of the machine's memory that runs side by side may fill.
const SHARE: f64 = 0.6;

/// As many as `wanted`; where that is 0, on a CPU as many as there are threads, since several runs with one thread each
/// are done sooner than one after the other with all, as far as memory goes. On a GPU one at a time: they would share
/// its generator.
///
/// Depends on the plan and the machine alone, and not on what is done already or on what else the machine does: the number
/// of threads that a run has may change its last digits, and a run that goes on must come to what it would have come to.
///
/// # Errors
/// A method that does not fit the model.
pub fn at_once(wanted: usize, threads: usize, runs: &[Planned], inputs: &Inputs, device: Device) -> Result<usize> {
    if device != Device::Cpu || wanted == 1 || threads == 1 {
        return Ok(1);
    }
    if wanted > 1 {
        return Ok(wanted);
    }
    let most = threads.min(runs.len());
    match host::memory_mib() {
        Some(memory) if most > 1 => {
            let fit = SHARE * memory / (largest(runs, inputs)? + PROCESS_MIB);
            Ok(most.min((fit as usize).max(1)))
        }
        _ => Ok(most.max(1)),
    }
}

/// The memory of the largest run, in MiB, as the plan predicts it.
fn largest(runs: &[Planned], inputs: &Inputs) -> Result<f64> {
    let config = model::read_config(&inputs.model)?;
    let shape = (model::arch(&config)?.shape)(&config)?;
    let mut counted = BTreeMap::new();
    let mut largest = 0.0;
    for run in runs {
        let method = &run.config.method_name;
        if !counted.contains_key(method) {
            counted.insert(method, run.counts(&inputs.model).with_context(|| run.title())?);
        }
        largest = f64::max(largest, run.memory_mib(&counted[method], &shape));
    }
    Ok(largest)
}
