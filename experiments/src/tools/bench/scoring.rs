//! `lora bench score`: the speed of a scorer.

use super::training::median;
use crate::inputs::environment::set_threads;
use crate::task::generation::scorers::DataArgs;
use crate::tools::score::{self, ScoreArgs};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use std::time::Instant;

/// `lora bench score`
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  lora bench score bleu outputs.txt references.txt\n\nEach repeat reads the files and scores them; the median counts. Printed is one JSON object."
)]
pub struct ScoringArgs {
    #[command(flatten)]
    score: ScoreArgs,
    #[command(flatten)]
    data: DataArgs,
    /// Timed repeats
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub repeats: usize,
    /// CPU threads; 0 = as many as there are cores
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
}

/// The JSON line.
#[derive(Debug, Serialize)]
pub struct ScoringReport {
    scorer: String,
    threads: usize,
    lines: usize,
    seconds: f64,
    lines_per_s: f64,
}

/// Scores several times.
///
/// # Errors
/// Files that cannot be read or do not match.
pub fn measure(args: &ScoringArgs) -> Result<ScoringReport> {
    ensure!(args.repeats > 0, "--repeats must be at least 1");
    let threads = set_threads(args.threads)?;
    let asked = ScoreArgs {
        data: args.data.clone(),
        ..args.score.clone()
    };
    let time = |_| {
        let since = Instant::now();
        score::scores(&asked)?;
        Ok(since.elapsed().as_secs_f64())
    };
    let seconds = median(&(0..args.repeats).map(time).collect::<Result<Vec<f64>>>()?);
    let text = std::fs::read_to_string(&asked.hyp).with_context(|| asked.hyp.display().to_string())?;
    let lines = text.lines().count();
    Ok(ScoringReport {
        scorer: asked.kind,
        threads,
        lines,
        seconds,
        lines_per_s: lines as f64 / seconds,
    })
}
