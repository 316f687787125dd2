//! `cargo run -p experiments --bin samsum`

use clap::Parser;
use experiments::cli::ExperimentArgs;
use experiments::text::{SAMSUM, TextArgs, Tools};
use std::process::ExitCode;

/// Adapts a GPT-2 to SAMSum with each method, writes and scores texts, and prints the SAMSum columns of Table 4.
///
/// Only runs that OUT/runs lacks are computed; a killed run goes on from its checkpoint, or in the middle of its texts.
#[derive(Parser)]
#[command(
    version,
    args_override_self = true, // the last of two wins, so that an alias can be overridden
    after_help = "Examples:
  samsum --list
  samsum --preset gpt2-medium --dry-run
  samsum --preset gpt2-medium --model DIR --data DIR --methods lora,full --seeds 1
  samsum --config my.yaml --out my-results --set limit.train=1000 --set decode.beams=4

The texts of each run are in OUT/texts/ID.jsonl."
)]
struct Cli {
    #[command(flatten)]
    experiment: ExperimentArgs,
    #[command(flatten)]
    text: TextArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let tools = Tools::open(&cli.text);
    experiments::cli::finish(tools.and_then(|tools| SAMSUM.main_with(&cli.experiment, &tools)))
}
