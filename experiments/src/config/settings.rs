//! The settings of one run: number type, training, decoding, and how much of the data is taken.

use anyhow::{Result, ensure};
use lora_core::model::Dropout;
use lora_core::train::{AdamForm, FitConfig, Objective};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Number type of frozen weights and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Everything in fp32.
    Fp32,
    /// Frozen weights and activations in bf16; what is trained, and the optimiser, in fp32.
    Bf16,
}

impl Dtype {
    /// Its name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Fp32 => "fp32",
            Dtype::Bf16 => "bf16",
        }
    }

    /// libtorch's kind.
    pub fn kind(self) -> tch::Kind {
        match self {
            Dtype::Fp32 => tch::Kind::Float,
            Dtype::Bf16 => tch::Kind::BFloat16,
        }
    }
}

/// How one run trains. The keys of `train:`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training rows.
    pub epochs: u64,
    /// Rows of one forward pass.
    pub batch_size: usize,
    /// Forward passes of one optimiser step.
    pub accumulate: usize,
    /// The highest learning rate.
    pub lr: f64,
    /// Of matrices and embeddings.
    pub weight_decay: f64,
    /// Share of all steps.
    pub warmup_ratio: f64,
    /// Steps of warm-up, in place of the share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Largest joint norm of the gradients.
    pub clip: Option<f64>,
    /// Adam's first beta.
    pub beta1: f64,
    /// Adam's second beta.
    pub beta2: f64,
    /// Adam's epsilon.
    pub eps: f64,
    /// Where epsilon and decay stand in AdamW.
    #[serde(default, skip_serializing_if = "AdamForm::is_torch")]
    pub adamw: AdamForm,
    /// Tokens of a row.
    pub max_len: usize,
    /// How contexts and completions of texts become tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: Encoding,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// What the loss of texts is a mean over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loss_over: LossOver,
    /// Dropout everywhere in the model, in place of what its config.json says; that of methods is their own setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_dropout: Option<f64>,
    /// Dropout before the classifier, in place of what config.json and `model_dropout` say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cls_dropout: Option<f64>,
    /// Whether BERT's pooler is trained with the head.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pooler: Pooler,
    /// Whether the classifier of a model that was fine-tuned already is left out, and a fresh one put in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh_head: bool,
    /// Rows of one forward pass of evaluation.
    pub eval_batch_size: usize,
    /// Whether activations inside blocks are computed again in the backward pass. Changes no number, so records lack it.
    #[serde(default, skip_serializing)]
    pub recompute: bool,
    /// Which epoch counts.
    #[serde(default, skip_serializing_if = "Select::is_best")]
    pub select: Select,
    /// Steps between checkpoints. Changes no number, so records lack it.
    #[serde(default, skip_serializing)]
    pub checkpoint_every: u64,
}

impl TrainConfig {
    /// Refuses what cannot be used.
    ///
    /// # Errors
    /// The setting, its value, and what it must be.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("epochs", self.epochs, 1_000_000),
            ("batch_size", self.batch_size as u64, 1 << 20),
            ("accumulate", self.accumulate as u64, 1 << 20),
            ("max_len", self.max_len as u64, 1 << 20),
            ("eval_batch_size", self.eval_batch_size as u64, 1 << 20),
        ];
        for (key, value, most) in counts {
            ensure!(
                (1..=most).contains(&value),
                "`train.{key}` is {value}; it must be from 1 to {most}"
            );
        }
        let positive = [("lr", Some(self.lr)), ("eps", Some(self.eps)), ("clip", self.clip)];
        for (key, value) in positive {
            let fine = value.is_none_or(|v| v.is_finite() && v > 0.0);
            ensure!(
                fine,
                "`train.{key}` is {}; it must be a number above 0",
                value.unwrap_or_default()
            );
        }
        let shares = [
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("label_smoothing", self.label_smoothing),
            ("model_dropout", self.model_dropout.unwrap_or(0.0)),
            ("cls_dropout", self.cls_dropout.unwrap_or(0.0)),
        ];
        for (key, value) in shares {
            ensure!(
                (0.0..1.0).contains(&value),
                "`train.{key}` is {value}; it must be from 0 to below 1"
            );
        }
        ensure!(
            (0.0..=1.0).contains(&self.warmup_ratio),
            "`train.warmup_ratio` is {}; it must be from 0 to 1",
            self.warmup_ratio
        );
        let decay = self.weight_decay;
        ensure!(
            decay.is_finite() && decay >= 0.0,
            "`train.weight_decay` is {decay}; it must be 0 or more"
        );
        Ok(())
    }

    /// The rates of dropout that are given.
    pub fn dropout(&self) -> Dropout {
        Dropout {
            everywhere: self.model_dropout,
            classifier: self.cls_dropout,
        }
    }

    /// The settings of the loop.
    pub fn fit(&self, seed: u64, objective: Objective, device: tch::Device) -> FitConfig {
        FitConfig {
            epochs: self.epochs,
            batch_size: self.batch_size,
            accumulate: self.accumulate,
            lr: self.lr,
            weight_decay: self.weight_decay,
            warmup_ratio: self.warmup_ratio,
            warmup_steps: self.warmup_steps,
            clip: self.clip,
            betas: (self.beta1, self.beta2),
            eps: self.eps,
            adamw: self.adamw,
            objective,
            seed,
            checkpoint_every: self.checkpoint_every,
            recompute: self.recompute,
            device,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How contexts and completions of texts become tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// As in the paper's GPT-2 code.
    #[default]
    Paper,
    /// As in Li and Liang's, whose rows the paper quotes: other blanks around the separator.
    LiLiang,
}

/// What the loss of texts is a mean over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossOver {
    /// All scored tokens of the step.
    #[default]
    Tokens,
    /// The texts of the step, each with the sum over its tokens: Li and Liang's prefix tuning.
    Texts,
}

/// Whether BERT's pooler, which comes with the pretrained weights, is trained with the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooler {
    /// By every method.
    #[default]
    Trained,
    /// As any pretrained weight: by full fine-tuning, and its bias by BitFit. So do PEFT and the paper's code.
    Frozen,
}

/// Which epoch counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Select {
    /// The best on dev, by the task's metric.
    #[default]
    Best,
    /// The last, whatever it is like.
    Last,
}

impl Select {
    fn is_best(&self) -> bool {
        *self == Select::Best
    }
}

/// At most so many rows of each part of the data, the first ones if nothing else is said. The keys of `limit:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// Rows to train on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Rows of each split to evaluate on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<usize>,
    /// Inputs to decode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Takes the rows to train on at random in place of the first ones, with this seed: the same for every method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
}

impl Limit {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Limit::default()
    }

    /// Refuses what leaves nothing.
    ///
    /// # Errors
    /// A limit of 0.
    pub fn validate(&self) -> Result<()> {
        for (key, limit) in [("train", self.train), ("dev", self.dev), ("test", self.test)] {
            ensure!(
                limit != Some(0),
                "`limit.{key}` is 0; leave it out, or give a number above 0"
            );
        }
        Ok(())
    }

    /// The rows to train on, in their order.
    pub fn train<T>(&self, rows: Vec<T>) -> Vec<T> {
        let (Some(limit), Some(seed)) = (self.train, self.sample) else {
            return Limit::cut(rows, self.train);
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Each row is taken with just the chance that leaves `limit` of them at the end.
        let (mut left, mut wanted) = (rows.len(), limit.min(rows.len()));
        let mut taken = |_: &T| {
            let take = random.random_range(0..left) < wanted;
            left -= 1;
            wanted -= usize::from(take);
            take
        };
        rows.into_iter().filter(|row| taken(row)).collect()
    }

    /// Cuts `rows` to the first `limit`.
    pub fn cut<T>(mut rows: Vec<T>, limit: Option<usize>) -> Vec<T> {
        rows.truncate(limit.unwrap_or(usize::MAX));
        rows
    }
}

/// A setting that has no influence on a run beside its other settings.
#[derive(Clone, Debug)]
pub struct IdleSetting {
    /// Its path, such as `train.warmup_ratio`.
    pub path: &'static str,
    /// Why it has no influence.
    pub reason: String,
}

/// How texts are written after training. The keys of `decode:`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeConfig {
    /// Whose contexts are continued: `dev` or `test`.
    pub split: String,
    /// How the next token is chosen.
    pub strategy: Strategy,
    /// Whose beam search: they differ in what is banned, when a beam is scored, and when they stop.
    pub flavour: Flavour,
    /// Beams.
    pub beams: usize,
    /// A finished beam's score is its log-likelihood over its length to this power: more favours longer texts.
    pub length_penalty: f64,
    /// No so many tokens in a row may come twice; 0 = no such ban.
    pub no_repeat_ngram: usize,
    /// Tokens, or several in a row, that are never written: `bad_words_ids` of transformers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_words: Vec<Vec<i64>>,
    /// Tokens to write at most.
    pub max_new_tokens: usize,
    /// Of sampling.
    pub temperature: f64,
    /// Inputs decoded side by side.
    pub batch_size: usize,
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// The likeliest.
    Greedy,
    /// At random, by its likelihood; seeded by the run's seed.
    Sample,
    /// The likeliest text of several followed side by side.
    Beam,
}

/// Whose beam search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// That of the paper's code.
    Paper,
    /// That of transformers.
    Transformers,
    /// That of transformers 3, as Li and Liang have it: a text's length counts the prompt too.
    #[serde(rename = "transformers_3")]
    Transformers3,
}

impl DecodeConfig {
    /// The settings that have no influence under this strategy.
    pub fn idle_settings(&self) -> Vec<IdleSetting> {
        let settings = [
            ("decode.temperature", Strategy::Sample, "sample"),
            ("decode.beams", Strategy::Beam, "beam"),
            ("decode.length_penalty", Strategy::Beam, "beam"),
            ("decode.flavour", Strategy::Beam, "beam"),
        ];
        let idle = settings
            .into_iter()
            .filter(|(_, strategy, _)| self.strategy != *strategy);
        idle.map(|(path, _, name)| IdleSetting {
            path,
            reason: format!("`decode.strategy` is not {name}"),
        })
        .collect()
    }

    /// Sets an idle setting to the value that records have in its place.
    pub(crate) fn reset(&mut self, setting: &str) {
        match setting {
            "decode.temperature" => self.temperature = 1.0,
            "decode.beams" => self.beams = 1,
            "decode.length_penalty" => self.length_penalty = 1.0,
            "decode.flavour" => self.flavour = Flavour::Paper,
            _ => {}
        }
    }

    /// Refuses what cannot be used.
    ///
    /// # Errors
    /// The setting, its value, and what it must be.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("beams", self.beams, 1, 1000),
            ("no_repeat_ngram", self.no_repeat_ngram, 0, 1000),
            ("max_new_tokens", self.max_new_tokens, 1, 1 << 20),
            ("batch_size", self.batch_size, 1, 1 << 20),
        ];
        for (key, value, least, most) in counts {
            ensure!(
                (least..=most).contains(&value),
                "`decode.{key}` is {value}; it must be from {least} to {most}"
            );
        }
        ensure!(
            self.bad_words.iter().all(|word| !word.is_empty()),
            "`decode.bad_words` holds an empty list; each must name at least one token, such as [[628], [198]]"
        );
        ensure!(
            self.length_penalty.is_finite(),
            "`decode.length_penalty` is {}; it must be a number",
            self.length_penalty
        );
        ensure!(
            self.temperature.is_finite() && self.temperature > 0.0,
            "`decode.temperature` is {}; it must be a number above 0",
            self.temperature
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_as_large_as_asked_for_and_the_same_again() {
        let limit = |train, sample| Limit {
            train,
            sample,
            ..Limit::default()
        };
        let rows = || (0..1000).collect::<Vec<usize>>();
        assert_eq!(limit(Some(3), None).train(rows()), [0, 1, 2]);
        assert_eq!(limit(None, Some(1)).train(rows()), rows());
        assert_eq!(limit(Some(5000), Some(1)).train(rows()), rows());
        let one = limit(Some(100), Some(1)).train(rows());
        assert_eq!((one.len(), &one), (100, &limit(Some(100), Some(1)).train(rows())));
        assert!(one.is_sorted() && one[99] > 800 && one[0] < 200, "{one:?}");
        assert_ne!(one, limit(Some(100), Some(2)).train(rows()));
    }
}
