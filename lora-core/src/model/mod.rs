//! The registry of architectures. To add one: a file in this folder, a `mod` line, and a line in [`MODELS`].

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

pub use arch::{Arch, BuildClassifier, BuildLm, Causal, Dropout, Model};
pub use known::{KNOWN, known_config};
pub use labels::{label_names, rows_of};
pub use shape::{Matrix, ModelShape, Relative};

/// Every architecture.
pub static MODELS: &[Arch] = &[
    roberta::ARCH,
    bert::ARCH,
    deberta_v2::ARCH,
    gpt2::ARCH,
    llama::LLAMA,
    llama::QWEN2,
];

/// The architecture that a config.json names.
///
/// # Errors
/// [`Error::Config`] listing the known ones.
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
/// [`Error::Io`] or [`Error::Format`] with the path.
pub fn read_config(dir: &Path) -> Result<Value> {
    let path = dir.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    serde_json::from_str(&text).map_err(|e| Error::format(&path, format!("not valid JSON: {e}")))
}

/// Builds the model that the folder's config.json describes, with a head of `labels` outputs. Its weights are not loaded.
///
/// # Errors
/// A config.json that is missing, broken or of an unknown architecture; settings of the method that do not fit.
pub fn from_dir(dir: &Path, labels: i64, build: &Build) -> Result<(Box<dyn Model>, &'static Arch)> {
    let (config, arch) = load_config(dir)?;
    Ok((arch.classifier(&config, labels, &build.scope())?, arch))
}

/// The same as a language model.
///
/// # Errors
/// As [`from_dir`].
pub fn lm_from_dir(dir: &Path, build: &Build) -> Result<(Box<dyn Model>, &'static Arch)> {
    let (config, arch) = load_config(dir)?;
    Ok((arch.language_model(&config, &build.scope())?, arch))
}

/// The folder's config.json, found good, and what it describes.
///
/// # Errors
/// A config.json that is missing, broken or of an unknown architecture.
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

/// The end tokens that a folder names, the first the one to end texts with: `eos_token_id` of config.json and of
/// generation_config.json, a token or several in each. Empty for architectures whose [`Arch::defaults`] have no such key, which
/// end texts as their tokenizer says.
///
/// # Errors
/// As [`load_config`]; a generation_config.json that is broken; what is no token.
pub fn end_tokens(dir: &Path) -> Result<Vec<i64>> {
    let (config, arch) = load_config(dir)?;
    match (arch.defaults)().get("eos_token_id") {
        None => Ok(Vec::new()),
        Some(_) => ends::listed(dir, &arch.completed(&config)),
    }
}

/// SHA-256 of what a folder's config.json says of the model, of its head's classes and of its end tokens: keys that are not
/// read, their order and the way in which defaults are written have no influence.
///
/// # Errors
/// As [`load_config`].
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

/// The classes of a head in the order of its outputs, where config.json names them: `LABEL_0` is no name.
fn named_classes(config: &Value) -> Option<Vec<(usize, &str)>> {
    let named = config.get("id2label")?.as_object()?.iter();
    let named = named.map(|(id, name)| Some((id.parse().ok()?, name.as_str()?)));
    let mut named = named.collect::<Option<Vec<(usize, &str)>>>()?;
    named.sort_unstable();
    let plain = |(_, name): &(usize, &str)| name.starts_with("LABEL_");
    (!named.iter().all(plain)).then_some(named)
}
