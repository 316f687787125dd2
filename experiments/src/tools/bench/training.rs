//! `lora bench train`: times and losses of training steps on a fixed workload, for comparison with PEFT.

use crate::config::settings::Dtype;
use crate::inputs::environment;
use crate::inputs::environment::set_threads;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lora_core::batch::{Row, Target, UNSCORED};
use lora_core::nn::{Build, BuiltParams};
use lora_core::train::{FitConfig, Objective, Schedule, Stepper};
use lora_core::weights::Weights;
use lora_core::{device, interop, method, model};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Untimed steps at the start.
const WARM_UP: usize = 2;

/// Classes of a classifier.
const LABELS: i64 = 2;

/// `lora bench train`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  python3 tools/peer_bench.py prepare bench-work --model roberta-base\n  python3 tools/peer_bench.py run bench-work --method lora\n  lora bench train bench-work --method lora --adapter bench-work/adapter_init\n\nThe last line printed is one JSON object with the peer's keys."
)]
pub struct TrainArgs {
    /// Folder with config.json, model.safetensors and workload.json
    pub dir: PathBuf,
    /// lora, full or bitfit
    #[arg(long, default_value = "lora")]
    pub method: String,
    /// Rank of LoRA on query and value
    #[arg(long, default_value_t = 8)]
    pub r: i64,
    /// Alpha of LoRA
    #[arg(long, default_value_t = 16.0)]
    pub alpha: f64,
    /// The learning rate, constant
    #[arg(long, default_value_t = 1e-4)]
    pub lr: f64,
    /// Number type of frozen weights and activations
    #[arg(long, default_value = "fp32")]
    pub dtype: Dtype,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// A PEFT folder with the initial adapter (and head)
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Workload {
    task: String,
    batches: Vec<WorkBatch>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkBatch {
    input_ids: Vec<Vec<i64>>,
    labels: Option<Vec<i64>>,
}

/// The JSON line, with the keys of tools/peer_bench.py.
#[derive(Debug, Serialize)]
pub struct TrainingReport {
    peer: &'static str,
    method: String,
    dtype: &'static str,
    device: String,
    compiled: bool,
    trainable: i64,
    /// Seconds of building the model and reading the weights.
    import_s: f64,
    /// Median seconds of a step after the warm-up.
    step_s: f64,
    tokens_per_s: f64,
    peak_mib: f64,
    losses: Vec<f64>,
}

/// Trains on the workload.
///
/// # Errors
/// Files that are missing or do not fit together, settings that cannot be used.
pub fn train(args: &TrainArgs) -> Result<TrainingReport> {
    set_threads(args.threads)?;
    let device = device::parse(&args.device)?;
    let started = Instant::now();
    let Work { writes, batches } = workload(&args.dir)?;
    let settings = match args.method.as_str() {
        "lora" => format!(
            "{{kind: lora, r: {}, alpha: {}, targets: [query, value]}}",
            args.r, args.alpha
        ),
        other => format!("{{kind: {other}}}"),
    };
    let method = method::from_yaml(&settings)?;
    let build = Build::new(method.as_ref(), 0)
        .device(device)
        .base_kind(args.dtype.kind());
    let (model, arch) = if writes {
        model::lm_from_dir(&args.dir, &build)?
    } else {
        model::from_dir(&args.dir, LABELS, &build)?
    };
    let BuiltParams { params, counts } = build.finish()?;
    Weights::open(&args.dir)?.load_into(&params, arch)?.require_complete()?;
    if let Some(adapter) = &args.adapter {
        interop::load_peft(adapter, &params)?;
    }
    let imported = started.elapsed().as_secs_f64();
    let config = fit_config(args.lr, &batches, writes, device);
    let mut stepper = Stepper::new(model.as_ref(), &params, &config, Schedule::constant(args.lr))?;
    let (mut losses, mut seconds, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for batch in &batches {
        let rows: Vec<&Row> = batch.iter().collect();
        device::synchronize(device);
        let since = Instant::now();
        let loss = stepper.step(&rows)?;
        losses.push(f64::try_from(loss).context("reading the loss")?);
        device::synchronize(device);
        let took = since.elapsed().as_secs_f64();
        seconds.push(took);
        rates.push(rows.iter().map(|r| r.ids.len()).sum::<usize>() as f64 / took);
    }
    Ok(TrainingReport {
        peer: "lora-core",
        method: args.method.clone(),
        dtype: args.dtype.name(),
        device: device::name(device),
        compiled: false,
        trainable: counts.base + counts.method + counts.head,
        import_s: (imported * 100.0).round() / 100.0,
        step_s: median(&seconds[WARM_UP..]),
        tokens_per_s: (median(&rates[WARM_UP..]) * 10.0).round() / 10.0,
        peak_mib: environment::peak_rss_mib().unwrap_or_default(),
        losses,
    })
}

/// The workload.
struct Work {
    /// Whether the model predicts each next token (`causal-lm`) or classifies rows (`seq-cls`).
    writes: bool,
    batches: Vec<Vec<Row>>,
}

fn workload(dir: &Path) -> Result<Work> {
    let path = dir.join("workload.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let work: Workload =
        serde_json::from_str(&text).with_context(|| format!("{} is not a workload", path.display()))?;
    let writes = match work.task.as_str() {
        "seq-cls" => false,
        "causal-lm" => true,
        other => bail!(
            "{}: task `{other}` is not supported; known: seq-cls, causal-lm",
            path.display()
        ),
    };
    ensure!(
        work.batches.len() > WARM_UP,
        "{}: more than {WARM_UP} batches are needed",
        path.display()
    );
    let rows = if writes { texts } else { labelled };
    let batches = work.batches.into_iter().map(rows).collect::<Result<_>>();
    Ok(Work {
        writes,
        batches: batches.with_context(|| path.display().to_string())?,
    })
}

fn labelled(batch: WorkBatch) -> Result<Vec<Row>> {
    let labels = batch.labels.context("a batch has no labels")?;
    ensure!(
        labels.len() == batch.input_ids.len() && !labels.is_empty(),
        "a batch has not as many labels as rows"
    );
    let row = |(ids, label)| Row {
        ids,
        types: Vec::new(),
        prompt: None,
        target: Target::Class(label),
    };
    Ok(batch.input_ids.into_iter().zip(labels).map(row).collect())
}

/// Every token but the first is predicted from those before it.
fn texts(batch: WorkBatch) -> Result<Vec<Row>> {
    ensure!(
        batch.input_ids.iter().any(|ids| ids.len() > 1),
        "a batch has no row of two tokens"
    );
    let row = |ids: Vec<i64>| Row {
        types: Vec::new(),
        prompt: None,
        target: Target::Tokens(ids.iter().skip(1).copied().chain([UNSCORED]).collect()),
        ids,
    };
    Ok(batch.input_ids.into_iter().map(row).collect())
}

fn fit_config(lr: f64, batches: &[Vec<Row>], writes: bool, device: tch::Device) -> FitConfig {
    FitConfig {
        batch_size: batches.iter().map(Vec::len).max().unwrap_or(1),
        lr,
        objective: match writes {
            true => Objective::Tokens { label_smoothing: 0.0 },
            false => Objective::Classes { label_smoothing: 0.0 },
        },
        device,
        ..FitConfig::default()
    }
}

/// The upper median, as in tools/peer_bench.py.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
