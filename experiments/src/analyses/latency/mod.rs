//! `latency`: Table 1 and Figure 5, and with `--efficiency` the claims of Section 4.2.

mod cost;
mod passes;
mod settings;
mod show;

use crate::analyses::{Question, resolved, whereabouts};
use crate::config::settings::Dtype;
use crate::inputs::compute::ComputeArgs;
use crate::inputs::environment;
use anyhow::{Context, Result, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lora_core::device;
use lora_core::model::arch;
use results::analysis::Findings;
use results::verdict::conclude;
use results::{Store, claims};
use serde::Serialize;
use settings::LatencyConfig;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// Measures the latency of adapters at inference (Table 1, Figure 5), and with --efficiency the cost of training (Section 4.2).
///
/// Times forward passes of a model of GPT-2's shape with random weights, alone (as merged LoRA is) and with adapters. The record
/// is kept in OUT/analyses.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "latency",
    version,
    after_help = "Examples:
  latency
  latency --set batch=[1,8] --set length=[32] --set bottleneck=[0,64] \\
      --set trials=50
  latency --set designs=[adapter_h,lora_unmerged]
  latency --set model=gpt2 --set shape.n_layer=6
  latency --preset paper --device cuda:0
  latency --efficiency

experiments/latency/demo.yaml lists all settings."
)]
pub struct LatencyArgs {
    /// demo (minutes on a CPU), medium (one column of Table 1 with GPT-2 medium: minutes on a CPU) or paper (all of Table 1
    /// and Figure 5: for a GPU)
    #[arg(long, value_name = "NAME", default_value = "demo")]
    pub preset: String,
    /// A YAML file; keys that it leaves out have the values of the demo preset (experiments/latency/demo.yaml)
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    pub config: Option<PathBuf>,
    /// Any setting by its path, such as `model=gpt2`, `batch=[1,8]` or `shape.n_layer=12`; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Measure training (memory, checkpoints, speed) with LoRA and full fine-tuning instead of forward passes
    #[arg(long)]
    pub efficiency: bool,
    /// For --efficiency: one method, measured in this process and printed as JSON
    #[arg(long, hide = true, requires = "efficiency")]
    pub only: Option<String>,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    /// Where the record goes: OUT/analyses/ID.json
    #[arg(long, value_name = "DIR", default_value = results::OWN)]
    pub out: PathBuf,
    /// Measure again even if the store has the record
    #[arg(long)]
    pub again: bool,
    /// Print the record as JSON
    #[arg(long)]
    pub json: bool,
    /// No progress bar
    #[arg(long, short)]
    pub quiet: bool,
}

/// All settings that decide the answer, the machine included.
#[derive(Serialize)]
struct Asked<'a> {
    kind: &'static str,
    settings: &'a LatencyConfig,
    config: &'a serde_json::Value,
    device: String,
    cpu: String,
    dtype: Dtype,
    threads: usize,
}

/// Measures, keeps the record, and returns the result as text.
///
/// # Errors
/// LatencyConfig that cannot be used, models that do not fit them, not enough memory.
pub fn run(args: &LatencyArgs) -> Result<String> {
    let settings = LatencyConfig::read(&args.preset, args.config.as_deref(), &args.sets)?;
    let config = settings.config()?;
    let params = (arch(&config)?.shape)(&config)?.total();
    let (threads, device) = args.compute.start()?;
    if let Some(name) = &args.only {
        ensure!(
            cost::METHODS.contains(&name.as_str()),
            "--only {name}: {} are measured",
            cost::METHODS.join(" and ")
        );
        let cost = cost::one(name, &settings, &config, device, args.compute.dtype)?;
        return Ok(serde_json::to_string(&cost)? + "\n");
    }
    let store = Store::open(&args.out)?;
    let asked = Asked {
        kind: if args.efficiency { "efficiency" } else { "latency" },
        settings: &settings,
        config: &config,
        device: device::name(device),
        cpu: environment::host().cpu,
        dtype: args.compute.dtype,
        threads,
    };
    let question = Question {
        label: settings.label(params),
        model: settings.name(params),
        preset: args.config.is_none().then(|| args.preset.clone()),
        config: resolved(&asked)?,
        weights: (None, None),
        device,
        dtype: args.compute.dtype.name(),
        threads,
    };
    let bar = bar(args);
    let find = || -> Result<Findings> {
        if args.efficiency {
            return Ok(Findings::Efficiency(cost::all(&settings)?));
        }
        let mut found = passes::measure(&settings, &config, device, args.compute.dtype, &bar)?;
        found.remark = conclude(claims::latency(&found));
        Ok(Findings::Latency(found))
    };
    let answer = question.answer(&store, args.again, find);
    bar.finish_and_clear();
    let (analysis, kept) = answer?;
    if args.json {
        return String::from_utf8(analysis.to_json()?).context("the record");
    }
    let text = match &analysis.findings {
        Findings::Latency(found) => show::latency(&analysis, found),
        Findings::Efficiency(found) => show::efficiency(&analysis, found),
        Findings::Subspace(_) => String::new(),
    };
    let again = if kept { "--again measures again.\n" } else { "" };
    Ok(format!("{text}\n{}{again}", whereabouts(&analysis, &store, kept)))
}

/// A progress bar over the tokens of all passes.
fn bar(args: &LatencyArgs) -> ProgressBar {
    if args.quiet || args.efficiency || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("forward passes {wide_bar} {percent}%, {eta} left");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.enable_steady_tick(Duration::from_secs(1));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
