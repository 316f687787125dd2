//! `--profile FILE`: where the time went, as a table and as a trace in Chrome's format.

use crate::plan::Plan;
use crate::tools::bench::products::best_gflops;
use anyhow::{Context, Result, ensure};
use lora_core::model;
use lora_core::profile::{self, Profile, Sum};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// A profile that is going on.
#[derive(Debug)]
pub struct Profiling {
    path: PathBuf,
}

impl Profiling {
    /// Starts one if a file is named.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn start(path: Option<&Path>) -> Result<Option<Profiling>> {
        let Some(path) = path else { return Ok(None) };
        let shown = path.display();
        ensure!(!path.is_dir(), "--profile {shown}: a folder; name a file");
        // Found out now and not after the work.
        support::write_atomic(path, b"{}\n").with_context(|| format!("--profile {shown}"))?;
        profile::start()?;
        Ok(Some(Profiling { path: path.into() }))
    }

    /// Ends it, writes the trace, and returns the table. `ceiling` is the best rate of products in GFLOP/s, with the threads of
    /// one run.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn finish(self, ceiling: f64) -> Result<String> {
        let profile = profile::stop()?;
        let trace = serde_json::to_vec(&profile.trace())?;
        support::write_atomic(&self.path, &trace)?;
        Ok(table(&profile, ceiling) + &format!("Trace: {} (chrome://tracing, ui.perfetto.dev)\n", self.path.display()))
    }
}

/// What the best rate of products depends on.
#[derive(Clone, Copy, Debug)]
pub struct Ceiling {
    hidden: i64,
    device: (Device, Kind),
    threads: usize,
}

/// Tokens of a batch, for the best rate of products of a plan.
const TOKENS: i64 = 800;

impl Ceiling {
    /// That of the plan's model, device and threads.
    ///
    /// # Errors
    /// A model that cannot be read.
    pub fn of(plan: &Plan) -> Result<Ceiling> {
        let (config, arch) = model::load_config(&plan.assets.model)?;
        let kind = plan.runs.first().map_or(Kind::Float, |run| run.config.dtype.kind());
        Ok(Ceiling {
            hidden: (arch.shape)(&config)?.hidden,
            device: (plan.device, kind),
            threads: plan.parallelism.threads,
        })
    }

    /// GFLOP/s.
    pub fn measure(&self) -> f64 {
        tch::set_num_threads(self.threads as i32);
        best_gflops(TOKENS, self.hidden, self.device)
    }
}

/// Phases and operations with their share of the time.
fn table(profile: &Profile, ceiling: f64) -> String {
    let mut text = format!("{:<18}{:>10}{:>8}{:>10}\n", "Phase", "seconds", "share", "times");
    let phases = profile.phases();
    let inside: f64 = phases.iter().map(|sum| sum.seconds).sum();
    for sum in &phases {
        text += &line(sum, inside);
    }
    let operations = profile.operations();
    let all: f64 = operations.iter().map(|sum| sum.seconds).sum();
    text += &format!(
        "{:<18}{:>10}{:>8}{:>10}{:>10}\n",
        "Operation", "seconds", "share", "times", "GFLOP/s"
    );
    for sum in &operations {
        text += &line(sum, all);
        if sum.gflop > 0.0 {
            text.pop();
            let _ = writeln!(text, "{:>10.0}", sum.gflop / sum.seconds);
        }
    }
    let products: f64 = operations.iter().map(|sum| sum.gflop).sum();
    let seconds: f64 = operations
        .iter()
        .filter(|sum| sum.gflop > 0.0)
        .map(|sum| sum.seconds)
        .sum();
    if products > 0.0 {
        let rate = products / seconds;
        let _ = writeln!(
            text,
            "Products: {rate:.0} GFLOP/s, {:.0} % of the best measured rate of {ceiling:.0}.",
            100.0 * rate / ceiling
        );
    }
    let _ = writeln!(
        text,
        "{:.1} s from start to end, {inside:.1} s in phases, summed over runs at once. Measuring operations takes time itself.",
        profile.seconds
    );
    if profile.left_out() > 0 {
        let _ = writeln!(text, "The trace leaves out the last {} operations.", profile.left_out());
    }
    text
}

fn line(sum: &Sum, all: f64) -> String {
    let share = 100.0 * sum.seconds / all;
    format!("{:<18}{:>10.2}{share:>6.1} %{:>10}\n", sum.name, sum.seconds, sum.calls)
}
