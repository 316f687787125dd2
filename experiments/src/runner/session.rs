//! What all runs of a plan share.

use crate::plan::Plan;
use crate::runner::claim::Claims;
use crate::runner::sharing::Sharing;
use crate::task::generation::scorers::Scorers;
use lora_core::train::Ranks;
use std::sync::atomic::AtomicBool;

/// What all runs of a plan share.
#[derive(Clone, Copy)]
pub struct Session<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Data of the scorers.
    pub scorers: &'a Scorers,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// Which processes compute which runs.
    pub claims: &'a Claims,
    /// What this process shares with the other workers of a sweep; none where it is no worker.
    pub sharing: Option<&'a Sharing>,
    /// The processes that compute each run together, or this one alone.
    pub ranks: &'a dyn Ranks,
}
