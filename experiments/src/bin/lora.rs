//! `cargo run -p experiments --bin lora`: any experiment by its name, and the tools around them.

use clap::{CommandFactory, Parser, Subcommand};
use experiments::app;
use experiments::launch::world::refuse_several;
use experiments::tools::bench;
use experiments::tools::{
    adapter, doctor, examples, generate, params, plan, predict, score, shell, submit, sweep, upgrade,
};
use std::ffi::OsString;
use std::process::ExitCode;

/// Any experiment by its name, and the tools around them.
#[derive(Parser)]
#[command(name = "lora", version)]
enum Cli {
    /// Run an experiment by its name, with its own flags
    #[command(
        disable_help_flag = true,
        after_help = "Examples:\n  lora run xsum --list\n  lora run xsum --help\n  lora run e2e --preset gpt2-medium --dry-run"
    )]
    Run {
        /// The experiment, such as glue, e2e or xsum
        name: String,
        /// Its flags
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        flags: Vec<OsString>,
    },
    /// Show, cancel and repeat sweeps of several processes, and print their logs
    #[command(subcommand)]
    Sweep(sweep::SweepCommand),
    /// Print versions, devices and caches, and remedies where something is missing
    Doctor,
    /// Count the parameters that a method trains
    Params(params::ParamsArgs),
    /// Predict hours, memory and storage of the paper's experiments on a number of devices
    Plan(plan::PlanArgs),
    /// Print some rows of a task
    Examples(examples::ExamplesArgs),
    /// Score generated texts against references with the field's metrics
    Score(score::ScoreCommand),
    /// Answer for texts of your own with a trained adapter
    Predict(predict::PredictArgs),
    /// Continue contexts of your own with a trained adapter of a language model
    Generate(generate::GenerateArgs),
    /// Measure a trained adapter on a task's dev set
    Evaluate(predict::EvaluateArgs),
    /// Write predictions for GLUE's test sets, as the leaderboard takes them
    Submit(submit::SubmitArgs),
    /// Import, export, merge and inspect adapters
    #[command(subcommand)]
    Adapter(adapter::AdapterCommand),
    /// Print completions for a shell
    Completions(shell::CompletionsArgs),
    /// Print a page of the manual, or write all
    Man(shell::ManArgs),
    /// Give records of earlier versions the ids of this version
    Upgrade(upgrade::UpgradeArgs),
    /// Measure speed and memory
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    /// Train on a fixed workload and print times and losses as JSON
    Train(bench::training::TrainArgs),
    /// Compare mixed batches over several adapters with one adapter at a time and with merged weights
    Adapters(bench::adapters::AdaptersArgs),
    /// Generate with a language model and print the speed as JSON
    Generate(bench::generate::GenerateArgs),
    /// Measure the best rate of matrix products and print it as JSON
    Products(bench::products::ProductsArgs),
    /// Measure the speed of a scorer and print it as JSON
    Score(bench::scoring::ScoringArgs),
    /// Take one training step and print how long the way to it was, as JSON
    Startup(bench::training::TrainArgs),
    /// Measure the speed of this device for `lora plan`
    Device(plan::speed::DeviceArgs),
    /// Train a model with random weights for some steps and compare its memory with the prediction
    Memory(bench::memory::MemoryArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !matches!(cli, Cli::Run { .. }) {
        app::show_warnings();
        if let Err(error) = refuse_several() {
            return app::finish(Err(error));
        }
    }
    let text = match cli {
        Cli::Run { name, flags } => return app::main_of(&name, &format!("lora run {name}"), flags),
        Cli::Sweep(command) => return app::finish(sweep::run(&command)),
        Cli::Doctor => Ok(doctor::report()),
        Cli::Params(args) => params::count(&args),
        Cli::Plan(args) => plan::plan(&args),
        Cli::Examples(args) => examples::show(&args),
        Cli::Score(args) => score::run(&args),
        Cli::Predict(args) => predict::predict(&args),
        Cli::Generate(args) => generate::generate(&args),
        Cli::Evaluate(args) => predict::evaluate(&args),
        Cli::Submit(args) => submit::submit(&args),
        Cli::Completions(args) => shell::completions(&args, Cli::command()),
        Cli::Man(args) => shell::man(&args, Cli::command()),
        Cli::Upgrade(args) => upgrade::upgrade(&args),
        Cli::Adapter(command) => adapter::run(&command),
        Cli::Bench(Bench::Adapters(args)) => bench::adapters::measure(&args),
        Cli::Bench(Bench::Device(args)) => plan::speed::measure(&args),
        Cli::Bench(Bench::Memory(args)) => bench::memory::measure(&args),
        Cli::Bench(Bench::Train(args)) => bench::training::train(&args).and_then(|m| json(&m)),
        Cli::Bench(Bench::Startup(args)) => bench::training::startup(&args).and_then(|m| json(&m)),
        Cli::Bench(Bench::Products(args)) => bench::products::measure(&args).and_then(|m| json(&m)),
        Cli::Bench(Bench::Score(args)) => bench::scoring::measure(&args).and_then(|m| json(&m)),
        Cli::Bench(Bench::Generate(args)) => bench::generate::generate(&args).and_then(|m| json(&m)),
    };
    app::finish_with(text)
}

fn json(measured: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string(measured)? + "\n")
}
