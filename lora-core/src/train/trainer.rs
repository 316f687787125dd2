//! The training loop.

use super::predict::check_rows;
use super::{Checkpoint, Criterion, Eval, FitConfig, Progress, Ranks, Schedule, Select, Stepper, Traffic, select_best};
use crate::batch::Row;
use crate::device::synchronize;
use crate::model::Model;
use crate::nn::Params;
use crate::profile::{Phase, phase};
use crate::seed::derive;
use crate::weights;
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tch::Tensor;

/// The order of the rows in an epoch: random, or with rows of similar lengths together within windows of some steps.
fn order(rows: &[Row], c: &FitConfig, epoch: u64) -> Vec<usize> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(derive(c.seed, "shuffle", epoch));
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.shuffle(&mut random);
    let step = c.batch_size * c.accumulate;
    if c.length_window < 2 {
        return order;
    }
    let mut out = Vec::with_capacity(order.len());
    for window in order.chunks_mut(c.length_window.saturating_mul(step)) {
        window.sort_by_key(|i| rows[*i].ids.len());
        let mut steps: Vec<&[usize]> = window.chunks(step).collect();
        // A last step with fewer rows stays last, so that the others keep their boundaries.
        let whole = window.len() / step;
        steps[..whole].shuffle(&mut random);
        out.extend(steps.concat());
    }
    out
}

/// An event of a run, for observers.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run resumes from a checkpoint at this step.
    Resumed(u64),
    /// Some steps are done.
    Progress {
        /// Steps done.
        step: u64,
        /// All steps.
        total: u64,
        /// Loss of the last step.
        loss: f64,
        /// Learning rate of the last step.
        lr: f64,
        /// Tokens trained on, summed over all attempts.
        tokens: u64,
        /// Seconds of training without evaluation, summed over all attempts.
        seconds: f64,
    },
    /// An epoch was evaluated.
    Epoch(&'a Eval),
}

/// The result of a finished run.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// All evaluations, and times summed over all attempts.
    pub progress: Progress,
    /// What the ranks have sent each other in the last attempt.
    pub traffic: Traffic,
}

/// Evaluates the model: metric name to value, none if the metric is undefined.
pub type Evaluate<'a> = dyn FnMut(&dyn Model) -> Result<BTreeMap<String, Option<f64>>> + 'a;

/// A file with the trained variables of the selected epoch: [`Params::kept`], as safetensors.
#[derive(Clone, Debug)]
pub struct BestCheckpoint<'a> {
    /// The metric that epochs are compared by.
    pub criterion: &'a Criterion,
    /// Which epoch is selected.
    pub select: Select,
    /// The file.
    pub path: PathBuf,
}

/// The training loop of one model.
pub struct Trainer<'a> {
    /// The model.
    pub model: &'a dyn Model,
    /// Its variables.
    pub params: &'a Params,
    /// Training settings.
    pub config: &'a FitConfig,
    /// The checkpoint to resume from and to write; none for neither.
    pub checkpoint: Option<&'a Checkpoint>,
    /// The file of the best epoch's trained variables; none to write no file.
    pub keep: Option<BestCheckpoint<'a>>,
    /// The metric of early stopping.
    pub criterion: Option<&'a Criterion>,
    /// When true (Ctrl-C) on any rank, the run writes a checkpoint and stops after the current step.
    pub stop: Option<&'a AtomicBool>,
    /// Who trains: [`super::Alone`], or several processes that share each batch. Rank 0 reads and writes the files.
    pub ranks: &'a dyn Ranks,
}

/// Steps between reads of the loss; each read synchronises with the GPU.
const LOG_EVERY: usize = 10;

/// The state of a run.
struct State<'a> {
    stepper: Stepper<'a>,
    total: u64,
    progress: Progress,
    /// Losses not yet read from the device, one per step.
    pending: Vec<Tensor>,
    /// Start of the training time that is not yet in `progress`.
    since: Instant,
}

impl<'a> Trainer<'a> {
    /// Trains on `rows` to the end, resuming from the checkpoint if there is one, and evaluates after each epoch. A checkpoint
    /// that is damaged or of another run is deleted with a warning, and training starts anew.
    ///
    /// # Errors
    /// [`Error::Config`] for settings or rows that are not valid, [`Error::NotFinite`], [`Error::NoGradient`],
    /// [`Error::OutOfMemory`], [`Error::Interrupted`], and the errors of `evaluate`.
    pub fn fit(&self, rows: &[Row], evaluate: &mut Evaluate, observe: &mut dyn FnMut(Event)) -> Result<Fitted> {
        check_rows(self.model, rows)?;
        let steps_per_epoch = self.steps_per_epoch(rows.len())?;
        let mut state = self.start(steps_per_epoch)?;
        if state.progress.step > 0 {
            state.progress.resumed += 1;
            observe(Event::Resumed(state.progress.step));
        }
        while state.progress.step < state.total && !self.ends_early(&state.progress.evals) {
            let epoch = state.progress.step / steps_per_epoch;
            self.epoch(&mut state, rows, epoch, steps_per_epoch, observe)?;
            self.end_epoch(&mut state, epoch, steps_per_epoch, evaluate, observe)?;
        }
        Ok(Fitted {
            progress: state.progress,
            traffic: state.stepper.traffic(),
        })
    }

    fn ends_early(&self, evals: &[Eval]) -> bool {
        let both = self.config.early_stopping.zip(self.criterion);
        both.is_some_and(|(stopping, criterion)| stopping.ends(evals, criterion))
    }

    /// Optimiser steps of one epoch over `rows` rows.
    ///
    /// # Errors
    /// [`Error::Config`] if there are no rows, or the epochs, the batch size or the accumulation are 0.
    pub fn steps_per_epoch(&self, rows: usize) -> Result<u64> {
        let c = self.config;
        if rows == 0 || c.batch_size == 0 || c.accumulate == 0 || c.epochs == 0 {
            return Err(Error::Config(
                "training needs at least one row, epoch, batch row and accumulated batch".into(),
            ));
        }
        Ok(rows.div_ceil(c.batch_size * c.accumulate) as u64)
    }

    fn start(&self, steps_per_epoch: u64) -> Result<State<'a>> {
        let c = self.config;
        let total = c.epochs * steps_per_epoch;
        let schedule = match c.warmup_steps {
            Some(warmup) => Schedule::linear(c.lr, warmup, total),
            None => Schedule::with_ratio(c.lr, c.warmup_ratio, total),
        };
        if c.early_stopping.is_some() && self.criterion.is_none() {
            let what = "early stopping needs a metric that epochs are compared by, and this run has none";
            return Err(Error::Config(what.into()));
        }
        let stepper = Stepper::new(self.model, self.params, c, schedule.kind(c.schedule));
        let mut stepper = self.ranks.agree(stepper)?.by(self.ranks);
        let progress = self.restore(&mut stepper)?;
        stepper.continue_with(progress.loss_scale);
        Ok(State {
            stepper,
            total,
            progress,
            pending: Vec::new(),
            since: Instant::now(),
        })
    }

    /// Restores rank 0's checkpoint on all ranks, and returns its progress: the start, if there is none.
    fn restore(&self, stepper: &mut Stepper) -> Result<Progress> {
        let warn = |why: &str| tracing::warn!("{why}");
        let restored = match self.checkpoint.filter(|_| self.ranks.is_first()) {
            Some(checkpoint) => checkpoint.restore_or_start_anew(&mut stepper.optim, warn),
            None => Ok(None),
        };
        let progress = self.ranks.agree(restored)?.unwrap_or_default();
        if self.ranks.is_alone() {
            return Ok(progress);
        }
        let fault = |e: serde_json::Error| Error::Ranks(format!("the progress of rank 0 cannot be read: {e}"));
        let mut text = serde_json::to_vec(&progress).map_err(fault)?;
        self.ranks.broadcast(&mut text)?;
        let progress: Progress = serde_json::from_slice(&text).map_err(fault)?;
        if progress.step > 0 {
            self.ranks.copy_first(&stepper.optim.state())?;
            stepper.optim.continue_from(progress.step);
        }
        Ok(progress)
    }

    fn epoch(
        &self,
        state: &mut State,
        rows: &[Row],
        epoch: u64,
        per_epoch: u64,
        observe: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let c = self.config;
        let order = order(rows, c, epoch);
        let done = (state.progress.step % per_epoch) as usize;
        state.since = Instant::now();
        for group in order.chunks(c.batch_size * c.accumulate).skip(done) {
            let group: Vec<&Row> = group.iter().map(|i| &rows[*i]).collect();
            let step = state.progress.step + 1;
            let asked = || self.stop.is_some_and(|s| s.load(Ordering::Relaxed));
            let (loss, stop) = state.stepper.step_until(&group, &asked)?;
            state.pending.push(loss);
            state.progress.step = step;
            state.progress.loss_scale = state.stepper.loss_scale();
            state.progress.tokens += group.iter().map(|r| r.ids.len() as u64).sum::<u64>();
            let end = step.is_multiple_of(per_epoch);
            let save = !end && c.checkpoint_every > 0 && step.is_multiple_of(c.checkpoint_every);
            if state.pending.len() >= LOG_EVERY || end || save || stop {
                self.log_losses(state, observe)?;
            }
            if (save || stop) && !end {
                self.save(state)?;
            }
            if stop && !end {
                return Err(Error::Interrupted { step });
            }
        }
        Ok(())
    }

    /// Reads the losses of the last steps and fails if one is not finite.
    fn log_losses(&self, state: &mut State, observe: &mut dyn FnMut(Event)) -> Result<()> {
        let first = state.progress.step - state.pending.len() as u64;
        let mut last = f64::NAN;
        for (i, pending) in state.pending.drain(..).enumerate() {
            last = f64::try_from(&pending).map_err(Error::torch("reading the loss"))?;
            let step = first + i as u64;
            if !last.is_finite() {
                return Err(Error::NotFinite {
                    loss: last,
                    step: step + 1,
                    lr: state.stepper.rate(step),
                });
            }
            state.progress.epoch_loss += last;
        }
        let (step, total) = (state.progress.step, state.total);
        observe(Event::Progress {
            step,
            total,
            loss: last,
            lr: state.stepper.rate(step.saturating_sub(1)),
            tokens: state.progress.tokens,
            seconds: state.progress.train_seconds + state.since.elapsed().as_secs_f64(),
        });
        Ok(())
    }

    fn end_epoch(
        &self,
        state: &mut State,
        epoch: u64,
        per_epoch: u64,
        evaluate: &mut Evaluate,
        observe: &mut dyn FnMut(Event),
    ) -> Result<()> {
        synchronize(self.config.device);
        if !self.ranks.is_alone() {
            // On processors of different kinds the last bits of the updates may differ.
            self.ranks.copy_first(&state.stepper.optim.state())?;
        }
        state.progress.train_seconds += state.since.elapsed().as_secs_f64();
        let started = Instant::now();
        let metrics = {
            let _evaluation = phase(Phase::Evaluation, self.config.device);
            self.ranks.agree(evaluate(self.model))?
        };
        state.progress.eval_seconds += started.elapsed().as_secs_f64();
        let train_loss = state.progress.epoch_loss / per_epoch as f64;
        state.progress.epoch_loss = 0.0;
        state.progress.evals.push(Eval {
            epoch: epoch + 1,
            step: state.progress.step,
            train_loss,
            metrics,
        });
        self.ranks.agree(self.keep_best(&state.progress.evals))?;
        state.since = Instant::now();
        self.save(state)?;
        if let Some(eval) = state.progress.evals.last() {
            observe(Event::Epoch(eval));
        }
        Ok(())
    }

    /// Writes the trained variables if the last evaluation is the selected one so far. Before the checkpoint: a run
    /// killed between the two writes them again.
    fn keep_best(&self, evals: &[Eval]) -> Result<()> {
        let (Some(keep), Some(last), true) = (&self.keep, evals.last(), self.ranks.is_first()) else {
            return Ok(());
        };
        let selected = select_best(evals, keep.criterion, keep.select);
        if selected.is_none_or(|selected| selected.epoch != last.epoch) {
            return Ok(());
        }
        let value = keep.criterion.value(last).unwrap_or(f64::NAN);
        let metadata = [
            ("metric", keep.criterion.metric.clone()),
            ("value", value.to_string()),
            ("epoch", last.epoch.to_string()),
        ];
        weights::save_sealed(
            &keep.path,
            &self.params.kept(),
            metadata.map(|(k, v)| (k.to_string(), v)).into(),
        )
    }

    fn save(&self, state: &mut State) -> Result<()> {
        state.progress.train_seconds += state.since.elapsed().as_secs_f64();
        state.since = Instant::now();
        self.ranks
            .agree(match self.checkpoint.filter(|_| self.ranks.is_first()) {
                Some(checkpoint) => checkpoint.save(&state.stepper.optim, &state.progress),
                None => Ok(()),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Target;

    #[test]
    fn a_window_of_steps_has_rows_of_similar_lengths_and_all_of_them() {
        let row = |n: usize| Row {
            ids: vec![7; n],
            types: Vec::new(),
            prompt: None,
            target: Target::Class(0),
        };
        let rows: Vec<Row> = (0..50).map(|i| row(1 + (i * 37) % 50)).collect();
        let config = |length_window| FitConfig {
            batch_size: 4,
            length_window,
            ..FitConfig::default()
        };
        let spread = |order: &[usize]| -> usize {
            let length = |i: &usize| rows[*i].ids.len();
            let of = |step: &[usize]| step.iter().map(length).max().unwrap() - step.iter().map(length).min().unwrap();
            order.chunks(4).map(of).sum()
        };
        let (random, sorted) = (order(&rows, &config(0), 3), order(&rows, &config(6), 3));
        assert!(
            spread(&sorted) * 3 < spread(&random),
            "{} {}",
            spread(&sorted),
            spread(&random)
        );
        let mut all = sorted.clone();
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
        assert_ne!(order(&rows, &config(6), 4), sorted);
        assert_eq!(order(&rows, &config(6), 3), sorted);
    }
}
