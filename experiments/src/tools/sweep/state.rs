//! The states of a sweep's runs.

use crate::launch::sweep::{PlannedRun, Sweep};
use crate::runner::claim::{Claims, Holder, Life, PATIENCE};
use crate::task::run_paths::{CHECKPOINTS, RunPaths};
use anyhow::Result;
use results::Store;
use results::record::Status;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its record is kept.
    Done,
    /// A process has it.
    Running,
    /// It failed, and nobody has tried it since.
    Failed,
    /// Nobody has it.
    Waiting,
}

/// A run and how far it is.
#[derive(Debug, Serialize)]
pub struct RunState {
    /// The run.
    #[serde(flatten)]
    pub run: PlannedRun,
    /// How far it is.
    pub state: State,
    /// The error of a failed run: its first line.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The process that has the run, or died over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<Holder>,
    /// Whether a checkpoint is there.
    checkpoint: bool,
}

/// The states of a sweep's runs, in the order of its plans.
///
/// # Errors
/// Files that cannot be read.
pub fn of(sweep: &Sweep) -> Result<Vec<RunState>> {
    let out = sweep.out();
    let store = Store::open(out)?;
    let watch = Claims::new(out.join(CHECKPOINTS), None);
    let mut claims = watch.all()?;
    for (id, life, _) in &mut claims {
        // One look tells nothing of a process on another machine; the age of its last sign of life does.
        if *life == Life::Unknown && watch.silence(id).is_some_and(|silence| silence > PATIENCE) {
            *life = Life::Dead;
        }
    }
    let claims: BTreeMap<String, (Life, Holder)> =
        claims.into_iter().map(|(id, life, who)| (id, (life, who))).collect();
    let done: BTreeSet<String> = store.listing()?.records.into_iter().map(|record| record.id).collect();
    let failed = store
        .failed()?
        .records
        .into_iter()
        .filter_map(|record| match record.status {
            Status::Failed { error } => Some((record.id, error)),
            Status::Finished => None,
        });
    let failed: BTreeMap<String, String> = failed.collect();
    let state = |run: PlannedRun| {
        let claim = claims.get(&run.id);
        let lives = claim.is_some_and(|(life, _)| *life != Life::Dead);
        let state = if done.contains(&run.id) {
            State::Done
        } else if lives {
            State::Running
        } else if failed.contains_key(&run.id) {
            State::Failed
        } else {
            State::Waiting
        };
        let error = failed.get(&run.id).filter(|_| state == State::Failed);
        RunState {
            error: error.map(|error| error.lines().next().unwrap_or_default().to_owned()),
            holder: claim.filter(|_| state != State::Done).map(|(_, holder)| holder.clone()),
            checkpoint: state != State::Done && RunPaths::new(out, &run.id).checkpoint().exists(),
            state,
            run,
        }
    };
    Ok(sweep.runs()?.into_iter().map(state).collect())
}

impl RunState {
    /// Its state, id, title, and what more is known of it.
    pub fn cells(&self) -> Vec<String> {
        let more = match (self.state, &self.holder) {
            (State::Done, _) => String::new(),
            (State::Failed, _) => self.error.clone().unwrap_or_default(),
            (State::Running, Some(holder)) => {
                format!(
                    "step {} of {} on {} since {}",
                    holder.step,
                    self.run.steps,
                    place(holder),
                    holder.since
                )
            }
            (State::Waiting, Some(holder)) => format!("its process on {} died at step {}", place(holder), holder.step),
            (_, None) if self.checkpoint => "has a checkpoint".into(),
            (_, None) => String::new(),
        };
        let state = format!("{:?}", self.state).to_lowercase();
        vec![state, self.run.id.clone(), self.run.title.clone(), more]
    }
}

/// `n7 (process 12, job 3)`.
fn place(holder: &Holder) -> String {
    let host = &holder.host;
    let job = host.job.as_ref().map(|job| format!(", job {job}")).unwrap_or_default();
    format!("{} (process {}{job})", host.host, host.pid)
}
