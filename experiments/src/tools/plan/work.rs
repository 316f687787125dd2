//! What a run needs, from its settings and the sizes of its data: seconds on a device, memory, bytes.

use crate::config::run_config::RunConfig;
use crate::tools::bench::products::step_gflop;
use crate::tools::plan::speed::{DeviceProfile, forward_gflop, synthetic, token_gflop};
use anyhow::{Context, Result};
use lora_core::batch::Row;
use lora_core::method;
use lora_core::model::{self, ModelShape};
use lora_core::nn::{Build, BuiltParams};
use lora_core::train::{BatchShape, MemoryModel};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The sizes of a task's data: see sizes.yaml.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Training rows.
    pub train: usize,
    /// Mean tokens of a training row.
    pub train_tokens: f64,
    /// Rows that each evaluation reads.
    pub eval: usize,
    /// Mean tokens of such a row.
    pub eval_tokens: f64,
    /// Contexts that texts are written for.
    #[serde(default)]
    pub prompts: usize,
    /// Mean tokens of a context.
    #[serde(default)]
    pub prompt: f64,
    /// Mean tokens of a text.
    #[serde(default)]
    pub written: f64,
}

/// The assumed sizes, by task.
///
/// # Errors
/// Never for the file that is built in.
pub fn sizes() -> Result<BTreeMap<String, Sizes>> {
    serde_yaml::from_str(include_str!("sizes.yaml")).context("sizes.yaml")
}

/// A model with a method, as built without memory.
pub struct Counted {
    config: Value,
    shape: ModelShape,
    built: BuiltParams,
    memory: MemoryModel,
    full: bool,
}

/// What a run needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    /// Seconds of training.
    pub train_s: f64,
    /// Seconds of all evaluations.
    pub eval_s: f64,
    /// Seconds of generation.
    pub decode_s: f64,
    /// Memory in MiB.
    pub memory_mib: f64,
    /// Trained parameters, the head's too.
    pub trained: f64,
    /// Parameters of the whole model.
    pub total: f64,
}

impl Needs {
    /// All seconds.
    pub fn seconds(&self) -> f64 {
        self.train_s + self.eval_s + self.decode_s
    }
}

impl Counted {
    /// The model of this config.json with the run's method.
    ///
    /// # Errors
    /// A method that does not fit the model.
    pub fn new(config: &Value, run: &RunConfig) -> Result<Counted> {
        let (method, arch) = (method::from_value(&run.method)?, model::arch(config)?);
        let kind = run.dtype.kind();
        let build = Build::new(method.as_ref(), 0).base_kind(kind).to_count();
        let model = match arch.build {
            Some(classifier) => classifier(config, 2, &build.scope())?,
            None => arch.language_model(config, &build.scope())?,
        };
        let (built, shape) = (build.finish()?, (arch.shape)(config)?);
        let recompute = run.train.fit.recompute;
        let memory = MemoryModel::new((arch, config), shape.clone(), (model.as_ref(), &built), kind, recompute);
        Ok(Counted {
            full: built.counts.base * 2 > built.counts.total,
            config: config.clone(),
            shape,
            built,
            memory,
        })
    }

    fn decoder(&self) -> bool {
        self.shape.head_hidden.is_none()
    }

    /// Seconds of one optimiser step of `passes` passes with `rows` rows of `mean` tokens each.
    pub fn step_seconds(&self, profile: &DeviceProfile, rows: f64, mean: f64, passes: f64) -> f64 {
        let batch = synthetic(rows, mean, self.decoder(), self.shape.vocab);
        let batch: Vec<&Row> = batch.iter().collect();
        let gflop = step_gflop(&self.shape, &self.built.params, &batch);
        let (train, _) = profile.step(self.decoder(), self.full, self.shape.hidden, rows * mean);
        let counts = &self.built.counts;
        passes * gflop / train + (counts.base + counts.method + counts.head) as f64 / profile.updates
    }

    /// What `run` needs on the device.
    ///
    /// # Errors
    /// A model whose forward pass cannot be counted.
    pub fn needs(&self, profile: &DeviceProfile, run: &RunConfig, sizes: &Sizes) -> Result<Needs> {
        let fit = &run.train.fit;
        let per_step = (fit.batch_size * fit.accumulate) as f64;
        let steps = (sizes.train as f64 / per_step).ceil() * fit.epochs as f64;
        let cut = |tokens: f64| tokens.min(run.train.max_len as f64);
        let (mean, eval_mean) = (cut(sizes.train_tokens), cut(sizes.eval_tokens));
        let train_s = match self.built.params.trainable().next() {
            Some(_) => steps * self.step_seconds(profile, fit.batch_size as f64, mean, fit.accumulate as f64),
            None => 0.0,
        };
        let batch = synthetic(
            run.train.eval_batch_size as f64,
            eval_mean,
            self.decoder(),
            self.shape.vocab,
        );
        let batch: Vec<&Row> = batch.iter().collect();
        let tokens = batch.len() as f64 * eval_mean;
        let (_, rate) = profile.step(self.decoder(), self.full, self.shape.hidden, tokens);
        let passes = sizes.eval as f64 / batch.len() as f64;
        let eval_s = fit.epochs as f64 * passes * forward_gflop(&self.config, &batch)? / rate;
        let shape = BatchShape {
            rows: fit.batch_size as i64,
            mean,
            longest: (3.0 * mean).min(run.train.max_len as f64) as i64,
            scored: if self.decoder() { mean } else { 0.0 },
        };
        let counts = &self.built.counts;
        Ok(Needs {
            train_s,
            eval_s,
            decode_s: self.decode_seconds(profile, run, sizes),
            memory_mib: self.memory.bytes(&shape) / f64::from(1 << 20),
            trained: (counts.base + counts.method + counts.head) as f64,
            total: counts.total as f64,
        })
    }

    fn decode_seconds(&self, profile: &DeviceProfile, run: &RunConfig, sizes: &Sizes) -> f64 {
        let Some(decode) = &run.decode else { return 0.0 };
        let beams = decode.beams.max(1) as f64;
        let rows = beams * decode.batch_size.min(sizes.prompts.max(1)) as f64;
        let tokens = sizes.prompts as f64 * (sizes.prompt + beams * sizes.written);
        tokens * token_gflop(&self.shape) / profile.decode(self.shape.hidden, rows)
    }
}
