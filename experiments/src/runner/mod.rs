//! The third phase: computes the runs that the store lacks, and keeps their records.

pub mod claim;
pub mod events;
pub mod execute;
pub mod host;
mod orders;
mod record;
pub mod scheduler;
pub mod session;
pub mod sharing;

use crate::experiment::Experiment;
use crate::plan::Plan;
use crate::plan::planned::Planned;
use crate::runner::claim::Claims;
use crate::runner::events::RunEvent;
use crate::runner::scheduler::{BatchEnd, Emit};
use crate::runner::session::Session;
use crate::runner::sharing::Sharing;
use crate::task::generation::scorers::Scorers;
use crate::task::run_paths::CHECKPOINTS;
use anyhow::Result;
use lora_core::train::Ranks;
use results::Store;
use results::by_value::BySetting;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The result of a plan.
pub struct Outcome {
    /// The experiment.
    pub experiment: &'static Experiment,
    /// The runs of the plan.
    pub runs: Vec<Planned>,
    /// The records.
    pub store: Store,
    /// The model's folder, where only that finds the model.
    pub base: Option<PathBuf>,
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

/// Computes the runs of a session that the store lacks: [`scheduler::run_all`], or several processes.
pub type Compute<'a> = dyn FnMut(&Session, &mut Emit) -> Result<BatchEnd> + 'a;

/// Lets `compute` compute the missing runs, then adds to finished ones the names and scores that they lack. `stop` is set by Ctrl-C;
/// `sharing` makes this process one of the workers of a sweep, who leave names and scores to whoever prints the tables. Of several
/// `ranks` the first does all this, and the others compute what it tells them to.
///
/// # Errors
/// A store that cannot be written. The failure of a run is recorded and does not stop the others.
pub fn run(
    plan: Plan,
    (scorers, sharing): (&Scorers, Option<&Sharing>),
    (ranks, stop): (&dyn Ranks, &AtomicBool),
    compute: &mut Compute,
    emit: &mut Emit,
) -> Result<Outcome> {
    let folder = plan.store.dir().join(CHECKPOINTS);
    let session = Session {
        plan: &plan,
        scorers,
        stop,
        claims: &Claims::new(folder, sharing.map(|sharing| sharing.sweep.clone())),
        sharing,
        ranks,
    };
    // One run at a time is computed on this thread.
    tch::set_num_threads(plan.parallelism.threads as i32);
    let ended = if ranks.is_first() {
        let ended = computed(&session, compute, emit)?;
        orders::to_leave(&session, ended.interrupted)?;
        ended
    } else {
        BatchEnd {
            failed: 0,
            interrupted: orders::follow(&session)?,
        }
    };
    Ok(Outcome {
        experiment: plan.experiment,
        base: plan
            .runs
            .first()
            .and_then(|run| plan.assets.named_by_folder(&run.config.model))
            .map(Path::to_path_buf),
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

/// Lets `compute` compute the missing runs, and completes the records of finished ones.
fn computed(session: &Session, compute: &mut Compute, emit: &mut Emit) -> Result<BatchEnd> {
    let plan = session.plan;
    let swept = plan.store.sweep()?;
    if swept > 0 {
        tracing::info!("{swept} unfinished files of processes that were killed were deleted");
    }
    emit(&RunEvent::Plan {
        runs: &plan.runs,
        device: &lora_core::device::name(plan.device),
    });
    let ended = compute(session, emit)?;
    if session.sharing.is_none() {
        record::backfill_scores(session)?;
        record::add_names(session)?;
    }
    Ok(ended)
}
