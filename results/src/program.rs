//! The command line of `results`: comparisons, tables and figures of stored records.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Command, CommandFactory, Parser};

use crate::listing::{error_width, terminal_width, wrapped};
use crate::table::TERMINAL_WIDTH;
use crate::{Error, Filter, Store, compare, export, number_blocks, publish, restate};

/// Compares and publishes stored results.
#[derive(Parser)]
#[command(version)]
enum Cli {
    /// Compares two methods, or all with one, over common seeds, with a paired test
    #[command(after_help = "Examples:
  results compare full lora
  results compare --baseline lora --model minilm-l6
  results compare lora bitfit --tasks mrpc,rte --json

The difference is the second method's score minus the first's, or each method's minus the baseline's, over common seeds.
With fewer than three seeds there is no verdict; with fewer than five, only large differences can be shown.")]
    Compare(CompareArgs),
    /// Regenerates all tables and figures, and the README that shows them
    Figures(publish::Args),
    /// Writes every run as one flat table, for pandas, polars, R or a spreadsheet
    #[command(after_help = "Examples:
  results export --out runs.csv
  results export --results results/own --format parquet --out runs.parquet
  results export --by epoch --format jsonl

docs/results.md lists the columns.")]
    Export(export::Args),
    /// Rewrites the conclusions in records of analyses by the rules of this program; no number changes
    Restate {
        /// Folder of the store, which contains analyses/
        #[arg(long, value_name = "DIR", default_value = "results")]
        results: PathBuf,
    },
    /// Checks the numbers of a Markdown page against the committed records
    #[command(
        after_help = "Blocks between `<!-- numbers: WHAT of DIR -->` and `<!-- end of numbers -->` are generated from the records.
Without --write, a page with other numbers is an error."
    )]
    Readme {
        /// The page
        #[arg(value_name = "FILE", default_value = "README.md")]
        page: PathBuf,
        /// Rewrite the page
        #[arg(long)]
        write: bool,
    },
}

#[derive(Args)]
struct CompareArgs {
    /// The subtracted method, then the other one, by their ids in the records
    #[arg(
        value_name = "METHOD",
        num_args = 2,
        required_unless_present = "baseline",
        conflicts_with = "baseline"
    )]
    methods: Vec<String>,
    /// Compare all other methods with this one
    #[arg(long, value_name = "METHOD")]
    baseline: Option<String>,
    /// Only runs of this model
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only runs of this preset
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Only these tasks
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    tasks: Vec<String>,
    /// Folder of the store, which contains runs/
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Print a JSON array instead of the table
    #[arg(long)]
    json: bool,
}

/// The command line.
#[must_use]
pub fn command() -> Command {
    Cli::command()
}

/// The program `results`.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse() {
        Cli::Compare(args) => comparison(&args),
        Cli::Figures(args) => publish::publish(&args)
            .map(|written| written.to_string())
            .map_err(Into::into),
        Cli::Export(args) => export::export(&args).map_err(Into::into).map(|exported| {
            skipped(&exported.skipped);
            exported.said
        }),
        Cli::Restate { results } => Store::existing(&results)
            .and_then(|store| restate::restate(&store))
            .map(|changed| changed.iter().map(|id| format!("{id} restated\n")).collect())
            .map_err(Into::into),
        Cli::Readme { page, write } => check_page(&page, write),
    };
    match done.and_then(|text| Ok(support::print(&text)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = support::printable(format!("error: {error:#}"));
            eprintln!("{}", wrapped(&text, error_width()));
            ExitCode::FAILURE
        }
    }
}

/// Checks or rewrites the generated blocks of a page.
fn check_page(page: &std::path::Path, write: bool) -> Result<String> {
    let name = page.display();
    match (number_blocks::refresh(page, write)?, write) {
        (false, _) => Ok(format!("{name}: every number is that of the records\n")),
        (true, true) => Ok(format!("{name}: numbers rewritten\n")),
        (true, false) => {
            bail!("{name}: numbers differ from the records; to rewrite them: cargo run --bin results -- readme --write")
        }
    }
}

/// Names the files of a store that are no records.
fn skipped(bad: &[Error]) {
    for error in bad {
        eprintln!("skipped: {}", error.with_causes());
    }
}

/// The comparison, as a table or JSON.
fn comparison(args: &CompareArgs) -> Result<String> {
    let filter = Filter {
        model: args.model.clone(),
        preset: args.preset.clone(),
        ..Filter::default()
    };
    let (mut stored, bad) = Store::existing(&args.results)?.select_readable(&filter)?;
    skipped(&bad);
    if !args.tasks.is_empty() {
        stored
            .runs
            .retain(|run| args.tasks.iter().any(|task| task.eq_ignore_ascii_case(&run.task)));
    }
    if stored.runs.is_empty() {
        bail!(
            "{}: no finished runs match --model, --preset and --tasks",
            args.results.join("runs").display()
        );
    }
    let (baseline, others) = match (&args.baseline, &args.methods[..]) {
        (Some(baseline), _) => (baseline.as_str(), Vec::new()),
        (None, [baseline, method]) => (baseline.as_str(), vec![method.clone()]),
        (None, _) => bail!("name two methods, or one with --baseline"),
    };
    let all = compare::compare(&stored, baseline, &others)?;
    if args.json {
        return Ok(serde_json::to_string_pretty(&all)? + "\n");
    }
    if all.is_empty() {
        bail!("no model and task has runs of both methods");
    }
    Ok(compare::table(&all).terminal(terminal_width().unwrap_or(TERMINAL_WIDTH)))
}
