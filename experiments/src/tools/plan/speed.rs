//! A device's measured speed, as a file that plans of other machines read.

use crate::config::settings::Dtype;
use crate::inputs::compute::ComputeArgs;
use crate::inputs::environment;
use crate::tools::bench::products::step_gflop;
use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use lora_core::batch::{Row, Target};
use lora_core::device::{self, synchronize};
use lora_core::generate::{Flavour, GenerationSettings, Generator, Strategy};
use lora_core::model::{self, Model, ModelShape};
use lora_core::nn::{BaseInit, Build, BuiltParams};
use lora_core::train::{FitConfig, Objective, Schedule, Stepper};
use lora_core::{batch::Batch, method};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tch::Device;

/// `lora bench device`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lora bench device --device cuda --dtype bf16 --out h100.json\n  lora plan --nodes 2 --gpus 8 --device-profile h100.json\n\nModels of two blocks with random weights train and generate for a few seconds at each width. Only the necessary matrix products are\ncounted (see `lora bench products --help`), so that the rates hold for models with more blocks."
)]
pub struct DeviceArgs {
    /// Device, number type and threads.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Widths of the models
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "128,384,768,1024,1536"
    )]
    pub widths: Vec<i64>,
    /// Tokens of a step
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "256,1024,4096")]
    pub tokens: Vec<usize>,
    /// The file
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// The measured speed of one device.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceProfile {
    /// Its name.
    pub device: String,
    /// Its memory in MiB, where it is known.
    pub memory_mib: Option<f64>,
    /// Number type of frozen weights and activations.
    pub dtype: Dtype,
    /// CPU threads.
    pub threads: usize,
    /// Trained parameters that AdamW updates in a second.
    pub updates: f64,
    /// Training, without the update, and evaluation.
    pub steps: Vec<StepRate>,
    /// Generation.
    pub decoding: Vec<DecodeRate>,
}

/// Rates of a training step, in GFLOP/s of the necessary products.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StepRate {
    /// Whether the model is a decoder.
    pub decoder: bool,
    /// Whether all weights are trained.
    pub full: bool,
    /// The model's width.
    pub width: i64,
    /// Tokens of the step.
    pub tokens: usize,
    /// Forward and backward.
    pub train: f64,
    /// Forward alone.
    pub eval: f64,
}

/// The rate of beam search.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeRate {
    /// The model's width.
    pub width: i64,
    /// Rows at once: prompts times beams.
    pub rows: usize,
    /// GFLOP/s of one token a row.
    pub rate: f64,
}

impl DeviceProfile {
    /// Reads a profile.
    ///
    /// # Errors
    /// A file that cannot be read or is none.
    pub fn read(path: &Path) -> Result<DeviceProfile> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let profile: DeviceProfile = serde_json::from_str(&text)
            .with_context(|| format!("{} is no profile of `lora bench device`", path.display()))?;
        let rates = profile.steps.iter().flat_map(|s| [s.train, s.eval]);
        let positive = rates
            .chain(profile.decoding.iter().map(|d| d.rate))
            .chain([profile.updates])
            .all(|rate| rate.is_finite() && rate > 0.0);
        ensure!(
            positive && !profile.steps.is_empty() && !profile.decoding.is_empty(),
            "{}: a rate is missing or not positive",
            path.display()
        );
        Ok(profile)
    }

    /// Rates of training and evaluation, in GFLOP/s.
    pub fn step(&self, decoder: bool, full: bool, width: i64, tokens: f64) -> (f64, f64) {
        let near = |s: &&StepRate| s.decoder == decoder && s.full == full;
        let of = |rate: &dyn Fn(&StepRate) -> f64| {
            let points = self.steps.iter().filter(near);
            between(
                points.map(|s| ([s.width as f64, s.tokens as f64], rate(s))),
                [width as f64, tokens],
            )
        };
        (of(&|s| s.train), of(&|s| s.eval))
    }

    /// The rate of generation, in GFLOP/s.
    pub fn decode(&self, width: i64, rows: f64) -> f64 {
        let points = self.decoding.iter().map(|d| ([d.width as f64, d.rows as f64], d.rate));
        between(points, [width as f64, rows])
    }
}

/// The value at `at` between points on a grid: linear in logarithms, and that of the border outside.
fn between(points: impl Iterator<Item = ([f64; 2], f64)>, at: [f64; 2]) -> f64 {
    let points: Vec<_> = points.collect();
    let axis = |k: usize| {
        let mut values: Vec<f64> = points.iter().map(|(x, _)| x[k]).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let last = values.len().saturating_sub(1);
        let above = values.iter().position(|v| *v >= at[k]).unwrap_or(last);
        let below = above.saturating_sub(1);
        let (a, b) = (values[below].ln(), values[above].ln());
        let share = if b > a {
            ((at[k].max(1e-9).ln() - a) / (b - a)).clamp(0.0, 1.0)
        } else {
            0.0
        };
        ([values[below], values[above]], share)
    };
    let ((widths, u), (tokens, v)) = (axis(0), axis(1));
    let mut log = 0.0;
    for (i, a) in [1.0 - u, u].into_iter().enumerate() {
        for (j, b) in [1.0 - v, v].into_iter().enumerate() {
            let found = points.iter().find(|(x, _)| *x == [widths[i], tokens[j]]);
            log += a * b * found.map_or(0.0, |(_, rate)| rate.ln());
        }
    }
    log.exp()
}

/// Measures the device, writes the file, and says what was measured.
///
/// # Errors
/// Devices and settings that cannot be used; a file that cannot be written.
pub fn measure(args: &DeviceArgs) -> Result<String> {
    ensure!(
        args.widths.iter().all(|w| *w >= 64 && w % 64 == 0) && args.tokens.iter().all(|t| *t >= 64),
        "--widths are multiples of 64, and --tokens at least 64"
    );
    ensure!(
        !args.widths.is_empty() && !args.tokens.is_empty(),
        "--widths and --tokens must not be empty"
    );
    let (threads, device) = args.compute.start()?;
    let dtype = args.compute.dtype;
    let bench = Bench { device, dtype };
    let rates = args.widths.len() * (KINDS.len() * args.tokens.len() + ROWS.len());
    let bar = ProgressBar::new(1 + rates as u64).with_style(ProgressStyle::with_template(
        "{wide_bar} {pos}/{len} rates, {eta} left  {msg}",
    )?);
    bar.set_message("AdamW");
    bar.tick();
    let mut profile = DeviceProfile {
        device: match device {
            Device::Cpu => environment::host().cpu,
            _ => device::name(device),
        },
        memory_mib: (device == Device::Cpu).then(environment::memory_mib).flatten(),
        dtype,
        threads,
        updates: bench.updates()?,
        steps: Vec::new(),
        decoding: Vec::new(),
    };
    bar.inc(1);
    for &width in &args.widths {
        bar.set_message(format!("width {width}"));
        for (decoder, full) in KINDS {
            for &tokens in &args.tokens {
                profile.steps.push(bench.step(decoder, full, width, tokens)?);
                bar.inc(1);
            }
        }
        for rows in ROWS {
            profile.decoding.push(bench.decoding(width, rows)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    support::write_atomic(&args.out, serde_json::to_string_pretty(&profile)?.as_bytes())?;
    Ok(format!(
        "{}: {} rates of steps and {} of generation, in {}\n",
        profile.device,
        profile.steps.len(),
        profile.decoding.len(),
        args.out.display()
    ))
}

/// The device under test.
struct Bench {
    device: Device,
    dtype: Dtype,
}

/// What trains at each width: whether it is a decoder, and whether all weights are trained.
const KINDS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// Rows that are generated at once.
const ROWS: [usize; 2] = [10, 160];

/// Blocks of the measured models.
const BLOCKS: i64 = 2;

/// The shortest time of a measurement.
const AT_LEAST: Duration = Duration::from_millis(400);

/// config.json of a model of this width.
fn config(decoder: bool, width: i64) -> Result<Value> {
    let mut config = model::known_config(if decoder { "gpt2" } else { "roberta-base" })?;
    let keys = if decoder {
        ["n_embd", "n_layer", "n_head"]
    } else {
        ["hidden_size", "num_hidden_layers", "num_attention_heads"]
    };
    for (key, value) in keys.into_iter().zip([width, BLOCKS, width / 64]) {
        config[key] = value.into();
    }
    if !decoder {
        config["intermediate_size"] = (4 * width).into();
        // Looking up a token is no product; with many of them, the update of an unused table would be most of a small step.
        config["vocab_size"] = 1000.into();
    }
    Ok(config)
}

impl Bench {
    fn model(&self, config: &Value, settings: &str) -> Result<(Box<dyn Model>, BuiltParams, ModelShape)> {
        let (method, arch) = (method::from_yaml(settings)?, model::arch(config)?);
        let build = Build::new(method.as_ref(), 1)
            .device(self.device)
            .base_kind(self.dtype.kind())
            .base_init(BaseInit::Random);
        let model = match arch.build {
            Some(classifier) => classifier(config, 2, &build.scope())?,
            None => arch.language_model(config, &build.scope())?,
        };
        Ok((model, build.finish()?, (arch.shape)(config)?))
    }

    fn step(&self, decoder: bool, full: bool, width: i64, tokens: usize) -> Result<StepRate> {
        let config = config(decoder, width)?;
        let settings = if full {
            "{kind: full}"
        } else {
            "{kind: lora, r: 8, alpha: 16, targets: [query, value]}"
        };
        let (model, built, shape) = self.model(&config, settings)?;
        let rows = synthetic(tokens as f64 / 64.0, 64.0, decoder, shape.vocab);
        let rows: Vec<&Row> = rows.iter().collect();
        let fit = FitConfig {
            batch_size: rows.len(),
            lr: 1e-6,
            objective: if decoder {
                Objective::Tokens { label_smoothing: 0.0 }
            } else {
                Objective::Classes { label_smoothing: 0.0 }
            },
            device: self.device,
            ..FitConfig::default()
        };
        let mut stepper = Stepper::new(model.as_ref(), &built.params, &fit, Schedule::constant(1e-6))?;
        let step = self.fastest(&mut || {
            let _loss = stepper.step(&rows)?;
            Ok(())
        })?;
        let update = self.fastest(&mut || {
            stepper.optim.step(1e-6);
            Ok(())
        })?;
        let train = (step - update).max(0.1 * step);
        let batch = Batch::new(&rows, self.device)?;
        let eval = self.fastest(&mut || {
            let _outputs = tch::no_grad(|| model.forward(&batch, false));
            Ok(())
        })?;
        Ok(StepRate {
            decoder,
            full,
            width,
            tokens,
            train: step_gflop(&shape, &built.params, &rows) / train,
            eval: forward_gflop(&config, &rows)? / eval,
        })
    }

    /// Parameters that are updated in a second, of some ten millions.
    fn updates(&self) -> Result<f64> {
        let (model, built, _) = self.model(&config(false, 256)?, "{kind: full}")?;
        let fit = FitConfig {
            device: self.device,
            ..FitConfig::default()
        };
        let mut stepper = Stepper::new(model.as_ref(), &built.params, &fit, Schedule::constant(1e-6))?;
        let rows = synthetic(2.0, 8.0, false, 100);
        let _loss = stepper.step(&rows.iter().collect::<Vec<_>>())?;
        let seconds = self.fastest(&mut || {
            stepper.optim.step(1e-6);
            Ok(())
        })?;
        Ok((built.counts.base + built.counts.head) as f64 / seconds)
    }

    fn decoding(&self, width: i64, rows: usize) -> Result<DecodeRate> {
        const NEW: usize = 16;
        let (model, _built, shape) = self.model(&config(true, width)?, "{kind: head}")?;
        let settings = GenerationSettings {
            strategy: Strategy::Beam {
                beams: 10,
                length_penalty: 1.0,
                flavour: Flavour::Paper,
            },
            max_new_tokens: NEW,
            end: Vec::new(),
            no_repeat_ngram: 0,
            bad_words: Vec::new(),
        };
        let generator = Generator {
            model: model.as_ref(),
            settings: &settings,
            batch_size: rows / 10,
            device: self.device,
            stop: None,
        };
        let prompts: Vec<Vec<i64>> = (0..rows as i64 / 10)
            .map(|i| (1..33).map(|t| i * 31 + t * 7).collect())
            .collect();
        let seconds = self.fastest(&mut || {
            generator.generate(&prompts, &mut |_| ())?;
            Ok(())
        })?;
        Ok(DecodeRate {
            width,
            rows,
            rate: token_gflop(&shape) * (rows * NEW) as f64 / seconds,
        })
    }

    /// Seconds of the fastest of several calls, after an untimed one.
    fn fastest(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        work()?;
        synchronize(self.device);
        let (begun, mut best) = (Instant::now(), f64::INFINITY);
        while begun.elapsed() < AT_LEAST {
            let since = Instant::now();
            work()?;
            synchronize(self.device);
            best = best.min(since.elapsed().as_secs_f64());
        }
        Ok(best)
    }
}

/// `count` rows of about `mean` tokens: three quarters to five quarters of it, in turns.
pub(super) fn synthetic(count: f64, mean: f64, decoder: bool, vocab: i64) -> Vec<Row> {
    let row = |i: usize| {
        let len = (mean * [1.0, 0.75, 1.25, 1.0][i % 4]).round().max(2.0) as i64;
        let id = |t: i64| 3 + (i as i64 * 31 + t * 17) % (vocab - 3).max(1);
        Row {
            ids: (0..len).map(id).collect(),
            types: Vec::new(),
            prompt: None,
            target: if decoder {
                Target::Tokens((1..=len).map(id).collect())
            } else {
                Target::Class(i as i64 % 2)
            },
        }
    };
    (0..count.round().max(1.0) as usize).map(row).collect()
}

/// The products of a forward pass, in 10^9 operations.
pub(super) fn forward_gflop(config: &Value, rows: &[&Row]) -> Result<f64> {
    let (method, arch) = (method::from_yaml("{kind: head}")?, model::arch(config)?);
    let build = Build::new(method.as_ref(), 0).to_count();
    let _model = match arch.build {
        Some(classifier) => classifier(config, 2, &build.scope())?,
        None => arch.language_model(config, &build.scope())?,
    };
    Ok(step_gflop(&(arch.shape)(config)?, &build.finish()?.params, rows))
}

/// The products of one more token of a row, in 10^9 operations, without attention.
pub(super) fn token_gflop(shape: &ModelShape) -> f64 {
    let vocabulary = (shape.hidden * shape.vocab) as f64;
    let blocks = 12.0 * (shape.hidden * shape.hidden * shape.layers) as f64;
    2.0 * (blocks + vocabulary) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_between_points_are_interpolated_and_outside_those_of_the_border() {
        let points = [
            ([10.0, 1.0], 1.0),
            ([10.0, 100.0], 4.0),
            ([1000.0, 1.0], 9.0),
            ([1000.0, 100.0], 36.0),
        ];
        let at = |x: [f64; 2]| (between(points.into_iter(), x) * 1e6).round() / 1e6;
        assert_eq!(at([10.0, 1.0]), 1.0);
        assert_eq!(at([10.0, 10.0]), 2.0);
        assert_eq!(at([100.0, 1.0]), 3.0);
        assert_eq!(at([100.0, 10.0]), 6.0);
        assert_eq!(at([1.0, 0.1]), 1.0);
        assert_eq!(at([1e6, 1e6]), 36.0);
    }
}
