//! `cargo run -p experiments --bin glue`

use clap::Parser;
use experiments::cli::ExperimentArgs;
use experiments::glue::GLUE;
use std::process::ExitCode;

/// Fine-tunes an encoder on GLUE tasks with each method and prints Table 2.
///
/// Only runs that OUT/runs lacks are computed; a killed run goes on from its checkpoint.
#[derive(Parser)]
#[command(
    version,
    args_override_self = true, // the last of two wins, so that an alias can be overridden
    after_help = "Examples:
  glue --list
  glue --preset minilm --model DIR --data DIR --tasks mrpc,rte --methods full,bitfit,lora,head --seeds 1..3
  glue --preset minilm --model DIR --data DIR --set methods.lora.r=4 --set train.lr=0.0003 --dry-run
  glue --config my.yaml --out my-results --device cuda:0 --dtype bf16
  glue --config my.yaml --json 2>/dev/null | jq -c 'select(.event == \"run\")'
  tensorboard --logdir results/tensorboard

Ctrl-C writes a checkpoint, prints the table so far and the command that goes on, and exits with 130."
)]
struct Cli {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

fn main() -> ExitCode {
    experiments::cli::finish(GLUE.main(&Cli::parse().experiment))
}
