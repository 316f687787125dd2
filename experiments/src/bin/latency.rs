//! `cargo run -p experiments --bin latency`

use clap::Parser;
use experiments::analyses::latency::{LatencyArgs, run};
use experiments::launch::world::refuse_several;
use std::process::ExitCode;

/// Measures the latency of adapters at inference (Table 1, Figure 5), and with --efficiency the cost of training (Section 4.2).
///
/// Times forward passes of a model of GPT-2's shape with random weights, alone (as merged LoRA is) and with adapters. The record
/// is kept in OUT/analyses.
#[derive(Parser)]
#[command(
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
struct Cli {
    #[command(flatten)]
    latency: LatencyArgs,
}

fn main() -> ExitCode {
    experiments::app::finish_with(refuse_several().and_then(|()| run(&Cli::parse().latency)))
}
