//! One optimiser step.

use super::{AdamW, FitConfig, Objective, Schedule, training_loss};
use crate::batch::{Batch, Row, Target, UNSCORED};
use crate::device::guarded;
use crate::model::Model;
use crate::nn::{ActivationCheckpointing, Params};
use crate::profile::{Phase, phase};
use crate::seed::{derive, seed_step};
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// One optimiser step: forward, backward, clip, update. The training loop, the benchmarks and the parity tests share
/// it.
#[derive(Debug)]
pub struct Stepper<'a> {
    model: &'a dyn Model,
    config: &'a FitConfig,
    schedule: Schedule,
    /// The optimiser. Its step count is the step count of the run.
    pub optim: AdamW,
}

impl<'a> Stepper<'a> {
    /// A stepper for the trainable variables of `params`.
    ///
    /// # Errors
    /// Those of [`AdamW::new`].
    pub fn new(
        model: &'a dyn Model,
        params: &Params,
        config: &'a FitConfig,
        schedule: Schedule,
    ) -> Result<Stepper<'a>> {
        let optim =
            AdamW::new(params, (config.beta1, config.beta2), config.eps, config.weight_decay)?.form(config.adamw);
        Ok(Stepper {
            model,
            config,
            schedule,
            optim,
        })
    }

    /// Takes one optimiser step on `rows`, at most `batch_size` per forward pass, and returns the loss: a scalar on the
    /// device, averaged over all rows or all scored tokens, regardless of how they are split into passes.
    ///
    /// # Errors
    /// [`Error::NoGradient`] in the first step, [`Error::OutOfMemory`], [`Error::Torch`].
    pub fn step(&mut self, rows: &[&Row]) -> Result<Tensor> {
        guarded(&format!("training step {}", self.optim.steps() + 1), || {
            self.unguarded(rows)
        })
    }

    fn unguarded(&mut self, rows: &[&Row]) -> Result<Tensor> {
        let c = self.config;
        let done = self.optim.steps();
        let all = terms(rows, c.objective);
        let mut total = Tensor::zeros([], (Kind::Float, c.device));
        for (part, rows) in rows.chunks(c.batch_size).enumerate() {
            let part_terms = terms(rows, c.objective);
            if part_terms == 0 && all > 0 {
                continue;
            }
            let share = part_terms as f64 / all as f64;
            let pass = done * c.accumulate as u64 + part as u64;
            seed_step(c.seed, pass);
            let checkpointing = ActivationCheckpointing::training(derive(c.seed, "blocks", pass), c.recompute);
            let batch = {
                let _data = phase(Phase::Data, c.device);
                Batch::new(rows, c.device)?
            };
            let loss = {
                let _forward = phase(Phase::Forward, c.device);
                let features = self.model.features(&batch, true, &checkpointing);
                training_loss(self.model, &features, &batch, c.objective) * share
            };
            let _backward = phase(Phase::Backward, c.device);
            loss.f_backward().map_err(Error::torch("the backward pass"))?;
            checkpointing.backward();
            total += loss.detach();
        }
        if done == 0 {
            let without = self.optim.without_gradient();
            if !without.is_empty() {
                return Err(Error::NoGradient(without.join(", ")));
            }
        }
        let _optimiser = phase(Phase::Optimiser, c.device);
        if let Some(clip) = c.clip {
            self.optim.clip(clip);
        }
        self.optim.step(self.rate(done));
        Ok(total)
    }

    /// The learning rate of `step`, counted from 0.
    pub fn rate(&self, step: u64) -> f64 {
        self.schedule.rate(step)
    }
}

/// The number of terms in the mean loss of `rows`: scored tokens or rows.
fn terms(rows: &[&Row], objective: Objective) -> usize {
    let scored = |row: &&Row| match (&row.target, objective) {
        (Target::Tokens(wanted), Objective::Tokens { .. }) => wanted.iter().filter(|id| **id != UNSCORED).count(),
        _ => 1,
    };
    rows.iter().map(scored).sum()
}
