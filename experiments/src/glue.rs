//! `glue`: Table 2 on whatever model and tasks are given.

use crate::cli::{ExperimentArgs, listing, set_threads};
use crate::config::RunConfig;
use crate::console::Console;
use crate::inputs::Inputs;
use crate::plan::{self, State};
use crate::run::{Session, run_all};
use crate::tables;
use anyhow::{Context, Result};
use results::Store;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// Plans, runs what is missing, prints the table. Exit status 1 if a run failed, 130 after Ctrl-C.
///
/// # Errors
/// Anything that keeps the whole experiment from going on.
pub fn main(args: &ExperimentArgs) -> Result<ExitCode> {
    if args.list {
        print!("{}", listing());
        return Ok(ExitCode::SUCCESS);
    }
    let raw = args.experiment()?;
    let threads = set_threads(args.threads)?;
    let device = lora_core::device::parse(&args.device)?;
    let store = Store::open(&args.out)?;
    let mut inputs = Inputs::open(raw.model.as_deref(), raw.data.as_deref())?;
    let runs = plan::plan(&raw, "glue", &mut inputs, &store)?;
    if args.dry_run {
        print!("{}", plan::describe(&runs, &inputs, device)?);
        return Ok(ExitCode::SUCCESS);
    }
    plan::check_starts(&runs, &store)?;
    on_interrupt()?;
    let console = Console::start(runs.len() as u64, &args.out.join("logs").join("glue.log"))?;
    let missing = runs.iter().filter(|r| r.state != State::Done).count();
    console.line(&format!(
        "{} runs, {} in the store, {missing} to compute on {}",
        runs.len(),
        runs.len() - missing,
        lora_core::device::name(device)
    ));
    let untouched = args.untouched()?;
    let paper_row = |run: &RunConfig| raw.paper_row(untouched.as_ref()?, run);
    let label = raw
        .label
        .clone()
        .unwrap_or_else(|| "a model and data of the user's own, not a row of the paper".into());
    let session = Session {
        inputs: &inputs,
        store: &store,
        device,
        threads,
        preset: args.preset().map(String::from),
        label,
        paper_row: &paper_row,
        resume: args.resume,
        stop: &STOP,
    };
    let outcome = run_all(&session, &runs, &console)?;
    console.finish();
    if outcome.interrupted {
        eprintln!(
            "Stopped. What is finished is in {}; the same command goes on from here.",
            args.out.display()
        );
        return Ok(ExitCode::from(130));
    }
    tables::publish(&store, runs.iter().map(|r| r.id.clone()))?;
    if let Some(closing) = &raw.closing {
        println!("{}", closing.trim_end());
    }
    for title in &outcome.elsewhere {
        eprintln!("{title}: being computed by another process; run the command again when it is done");
    }
    for (title, error) in &outcome.failed {
        eprintln!("{title} failed: {error}");
    }
    Ok(if outcome.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The first Ctrl-C asks for a checkpoint and a clean end, the second ends at once.
fn on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nStopping after this step; press Ctrl-C again to stop at once.");
    })
    .context("listening for Ctrl-C")
}
