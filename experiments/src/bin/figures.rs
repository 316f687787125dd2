//! `cargo run -p experiments --bin figures`: tables, figures and their page from the records. It runs without libtorch.

use clap::Parser;
use results::publish::{self, publish};
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    version,
    about = "Draws all tables and figures again from the records, and the page that shows them",
    after_help = "Examples:
  figures
  figures --published
  figures --only fig3,table7
  figures --results my-results --out /tmp/drawn"
)]
struct Cli {
    #[command(flatten)]
    args: publish::Args,
}

fn main() -> ExitCode {
    experiments::app::finish_with(
        publish(&Cli::parse().args)
            .map(|written| written.to_string())
            .map_err(anyhow::Error::new),
    )
}
