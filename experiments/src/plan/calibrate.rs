//! The speed of the device, measured in a few steps of each method, for the time in a plan.

use crate::plan::planned::{Planned, State};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use lora_core::batch::Row;
use lora_core::device::synchronize;
use lora_core::train::{Schedule, Stepper};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tch::Device;

/// The time limit of a measurement.
const AT_MOST: Duration = Duration::from_secs(5);

/// Timed steps, after an untimed one.
const STEPS: usize = 4;

/// The speed of a method.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Tokens a second in training.
    pub train: f64,
    /// Tokens a second in evaluation.
    pub eval: f64,
    /// Seconds an input of the stage after training.
    pub input: f64,
}

impl Pace {
    /// Seconds of all epochs and evaluations of `run`, and of the stage after training.
    pub fn seconds(&self, run: &Planned) -> f64 {
        let tokens = |rows: &[Row]| rows.iter().map(|r| r.ids.len()).sum::<usize>() as f64;
        let evaluator = &run.rows.evaluator;
        let eval: f64 = evaluator.splits().into_iter().map(tokens).sum();
        let inputs = evaluator.post_training().inputs() as f64;
        run.config.train.fit.epochs as f64 * (tokens(&run.rows.train) / self.train + eval / self.eval)
            + inputs * self.input
    }
}

/// The paces of methods, by their names.
pub type Paces = BTreeMap<String, Pace>;

/// Adds the pace of each method that is not yet among `paces`, measured on its first run that is not done. A terminal shows which.
///
/// # Errors
/// A method that does not fit the model; not enough memory.
pub fn measure(paces: &mut Paces, runs: &[Planned], model: &Path, device: Device) -> Result<()> {
    let mut first = BTreeMap::new();
    for run in runs.iter().filter(|r| r.state != State::Done) {
        if !paces.contains_key(&run.config.method_name) {
            first.entry(&run.config.method_name).or_insert(run);
        }
    }
    let bar = ProgressBar::new(first.len() as u64)
        .with_style(ProgressStyle::with_template("measuring {msg} ({pos} of {len})")?);
    for (name, run) in first {
        bar.set_message(name.clone());
        bar.inc(1);
        paces.insert(name.clone(), pace(run, model, device)?);
    }
    bar.finish_and_clear();
    Ok(())
}

fn pace(run: &Planned, model_dir: &Path, device: Device) -> Result<Pace> {
    let (model, built, _) = run.load(model_dir, device)?;
    let (settings, evaluator) = (&run.config.train, &run.rows.evaluator);
    let fit = settings.fit_config(run.config.seed, evaluator.objective(settings), device);
    let train = if built.params.trainable().next().is_some() {
        let mut stepper = Stepper::new(model.as_ref(), &built.params, &fit, Schedule::constant(1e-6))?;
        let batches: Vec<&[Row]> = run.rows.train.chunks(fit.batch_size).collect();
        rate(&batches, device, &mut |rows| {
            let _loss = stepper.step(&rows.iter().collect::<Vec<_>>())?;
            Ok(())
        })?
    } else {
        f64::INFINITY // nothing is trained
    };
    let size = settings.eval_batch_size;
    let batches: Vec<&[Row]> = evaluator.splits().into_iter().flat_map(|s| s.chunks(size)).collect();
    let eval = rate(&batches, device, &mut |rows| {
        evaluator.head().pass(model.as_ref(), rows, size, device)
    })?;
    let input = evaluator.post_training().seconds_per_input(model.as_ref(), device)?;
    Ok(Pace { train, eval, input })
}

/// Tokens a second of `work` on some of the batches.
fn rate(batches: &[&[Row]], device: Device, work: &mut dyn FnMut(&[Row]) -> Result<()>) -> Result<f64> {
    let (mut tokens, mut since) = (0, Instant::now());
    let mut took = Duration::MAX;
    for (i, rows) in batches.iter().cycle().take(STEPS + 1).enumerate() {
        work(rows)?;
        synchronize(device);
        let first = i == 0;
        if first && since.elapsed() < AT_MOST {
            // The first allocates memory and selects kernels.
            since = Instant::now();
            continue;
        }
        tokens += rows.iter().map(|r| r.ids.len()).sum::<usize>();
        took = since.elapsed();
        if took > AT_MOST {
            break;
        }
    }
    Ok(tokens as f64 / took.as_secs_f64().max(1e-9))
}
