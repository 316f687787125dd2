//! `cargo run -p experiments --bin latency`

use clap::Parser;
use experiments::analyses::latency::{LatencyArgs, run};
use experiments::app;
use std::process::ExitCode;

fn main() -> ExitCode {
    app::tool(|| run(&LatencyArgs::parse()))
}
