//! What a model is to everything else, and what its architecture is.

use super::config;
use super::shape::ModelShape;
use crate::batch::Batch;
use crate::nn::{ActivationCheckpointing, KvCache, Linear, Scope};
use crate::{Error, Result};
use serde_json::Value;
use std::fmt::Debug;
use tch::Tensor;

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
