//! Training settings and evaluation results.

use super::{AdamForm, Objective};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Device;

/// Training settings.
#[derive(Clone, Debug)]
pub struct FitConfig {
    /// Epochs: passes over the training rows.
    pub epochs: u64,
    /// Rows per forward pass.
    pub batch_size: usize,
    /// Forward passes per optimiser step (gradient accumulation). The step equals that of all their rows in one pass.
    pub accumulate: usize,
    /// The peak learning rate.
    pub lr: f64,
    /// Weight decay of matrices and embeddings.
    pub weight_decay: f64,
    /// Share of all steps spent in warm-up.
    pub warmup_ratio: f64,
    /// Steps of warm-up; overrides `warmup_ratio`.
    pub warmup_steps: Option<u64>,
    /// Maximal global norm of the gradients; none disables clipping.
    pub clip: Option<f64>,
    /// Adam's betas.
    pub betas: (f64, f64),
    /// Adam's epsilon.
    pub eps: f64,
    /// Variant of AdamW.
    pub adamw: AdamForm,
    /// The loss.
    pub objective: Objective,
    /// Seed of the order of rows and of dropout.
    pub seed: u64,
    /// Steps between checkpoints; 0 writes one only at the end of each epoch.
    pub checkpoint_every: u64,
    /// Whether activations inside a block are recomputed in the backward pass instead of stored: less memory, a third
    /// more work, the same values ([`crate::nn::ActivationCheckpointing`]).
    pub recompute: bool,
    /// The device of model and batches.
    pub device: Device,
}

/// The defaults of the experiments, for the CPU: three epochs, batches of 32 rows, the learning rate of the paper's
/// LoRA.
impl Default for FitConfig {
    fn default() -> Self {
        FitConfig {
            epochs: 3,
            batch_size: 32,
            accumulate: 1,
            lr: 5e-4,
            weight_decay: 0.1,
            warmup_ratio: 0.06,
            warmup_steps: None,
            clip: Some(1.0),
            betas: (0.9, 0.999),
            eps: 1e-8,
            adamw: AdamForm::Torch,
            objective: Objective::Classes { label_smoothing: 0.0 },
            seed: 1,
            checkpoint_every: 200,
            recompute: false,
            device: Device::Cpu,
        }
    }
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
