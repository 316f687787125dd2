//! `--dry-run`: the plan as a table.

use crate::plan::planned::State;
use crate::plan::{Plan, calibrate};
use anyhow::{Context, Result};
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

/// The plan as a table, with the time by a measurement of a few steps of each method, taken with the threads of a run.
///
/// # Errors
/// A method that does not fit the model.
pub fn describe(plan: &Plan) -> Result<String> {
    let (runs, model, parallelism) = (&plan.runs, &plan.assets.model, plan.parallelism);
    let mut text = format!(
        "{:<16}  {:<6} {:<12} {:>4}  {:<11} {:>12} {:>10} {:>7} {:>10} {:>9}\n",
        "run", "task", "method", "seed", "state", "trained", "+ head", "steps", "memory", "time"
    );
    // Before the measurement: what does not fit into memory must not be measured.
    let counted = runs.iter().map(|run| run.counted(model).with_context(|| run.title()));
    let counted = counted.collect::<Result<Vec<_>>>()?;
    tch::set_num_threads(parallelism.threads as i32);
    let paces = calibrate::measure(runs, model, plan.device)?;
    let mut left = 0.0;
    for (run, counted) in runs.iter().zip(&counted) {
        let pace = paces.get(&run.config.method_name).filter(|_| run.state != State::Done);
        let seconds = pace.map(|p| p.seconds(run));
        left += seconds.unwrap_or(0.0);
        text += &format!(
            "{:<16}  {:<6} {:<12} {:>4}  {:<11} {:>12} {:>10} {:>7} {:>6.0} MiB {:>9}\n",
            run.id,
            run.config.task,
            run.config.method_name,
            run.config.seed,
            run.state.name(),
            counted.counts.base + counted.counts.method,
            counted.counts.head,
            run.steps(),
            run.memory_mib(counted),
            seconds.map_or("–".into(), duration)
        );
    }
    let missing = runs.iter().filter(|r| r.state != State::Done).count();
    let all = support::counted(runs.len(), "run");
    if missing == 0 {
        return Ok(text + &format!("\n{all}, in the store: nothing to compute.\n"));
    }
    let beside = match parallelism.jobs {
        1 => String::new(),
        jobs => format!(", {jobs} at a time"),
    };
    text += &format!(
        "\n{all}, {missing} to compute: about {} on {}{beside},\nby a few steps of each method measured just now. Memory is an estimate of weights,\noptimiser and activations; the process itself takes some 300 MiB more.\n",
        duration(left / parallelism.jobs as f64),
        lora_core::device::name(plan.device)
    );
    Ok(text)
}

/// `40 s`, `12 min`, `3.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 6000.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
