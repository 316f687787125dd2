//! `cargo run -p experiments --bin lora`: everything that is not an experiment.

use clap::{Parser, Subcommand};
use experiments::tools::bench;
use experiments::tools::{adapter, doctor, examples, params, score, upgrade};
use std::process::ExitCode;

/// Tools around the experiments.
#[derive(Parser)]
#[command(version)]
enum Cli {
    /// Versions, devices, caches, and what to do where something is missing
    Doctor,
    /// How many parameters a method trains
    Params(params::ParamsArgs),
    /// Some rows of a task, to see what it asks
    Examples(examples::ExamplesArgs),
    /// Generated texts against references, by the field's own metrics
    Score(score::ScoreCommand),
    /// Adapters: PEFT's in and out, loralib's in, merged models, and what is in a file
    #[command(subcommand)]
    Adapter(adapter::Command),
    /// Gives records of earlier versions the ids that today's program gives the same runs
    Upgrade(upgrade::UpgradeArgs),
    /// Measurements
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    /// Trains over a fixed workload and prints times and losses as JSON
    Train(bench::training::TrainArgs),
    /// Several adapters on one base: mixed batches against one by one and against merged weights
    Adapters(bench::adapters::AdaptersArgs),
    /// Writes with a language model and prints the speed as JSON
    Generate(bench::generate::GenerateArgs),
    /// Trains a model with random weights for some steps: the memory that it takes and the one predicted
    Memory(bench::memory::MemoryArgs),
}

fn main() -> ExitCode {
    let text = match Cli::parse() {
        Cli::Doctor => Ok(doctor::report()),
        Cli::Params(args) => params::count(&args),
        Cli::Examples(args) => examples::show(&args),
        Cli::Score(args) => score::run(&args),
        Cli::Upgrade(args) => upgrade::upgrade(&args),
        Cli::Adapter(command) => adapter::run(&command),
        Cli::Bench(Bench::Adapters(args)) => bench::adapters::measure(&args),
        Cli::Bench(Bench::Memory(args)) => bench::memory::measure(&args),
        Cli::Bench(Bench::Train(args)) => bench::training::train(&args).and_then(|m| json(&m)),
        Cli::Bench(Bench::Generate(args)) => bench::generate::generate(&args).and_then(|m| json(&m)),
    };
    experiments::app::finish(text.map(|text| {
        print!("{text}");
        ExitCode::SUCCESS
    }))
}

fn json(measured: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string(measured)? + "\n")
}
