//! `cargo run -p experiments --bin e2e`

use clap::Parser;
use experiments::cli::ExperimentArgs;
use experiments::text::{E2E, TextArgs, Tools};
use std::process::ExitCode;

/// Adapts a GPT-2 to E2E NLG Challenge with each method, writes and scores texts, and prints Table 3.
///
/// Only runs that OUT/runs lacks are computed; a killed run goes on from its checkpoint, or in the middle of its texts.
#[derive(Parser)]
#[command(
    version,
    args_override_self = true, // the last of two wins, so that an alias can be overridden
    after_help = "Examples:
  e2e --list
  e2e --preset gpt2-medium --dry-run
  e2e --preset gpt2-medium --methods lora,full --seeds 1 --meteor-data pycocoevalcap-1.2-py3-none-any.whl
  e2e --preset gpt2-medium --model DIR --data DIR --set decode.flavour=transformers
  e2e --config my.yaml --out my-results --set limit.train=1000 --set decode.beams=4

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
    experiments::cli::finish(tools.and_then(|tools| E2E.main_with(&cli.experiment, &tools)))
}
