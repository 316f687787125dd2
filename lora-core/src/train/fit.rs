//! The settings of training, and which epoch is selected.

use super::{AdamForm, Objective, ScheduleKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Device;

/// Training settings. Those that a configuration may set are serialised, in this order; `recompute` and
/// `checkpoint_every`, which do not affect results, are read but not serialised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitConfig {
    /// Epochs: passes over the training rows.
    pub epochs: u64,
    /// Rows per forward pass.
    pub batch_size: usize,
    /// Forward passes per optimiser step (gradient accumulation). The step equals that of all their rows in one pass.
    pub accumulate: usize,
    /// The peak learning rate.
    pub lr: f64,
    /// Weight decay of matrices and embeddings. Biases and normalisations do not decay.
    pub weight_decay: f64,
    /// Share of all steps spent in warm-up.
    pub warmup_ratio: f64,
    /// Steps of warm-up; overrides `warmup_ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// The learning rate after the warm-up.
    #[serde(default, skip_serializing_if = "ScheduleKind::is_linear")]
    pub schedule: ScheduleKind,
    /// Stops a run whose criterion ([`Criterion`]) stays away from its best for some epochs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Maximal global norm of the gradients; none disables clipping.
    pub clip: Option<f64>,
    /// Adam's first beta.
    pub beta1: f64,
    /// Adam's second beta.
    pub beta2: f64,
    /// Adam's epsilon.
    pub eps: f64,
    /// Variant of AdamW.
    #[serde(default, skip_serializing_if = "AdamForm::is_torch")]
    pub adamw: AdamForm,
    /// Steps whose rows are sorted by length and divided anew, so that rows of a step have similar lengths: less padding on a
    /// GPU, none to save on a CPU. 0 keeps the random order. It changes which rows stand in one step, and so every number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub length_window: usize,
    /// Whether activations inside a block are recomputed in the backward pass instead of stored: less memory, a third
    /// more work, the same values ([`crate::nn::ActivationCheckpointing`]).
    #[serde(default, skip_serializing)]
    pub recompute: bool,
    /// Steps between checkpoints; 0 writes one only at the end of each epoch.
    #[serde(default, skip_serializing)]
    pub checkpoint_every: u64,
    /// The loss.
    #[serde(skip, default = "classes")]
    pub objective: Objective,
    /// Seed of the order of rows and of dropout.
    #[serde(skip)]
    pub seed: u64,
    /// The device of model and batches.
    #[serde(skip, default = "cpu")]
    pub device: Device,
}

/// One epoch of classification on the CPU with PyTorch's settings of AdamW, without warm-up, weight decay or clipping.
impl Default for FitConfig {
    fn default() -> Self {
        FitConfig {
            epochs: 1,
            batch_size: 32,
            accumulate: 1,
            lr: 1e-3,
            weight_decay: 0.0,
            warmup_ratio: 0.0,
            warmup_steps: None,
            schedule: ScheduleKind::Linear,
            early_stopping: None,
            clip: None,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            adamw: AdamForm::Torch,
            length_window: 0,
            recompute: false,
            checkpoint_every: 0,
            objective: classes(),
            seed: 0,
            device: cpu(),
        }
    }
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

fn classes() -> Objective {
    Objective::Classes { label_smoothing: 0.0 }
}

fn cpu() -> Device {
    Device::Cpu
}

/// Stops a run before its last epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// So many epochs in a row without a better value of the criterion end the run.
    pub patience: u64,
}

impl EarlyStopping {
    /// Whether the run ends after the last of `evals`: transformers' `EarlyStoppingCallback` with a threshold of 0. An
    /// undefined value is no improvement.
    pub fn ends(&self, evals: &[Eval], criterion: &Criterion) -> bool {
        let best = select_best(evals, criterion, Select::Best).map_or(0, |eval| eval.epoch);
        evals.last().is_some_and(|last| last.epoch - best >= self.patience)
    }
}

/// The metric that compares epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// Its name in evaluations.
    pub metric: String,
    /// Whether lower is better, as for a loss.
    pub lower_is_better: bool,
}

impl Criterion {
    /// The metric with this name; lower is better if the name ends with `loss`.
    pub fn new(metric: impl Into<String>) -> Criterion {
        let metric = metric.into();
        Criterion {
            lower_is_better: metric.ends_with("loss"),
            metric,
        }
    }

    /// Whether `value` is better than `best`.
    pub fn improves(&self, value: f64, best: f64) -> bool {
        if self.lower_is_better {
            value < best
        } else {
            value > best
        }
    }

    /// The worst possible value.
    pub fn worst(&self) -> f64 {
        if self.lower_is_better {
            f64::INFINITY
        } else {
            f64::NEG_INFINITY
        }
    }

    /// The metric's value in an evaluation; none if it is undefined.
    pub fn value(&self, eval: &Eval) -> Option<f64> {
        eval.metrics.get(&self.metric).copied().flatten()
    }
}

/// Which epoch is selected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Select {
    /// The best epoch by the criterion.
    #[default]
    Best,
    /// The last epoch.
    Last,
}

impl Select {
    /// Whether it is the default.
    pub fn is_best(&self) -> bool {
        *self == Select::Best
    }
}

/// The selected evaluation: the last, or the best by `criterion`, the first of equals, as in transformers' trainer. The
/// best is among the epochs where the metric is defined.
pub fn select_best<'e>(evals: &'e [Eval], criterion: &Criterion, select: Select) -> Option<&'e Eval> {
    if select == Select::Last {
        return evals.last();
    }
    let defined = evals.iter().filter_map(|eval| Some((criterion.value(eval)?, eval)));
    let best = defined.reduce(|best, next| if criterion.improves(next.0, best.0) { next } else { best });
    best.map(|(_, eval)| eval)
}

/// The evaluation at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Optimiser steps done.
    pub step: u64,
    /// Mean training loss of the epoch.
    pub train_loss: f64,
    /// Metric name (such as `dev/accuracy`) to value; none if the metric is undefined.
    pub metrics: BTreeMap<String, Option<f64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evals(metric: &str, values: &[Option<f64>]) -> Vec<Eval> {
        let eval = |(i, value): (usize, &Option<f64>)| Eval {
            epoch: i as u64 + 1,
            step: i as u64,
            train_loss: 0.0,
            metrics: BTreeMap::from([(metric.to_string(), *value)]),
        };
        values.iter().enumerate().map(eval).collect()
    }

    #[test]
    fn the_first_best_epoch_is_selected() {
        let best = |metric: &str, values: &[Option<f64>]| {
            let (evals, by) = (evals("dev/accuracy", values), Criterion::new(metric));
            select_best(&evals, &by, Select::Best).map(|eval| eval.epoch)
        };
        let values = [Some(0.5), None, Some(0.7), Some(0.7), Some(0.6)];
        assert_eq!(best("dev/accuracy", &values), Some(3));
        assert_eq!(best("dev/accuracy", &[Some(-0.2), Some(-0.1)]), Some(2));
        assert_eq!(best("dev/accuracy", &[None, None]), None);
        assert_eq!(best("dev/f1", &[Some(1.0)]), None);
    }

    #[test]
    fn epochs_without_improvement_end_a_run() {
        let by = Criterion::new("dev/accuracy");
        let ends = |patience, values: &[Option<f64>]| {
            (1..=values.len()).find(|n| EarlyStopping { patience }.ends(&evals("dev/accuracy", &values[..*n]), &by))
        };
        let values = [0.5, 0.6, 0.6, 0.7, 0.1, 0.7, 0.9].map(Some);
        assert_eq!(ends(1, &values), Some(3), "an equal value is no improvement");
        assert_eq!(ends(2, &values), Some(6));
        assert_eq!(ends(3, &values), None);
        assert_eq!(ends(2, &[None, None]), Some(2));
        let losses = [Some(2.0), Some(1.0), Some(1.5)];
        let by = Criterion::new("dev/loss");
        assert!(!EarlyStopping { patience: 1 }.ends(&evals("dev/loss", &losses[..2]), &by));
        assert!(EarlyStopping { patience: 1 }.ends(&evals("dev/loss", &losses), &by));
    }

    #[test]
    fn the_lowest_loss_or_the_last_epoch_is_selected() {
        let losses = evals("dev/loss", &[Some(2.0), Some(1.0), Some(1.0), None]);
        let by = Criterion::new("dev/loss");
        let epoch = |select| select_best(&losses, &by, select).map(|eval| eval.epoch);
        assert_eq!((epoch(Select::Best), epoch(Select::Last)), (Some(2), Some(4)));
        assert_eq!(select_best(&[], &by, Select::Last), None);
    }
}
