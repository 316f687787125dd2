//! The end tokens of a model folder.

use crate::{Error, Result};
use serde_json::Value;
use std::path::Path;

/// The end tokens of the folder `dir` with this `config`: those of config.json, then the others of
/// generation_config.json.
pub(super) fn listed(dir: &Path, config: &Value) -> Result<Vec<i64>> {
    let mut ends = ids(&dir.join("config.json"), config)?;
    let path = dir.join("generation_config.json");
    if path.is_file() {
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let config = serde_json::from_str(&text).map_err(|e| Error::format(&path, format!("not valid JSON: {e}")))?;
        for end in ids(&path, &config)? {
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
    }
    Ok(ends)
}

/// `eos_token_id` of the file at `path`: a token, several, or none.
fn ids(path: &Path, config: &Value) -> Result<Vec<i64>> {
    let ids = match config.get("eos_token_id") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.as_slice(),
        Some(id) => std::slice::from_ref(id),
    };
    let token = |id: &Value| id.as_i64().filter(|id| *id >= 0);
    let tokens: Option<Vec<i64>> = ids.iter().map(token).collect();
    tokens.ok_or_else(|| Error::format(path, "`eos_token_id` must be a token's number, or a list of them"))
}
