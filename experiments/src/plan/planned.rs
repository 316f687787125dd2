//! One run of a plan: its settings, its rows, and its model.

use crate::config::run_config::RunConfig;
use crate::config::settings::Pooler;
use crate::task::TaskRows;
use crate::task::run_paths::RunPaths;
use anyhow::{Context, Result};
use lora_core::model::{self, Arch, Model};
use lora_core::nn::{Build, BuiltParams, Counts};
use lora_core::train::{BatchShape, MemoryModel};
use lora_core::weights::{LoadReport, Weights};
use results::record::RunName;
use std::path::Path;
use std::sync::Arc;
use tch::Device;

/// One run of the plan.
#[derive(Debug)]
pub struct Planned {
    /// Its settings.
    pub config: RunConfig,
    /// 16 hex digits: hash of the settings and of the contents that they name.
    pub id: String,
    /// The task's rows.
    pub rows: Arc<TaskRows>,
    /// Whether it is done, interrupted or missing.
    pub state: State,
    /// Its name in the record.
    pub name: RunName,
    /// The same run under other names, if it is asked for more than once, with these names.
    pub also: Vec<(RunConfig, RunName)>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its record is in the store.
    Done,
    /// A checkpoint is there to resume from.
    Interrupted,
    /// Nothing is there.
    Missing,
}

impl State {
    /// Its name in the plan.
    pub fn name(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Interrupted => "interrupted",
            State::Missing => "missing",
        }
    }
}

/// The parameters that a run trains, and its memory.
#[derive(Debug)]
pub struct Counted {
    /// Trained parameters by owner.
    pub counts: Counts,
    /// Memory as a function of the batch.
    pub memory: MemoryModel,
}

impl Planned {
    /// `mrpc · lora · seed 1`, and the rate of a run that tries one.
    pub fn title(&self) -> String {
        let config = &self.config;
        let rate = config.limit.held_out.map(|_| format!(" · lr {}", config.train.fit.lr));
        format!(
            "{} · {} · seed {}{}",
            config.task,
            config.method_name,
            config.seed,
            rate.unwrap_or_default()
        )
    }

    /// The run's files below `out`.
    pub fn paths<'a>(&'a self, out: &'a Path) -> RunPaths<'a> {
        RunPaths::new(out, &self.id)
    }

    /// Optimiser steps.
    pub fn steps(&self) -> u64 {
        let train = &self.config.train;
        let per_epoch = self
            .rows
            .train
            .len()
            .div_ceil(train.fit.batch_size * train.fit.accumulate) as u64;
        per_epoch * train.fit.epochs
    }

    /// Tokens trained on in all epochs, without padding.
    pub fn tokens(&self) -> u64 {
        let epoch: usize = self.rows.train.iter().map(|r| r.ids.len()).sum();
        epoch as u64 * self.config.train.fit.epochs
    }

    /// Builds the model of the folder `dir` with the run's method and head; its weights are not loaded.
    ///
    /// # Errors
    /// A method that does not fit the model; not enough memory.
    pub fn build(&self, dir: &Path, device: Device) -> Result<(Box<dyn Model>, &'static Arch, BuiltParams)> {
        let config = &self.config;
        let method = lora_core::method::from_value(&config.method)?;
        let build = Build::new(method.as_ref(), config.seed)
            .device(device)
            .base_kind(config.dtype.kind())
            .freeze_pooler(config.train.pooler == Pooler::Frozen);
        let (model, arch) = self.rows.evaluator.head().build(dir, config.train.dropout(), &build)?;
        Ok((model, arch, build.finish()?))
    }

    /// Builds the model of the folder `dir` and loads its weights.
    ///
    /// # Errors
    /// As [`Planned::build`]; weights that are missing or do not fit.
    pub fn load(&self, dir: &Path, device: Device) -> Result<(Box<dyn Model>, BuiltParams, LoadReport)> {
        let (model, arch, built) = self.build(dir, device)?;
        let (weights, evaluator) = (Weights::open(dir)?, &self.rows.evaluator);
        let fresh = self.config.train.fresh_head;
        let head = evaluator
            .head()
            .stored_head(dir, &weights, evaluator.classes(), fresh)?;
        let report = weights.load_with(&built.params, arch, &head)?.require_complete()?;
        Ok((model, built, report))
    }

    /// Counts the trained parameters and models the memory of training, on a model without weights.
    ///
    /// # Errors
    /// As [`Planned::build`].
    pub fn counted(&self, dir: &Path) -> Result<Counted> {
        let (train, kind) = (&self.config.train, self.config.dtype.kind());
        let (model, arch, built) = self.build(dir, Device::Cpu)?;
        let (mut config, _) = model::load_config(dir)?;
        arch.set_dropout(&mut config, train.dropout())?;
        let shape = (arch.shape)(&config)?;
        Ok(Counted {
            memory: MemoryModel::new(
                (arch, &config),
                shape,
                (model.as_ref(), &built),
                kind,
                train.fit.recompute,
            ),
            counts: built.counts,
        })
    }

    /// Refuses rows and inputs of the stage after training that the model cannot take, on a model without weights.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_rows(&self, dir: &Path) -> Result<()> {
        let (model, _, _) = self.build(dir, Device::Cpu)?;
        self.check(model.as_ref())
    }

    /// Refuses rows and texts that `model` cannot take.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self, model: &dyn Model) -> Result<()> {
        let evaluator = &self.rows.evaluator;
        let splits = evaluator.splits().into_iter().flatten();
        let rows = self.rows.train.iter().chain(splits);
        let most = model.max_len();
        lora_core::train::check_rows(model, rows).with_context(|| {
            format!(
                "rows of the task {}, which `train.max_len` cuts (--set train.max_len={most})",
                self.config.task
            )
        })?;
        evaluator.post_training().check(model)
    }

    /// Memory of training, in MiB, for a batch of average rows, one of them the longest; without that of the process itself.
    pub fn memory_mib(&self, counted: &Counted) -> f64 {
        let batch = BatchShape::of(&self.rows.train, self.config.train.fit.batch_size);
        counted.memory.bytes(&batch) / f64::from(1 << 20)
    }
}
