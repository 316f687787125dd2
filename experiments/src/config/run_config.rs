//! The validated settings of one run: plain data that decides its numbers.

use crate::config::settings::{DecodeConfig, Dtype, IdleSetting, Limit, TrainConfig};
use anyhow::{Context, Result};
use results::record::RateChoice;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

/// One run: everything that decides its numbers, except weights and data, whose hashes the plan adds. Serialised it is the
/// `config` of the run's record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The experiment's name.
    pub experiment: String,
    /// The model's name.
    pub model: String,
    /// The task's id.
    pub task: String,
    /// The method's name in this experiment.
    pub method_name: String,
    /// The method with all its settings.
    pub method: Value,
    /// The seed.
    pub seed: u64,
    /// Number type of frozen weights and activations.
    pub dtype: Dtype,
    /// Training settings.
    pub train: TrainConfig,
    /// Limits on the number of rows.
    #[serde(default, skip_serializing_if = "Limit::is_none")]
    pub limit: Limit,
    /// Decoding settings, for tasks that generate text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode: Option<DecodeConfig>,
    /// The template of the input, for tasks where it is a setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The trained weights that the run starts from, if not fresh ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<WarmStart>,
    /// Whether the trained weights are kept, because other tasks start from them or `--keep` asks for it. Changes no number.
    #[serde(skip)]
    pub keep: bool,
    /// How `train.lr` was chosen, where rates were tried. The rate decides the numbers, not how it was found.
    #[serde(skip)]
    pub rates: Option<RateChoice>,
}

/// A start from trained weights: adapter and head of the best of several runs (the head's last layer only where the number of
/// outputs is the same). The paper starts MRPC, RTE and STS-B from its best MNLI run (Appendix D.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WarmStart {
    /// The task of those runs.
    pub task: String,
    /// Their ids, one a seed; filled in by the plan.
    pub runs: Vec<String>,
}

impl RunConfig {
    /// Reads the `config` of a record. Methods of earlier versions are completed with their defaults.
    ///
    /// # Errors
    /// Unknown keys, values of the wrong type, a method that no longer exists.
    pub fn from_record(config: &serde_json::Value) -> Result<RunConfig> {
        let mut run: RunConfig = serde_json::from_value(config.clone()).context("reading the record's `config`")?;
        run.method = lora_core::method::resolved(&run.method)?;
        Ok(run)
    }

    /// The settings that have no influence because of other settings of the run, whatever its task.
    pub fn idle_settings(&self) -> Vec<IdleSetting> {
        let mut idle = Vec::new();
        if let Some(steps) = self.train.fit.warmup_steps {
            idle.push(IdleSetting {
                path: "train.warmup_ratio",
                reason: format!("`train.warmup_steps` is {steps}; set it to null for a share of the steps"),
            });
        }
        if self.limit.train.is_none() {
            idle.push(IdleSetting {
                path: "limit.sample",
                reason: "`limit.train` does not say how many rows".into(),
            });
        }
        idle.extend(self.decode.iter().flat_map(DecodeConfig::idle_settings));
        idle
    }

    /// The same run with each of the `idle` settings at one fixed value, so that the same question has the same id.
    pub fn normalized(mut self, idle: &[IdleSetting]) -> RunConfig {
        for setting in idle {
            match setting.path {
                "train.warmup_ratio" => self.train.fit.warmup_ratio = 0.0,
                "train.label_smoothing" => self.train.label_smoothing = 0.0,
                "limit.sample" => self.limit.sample = None,
                "limit.test" => self.limit.test = None,
                path => self.decode.iter_mut().for_each(|decode| decode.reset(path)),
            }
        }
        self
    }
}
