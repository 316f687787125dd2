//! Which runs there are, and which of them the store lacks.

pub mod calibrate;
pub mod eta;

use crate::config::identity;
use crate::config::run_config::{RawExperiment, RunConfig};
use crate::config::settings::Pooler;
use crate::experiment::Experiment;
use crate::inputs::assets::Inputs;
use crate::runner::scheduler::Split;
use crate::task::TaskRows;
use anyhow::{Context, Result, ensure};
use lora_core::model;
use lora_core::nn::{Build, Counts};
use lora_core::train::{BatchShape, MemoryModel};
use results::Store;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::Device;

/// One run of the plan.
#[derive(Debug)]
pub struct Planned {
    /// What is run.
    pub config: RunConfig,
    /// 16 hex digits: hash of the config and of what goes in.
    pub id: String,
    /// The task's rows.
    pub rows: Arc<TaskRows>,
    /// Where it stands.
    pub state: State,
    /// The same run under other names, if it is asked for more than once.
    pub also: Vec<RunConfig>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its record is in the store.
    Done,
    /// A checkpoint is there to go on from.
    Interrupted,
    /// Nothing is there.
    Missing,
}

impl State {
    /// As the plan shows it.
    pub fn name(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Interrupted => "interrupted",
            State::Missing => "missing",
        }
    }
}

/// Every run of the experiment with its state.
///
/// # Errors
/// Settings, models or data that cannot be used.
pub fn plan(
    raw: &RawExperiment,
    experiment: &'static Experiment,
    inputs: &mut Inputs,
    store: &Store,
) -> Result<Vec<Planned>> {
    let mut planned = Vec::new();
    for mut config in raw.runs(experiment)? {
        let sources = raw.sources(experiment, &config)?;
        if let Some(start) = &mut config.start {
            start.runs = sources
                .iter()
                .map(|s| Ok(identify(experiment, s, inputs)?.0))
                .collect::<Result<_>>()?;
        }
        let (id, rows) = identify(experiment, &config, inputs)?;
        if let Some(same) = planned.iter_mut().find(|run: &&mut Planned| run.id == id) {
            same.also.push(config);
            continue;
        }
        let state = if store.has(&id)? {
            State::Done
        } else if checkpoint_path(store.dir(), &id).exists() {
            State::Interrupted
        } else {
            State::Missing
        };
        planned.push(Planned {
            config,
            id,
            rows,
            state,
            also: Vec::new(),
        });
    }
    // Whatever others start from comes first; otherwise the order stays.
    planned.sort_by_key(|run| run.config.start.is_some());
    Ok(planned)
}

/// Lets every run keep what it trains, if `all`; those that others start from do so anyway.
pub fn keep(runs: &mut [Planned], all: bool) {
    runs.iter_mut().for_each(|run| run.config.keep |= all);
}

/// The id of a run, and its rows.
fn identify(experiment: &Experiment, config: &RunConfig, inputs: &mut Inputs) -> Result<(String, Arc<TaskRows>)> {
    let rows = inputs.rows(experiment.task(config.task)?, config)?;
    Ok((identity::of(config, &inputs.contents(&rows))?, rows))
}

/// Refuses a plan in which a run starts from another that is not to come and whose record or weights are not in the store.
///
/// # Errors
/// The runs that are missing, and what to do.
pub fn check_starts(runs: &[Planned], store: &Store) -> Result<()> {
    for run in runs.iter().filter(|r| r.state != State::Done) {
        let Some(start) = &run.config.start else { continue };
        let to_come = |id: &String| runs.iter().any(|r| r.id == *id && r.state != State::Done);
        let mut missing = Vec::new();
        for id in start.runs.iter().filter(|id| !to_come(id)) {
            if !(store.has(id)? && weights_path(store.dir(), id).exists()) {
                missing.push(id.as_str());
            }
        }
        let (task, method) = (start.task, &run.config.method_name);
        ensure!(
            missing.is_empty(),
            "{} starts from the best {task} run of {method}, and of those {} are not in the store ({}): add {task} to --tasks, or set methods.{method}.tasks.{}.start=null",
            run.title(),
            missing.len(),
            missing.join(", "),
            run.config.task
        );
    }
    Ok(())
}

/// Refuses rows, and texts to be written, that the models of the runs cannot take: what a run would find out later.
///
/// # Errors
/// The run, and what does not fit.
pub fn check_rows(runs: &[Planned], inputs: &Inputs) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in runs {
        if seen.insert((Arc::as_ptr(&run.rows), &run.config.method_name)) {
            run.check_rows(&inputs.model).with_context(|| run.title())?;
        }
    }
    Ok(())
}

/// Where the weights that run `id` trained lie, of its best epoch, if they were kept.
pub fn weights_path(out: &Path, id: &str) -> PathBuf {
    out.join("weights").join(format!("{id}.safetensors"))
}

/// Where the checkpoint of run `id` lies.
pub fn checkpoint_path(out: &Path, id: &str) -> PathBuf {
    out.join("checkpoints").join(format!("{id}.safetensors"))
}

impl Planned {
    /// `mrpc · lora · seed 1`.
    pub fn title(&self) -> String {
        format!(
            "{} · {} · seed {}",
            self.config.task, self.config.method_name, self.config.seed
        )
    }

    /// Optimiser steps.
    pub fn steps(&self) -> u64 {
        let train = &self.config.train;
        let per_epoch = self.rows.train.len().div_ceil(train.batch_size * train.accumulate) as u64;
        per_epoch * train.epochs
    }

    /// Tokens trained on in all epochs, without padding: how much work the run is.
    pub fn tokens(&self) -> u64 {
        let epoch: usize = self.rows.train.iter().map(|r| r.ids.len()).sum();
        epoch as u64 * self.config.train.epochs
    }

    /// Builds the model without weights, to count what would be trained and to foretell how much memory that takes.
    ///
    /// # Errors
    /// A method that does not fit the model.
    pub fn counted(&self, model_dir: &Path) -> Result<Counted> {
        let (train, kind) = (&self.config.train, self.config.dtype.kind());
        let method = lora_core::method::from_value(&self.config.method)?;
        let build = Build::new(method.as_ref(), self.config.seed)
            .base_kind(kind)
            .freeze_pooler(train.pooler == Pooler::Frozen);
        let answers = self.rows.exam.answers();
        let (model, arch) = answers.build(model_dir, train.dropout(), &build)?;
        let built = build.finish()?;
        let (mut config, _) = model::load_config(model_dir)?;
        arch.set_dropout(&mut config, train.dropout())?;
        let shape = (arch.shape)(&config)?;
        Ok(Counted {
            memory: MemoryModel::new((arch, &config), shape, (model.as_ref(), &built), kind, train.recompute),
            counts: built.counts,
        })
    }

    /// Builds the model without weights, and holds the rows against it.
    fn check_rows(&self, model_dir: &Path) -> Result<()> {
        let (config, exam) = (&self.config, &self.rows.exam);
        let method = lora_core::method::from_value(&config.method)?;
        let build = Build::new(method.as_ref(), config.seed).base_kind(config.dtype.kind());
        let (model, _) = exam.answers().build(model_dir, config.train.dropout(), &build)?;
        let splits = exam.splits().into_iter().flatten();
        lora_core::train::check_rows(model.as_ref(), self.rows.train.iter().chain(splits))?;
        match exam.writing() {
            Some(writing) => writing.check(model.as_ref()),
            None => Ok(()),
        }
    }

    /// Memory of training, in MiB, for a batch of average rows, one of them the longest; without what the process itself
    /// takes.
    pub fn memory_mib(&self, counted: &Counted) -> f64 {
        let load = BatchShape::of(&self.rows.train, self.config.train.batch_size);
        counted.memory.bytes(&load) / f64::from(1 << 20)
    }
}

/// What a run trains, and what that takes.
#[derive(Debug)]
pub struct Counted {
    /// Trained variables by owner.
    pub counts: Counts,
    /// What decides the memory.
    pub memory: MemoryModel,
}

/// The plan as a table, for `--dry-run`, with the time that `device` needs by a measurement of a few steps, taken with the
/// threads that each run will have.
///
/// # Errors
/// A method that does not fit the model.
pub fn describe(runs: &[Planned], inputs: &Inputs, device: Device, split: Split) -> Result<String> {
    let mut text = format!(
        "{:<16}  {:<6} {:<12} {:>4}  {:<11} {:>12} {:>10} {:>7} {:>10} {:>9}\n",
        "run", "task", "method", "seed", "state", "trained", "+ head", "steps", "memory", "time"
    );
    // First of all: what does not fit into memory should not be measured.
    let counted = runs
        .iter()
        .map(|run| run.counted(&inputs.model).with_context(|| run.title()));
    let counted = counted.collect::<Result<Vec<_>>>()?;
    tch::set_num_threads(split.threads as i32);
    let paces = calibrate::measure(runs, &inputs.model, device)?;
    let mut left = 0.0;
    for (run, counted) in runs.iter().zip(&counted) {
        let pace = paces.get(&run.config.method_name).filter(|_| run.state != State::Done);
        let seconds = pace.map(|p| p.seconds(run));
        left += seconds.unwrap_or(0.0);
        text += &format!(
            "{:<16}  {:<6} {:<12} {:>4}  {:<11} {:>12} {:>10} {:>7} {:>6.0} MiB {:>9}\n",
            run.id,
            run.config.task,
            run.config.method_name,
            run.config.seed,
            run.state.name(),
            counted.counts.base + counted.counts.method,
            counted.counts.head,
            run.steps(),
            run.memory_mib(counted),
            seconds.map_or("–".into(), duration)
        );
    }
    let missing = runs.iter().filter(|r| r.state != State::Done).count();
    let beside = match split.jobs {
        1 => String::new(),
        jobs => format!(", {jobs} at a time"),
    };
    text += &format!(
        "\n{} runs, {missing} to compute: about {} on {}{beside}, by a few steps of each method measured just now. Memory is an estimate of weights, optimiser and activations; the process itself takes some 300 MiB more.\n",
        runs.len(),
        duration(left / split.jobs as f64),
        lora_core::device::name(device)
    );
    Ok(text)
}

/// `40 s`, `12 min`, `3.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
