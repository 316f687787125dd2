//! `lora bench memory`: the peak memory of some training steps with random weights, compared with the prediction of a plan. Models
//! known by name need no files and no network.

use crate::config::settings::Dtype;
use crate::inputs::environment;
use crate::inputs::environment::set_threads;
use crate::inputs::locator::ModelSource;
use crate::tools::params::method_of;
use anyhow::{Context, Result, ensure};
use clap::Args;
use lora_core::batch::{Row, Target};
use lora_core::method;
use lora_core::model::{self, Model};
use lora_core::nn::{BaseInit, Build, BuiltParams};
use lora_core::train::{BatchShape, FitConfig, MemoryModel, Objective, Schedule, Stepper};
use serde::Serialize;
use serde_json::Value;
use std::time::Instant;

/// `lora bench memory`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  lora bench memory --model roberta-base --rows 8 --tokens 128\n  lora bench memory --model deberta-v2-xxlarge --layers 12 --dtype bf16 \\\n      --recompute --set r=16 --set alpha=32\n  lora bench memory --model DIR --method full --json\n\nMeasured is the highest resident memory of this process while it trains (Linux alone says). Predicted is what `--dry-run` says of\na run, on top of what the process held before there was a model. Nothing is built that would not fit into free memory."
)]
pub struct MemoryArgs {
    /// A model known by name (see `lora params`) or a Hugging Face model folder, of which config.json alone is read
    #[arg(long, value_name = "NAME|DIR")]
    pub model: String,
    /// Blocks, in place of as many as the model has
    #[arg(long, value_name = "N")]
    pub layers: Option<u64>,
    /// The method
    #[arg(long, value_name = "NAME", default_value = "lora")]
    pub method: String,
    /// A setting of the method, such as r=8; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Number type of frozen weights and activations
    #[arg(long, default_value = "fp32")]
    pub dtype: Dtype,
    /// Recompute activations inside blocks in the backward pass
    #[arg(long)]
    pub recompute: bool,
    /// Rows of a batch
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub rows: usize,
    /// Tokens of the longest row; the others have from half of that on
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub tokens: usize,
    /// Optimiser steps
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub steps: usize,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The measurements.
#[derive(Debug, Serialize)]
struct MemoryReport {
    model: String,
    layers: i64,
    method: String,
    dtype: &'static str,
    recompute: bool,
    rows: usize,
    tokens: usize,
    threads: usize,
    parameters: i64,
    trained: i64,
    /// Seconds of each step.
    step_s: Vec<f64>,
    losses: Vec<f64>,
    /// Memory of the process before the model is built.
    process_mib: f64,
    /// That, and the predicted memory of the steps.
    predicted_mib: f64,
    /// Peak memory during the steps.
    measured_mib: f64,
    predicted_over_measured: f64,
}

/// Measures, and returns text or JSON.
///
/// # Errors
/// Unknown models or methods, sizes that cannot be used, not enough memory.
pub fn measure(args: &MemoryArgs) -> Result<String> {
    ensure!(
        ![args.rows, args.tokens, args.steps].contains(&0) && args.layers != Some(0),
        "--layers, --rows, --tokens and --steps must be at least 1"
    );
    args.dtype.check(tch::Device::Cpu)?;
    let threads = set_threads(args.threads)?;
    let config = config(args)?;
    let process = environment::rss_mib().context("this system does not report the memory of a process")?;
    let (memory, longest) = memory(args, &config)?;
    let rows = rows(args, &memory, longest)?;
    let predicted = process + memory.bytes(&BatchShape::of(&rows, args.rows)) / f64::from(1 << 20);
    if let Some(free) = environment::available_mib() {
        ensure!(
            predicted < 0.9 * free,
            "{predicted:.0} MiB are predicted and {free:.0} MiB are free: take fewer --layers, --rows or --tokens, --dtype bf16 or --recompute"
        );
    }
    let steps = train(args, &config, &rows)?;
    let measured = MemoryReport {
        model: args.model.clone(),
        layers: memory.shape.layers,
        method: args.method.clone(),
        dtype: args.dtype.name(),
        recompute: args.recompute,
        rows: args.rows,
        tokens: rows.iter().map(|r| r.ids.len()).max().unwrap_or(0),
        threads,
        parameters: memory.total,
        trained: memory.trained,
        step_s: steps.seconds,
        losses: steps.losses,
        process_mib: process.round(),
        predicted_mib: predicted.round(),
        measured_mib: steps.peak_mib,
        predicted_over_measured: (predicted / steps.peak_mib * 1000.0).round() / 1000.0,
    };
    if args.json {
        return Ok(serde_json::to_string(&measured)? + "\n");
    }
    Ok(text(&measured))
}

/// config.json with the requested number of blocks.
fn config(args: &MemoryArgs) -> Result<Value> {
    let mut config = ModelSource::shape(&args.model)?;
    if let Some(layers) = args.layers {
        let keys = ["num_hidden_layers", "n_layer"];
        let key = keys.into_iter().find(|key| config.get(key).is_some());
        config[key.context("config.json has no number of blocks")?] = layers.into();
    }
    Ok(config)
}

/// Builds the model: a classifier with two classes, or a language model.
fn built(config: &Value, build: &Build) -> Result<Box<dyn Model>> {
    let arch = model::arch(config)?;
    Ok(match arch.build {
        Some(classifier) => classifier(config, 2, &build.scope())?,
        None => arch.language_model(config, &build.scope())?,
    })
}

/// The predicted memory, from a model whose variables are never touched, and the longest row.
fn memory(args: &MemoryArgs, config: &Value) -> Result<(MemoryModel, i64)> {
    let settings = method_of(&args.method, &args.sets)?;
    let (method, arch) = (method::from_value(&settings)?, model::arch(config)?);
    let build = Build::new(method.as_ref(), 0).base_kind(args.dtype.kind()).to_count();
    let model = built(config, &build)?;
    let (built, shape) = (build.finish()?, (arch.shape)(config)?);
    let longest = model.max_len();
    let model = (model.as_ref(), &built);
    let memory = MemoryModel::new((arch, config), shape, model, args.dtype.kind(), args.recompute);
    Ok((memory, longest))
}

/// Rows of uneven lengths, for a classifier or a language model.
fn rows(args: &MemoryArgs, memory: &MemoryModel, longest: i64) -> Result<Vec<Row>> {
    ensure!(
        args.tokens as i64 <= longest,
        "--tokens {}: the longest row that fits has {longest}",
        args.tokens
    );
    let row = |i: usize| {
        let len = (args.tokens - (i * 7) % (args.tokens / 2 + 1)).max(1);
        let id = |t: usize| (i * 31 + t * 17) as i64 % memory.shape.vocab;
        let ids: Vec<i64> = (0..len).map(id).collect();
        Row {
            target: match memory.shape.head_hidden {
                Some(_) => Target::Class(i as i64 % 2),
                None => Target::Tokens((1..=len).map(id).collect()),
            },
            ids,
            types: Vec::new(),
            prompt: None,
        }
    };
    Ok((0..args.rows).map(row).collect())
}

/// The results of the steps.
struct Steps {
    seconds: Vec<f64>,
    losses: Vec<f64>,
    peak_mib: f64,
}

fn train(args: &MemoryArgs, config: &Value, rows: &[Row]) -> Result<Steps> {
    let settings = method_of(&args.method, &args.sets)?;
    let method = method::from_value(&settings)?;
    let build = Build::new(method.as_ref(), 0)
        .base_kind(args.dtype.kind())
        .base_init(BaseInit::Random);
    let model = built(config, &build)?;
    let BuiltParams { params, .. } = build.finish()?;
    let objective = match model.causal() {
        Some(_) => Objective::Tokens { label_smoothing: 0.0 },
        None => Objective::Classes { label_smoothing: 0.0 },
    };
    let fit = fit_config(args, objective);
    environment::reset_peak_rss();
    let mut stepper = Stepper::new(model.as_ref(), &params, &fit, Schedule::constant(fit.lr))?;
    let batch: Vec<&Row> = rows.iter().collect();
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..args.steps {
        let since = Instant::now();
        let loss = stepper.step(&batch)?;
        losses.push(f64::try_from(loss).context("reading the loss")?);
        seconds.push((since.elapsed().as_secs_f64() * 100.0).round() / 100.0);
    }
    let peak_mib = environment::peak_rss_mib().context("this system does not report the peak memory of a process")?;
    Ok(Steps {
        seconds,
        losses,
        peak_mib,
    })
}

fn fit_config(args: &MemoryArgs, objective: Objective) -> FitConfig {
    FitConfig {
        batch_size: args.rows,
        lr: 1e-4,
        weight_decay: 0.01,
        clip: Some(1.0),
        objective,
        recompute: args.recompute,
        ..FitConfig::default()
    }
}

fn text(m: &MemoryReport) -> String {
    let numbers = |values: &[f64], digits: usize| {
        let shown: Vec<String> = values.iter().map(|v| format!("{v:.digits$}")).collect();
        shown.join(", ")
    };
    format!(
        "{} with {} blocks, {}, {}{}: {} parameters, {} trained\n{} rows of up to {} tokens, {} threads: {} s a step, losses {}\n\n{:<28} {:>8.0} MiB\n{:<28} {:>8.0} MiB\n{:<28} {:>8.0} MiB\n{:<28} {:>8.2}\n",
        m.model,
        m.layers,
        m.method,
        m.dtype,
        if m.recompute { ", recomputing" } else { "" },
        m.parameters,
        m.trained,
        m.rows,
        m.tokens,
        m.threads,
        numbers(&m.step_s, 2),
        numbers(&m.losses, 4),
        "the process without a model",
        m.process_mib,
        "predicted peak",
        m.predicted_mib,
        "measured peak",
        m.measured_mib,
        "predicted / measured",
        m.predicted_over_measured,
    )
}
