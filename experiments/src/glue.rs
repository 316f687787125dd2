//! `glue`: Table 2 on whatever model and tasks are given.

use crate::again;
use crate::cli::{ExperimentArgs, listing, set_threads};
use crate::config::RunConfig;
use crate::console::{Aside, Console};
use crate::inputs::Inputs;
use crate::json::Json;
use crate::news::{Listener, News};
use crate::plan;
use crate::run::{Session, run_all};
use crate::tables;
use crate::tensorboard::TensorBoard;
use anyhow::{Context, Result};
use results::{Store, Table};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// After Ctrl-C.
const INTERRUPTED: i32 = 130;

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
    let mut inputs = Inputs::open(raw.model.as_deref(), raw.data.as_deref(), args.show.quiet)?;
    let mut runs = plan::plan(&raw, "glue", &mut inputs, &store)?;
    plan::keep(&mut runs, args.keep);
    let the_plan = News::Plan {
        runs: &runs,
        device: &lora_core::device::name(device),
    };
    if args.dry_run {
        if args.show.json {
            Json::default().hear(&the_plan);
        } else {
            print!("{}", plan::describe(&runs, &inputs, device)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    plan::check_starts(&runs, &store)?;
    let mut listeners = listeners(args)?;
    let mut tell = |news: &News| listeners.iter_mut().for_each(|l| l.hear(news));
    tell(&the_plan);
    let untouched = args.untouched()?;
    let paper_row = |run: &RunConfig| raw.paper_row(untouched.as_ref()?, run);
    let label = raw.label.as_deref();
    let label = label.unwrap_or("a model and data of the user's own, not a row of the paper");
    let session = Session {
        inputs: &inputs,
        store: &store,
        device,
        threads,
        preset: args.preset().map(String::from),
        label: label.into(),
        paper_row: &paper_row,
        resume: args.resume,
        stop: &STOP,
    };
    let outcome = run_all(&session, &runs, &mut tell)?;
    let tables = tables::of(&store, runs.iter().map(|r| r.id.clone()));
    if outcome.interrupted {
        stopped(tables, args.resume, &mut tell);
        return Ok(ExitCode::from(INTERRUPTED as u8));
    }
    tell(&News::Tables {
        tables: &tables?,
        closing: raw.closing.as_deref(),
        go_on: None,
    });
    tables::write(&store)?;
    Ok(if outcome.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The table so far, and how to go on; where there is no table, the latter alone.
fn stopped(tables: Result<Vec<Table>>, resume: bool, tell: &mut dyn FnMut(&News)) {
    let tables = tables.unwrap_or_else(|error| {
        tracing::warn!("no table: {error:#}");
        Vec::new()
    });
    let go_on = again::command(std::env::args_os(), resume);
    tell(&News::Tables {
        tables: &tables,
        closing: None,
        go_on: Some(&go_on),
    });
}

/// Who is told what happens.
fn listeners(args: &ExperimentArgs) -> Result<Vec<Box<dyn Listener>>> {
    let console = Console::start(&args.show, &args.out)?;
    on_interrupt(console.aside())?;
    let mut listeners: Vec<Box<dyn Listener>> = vec![Box::new(console), Box::new(TensorBoard::new(&args.out))];
    if args.show.json {
        listeners.push(Box::new(Json::default()));
    }
    Ok(listeners)
}

/// The first Ctrl-C asks for a checkpoint and a clean end, the second ends at once: files are written whole or not at all.
fn on_interrupt(aside: Aside) -> Result<()> {
    ctrlc::set_handler(move || {
        if STOP.swap(true, Ordering::Relaxed) {
            // Without the C library's clean-up, which libtorch's threads at work do not survive.
            signal_hook::low_level::exit(INTERRUPTED);
        }
        aside.line("\nStopping after this step; press Ctrl-C again to stop at once.");
    })
    .context("listening for Ctrl-C")
}
