//! The configurations that experiments start from.

use anyhow::{Context, Result};

/// What every experiment starts from.
pub const DEFAULTS: &str = include_str!("../configs/defaults.yaml");

/// A file of the user's own.
///
/// # Errors
/// What the system says of the path.
pub fn read(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading the configuration {}", path.display()))
}
