//! `cargo run --release -p experiments --bin pretrain`

use clap::Parser;
use experiments::app;
use experiments::tools::pretrain::{PretrainArgs, main as pretrain};
use std::process::ExitCode;

fn main() -> ExitCode {
    app::tool(|| pretrain(&PretrainArgs::parse()))
}
