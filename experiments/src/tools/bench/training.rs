//! `lora bench train`: times and losses of training steps on a fixed workload, for comparison with PEFT.

use crate::config::settings::Dtype;
use crate::inputs::environment;
use crate::inputs::environment::set_threads;
use crate::report::profile::Profiling;
use crate::tools::bench::products;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lora_core::batch::{Row, Target, UNSCORED};
use lora_core::interop::Base;
use lora_core::model::{Model, ModelShape};
use lora_core::nn::{Build, BuiltParams, Owner};
use lora_core::train::{FitConfig, Objective, Schedule, Stepper};
use lora_core::weights::Weights;
use lora_core::{device, interop, method, model};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::Device;

/// Untimed steps at the start.
const WARM_UP: usize = 2;

/// Classes of a classifier.
const LABELS: i64 = 2;

/// `lora bench train`
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  python3 tools/peer_bench.py prepare bench-work --model roberta-base\n  python3 tools/peer_bench.py run bench-work --method lora\n  lora bench train bench-work --adapter bench-work/adapter_init\n  lora bench train bench-work --method '{kind: dora, r: 4}'\n\nThe last line printed is one JSON object with the peer's keys. `gflop` are the matrix products of a step that are needed, from the\nshapes alone (see `lora bench products --help`), `rate_gflops` is `gflop` by the step's seconds, and `share` is that rate by the\nbest rate of products of the same data type, which is measured after the steps."
)]
pub struct TrainArgs {
    /// Folder with config.json, model.safetensors and workload.json
    pub dir: PathBuf,
    /// A method's name, with its default settings, or its settings as YAML: {kind: ft_top, layers: 2}
    #[arg(long, value_name = "NAME|YAML", default_value = "lora")]
    pub method: String,
    /// Rank of the method `lora`, which adapts query and value; 8 by default
    #[arg(long)]
    pub r: Option<i64>,
    /// Alpha of the method `lora`; 16 by default
    #[arg(long)]
    pub alpha: Option<f64>,
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
    /// A PEFT folder with the initial adapter (and head), from which rank, alpha and targets are taken. A part of the
    /// head that it lacks is not trained, as in PEFT
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Print where the time went, by phases and operations, and write a trace in Chrome's format. Slower
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
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
    threads: usize,
    trainable: i64,
    /// Seconds of building the model and reading the weights.
    import_s: f64,
    /// Median seconds of a step after the warm-up.
    step_s: f64,
    tokens_per_s: f64,
    /// Median 10^9 operations of the matrix products of a step.
    gflop: f64,
    /// Median of the products' rate during a step.
    rate_gflops: f64,
    /// That rate by [`Self::best_gflops`].
    share: f64,
    /// The best rate of products.
    best_gflops: f64,
    peak_mib: f64,
    losses: Vec<f64>,
}

/// Trains on the workload.
///
/// # Errors
/// Files that are missing or do not fit together, settings that cannot be used.
pub fn train(args: &TrainArgs) -> Result<TrainingReport> {
    let started = Instant::now();
    let start = Start::new(args)?;
    let imported = started.elapsed().as_secs_f64();
    let mut stepper = start.stepper(args.lr)?;
    let profiling = Profiling::start(args.profile.as_deref())?;
    let (mut losses, mut seconds, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let (mut gflop, mut gflops) = (Vec::new(), Vec::new());
    for batch in &start.work.batches {
        let rows: Vec<&Row> = batch.iter().collect();
        let (loss, took) = start.timed_step(&mut stepper, &rows)?;
        losses.push(loss);
        seconds.push(took);
        rates.push(rows.iter().map(|r| r.ids.len()).sum::<usize>() as f64 / took);
        gflop.push(products::step_gflop(&start.shape, &start.built.params, &rows));
        gflops.push(gflop[gflop.len() - 1] / took);
    }
    let peak_mib = environment::peak_rss_mib().unwrap_or_default();
    let (best, rate) = (start.best_gflops(args.dtype), median(&gflops[WARM_UP..]));
    if let Some(profiling) = profiling {
        eprint!("{}", profiling.finish(best)?);
    }
    let counts = start.built.params.trainable().map(|e| e.tensor.numel() as i64);
    let round = |value: f64, to: f64| (value * to).round() / to;
    Ok(TrainingReport {
        peer: "lora-core",
        method: args.method.clone(),
        dtype: args.dtype.name(),
        device: device::name(start.device),
        compiled: false,
        threads: start.threads,
        trainable: counts.sum(),
        import_s: round(imported, 100.0),
        step_s: median(&seconds[WARM_UP..]),
        tokens_per_s: round(median(&rates[WARM_UP..]), 10.0),
        gflop: round(median(&gflop[WARM_UP..]), 10.0),
        rate_gflops: round(rate, 10.0),
        share: round(rate / best, 1000.0),
        best_gflops: round(best, 10.0),
        peak_mib,
        losses,
    })
}

/// The JSON line of `lora bench startup`.
#[derive(Debug, Serialize)]
pub struct StartupReport {
    peer: &'static str,
    method: String,
    dtype: &'static str,
    /// Seconds from the start of the process until the first step could begin; none where the system does not say when
    /// a process started.
    ready_s: Option<f64>,
    /// Seconds of the first step.
    first_step_s: f64,
}

/// Takes one step, and says how long the way to it was.
///
/// # Errors
/// Those of [`train`].
pub fn startup(args: &TrainArgs) -> Result<StartupReport> {
    ensure!(args.profile.is_none(), "--profile is of `lora bench train`");
    let start = Start::new(args)?;
    let mut stepper = start.stepper(args.lr)?;
    let ready_s = environment::process_age();
    let rows: Vec<&Row> = start.work.batches[0].iter().collect();
    let (_, first_step_s) = start.timed_step(&mut stepper, &rows)?;
    Ok(StartupReport {
        peer: "lora-core",
        method: args.method.clone(),
        dtype: args.dtype.name(),
        ready_s,
        first_step_s,
    })
}

/// A model ready for its first step.
struct Start {
    device: Device,
    threads: usize,
    work: Work,
    model: Box<dyn Model>,
    built: BuiltParams,
    shape: ModelShape,
    config: FitConfig,
}

impl Start {
    fn new(args: &TrainArgs) -> Result<Start> {
        let threads = set_threads(args.threads)?;
        let device = device::parse(&args.device)?;
        args.dtype.check(device)?;
        let work = workload(&args.dir)?;
        let (model, built) = match &args.adapter {
            Some(adapter) => adapted(args, adapter, device)?,
            None => fresh(args, work.writes, device)?,
        };
        let (config, arch) = model::load_config(&args.dir)?;
        Ok(Start {
            shape: (arch.shape)(&config)?,
            config: fit_config(args.lr, &work.batches, work.writes, device),
            device,
            threads,
            work,
            model,
            built,
        })
    }

    fn stepper(&self, lr: f64) -> Result<Stepper<'_>> {
        let model = self.model.as_ref();
        Ok(Stepper::new(
            model,
            &self.built.params,
            &self.config,
            Schedule::constant(lr),
        )?)
    }

    /// Loss and seconds of a step.
    fn timed_step(&self, stepper: &mut Stepper, rows: &[&Row]) -> Result<(f64, f64)> {
        device::synchronize(self.device);
        let since = Instant::now();
        let loss = stepper.step(rows)?;
        let loss = f64::try_from(loss).context("reading the loss")?;
        device::synchronize(self.device);
        Ok((loss, since.elapsed().as_secs_f64()))
    }

    /// The best rate of products on the shapes of the workload.
    fn best_gflops(&self, dtype: Dtype) -> f64 {
        let tokens = |batch: &Vec<Row>| batch.iter().map(|row| row.ids.len()).sum::<usize>() as f64;
        let tokens: Vec<f64> = self.work.batches.iter().map(tokens).collect();
        products::best_gflops(median(&tokens) as i64, self.shape.hidden, (self.device, dtype.kind()))
    }
}

/// The model with a freshly initialised method.
fn fresh(args: &TrainArgs, writes: bool, device: Device) -> Result<(Box<dyn Model>, BuiltParams)> {
    let method = method::from_yaml(&settings(args))?;
    let build = Build::new(method.as_ref(), 0)
        .device(device)
        .base_kind(args.dtype.kind());
    let (model, arch) = if writes {
        model::lm_from_dir(&args.dir, &build)?
    } else {
        model::from_dir(&args.dir, LABELS, &build)?
    };
    let built = build.finish()?;
    Weights::open(&args.dir)?
        .load_into(&built.params, arch)?
        .require_complete()?;
    Ok((model, built))
}

/// The settings as YAML.
fn settings(args: &TrainArgs) -> String {
    let (r, alpha) = (args.r.unwrap_or(8), args.alpha.unwrap_or(16.0));
    match args.method.trim() {
        "lora" => format!("{{kind: lora, r: {r}, alpha: {alpha}, targets: [query, value]}}"),
        yaml if yaml.starts_with('{') => yaml.to_string(),
        name => format!("{{kind: {name}}}"),
    }
}

/// The model with an adapter of PEFT.
fn adapted(args: &TrainArgs, dir: &Path, device: Device) -> Result<(Box<dyn Model>, BuiltParams)> {
    ensure!(
        args.method.trim() == "lora",
        "--adapter starts the method `lora` from PEFT's numbers and cannot start `{}`: leave one of the two out",
        args.method
    );
    let base = Base::open(&args.dir)?;
    let (lora, tensors) = interop::open_peft(dir)?.fit(&base)?;
    ensure!(
        args.r.is_none_or(|r| r == lora.r) && args.alpha.is_none_or(|alpha| alpha == lora.alpha),
        "{}: the adapter has r {} and alpha {}, and --r or --alpha says otherwise: leave them out",
        dir.display(),
        lora.r,
        lora.alpha
    );
    let (model, built) = base.load_trained(&lora, &tensors, device, args.dtype.kind())?;
    let heads = built.params.trainable().filter(|e| e.param.owner == Owner::Head);
    for entry in heads.filter(|e| !tensors.contains_key(&e.param.name)) {
        let _ = entry.tensor.set_requires_grad(false);
    }
    Ok((model, built))
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

fn fit_config(lr: f64, batches: &[Vec<Row>], writes: bool, device: Device) -> FitConfig {
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
