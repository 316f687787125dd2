//! `cargo run -p experiments --bin subspace`

use clap::Parser;
use experiments::analyses::subspace::{SubspaceArgs, run};
use experiments::launch::world::refuse_several;
use std::process::ExitCode;

/// Analyses trained adapters: Figures 3, 4, 6, 7, 8 and Table 7.
///
/// Compares the directions of saved LoRA adapters with each other (phi), with the frozen weights and with random directions, and
/// states whether the paper's findings hold. Nothing is trained. The record is kept in OUT/analyses.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  subspace roberta_base_lora_mnli.bin --alpha 16
  subspace roberta_base_lora_mnli.bin --alpha 16 \\
      --base FacebookAI/roberta-base --layers all
  subspace results/own/1977ecad94f36450 results/own/2c93f131256b10d9 \\
      --base minilm/model --layers 1,3,last
  subspace --r4 out/ID --r8 out/ID --r64 out/ID --r64-other out/ID \\
      --base minilm/model

The last is all of the paper's figures for one model: make its four runs with
  glue --tasks rte --methods lora --keep --seeds 1 --set methods.lora.r=4
and likewise 8 with --seeds 2, 64 with --seeds 3, and 64 with --seeds 4: with one seed all start from the same A."
)]
struct Cli {
    #[command(flatten)]
    subspace: SubspaceArgs,
}

fn main() -> ExitCode {
    experiments::app::finish_with(refuse_several().and_then(|()| run(&Cli::parse().subspace)))
}
