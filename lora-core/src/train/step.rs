//! One optimiser step.

use super::{AdamW, Alone, FitConfig, LossScale, Objective, Ranks, Schedule, Traffic, training_loss};
use crate::batch::{Batch, Row, Target, UNSCORED};
use crate::device::guarded;
use crate::model::Model;
use crate::nn::{self, ActivationCheckpointing, Params};
use crate::profile::{Phase, phase};
use crate::seed::{derive, seed_step};
use crate::{Error, Result};
use std::time::Instant;
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
    /// With activations in fp16 alone.
    loss_scale: Option<LossScale>,
    ranks: &'a dyn Ranks,
    /// What the ranks sum up: the gradients, whether there are any, the loss, the ranks that failed, and those that are to
    /// stop.
    buffer: Vec<f32>,
    traffic: Traffic,
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
            loss_scale: (params.activation_kind() == Kind::Half).then(LossScale::default),
            ranks: &Alone,
            buffer: Vec::new(),
            traffic: Traffic::default(),
        })
    }

    /// Lets these ranks share the rows of each step.
    pub fn by(self, ranks: &'a dyn Ranks) -> Stepper<'a> {
        Stepper { ranks, ..self }
    }

    /// The scale of the loss; none unless activations are fp16.
    pub fn loss_scale(&self) -> Option<LossScale> {
        self.loss_scale
    }

    /// Goes on with the scale of a checkpoint.
    pub(super) fn continue_with(&mut self, saved: Option<LossScale>) {
        self.loss_scale = self.loss_scale.map(|first| saved.unwrap_or(first));
    }

    /// What the ranks have sent so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Takes one optimiser step on `rows`, at most `batch_size` per forward pass, and returns the loss: a scalar on the
    /// device, averaged over all rows or all scored tokens, regardless of how they are split into passes.
    ///
    /// # Errors
    /// [`Error::NoGradient`] in the first step, [`Error::OutOfMemory`], [`Error::Torch`]; with several ranks, those of any of
    /// them, and [`Error::Ranks`].
    pub fn step(&mut self, rows: &[&Row]) -> Result<Tensor> {
        Ok(self.step_until(rows, &|| false)?.0)
    }

    /// [`Stepper::step`], and whether `stop` is true on any rank.
    ///
    /// # Errors
    /// As [`Stepper::step`].
    pub fn step_until(&mut self, rows: &[&Row], stop: &dyn Fn() -> bool) -> Result<(Tensor, bool)> {
        let doing = format!("training step {}", self.optim.steps() + 1);
        let own = guarded(&doing, || self.backward(rows));
        if self.ranks.is_alone() {
            let loss = own?;
            guarded(&doing, || self.update())?;
            return Ok((loss, stop()));
        }
        let (loss, stop) = self.exchange(own, stop())?;
        match guarded(&doing, || self.update()) {
            // Every rank finds the same.
            Err(Error::NoGradient(names)) => Err(Error::NoGradient(names)),
            Err(error) => self.ranks.abort(&error.to_string()),
            Ok(()) => Ok((loss, stop)),
        }
    }

    /// Adds the gradients of this rank's rows, and returns their part of the loss.
    fn backward(&self, rows: &[&Row]) -> Result<Tensor> {
        let c = self.config;
        let done = self.optim.steps();
        let all = terms(rows, c.objective);
        let mut total = Tensor::zeros([], (Kind::Float, c.device));
        for (part, rows) in rows.chunks(c.batch_size).enumerate() {
            let own = self.ranks.share(rows.len());
            let part_terms = terms(&rows[own.clone()], c.objective);
            if own.is_empty() || (part_terms == 0 && all > 0) {
                continue;
            }
            let share = part_terms as f64 / all as f64;
            let pass = done * c.accumulate as u64 + part as u64;
            seed_step(c.seed, pass);
            let checkpointing = ActivationCheckpointing::training(derive(c.seed, "blocks", pass), c.recompute);
            let batch = {
                let _data = phase(Phase::Data, c.device);
                Batch::part(rows, own, c.device)?
            };
            if !self.ranks.is_alone() {
                nn::split_masks(&batch.layout);
            }
            let loss = {
                let _forward = phase(Phase::Forward, c.device);
                let features = self.model.features(&batch, true, &checkpointing);
                training_loss(self.model, &features, &batch, c.objective) * share
            };
            let _backward = phase(Phase::Backward, c.device);
            let scaled = self.loss_scale.map(|scale| &loss * scale.factor);
            let above = scaled.as_ref().unwrap_or(&loss);
            above.f_backward().map_err(Error::torch("the backward pass"))?;
            checkpointing.backward();
            total += loss.detach();
        }
        Ok(total)
    }

    /// Sums loss and gradients over the ranks. `own` is this rank's part of the loss, `stop` whether it is to stop; returns
    /// whether any is.
    fn exchange(&mut self, own: Result<Tensor>, stop: bool) -> Result<(Tensor, bool)> {
        let device = self.config.device;
        let _optimiser = phase(Phase::Optimiser, device);
        let (optim, ranks, mut buffer) = (&self.optim, self.ranks, std::mem::take(&mut self.buffer));
        buffer.clear();
        let own = own.and_then(|loss| {
            optim.flatten(&mut buffer)?;
            f32::try_from(&loss).map_err(Error::torch("reading the loss"))
        });
        buffer.resize(optim.flat_len(), 0.0);
        let flag = |flag: bool| if flag { 1.0 } else { 0.0 };
        let loss = own.as_ref().copied().unwrap_or_default();
        buffer.extend([loss, flag(own.is_err()), flag(stop)]);
        let since = Instant::now();
        ranks.all_reduce_sum(&mut buffer)?;
        self.traffic.seconds += since.elapsed().as_secs_f64();
        self.traffic.steps += 1;
        self.traffic.bytes_per_step = size_of_val(buffer.as_slice()) as u64;
        let Some((flat, &[loss, failed, stops])) = buffer.split_last_chunk() else {
            return Err(Error::Ranks("the buffer of gradients is empty".into()));
        };
        if failed > 0.0 {
            ranks.agree(own)?;
        }
        if let Err(error) = self.optim.unflatten(flat) {
            ranks.abort(&error.to_string());
        }
        self.buffer = buffer;
        let loss = Tensor::from(loss).to_device(device);
        Ok((loss, stops > 0.0))
    }

    /// Updates the variables by their gradients.
    fn update(&mut self) -> Result<()> {
        let c = self.config;
        let done = self.optim.steps();
        if done == 0 {
            let without = self.optim.without_gradient();
            if !without.is_empty() {
                return Err(Error::NoGradient(without.join(", ")));
            }
        }
        let _optimiser = phase(Phase::Optimiser, c.device);
        if let Some(scale) = self.loss_scale {
            let finite = self.optim.unscale(scale.factor)?;
            self.loss_scale = Some(scale.after(finite)?);
            if !finite {
                self.optim.leave_out();
                return Ok(());
            }
        }
        if let Some(clip) = c.clip {
            self.optim.clip(clip);
        }
        self.optim.step(self.rate(done));
        Ok(())
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
