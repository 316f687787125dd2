//! The third phase: computes the runs that the store lacks, and keeps their records.

pub mod events;
pub mod execute;
mod record;
pub mod scheduler;
pub mod session;

use crate::experiment::Experiment;
use crate::plan::Plan;
use crate::plan::planned::Planned;
use crate::runner::events::RunEvent;
use crate::runner::session::Session;
use crate::task::generation::scorers::Scorers;
use anyhow::Result;
use results::Store;
use results::by_value::BySetting;
use std::sync::atomic::AtomicBool;

/// The result of a plan.
pub struct Outcome {
    /// The experiment.
    pub experiment: &'static Experiment,
    /// The runs of the plan.
    pub runs: Vec<Planned>,
    /// The records.
    pub store: Store,
    /// The preset, where the runs use its model and data.
    pub preset: Option<String>,
    /// What was swept.
    pub sweeps: Vec<BySetting>,
    /// The text after the tables.
    pub closing: Option<String>,
    /// Whether checkpoints of interrupted runs were used.
    pub resume: bool,
    /// The number of runs that failed.
    pub failed: usize,
    /// Whether Ctrl-C ended it.
    pub interrupted: bool,
}

/// Computes the missing runs, then adds to finished ones the names and scores that they lack. `stop` is set by Ctrl-C.
///
/// # Errors
/// A store that cannot be written. The failure of a run is recorded and does not stop the others.
pub fn run(
    plan: Plan,
    scorers: &Scorers,
    stop: &AtomicBool,
    emit: &mut (dyn FnMut(&RunEvent) + Send),
) -> Result<Outcome> {
    let session = Session {
        plan: &plan,
        scorers,
        stop,
    };
    // One run at a time is computed on this thread.
    tch::set_num_threads(plan.parallelism.threads as i32);
    emit(&RunEvent::Plan {
        runs: &plan.runs,
        device: &lora_core::device::name(plan.device),
    });
    let ended = scheduler::run_all(&session, emit)?;
    record::backfill_scores(&session)?;
    record::add_names(&session)?;
    Ok(Outcome {
        experiment: plan.experiment,
        runs: plan.runs,
        store: plan.store,
        preset: plan.preset,
        sweeps: plan.sweeps,
        closing: plan.closing,
        resume: plan.resume,
        failed: ended.failed,
        interrupted: ended.interrupted,
    })
}
