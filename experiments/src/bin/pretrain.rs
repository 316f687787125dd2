//! `cargo run --release -p experiments --bin pretrain`

use clap::Parser;
use experiments::launch::world::refuse_several;
use experiments::tools::pretrain::{PretrainArgs, main as pretrain};
use std::process::ExitCode;

/// Pretrains small models: those of the demonstrations on generated text, or a GPT-2 on real texts.
///
/// The committed weights were made with this command (see experiments/embedded/*.yaml). A stopped run resumes from its checkpoint.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  pretrain roberta\n  pretrain gpt2\n  pretrain gpt2 --steps 100 --out small --device cpu\n  pretrain texts --corpus samsum=DIR --corpus webnlg=DIR --out gpt2-texts"
)]
struct Cli {
    #[command(flatten)]
    pretrain: PretrainArgs,
}

fn main() -> ExitCode {
    experiments::app::finish_with(refuse_several().and_then(|()| pretrain(&Cli::parse().pretrain)))
}
