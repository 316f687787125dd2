//! `cargo run -p experiments --bin figures`

use clap::Parser;
use experiments::app;
use experiments::tools::figures::{FiguresArgs, draw};
use std::process::ExitCode;

fn main() -> ExitCode {
    app::finish_with(draw(&FiguresArgs::parse()))
}
