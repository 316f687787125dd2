//! How a model is trained, and what an evaluation gives.

use super::{AdamForm, Objective};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Device;

/// How a model is trained.
#[derive(Clone, Debug)]
pub struct FitConfig {
    /// Passes over the training rows.
    pub epochs: u64,
    /// Rows of one forward pass.
    pub batch_size: usize,
    /// Forward passes of one optimiser step, which is that of their rows in one pass.
    pub accumulate: usize,
    /// The highest learning rate.
    pub lr: f64,
    /// Decay of matrices and embeddings.
    pub weight_decay: f64,
    /// Share of the steps spent in warm-up.
    pub warmup_ratio: f64,
    /// Steps of warm-up, in place of the share.
    pub warmup_steps: Option<u64>,
    /// The largest joint norm of the gradients; none = no clipping.
    pub clip: Option<f64>,
    /// Adam's betas.
    pub betas: (f64, f64),
    /// Adam's epsilon.
    pub eps: f64,
    /// Where epsilon and decay stand.
    pub adamw: AdamForm,
    /// What is minimised.
    pub objective: Objective,
    /// The run's seed: order of the rows, dropout.
    pub seed: u64,
    /// Steps between checkpoints; one is written at the end of each epoch anyway.
    pub checkpoint_every: u64,
    /// Whether what lies inside a block is computed again in the backward pass instead of being kept: less memory, a third
    /// more work, the same numbers ([`crate::nn::ActivationCheckpointing`]).
    pub recompute: bool,
    /// Where batches go.
    pub device: Device,
}

/// The defaults of the experiments: three epochs of 32 rows, the learning rate of the paper's LoRA, on the CPU.
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

/// One evaluation, at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Eval {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Optimiser steps done.
    pub step: u64,
    /// Mean training loss of the epoch.
    pub train_loss: f64,
    /// Metric name ("dev/accuracy") to value; none where the metric is undefined.
    pub metrics: BTreeMap<String, Option<f64>>,
}
