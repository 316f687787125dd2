//! The names of an adapter's outputs, beside a PEFT adapter, whose own files have no place for them: a JSON list in `classes.json`.

use anyhow::{Context, Result, ensure};
use std::path::Path;

const FILE: &str = "classes.json";

/// Writes the names, where they are known.
///
/// # Errors
/// A folder that cannot be written.
pub fn write(dir: &Path, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let text = serde_json::to_string(names)? + "\n";
    support::write_atomic(dir.join(FILE), text.as_bytes()).context("writing the names of the classes")
}

/// Reads those of a head with so many outputs; none without the file.
///
/// # Errors
/// A file that is no list of names, or has another number of them.
pub fn read(dir: &Path, outputs: i64) -> Result<Option<Vec<String>>> {
    let path = dir.join(FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let names: Vec<String> =
        serde_json::from_str(&text).with_context(|| format!("{}: not a list of names", path.display()))?;
    ensure!(
        i64::try_from(names.len()) == Ok(outputs),
        "{}: it holds {}, and the adapter's head has {outputs} outputs",
        path.display(),
        support::counted(names.len(), "name")
    );
    Ok(Some(names))
}
