//! The interfaces of models and the description of architectures.

use super::config;
use super::shape::ModelShape;
use crate::batch::Batch;
use crate::nn::{ActivationCheckpointing, KvCache, Linear, PackedWeights, Scope, SoftPrompt};
use crate::{Error, Result};
use serde_json::Value;
use std::fmt::Debug;
use tch::Tensor;

/// A network with a task head.
pub trait Model: Debug + Send {
    /// The logits of packed rows in fp32: `[B, labels]`, or `[S, vocab]` for the S scored tokens of a language model.
    fn forward(&self, batch: &Batch, train: bool) -> Tensor {
        self.logits(&self.features(batch, train, &ActivationCheckpointing::off()), train)
    }

    /// The head's input for packed rows: `[B, d]`, or `[S, d]` in a language model. The backward pass recomputes blocks
    /// if `checkpointing` is on.
    fn features<'m>(&'m self, batch: &Batch, train: bool, checkpointing: &ActivationCheckpointing<'m>) -> Tensor;

    /// The logits of [`Model::features`]. Rows are independent, so features of several models of the same base can be
    /// mixed (see [`crate::adapter_bank`]).
    fn logits(&self, features: &Tensor, train: bool) -> Tensor;

    /// For a language model whose [`Model::logits`] are products with one matrix: its inputs `[S, d]` for `features`, and
    /// the matrix `[vocab, d]`. Training then needs no logits of all tokens at once.
    fn output_layer(&self, _features: &Tensor) -> Option<(Tensor, &Tensor)> {
        None
    }

    /// All linear layers, for merging.
    fn linears_mut(&mut self) -> Vec<&mut Linear>;

    /// What rows must keep to.
    fn sizes(&self) -> Sizes;

    /// [`Sizes::max_len`].
    fn max_len(&self) -> i64 {
        self.sizes().max_len
    }

    /// [`Sizes::vocab`].
    fn vocab(&self) -> i64 {
        self.sizes().vocab
    }

    /// [`Sizes::prompt_tokens`].
    fn prompt_tokens(&self) -> i64 {
        self.sizes().prompt_tokens
    }

    /// The model as a causal language model, if it is one.
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

/// What the rows of a model must keep to.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Length of the longest row that fits with the method's tokens.
    pub max_len: i64,
    /// Number of token ids.
    pub vocab: i64,
    /// Number of tokens that the method inserts into each row.
    pub prompt_tokens: i64,
}

impl Sizes {
    /// Of a model with this number of positions and of token ids, and the method's tokens.
    pub(super) fn new(positions: i64, vocab: i64, prompt: &SoftPrompt) -> Sizes {
        Sizes {
            max_len: positions - prompt.count(),
            vocab,
            prompt_tokens: prompt.count(),
        }
    }
}

/// A causal language model, for generation with a key/value cache and without gradients.
pub trait Causal {
    /// The logits of the token after each row of `batch`, `[B, vocab]` in fp32, and a cache that can continue each row
    /// with `beams` beams.
    fn prefill(&self, batch: &Batch, beams: i64) -> (Tensor, KvCache);

    /// Packs the weights for the products of one generation, as long as the result lives; see [`PackedWeights`].
    fn packed(&self) -> PackedWeights<'_> {
        PackedWeights::default()
    }

    /// Appends `ids` `[B * beams]`, one token per row, and returns the logits of the next token, `[B * beams, vocab]`
    /// in fp32.
    fn decode(&self, ids: &Tensor, cache: &mut KvCache) -> Tensor;
}

/// An architecture: its name in config.json, its constructors, and the layout of its files.
#[derive(Debug)]
pub struct Arch {
    /// `model_type` in config.json.
    pub model_type: &'static str,
    /// Builds the model with a head of `labels` outputs (1 for regression), if the architecture has a head.
    pub build: Option<BuildClassifier>,
    /// Builds the language model of pretraining, if it is implemented.
    pub build_lm: Option<BuildLm>,
    /// Reads the dimensions.
    pub shape: fn(&Value) -> Result<ModelShape>,
    /// The part of config.json that determines the model, with defaults filled in.
    pub read: fn(&Value) -> Result<Value>,
    /// transformers' defaults of the keys that are read.
    pub defaults: fn() -> Value,
    /// Prefix of base names in task models, absent from files of bare encoders.
    pub prefix: &'static str,
    /// Prefixes (or, with a leading dot, suffixes) of names in published files that this model lacks: buffers and
    /// pretraining heads.
    pub ignored: &'static [&'static str],
    /// Suffixes of the names of matrices that published files store as `[in, out]`.
    pub transposed: &'static [&'static str],
    /// The keys of config.json that are dropout rates.
    pub dropouts: &'static [&'static str],
    /// The one of them before the classifier, if there is one.
    pub cls_dropout: Option<&'static str>,
    /// The modules of the classifier, which only fine-tuning creates; the last has one row per output. Empty without a
    /// classifier.
    pub classifier: &'static [&'static str],
}

/// Dropout rates that override those of config.json. (Dropout of a method is a setting of the method.)
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    /// Everywhere in the model.
    pub everywhere: Option<f64>,
    /// Before the classifier, independent of the others.
    pub classifier: Option<f64>,
}

/// Builds a model with a head from config.json.
pub type BuildClassifier = fn(&Value, i64, &Scope) -> Result<Box<dyn Model>>;

/// Builds a language model from config.json.
pub type BuildLm = fn(&Value, &Scope) -> Result<Box<dyn Model>>;

impl Arch {
    /// Whether its language model is causal. Encoders have a classifier, and decoders none.
    pub fn is_causal(&self) -> bool {
        self.build.is_none()
    }

    /// config.json with defaults for missing keys.
    pub fn completed(&self, config: &Value) -> Value {
        config::over((self.defaults)(), config)
    }

    /// Writes `rates` into a config.json of this architecture.
    ///
    /// # Errors
    /// [`Error::Config`] for a rate before the classifier without a classifier.
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
                    "models of type `{}` have no classifier, which `cls_dropout` needs: leave it out",
                    self.model_type
                )));
            }
        }
        Ok(())
    }

    /// The model with a head of `labels` outputs.
    ///
    /// # Errors
    /// [`Error::Config`] if the architecture has no head, or config.json or the method's settings are not valid for it.
    pub fn classifier(&self, config: &Value, labels: i64, scope: &Scope) -> Result<Box<dyn Model>> {
        let none = || {
            Error::Config(format!(
                "no classification head is implemented for models of type `{}`",
                self.model_type
            ))
        };
        let build = self.build.ok_or_else(none)?;
        scope.set_shape((self.shape)(config)?);
        build(config, labels, scope)
    }

    /// The language model.
    ///
    /// # Errors
    /// Those of [`Arch::classifier`].
    pub fn language_model(&self, config: &Value, scope: &Scope) -> Result<Box<dyn Model>> {
        let none = || {
            Error::Config(format!(
                "no language model is implemented for models of type `{}`",
                self.model_type
            ))
        };
        let build = self.build_lm.ok_or_else(none)?;
        scope.set_shape((self.shape)(config)?);
        build(config, scope)
    }
}
