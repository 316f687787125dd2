//! The registry of architectures. A new architecture is a file in this folder, a `mod` line and an entry in [`MODELS`].

mod arch;
mod bert;
mod config;
mod deberta_v2;
mod encoder;
mod ends;
mod gpt2;
mod head;
mod known;
mod labels;
mod llama;
mod post_norm;
mod roberta;
mod shape;

use crate::nn::Build;
use crate::{Error, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::Path;

pub use arch::{Arch, BuildClassifier, BuildLm, Causal, Dropout, Model, Sizes};
pub use known::{KNOWN, known_config};
pub use labels::{label_names, rows_of};
pub use shape::{Matrix, ModelShape, Relative};

/// All architectures.
pub static MODELS: &[Arch] = &[
    roberta::ARCH,
    bert::ARCH,
    deberta_v2::ARCH,
    gpt2::ARCH,
    llama::LLAMA,
    llama::QWEN2,
];

/// The architecture of a config.json, by its `model_type`.
///
/// # Errors
/// [`Error::Config`] for a missing or unknown `model_type`.
pub fn arch(config: &Value) -> Result<&'static Arch> {
    let known = || MODELS.iter().map(|m| m.model_type).collect::<Vec<_>>().join(", ");
    let name = config.get("model_type").and_then(Value::as_str);
    let name = name.ok_or_else(|| Error::Config(format!("config.json has no `model_type`; known: {}", known())))?;
    let found = MODELS.iter().find(|m| m.model_type == name);
    found.ok_or_else(|| Error::Config(format!("model type `{name}` is not supported; known: {}", known())))
}

/// Reads a Hugging Face folder's config.json.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`].
pub fn read_config(dir: &Path) -> Result<Value> {
    let path = dir.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    serde_json::from_str(&text).map_err(|e| Error::format(&path, format!("not valid JSON: {e}")))
}

/// Builds the model of a folder with a head of `labels` outputs, without loading weights.
///
/// # Errors
/// Those of [`load_config`]; [`Error::Config`] for settings of the method that do not fit the model.
pub fn from_dir(dir: &Path, labels: i64, build: &Build) -> Result<(Box<dyn Model>, &'static Arch)> {
    let (config, arch) = load_config(dir)?;
    Ok((arch.classifier(&config, labels, &build.scope())?, arch))
}

/// [`from_dir`] as a language model.
///
/// # Errors
/// Those of [`from_dir`].
pub fn lm_from_dir(dir: &Path, build: &Build) -> Result<(Box<dyn Model>, &'static Arch)> {
    let (config, arch) = load_config(dir)?;
    Ok((arch.language_model(&config, &build.scope())?, arch))
}

/// Reads and validates a folder's config.json, and returns it with its architecture.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] or [`Error::Config`] for a config.json that is missing, invalid or of an unknown
/// architecture.
pub fn load_config(dir: &Path) -> Result<(Value, &'static Arch)> {
    let config = read_config(dir)?;
    let at = |e: Error| match e {
        Error::Config(what) => Error::format(dir.join("config.json"), what),
        other => other,
    };
    let arch = arch(&config).map_err(at)?;
    (arch.shape)(&config).map_err(at)?;
    Ok((config, arch))
}

/// The end tokens of a folder: `eos_token_id` of config.json and of generation_config.json, one token or several in
/// each. The first ends training texts. Empty for architectures whose [`Arch::defaults`] lack the key; these use the
/// tokenizer's.
///
/// # Errors
/// Those of [`load_config`]; [`Error::Format`] for an invalid generation_config.json or end token.
pub fn end_tokens(dir: &Path) -> Result<Vec<i64>> {
    let (config, arch) = load_config(dir)?;
    match (arch.defaults)().get("eos_token_id") {
        None => Ok(Vec::new()),
        Some(_) => ends::listed(dir, &arch.completed(&config)),
    }
}

/// SHA-256 of the part of a folder's config.json that determines the model, its labels and its end tokens: independent
/// of unused keys, their order, and whether defaults are explicit.
///
/// # Errors
/// Those of [`load_config`].
pub fn config_sha256(dir: &Path) -> Result<String> {
    let (config, arch) = load_config(dir)?;
    let mut identity = serde_json::json!({
        "model_type": arch.model_type,
        "config": (arch.read)(&config)?,
        "classes": named_classes(&config),
    });
    let ends = end_tokens(dir)?;
    if !ends.is_empty() {
        identity["ends"] = ends.into();
    }
    let hash = Sha256::digest(identity.to_string().as_bytes());
    Ok(hash.iter().map(|b| format!("{b:02x}")).collect())
}

/// The labels of the head's outputs, in order, if config.json has other than placeholders.
fn named_classes(config: &Value) -> Option<Vec<(usize, &str)>> {
    let named = config.get("id2label")?.as_object()?.iter();
    let named = named.map(|(id, name)| Some((id.parse().ok()?, name.as_str()?)));
    let mut named = named.collect::<Option<Vec<(usize, &str)>>>()?;
    named.sort_unstable();
    let plain = |(_, name): &(usize, &str)| name.starts_with("LABEL_");
    (!named.iter().all(plain)).then_some(named)
}
