//! What all runs of a plan share.

use crate::plan::Plan;
use crate::task::generation::scorers::Scorers;
use std::sync::atomic::AtomicBool;

/// What all runs of a plan share.
pub struct Session<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Data of the scorers.
    pub scorers: &'a Scorers,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
}
