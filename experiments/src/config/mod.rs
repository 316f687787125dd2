//! Settings of runs: plain data, how YAML layers override each other, and ids.

pub mod grids;
pub mod identity;
pub(crate) mod overrides;
pub mod rates;
pub mod run_config;
pub mod settings;
pub mod slurm;

use anyhow::{Context, Result};
use std::path::Path;

/// What every experiment's configuration starts from.
pub const DEFAULTS: &str = include_str!("../../configs/defaults.yaml");

/// What the configurations of text experiments start from, over [`DEFAULTS`].
pub const TEXT_DEFAULTS: &str = include_str!("../../configs/texts.yaml");

/// The text of a configuration file.
///
/// # Errors
/// A file that cannot be read.
pub fn read_file(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))
}
