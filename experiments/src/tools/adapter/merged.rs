//! Base and adapter as one Hugging Face model folder.

use super::stored::{AdapterInfo, BaseModel, Stored};
use anyhow::{Context, Result, ensure};
use datasets::tokenize;
use lora_core::method;
use lora_core::weights::{published, save};
use serde_json::{Map, Value, json};
use std::path::Path;
use tch::{Device, Kind};

/// The other files of a model folder that are copied.
const OTHERS: [&str; 1] = ["generation_config.json"];

/// Writes config.json, the tokenizer's files and model.safetensors, and returns a note for the user.
///
/// # Errors
/// An adapter that does not fit the base, or a method that cannot be merged into the weights.
pub fn write(dir: &Path, stored: &Stored, found: &BaseModel) -> Result<String> {
    let method = method::from_value(&stored.about.method)?;
    ensure!(
        method.mergeable(),
        "{}: this method adds more to the model than changes of its weights, so it cannot be merged into them",
        stored.about.origin
    );
    let loaded = found
        .base
        .load_trained(method.as_ref(), &stored.trained, Device::Cpu, Kind::Float);
    let (mut model, built) = loaded.with_context(|| stored.about.origin.clone())?;
    model
        .linears_mut()
        .into_iter()
        .try_for_each(lora_core::nn::Linear::merge_and_drop)?;
    let tensors = published(&built.params, found.base.arch);
    save(
        &dir.join("model.safetensors"),
        &tensors,
        [("format".into(), "pt".into())].into(),
    )?;
    let outputs = found.base.outputs(&found.base.complete(&stored.trained)?)?;
    let config = config(found, &stored.about, outputs);
    let text = serde_json::to_string_pretty(&config)? + "\n";
    support::write_atomic(dir.join("config.json"), text.as_bytes())?;
    let mut copied = 0;
    for file in tokenize::FILES.iter().chain(&OTHERS) {
        let from = found.base.dir.join(file);
        if from.is_file() {
            std::fs::copy(&from, dir.join(file)).with_context(|| format!("copying {}", from.display()))?;
            copied += 1;
        }
    }
    Ok(if copied == 0 {
        " (the base's folder has no tokenizer)".into()
    } else {
        String::new()
    })
}

/// The base's config.json with the head's outputs, their names, and the class that transformers builds.
fn config(found: &BaseModel, about: &AdapterInfo, outputs: i64) -> Value {
    let labels = &about.labels;
    let mut config = found.base.config.clone();
    let Some(map) = config.as_object_mut() else {
        return config;
    };
    map.insert("architectures".into(), json!([class(map, &found.base)]));
    for key in ["dtype", "torch_dtype"] {
        if let Some(kind) = map.get_mut(key) {
            *kind = "float32".into();
        }
    }
    if found.base.head.is_empty() {
        return config;
    }
    let named = |map: &Map<String, Value>| map.get("id2label").and_then(Value::as_object).map(Map::len);
    if labels.len() as i64 == outputs {
        let of = |pairs: Vec<(String, Value)>| Value::Object(pairs.into_iter().collect());
        let numbered = || labels.iter().enumerate();
        map.insert(
            "id2label".into(),
            of(numbered().map(|(i, l)| (i.to_string(), json!(l))).collect()),
        );
        map.insert(
            "label2id".into(),
            of(numbered().map(|(i, l)| (l.clone(), json!(i))).collect()),
        );
    } else if about.fresh_head || named(map) != Some(outputs as usize) {
        let label = |i: i64| format!("LABEL_{i}");
        map.insert(
            "id2label".into(),
            (0..outputs).map(|i| (i.to_string(), json!(label(i)))).collect(),
        );
        map.insert("label2id".into(), (0..outputs).map(|i| (label(i), json!(i))).collect());
    }
    // transformers counts the names; a number beside them could contradict it.
    for key in ["num_labels", "_num_labels"] {
        map.shift_remove(key);
    }
    let problem = if outputs == 1 {
        "regression"
    } else {
        "single_label_classification"
    };
    map.insert("problem_type".into(), problem.into());
    config
}

/// `RobertaForSequenceClassification` of the base's `RobertaForMaskedLM`; by the model type where the base names no class.
fn class(map: &Map<String, Value>, base: &lora_core::interop::Base) -> String {
    let named = map.get("architectures").and_then(|a| a.get(0)).and_then(Value::as_str);
    let stem = named.map(|n| {
        ["For", "LMHead", "Model"]
            .iter()
            .fold(n, |n, end| n.split(end).next().unwrap_or(n))
    });
    let stem = stem
        .filter(|s| !s.is_empty())
        .map(String::from)
        .unwrap_or_else(|| match base.model_type() {
            "gpt2" => "GPT2".into(),
            other => other.split('-').map(capital).collect(),
        });
    if base.head.is_empty() && base.model_type() == "gpt2" {
        format!("{stem}LMHeadModel")
    } else if base.head.is_empty() {
        format!("{stem}ForCausalLM")
    } else {
        format!("{stem}ForSequenceClassification")
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
