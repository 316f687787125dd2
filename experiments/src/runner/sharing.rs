//! What the workers of one sweep share beside the store: which runs have failed in it.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// Processes of one sweep that may die over a run before the run counts as failed.
pub const MAX_DEATHS: usize = 3;

/// A worker's part in a sweep.
#[derive(Clone, Debug)]
pub struct Sharing {
    /// The sweep's name.
    pub sweep: String,
    /// The folder that holds a file for each run that has failed in this sweep.
    pub failed: PathBuf,
    /// Whether the worker stays until every run has ended; else it leaves when living processes have all runs that are left.
    pub stays: bool,
}

impl Sharing {
    /// Whether the run `id` has failed in this sweep.
    pub fn has_failed(&self, id: &str) -> bool {
        self.failed.join(id).exists()
    }

    /// Notes that the run `id` has failed.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn note_failure(&self, id: &str) -> Result<()> {
        let path = self.failed.join(id);
        support::write_atomic(&path, b"").with_context(|| format!("noting the failure of run {id}"))
    }
}
