//! The registry of architectures. To add one: a file in this folder, a `mod` line, and a line in [`MODELS`].

mod bert;
mod config;
mod deberta_v2;
mod encoder;
mod gpt2;
mod head;
mod known;
mod labels;
mod post_norm;
mod roberta;
mod shape;

use crate::batch::Batch;
use crate::nn::{ActivationCheckpointing, Build, KvCache, Linear, Scope};
use crate::{Error, Result};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Debug;
use std::path::Path;
use tch::Tensor;

pub use known::{KNOWN, known_config};
pub use labels::{label_names, rows_of};
pub use shape::{ModelShape, Relative};

/// A network with a task head.
pub trait Model: Debug + Send {
    /// Packed rows to the head's answers in fp32: `[B, labels]`, or `[S, vocab]` for the S scored tokens of a language model.
    fn forward(&self, batch: &Batch, train: bool) -> Tensor {
        self.logits(&self.features(batch, train, &ActivationCheckpointing::off()), train)
    }

    /// Packed rows to what the head reads of them: `[B, d]`, or `[S, d]` in a language model. Blocks are computed again in the
    /// backward pass where `checkpointing` is on.
    fn features<'m>(&'m self, batch: &Batch, train: bool, checkpointing: &ActivationCheckpointing<'m>) -> Tensor;

    /// What [`Model::features`] gave to the head's answers. Each row has its own: `read` of other models of the same base may be
    /// mixed in (see [`crate::many`]).
    fn logits(&self, features: &Tensor, train: bool) -> Tensor;

    /// Every linear layer, for merging.
    fn linears_mut(&mut self) -> Vec<&mut Linear>;

    /// The longest row that fits.
    fn max_len(&self) -> i64;

    /// How many token ids there are.
    fn vocab(&self) -> i64;

    /// How many tokens the method puts into each row.
    fn prompt_tokens(&self) -> i64;

    /// The model as one that writes, where it is one.
    fn causal(&self) -> Option<&dyn Causal> {
        None
    }

    /// Merges every method branch into its weight.
    ///
    /// # Errors
    /// [`Error::Config`] if the method cannot be merged.
    fn merge(&mut self) -> Result<()> {
        self.linears_mut().into_iter().try_for_each(Linear::merge)
    }

    /// Undoes [`Model::merge`].
    fn unmerge(&mut self) {
        self.linears_mut().into_iter().for_each(Linear::unmerge);
    }
}

/// A language model that goes on from what it has read, token by token.
pub trait Causal {
    /// Reads the rows of `batch`: the scores of what comes next in each, `[B, vocab]` in fp32, and a cache from which each can
    /// be continued `beams` times. This and [`Causal::decode`] are for use without gradients.
    fn prefill(&self, batch: &Batch, beams: i64) -> (Tensor, KvCache);

    /// Takes in `ids` `[B * beams]`, one token a row: the scores of what comes next, `[B * beams, vocab]` in fp32.
    fn decode(&self, ids: &Tensor, cache: &mut KvCache) -> Tensor;
}

/// An architecture: its name in config.json, how it is built, and what its files look like.
#[derive(Debug)]
pub struct Arch {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// Builds the model with a head of `labels` outputs (1 = regression), where it has one.
    pub build: Option<BuildClassifier>,
    /// Builds the language model that it was pretrained as, where this project has it.
    pub build_lm: Option<BuildLm>,
    /// Reads the dimensions.
    pub shape: fn(&Value) -> Result<ModelShape>,
    /// What the model takes from config.json, defaults filled in: two files that agree in it are the same model.
    pub read: fn(&Value) -> Result<Value>,
    /// What transformers assumes of the keys that config.json leaves out, of those that are read.
    pub defaults: fn() -> Value,
    /// Stands before base names in task models and is absent in bare encoders' files.
    pub prefix: &'static str,
    /// How names begin (or end, with a point in front) that published files hold and this model does not: buffers and the
    /// heads of pretraining.
    pub ignored: &'static [&'static str],
    /// How names of matrices end that published files hold as `[in, out]`.
    pub transposed: &'static [&'static str],
    /// The keys of config.json that are rates of dropout.
    pub dropouts: &'static [&'static str],
    /// Which of them is that before the classifier, in architectures that have one.
    pub cls_dropout: Option<&'static str>,
    /// The modules that stand on the pretrained model and come from fine-tuning alone, the one with a row for each output last;
    /// empty in architectures without a classifier.
    pub classifier: &'static [&'static str],
}

/// Rates of dropout to take in place of config.json's; those of methods are their own settings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    /// Everywhere in the model.
    pub everywhere: Option<f64>,
    /// Before the classifier, whatever it is elsewhere.
    pub classifier: Option<f64>,
}

/// Builds a model with a head from config.json.
pub type BuildClassifier = fn(&Value, i64, &Scope) -> Result<Box<dyn Model>>;

/// Builds a language model from config.json.
pub type BuildLm = fn(&Value, &Scope) -> Result<Box<dyn Model>>;

/// Every architecture.
pub static MODELS: &[Arch] = &[roberta::ARCH, bert::ARCH, deberta_v2::ARCH, gpt2::ARCH];

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

impl Arch {
    /// config.json with every key that is read.
    pub fn completed(&self, config: &Value) -> Value {
        config::over((self.defaults)(), config)
    }

    /// Writes `rates` into a config.json of this architecture.
    ///
    /// # Errors
    /// [`Error::Config`] for a rate of the classifier's where there is no classifier.
    pub fn set_dropout(&self, config: &mut Value, rates: Dropout) -> Result<()> {
        if let Some(rate) = rates.everywhere {
            for key in self.dropouts {
                config[*key] = rate.into();
            }
        }
        match (rates.classifier, self.cls_dropout) {
            (None, _) => {}
            (Some(rate), Some(key)) => config[key] = rate.into(),
            (Some(_), None) => {
                return Err(Error::Config(format!(
                    "models of type `{}` have no classifier for `cls_dropout` to stand before; leave it out",
                    self.model_type
                )));
            }
        }
        Ok(())
    }

    /// The model with a head of `labels` outputs.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none, or config.json or the method's settings do not fit.
    pub fn classifier(&self, config: &Value, labels: i64, scope: &Scope) -> Result<Box<dyn Model>> {
        let none = || {
            Error::Config(format!(
                "models of type `{}` have no classification head here",
                self.model_type
            ))
        };
        self.build.ok_or_else(none)?(config, labels, scope)
    }

    /// The language model.
    ///
    /// # Errors
    /// As [`Arch::classifier`].
    pub fn language_model(&self, config: &Value, scope: &Scope) -> Result<Box<dyn Model>> {
        let none = || {
            Error::Config(format!(
                "models of type `{}` are no language models here",
                self.model_type
            ))
        };
        self.build_lm.ok_or_else(none)?(config, scope)
    }
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

/// SHA-256 of what a folder's config.json says of the model and of its head's classes: keys that are not read, their order
/// and the way in which defaults are written have no influence.
///
/// # Errors
/// As [`load_config`].
pub fn config_sha256(dir: &Path) -> Result<String> {
    let (config, arch) = load_config(dir)?;
    let identity = serde_json::json!({
        "model_type": arch.model_type,
        "config": (arch.read)(&config)?,
        "classes": named_classes(&config),
    });
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
