//! The ids of runs: runs with the same settings and contents have the same id.
//!
//! The id is a hash of the settings and of the contents of what goes in. Names are not part of it (of the experiment, the
//! model, the method), nor is what changes no number (checkpoints, recomputation, what is shown). Settings come in one form:
//! see [`lora_core::method::resolved`] and `RunConfig::normal`.

use crate::config::run_config::RunConfig;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// SHA-256 of everything that a run reads.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Contents<'a> {
    /// The pretrained weights.
    pub weights: &'a str,
    /// What is read of config.json: see [`lora_core::model::config_sha256`].
    pub config: &'a str,
    /// The tokenizer's files: see [`datasets::Tokenizer::sha256`].
    pub tokenizer: &'a str,
    /// The task's data.
    pub data: &'a str,
}

/// The keys of a record's `config` that are names.
const NAMES: [&str; 3] = ["experiment", "model", "method_name"];

/// The id of a run: 16 hex digits.
///
/// # Errors
/// Settings that JSON cannot hold.
pub fn of(config: &RunConfig, contents: &Contents) -> Result<String> {
    of_settings(
        &serde_json::to_value(config).context("hashing the configuration")?,
        contents,
    )
}

/// The id of a run from the `config` of its record.
///
/// # Errors
/// As [`of`].
pub fn of_settings(config: &Value, contents: &Contents) -> Result<String> {
    let mut settings = config.clone();
    if let Some(map) = settings.as_object_mut() {
        map.retain(|key, _| !NAMES.contains(&key.as_str()));
    }
    hash(&serde_json::json!({ "settings": settings, "contents": contents }))
}

/// 16 hex digits that stand for a value, whatever the order of its keys.
///
/// # Errors
/// A value that JSON cannot hold.
pub fn hash(value: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(value).context("hashing the configuration")?;
    let hash = Sha256::digest(sorted(value).to_string().as_bytes());
    Ok(hash.iter().take(8).map(|b| format!("{b:02x}")).collect())
}

/// The same value with the keys of its objects in order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            let entries = entries.into_iter().map(|(key, value)| (key, sorted(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_and_the_order_of_keys_have_no_influence_and_all_contents_have() {
        let contents = Contents {
            weights: "w",
            config: "c",
            tokenizer: "t",
            data: "d",
        };
        let id = |config: &Value, contents: &Contents| of_settings(config, contents).unwrap();
        let one = json!({"experiment": "glue", "model": "m", "method_name": "lora", "seed": 1, "train": {"lr": 0.1, "eps": 1e-8}});
        let same = json!({"seed": 1, "model": "n", "train": {"eps": 1e-8, "lr": 0.1}, "experiment": "ablations", "method_name": "x"});
        assert_eq!(id(&one, &contents), id(&same, &contents));
        let other = json!({"seed": 2, "train": {"lr": 0.1, "eps": 1e-8}});
        assert_ne!(id(&one, &contents), id(&other, &contents));
        for changed in [
            Contents {
                weights: "x",
                ..contents
            },
            Contents {
                config: "x",
                ..contents
            },
            Contents {
                tokenizer: "x",
                ..contents
            },
            Contents { data: "x", ..contents },
        ] {
            assert_ne!(id(&one, &contents), id(&one, &changed));
        }
    }
}
