//! `cargo run -p experiments --bin subspace`

use clap::Parser;
use experiments::analyses::subspace::{SubspaceArgs, run};
use experiments::app;
use std::process::ExitCode;

fn main() -> ExitCode {
    app::tool(|| run(&SubspaceArgs::parse()))
}
