//! How fast this device is: a few steps of each method, so that a plan can say how long it takes.

use crate::config::settings::Pooler;
use crate::plan::{Planned, State};
use anyhow::Result;
use lora_core::batch::Row;
use lora_core::device::synchronize;
use lora_core::nn::Build;
use lora_core::train::{Schedule, Stepper};
use lora_core::weights::Weights;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tch::Device;

/// No measurement lasts much longer than this, however slow the device.
const AT_MOST: Duration = Duration::from_secs(5);

/// Steps that are timed, after one that is not.
const STEPS: usize = 4;

/// Tokens a second.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// In training.
    pub train: f64,
    /// In evaluation.
    pub eval: f64,
    /// Seconds a text that is written after training.
    pub text: f64,
}

impl Pace {
    /// Seconds that all epochs and evaluations of `run` take at this pace.
    pub fn seconds(&self, run: &Planned) -> f64 {
        let tokens = |rows: &[Row]| rows.iter().map(|r| r.ids.len()).sum::<usize>() as f64;
        let eval: f64 = run.rows.exam.splits().into_iter().map(tokens).sum();
        let texts = run.rows.exam.writing().map_or(0, |w| w.prompts.len()) as f64;
        run.config.train.epochs as f64 * (tokens(&run.rows.train) / self.train + eval / self.eval) + texts * self.text
    }
}

/// The pace of each method, measured on the first run of it that is still to do.
///
/// # Errors
/// A method that does not fit the model; not enough memory.
pub fn measure(runs: &[Planned], model: &Path, device: Device) -> Result<BTreeMap<String, Pace>> {
    let mut paces = BTreeMap::new();
    for run in runs.iter().filter(|r| r.state != State::Done) {
        if !paces.contains_key(&run.config.method_name) {
            paces.insert(run.config.method_name.clone(), pace(run, model, device)?);
        }
    }
    Ok(paces)
}

fn pace(run: &Planned, model_dir: &Path, device: Device) -> Result<Pace> {
    let method = lora_core::method::from_value(&run.config.method)?;
    let build = Build::new(method.as_ref(), run.config.seed)
        .device(device)
        .base_kind(run.config.dtype.kind())
        .freeze_pooler(run.config.train.pooler == Pooler::Frozen);
    let exam = &run.rows.exam;
    let (model, arch) = exam.answers().build(model_dir, run.config.train.dropout(), &build)?;
    let params = build.finish()?.params;
    let (settings, weights) = (&run.config.train, Weights::open(model_dir)?);
    let head = exam
        .answers()
        .stored_head(model_dir, &weights, exam.classes(), settings.fresh_head)?;
    weights.load_with(&params, arch, &head)?.require_complete()?;
    let fit = settings.fit(run.config.seed, exam.objective(settings), device);
    let train = if params.trainable().next().is_some() {
        let mut stepper = Stepper::new(model.as_ref(), &params, &fit, Schedule::constant(1e-6))?;
        let batches: Vec<&[Row]> = run.rows.train.chunks(fit.batch_size).collect();
        rate(&batches, device, &mut |rows| {
            let _loss = stepper.step(&rows.iter().collect::<Vec<_>>())?;
            Ok(())
        })?
    } else {
        f64::INFINITY // nothing is trained
    };
    let size = settings.eval_batch_size;
    let batches: Vec<&[Row]> = exam.splits().into_iter().flat_map(|s| s.chunks(size)).collect();
    let eval = rate(&batches, device, &mut |rows| {
        exam.answers().pass(model.as_ref(), rows, size, device)
    })?;
    let text = exam.writing().map(|w| w.pace(model.as_ref(), device)).transpose()?;
    let text = text.unwrap_or(0.0);
    Ok(Pace { train, eval, text })
}

/// Tokens a second of `work` over some of the batches.
fn rate(batches: &[&[Row]], device: Device, work: &mut dyn FnMut(&[Row]) -> Result<()>) -> Result<f64> {
    let (mut tokens, mut since) = (0, Instant::now());
    let mut took = Duration::MAX;
    for (i, rows) in batches.iter().cycle().take(STEPS + 1).enumerate() {
        work(rows)?;
        synchronize(device);
        let first = i == 0;
        if first && since.elapsed() < AT_MOST {
            // Memory is taken and kernels are chosen in the first.
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
