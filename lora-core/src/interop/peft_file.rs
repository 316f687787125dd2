//! What adapters of PEFT have in common, whatever their method: file names, the keys of the configuration, the head.

use super::base::{Base, Tensors};
use crate::Result;
use crate::weights::save;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use tch::Tensor;

/// The prefix that PEFT adds to the base model's names.
pub(super) const PREFIX: &str = "base_model.model.";
pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts between an adapted module and its own parameters.
const BASE_LAYER: &str = ".base_layer";
/// The weights of old versions.
pub(super) const PICKLE: &str = "adapter_model.bin";

/// Keys that do not change the computed function: initialisation, the choice of layers (the tensors' names state it),
/// and the origin of the file.
const IRRELEVANT: [&str; 15] = [
    "auto_mapping",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "megatron_core",
    "merge_weights",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
];

/// Keys that change the computed function or the base unless they are null, false or empty, with their meaning.
const UNSUPPORTED: [(&str, &str); 18] = [
    ("alora_invocation_tokens", "updates from a given token on"),
    (
        "alpha_pattern",
        "layers with an alpha of their own, in an adapter that is not LoRA's",
    ),
    ("arrow_config", "routing among adapters"),
    ("corda_config", "an initialisation that changes the base"),
    ("enable_lora", "slots of a fused weight, as in versions before 0.3"),
    ("kasa_config", "KaSA"),
    ("layer_replication", "a base with repeated layers"),
    ("loftq_config", "a quantised base"),
    ("lora_bias", "a bias in B"),
    ("lora_ga_config", "an initialisation that changes the base"),
    ("megatron_config", "layers of Megatron"),
    ("monteclora_config", "MonteCLoRA"),
    (
        "rank_pattern",
        "layers with a rank of their own, in an adapter that is not LoRA's",
    ),
    ("target_parameters", "parameters outside linear layers"),
    ("trainable_token_indices", "trained embeddings"),
    ("use_bdlora", "block-diagonal factors"),
    ("use_qalora", "QA-LoRA"),
    ("velora_config", "VeLoRA"),
];

/// The name of a parameter without what PEFT puts between an adapted module and its own parameters.
pub(super) fn plain(name: &str) -> String {
    name.replace(BASE_LAYER, "")
}

/// The keys of adapter_config.json that are in `read`. Any other must be irrelevant or unset.
pub(super) fn relevant(text: &str, read: &[&str]) -> Result<Map<String, Value>, String> {
    let mut keys: Map<String, Value> = serde_json::from_str(text).map_err(|e| format!("is not a JSON object: {e}"))?;
    keys.retain(|key, value| {
        let key = key.as_str();
        read.contains(&key) || !(IRRELEVANT.contains(&key) || is_unset(value))
    });
    let Some((key, value)) = keys.iter().find(|(key, _)| !read.contains(&key.as_str())) else {
        return Ok(keys);
    };
    Err(match UNSUPPORTED.iter().find(|(known, _)| known == key) {
        Some((_, what)) => format!("`{key}` is {value}: {what}, which is not supported"),
        None => format!(
            "unknown field `{key}`, which is {value}: it may change what the adapter computes; only the keys of PEFT 0.21 are known"
        ),
    })
}

/// Whether a value is null, false or empty: PEFT's defaults of switches and optional parts.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        _ => false,
    }
}

/// The trained tensors of the head, by PEFT's names.
pub(super) fn head(base: &Base, trained: &Tensors) -> Vec<(String, Tensor)> {
    let of_head = trained.iter().filter(|(name, _)| base.head.contains_key(*name));
    of_head
        .map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor.shallow_clone()))
        .collect()
}

/// `task_type`, and `modules_to_save`: the modules of the trained tensors of the head.
pub(super) fn task(base: &Base, trained: &Tensors) -> (&'static str, Value) {
    if base.head.is_empty() {
        return ("CAUSAL_LM", Value::Null);
    }
    let top_module = |name: &String| {
        let bare = name.strip_prefix(base.arch.prefix).unwrap_or(name);
        bare.split('.').next().unwrap_or(bare).to_string()
    };
    let of_head = trained.keys().filter(|name| base.head.contains_key(*name));
    let saved: BTreeSet<String> = of_head.map(top_module).collect();
    ("SEQ_CLS", json!(saved))
}

/// Writes `adapter_config.json` and `adapter_model.safetensors`.
pub(super) fn write(dir: &Path, config: &Value, tensors: &[(String, Tensor)]) -> Result<()> {
    let text = serde_json::to_string_pretty(config).unwrap_or_default() + "\n";
    save(&dir.join(WEIGHTS), tensors, [("format".into(), "pt".into())].into())?;
    let path = dir.join(CONFIG);
    Ok(support::write_atomic(&path, text.as_bytes())?)
}

/// The shortest `target_modules` that select exactly `wanted` among `all` modules. PEFT selects a module whose name
/// equals an entry or ends with a dot and an entry.
pub(super) fn suffixes(wanted: &BTreeSet<String>, all: &BTreeSet<String>) -> BTreeSet<String> {
    let only_wanted = |end: &str| {
        let tail = format!(".{end}");
        let mut matched = all.iter().filter(|m| *m == end || m.ends_with(&tail));
        matched.all(|m| wanted.contains(m))
    };
    let end = |module: &String| {
        let points = module.rmatch_indices('.').map(|(at, _)| &module[at + 1..]);
        let mut ends = points.chain(std::iter::once(module.as_str()));
        ends.find(|end| only_wanted(end)).unwrap_or(module).to_string()
    };
    wanted.iter().map(end).collect()
}
