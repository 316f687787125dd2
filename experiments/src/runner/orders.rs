//! What rank 0 tells the other ranks to do. It alone reads and writes the store, and decides which run is next.

use crate::plan::planned::Planned;
use crate::runner::execute;
use crate::runner::session::Session;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;

/// What the ranks do next.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Compute the run with this id.
    Run(String),
    /// Leave.
    End { interrupted: bool },
}

/// Lets the other ranks compute `run` too.
///
/// # Errors
/// Ranks that cannot be reached.
pub(crate) fn to_compute(session: &Session, run: &Planned) -> Result<()> {
    give(session, &Order::Run(run.id.clone()))
}

/// Lets the other ranks leave, after runs that were perhaps `interrupted`.
///
/// # Errors
/// Ranks that cannot be reached.
pub(crate) fn to_leave(session: &Session, interrupted: bool) -> Result<()> {
    give(session, &Order::End { interrupted })
}

/// Gives an order, and finds out whether any rank was asked to stop.
fn give(session: &Session, order: &Order) -> Result<()> {
    if session.ranks.is_alone() {
        return Ok(());
    }
    session.ranks.broadcast(&mut serde_json::to_vec(order)?)?;
    let stop = session.ranks.any(session.stop.load(Ordering::Relaxed))?;
    session.stop.fetch_or(stop, Ordering::Relaxed);
    Ok(())
}

/// Follows the orders of rank 0 to the end, and returns whether runs were interrupted.
///
/// # Errors
/// Ranks that cannot be reached, or that have another plan.
pub(crate) fn follow(session: &Session) -> Result<bool> {
    loop {
        let mut order = Vec::new();
        session.ranks.broadcast(&mut order)?;
        session.ranks.any(session.stop.load(Ordering::Relaxed))?;
        match serde_json::from_slice(&order).context("reading an order of rank 0")? {
            Order::End { interrupted } => return Ok(interrupted),
            Order::Run(id) => {
                let run = session.plan.runs.iter().find(|run| run.id == id);
                let run = run.with_context(|| format!("run {id} is in the plan of rank 0 alone"))?;
                // Rank 0 meets the same failure, and records it.
                if let Err(error) = execute::run(session, run, &mut |_| {}, &chrono::Local::now()) {
                    tracing::debug!("{}: {error:#}", run.title());
                }
            }
        }
    }
}
