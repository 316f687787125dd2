//! `cargo run -p experiments --bin webnlg`

use clap::Parser;
use experiments::cli::ExperimentArgs;
use experiments::text::{TextArgs, Tools, WEBNLG};
use std::process::ExitCode;

/// Adapts a GPT-2 to WebNLG with each method, writes and scores texts, and prints Table 14.
///
/// Only runs that OUT/runs lacks are computed; a killed run goes on from its checkpoint, or in the middle of its texts.
#[derive(Parser)]
#[command(
    version,
    args_override_self = true, // the last of two wins, so that an alias can be overridden
    after_help = "Examples:
  webnlg --list
  webnlg --preset gpt2-medium --dry-run
  webnlg --preset gpt2-medium --model DIR --data DIR --methods lora,full --seeds 1
  webnlg --config my.yaml --out my-results --set limit.train=1000 --set decode.beams=4

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
    experiments::cli::finish(tools.and_then(|tools| WEBNLG.main_with(&cli.experiment, &tools)))
}
