//! `--dry-run`: the plan as a table.

use crate::plan::calibrate::Paces;
use crate::plan::planned::State;
use crate::plan::{Plan, calibrate};
use anyhow::{Context, Result};
use results::listing::{Column, listing, terminal_width, wrapped};
use results::table::TERMINAL_WIDTH;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Refuses rows and texts that the models cannot take, which a run would find out later.
///
/// # Errors
/// The run, and what does not fit.
pub fn check_rows(plan: &Plan) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in &plan.runs {
        if seen.insert((Arc::as_ptr(&run.rows), &run.config.method_name)) {
            run.check_rows(&plan.assets.model).with_context(|| run.title())?;
        }
    }
    Ok(())
}

/// The plan as a table, with the time by a measurement of a few steps of each method, taken with the threads of a run unless
/// `paces` has it.
///
/// # Errors
/// A method that does not fit the model.
pub fn describe(plan: &Plan, paces: &mut Paces) -> Result<String> {
    let (runs, model, parallelism) = (&plan.runs, &plan.assets.model, plan.parallelism);
    // Before the measurement: what does not fit into memory must not be measured.
    let counted = runs.iter().map(|run| run.counted(model).with_context(|| run.title()));
    let counted = counted.collect::<Result<Vec<_>>>()?;
    tch::set_num_threads(parallelism.threads as i32);
    calibrate::measure(paces, runs, model, plan.device)?;
    let mut left = 0.0;
    let mut rows = Vec::new();
    for (run, counted) in runs.iter().zip(&counted) {
        let pace = paces.get(&run.config.method_name).filter(|_| run.state != State::Done);
        let seconds = pace.map(|p| p.seconds(run));
        left += seconds.unwrap_or(0.0);
        rows.push(vec![
            run.id.clone(),
            run.config.task.clone(),
            run.config.method_name.clone(),
            run.config.seed.to_string(),
            run.config.train.fit.lr.to_string(),
            run.state.name().to_owned(),
            (counted.counts.base + counted.counts.method).to_string(),
            counted.counts.head.to_string(),
            run.steps().to_string(),
            format!("{:.0}", run.memory_mib(counted)),
            seconds.map_or("–".into(), duration),
        ]);
    }
    let width = terminal_width();
    let narrow = width.is_some_and(|width| width < 90);
    let tries = runs.iter().any(|run| run.config.limit.held_out.is_some());
    let mut columns = columns().to_vec();
    // From the last to the first, so that the numbers of the others stay.
    for (column, shown) in [(STEPS, !narrow || !tries), (HEAD, !narrow), (RATE, tries)] {
        if !shown {
            columns.remove(column);
            rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
    }
    let text = listing(&columns, rows, width);
    let missing = runs.iter().filter(|r| r.state != State::Done).count();
    let all = support::counted(runs.len(), "run");
    if missing == 0 {
        return Ok(text + &format!("\n{all}, in the store: nothing to compute.\n"));
    }
    let beside = match parallelism.jobs.min(missing) {
        1 => String::new(),
        jobs => format!(", {jobs} at a time"),
    };
    let closing = format!(
        "{all}, {missing} to compute: about {} on {}{beside}, by a few steps of each method measured just now. Memory is an estimate of weights, optimiser and activations; the process itself takes some 300 MiB more.\n",
        duration(left / parallelism.jobs.min(missing) as f64),
        lora_core::device::name(plan.device)
    );
    Ok(format!(
        "{text}\n{}",
        wrapped(&closing, Some(width.unwrap_or(TERMINAL_WIDTH)))
    ))
}

/// The column that only runs that try rates differ in.
const RATE: usize = 4;

/// The columns that a narrow terminal has no room for, the second only beside rates.
const HEAD: usize = 7;
const STEPS: usize = 8;

/// What is said of a run.
fn columns() -> [Column; 11] {
    [
        Column::text("run"),
        Column::text("task"),
        Column::text("method"),
        Column::number("seed"),
        Column::number("lr"),
        Column::text("state"),
        Column::number("trained"),
        Column::number("+ head"),
        Column::number("steps"),
        Column::number("MiB"),
        Column::number("time"),
    ]
}

/// `40 s`, `12 min`, `3.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
