//! The settings of one run: number type, training, decoding, and limits on rows.

use crate::config::{DEFAULTS, TEXT_DEFAULTS};
use anyhow::{Result, ensure};
pub use lora_core::generate::Flavour;
use lora_core::generate::Strategy;
use lora_core::model::Dropout;
use lora_core::seed::derive;
pub use lora_core::train::Select;
use lora_core::train::{FitConfig, Objective};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::de::{Error, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Number type of frozen weights and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Everything in fp32.
    Fp32,
    /// Frozen weights and activations in fp16, with a scaled loss; trained weights and the optimiser in fp32. On a GPU alone.
    Fp16,
    /// Frozen weights and activations in bf16; trained weights and the optimiser in fp32.
    Bf16,
}

impl Dtype {
    /// Its name in configurations and records.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::Fp32 => "fp32",
            Dtype::Fp16 => "fp16",
            Dtype::Bf16 => "bf16",
        }
    }

    /// libtorch's kind.
    pub fn kind(self) -> tch::Kind {
        match self {
            Dtype::Fp32 => tch::Kind::Float,
            Dtype::Fp16 => tch::Kind::Half,
            Dtype::Bf16 => tch::Kind::BFloat16,
        }
    }

    /// Refuses what the device computes slowly and with less range than another type of that size.
    ///
    /// # Errors
    /// fp16 on a CPU.
    pub fn check(self, device: tch::Device) -> anyhow::Result<()> {
        anyhow::ensure!(
            self != Dtype::Fp16 || device != tch::Device::Cpu,
            "dtype fp16 needs a GPU; on a CPU use bf16 or fp32"
        );
        Ok(())
    }
}

/// How one run trains: the keys of `train:`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// The settings of the training loop.
    #[serde(flatten)]
    pub fit: FitConfig,
    /// Tokens of a row.
    pub max_len: usize,
    /// How contexts and completions of texts become tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encoding: Encoding,
    /// Share of the target spread over all classes.
    pub label_smoothing: f64,
    /// The unit that the loss of texts is a mean over.
    #[serde(default, skip_serializing_if = "is_default")]
    pub loss_over: LossOver,
    /// Dropout everywhere in the model, in place of that of its config.json; methods have their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_dropout: Option<f64>,
    /// Dropout before the classifier, in place of that of config.json and of `model_dropout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cls_dropout: Option<f64>,
    /// Whether BERT's pooler is trained with the head.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pooler: Pooler,
    /// Whether the classifier of a fine-tuned model is left out and a fresh one put in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fresh_head: bool,
    /// Rows of one forward pass of evaluation.
    pub eval_batch_size: usize,
    /// Which epoch is selected.
    #[serde(default, skip_serializing_if = "Select::is_best")]
    pub select: Select,
    #[serde(flatten)]
    rest: NoOtherKeys,
}

/// Refuses keys that no other field of a flattened struct has taken: serde's `deny_unknown_fields` does not work there.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct NoOtherKeys {}

impl<'de> Deserialize<'de> for NoOtherKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<NoOtherKeys, D::Error> {
        let rest = BTreeMap::<String, IgnoredAny>::deserialize(deserializer)?;
        match rest.keys().next() {
            None => Ok(NoOtherKeys {}),
            Some(key) => {
                let known: Vec<String> = train_keys().iter().map(|key| format!("`{key}`")).collect();
                let text = format!("unknown field `{key}`, expected one of {}", known.join(", "));
                Err(D::Error::custom(text))
            }
        }
    }
}

/// The keys of `train:`, which the default layers name all.
fn train_keys() -> Vec<String> {
    let keys = |layer: &str| {
        let layer: serde_yaml::Value = serde_yaml::from_str(layer).unwrap_or_default();
        let train = layer.get("train").and_then(serde_yaml::Value::as_mapping).cloned();
        let names = train
            .unwrap_or_default()
            .into_keys()
            .filter_map(|key| Some(key.as_str()?.to_string()));
        names.collect::<Vec<String>>()
    };
    let (mut all, texts) = (keys(DEFAULTS), keys(TEXT_DEFAULTS));
    all.extend(texts.into_iter().filter(|key| !keys(DEFAULTS).contains(key)));
    all
}

impl TrainConfig {
    /// Refuses values that cannot be used.
    ///
    /// # Errors
    /// The setting, its value, and what it must be.
    pub fn validate(&self) -> Result<()> {
        let counts = [
            ("epochs", self.fit.epochs, 1_000_000),
            ("batch_size", self.fit.batch_size as u64, 1 << 20),
            ("accumulate", self.fit.accumulate as u64, 1 << 20),
            ("max_len", self.max_len as u64, 1 << 20),
            ("eval_batch_size", self.eval_batch_size as u64, 1 << 20),
        ];
        for (key, value, most) in counts {
            ensure!(
                (1..=most).contains(&value),
                "`train.{key}` is {value}; it must be from 1 to {most}"
            );
        }
        let positive = [
            ("lr", Some(self.fit.lr)),
            ("eps", Some(self.fit.eps)),
            ("clip", self.fit.clip),
        ];
        for (key, value) in positive {
            let fine = value.is_none_or(|v| v.is_finite() && v > 0.0);
            ensure!(
                fine,
                "`train.{key}` is {}; it must be a number above 0",
                value.unwrap_or_default()
            );
        }
        let shares = [
            ("beta1", self.fit.beta1),
            ("beta2", self.fit.beta2),
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
            (0.0..=1.0).contains(&self.fit.warmup_ratio),
            "`train.warmup_ratio` is {}; it must be from 0 to 1",
            self.fit.warmup_ratio
        );
        ensure!(
            self.fit.early_stopping.is_none_or(|stopping| stopping.patience > 0),
            "`train.early_stopping.patience` is 0; it must be 1 or more, or `train.early_stopping` null"
        );
        let decay = self.fit.weight_decay;
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

    /// The settings of the loop for one run.
    pub fn fit_config(&self, seed: u64, objective: Objective, device: tch::Device) -> FitConfig {
        FitConfig {
            objective,
            seed,
            device,
            ..self.fit.clone()
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
    /// That of the paper's GPT-2 code.
    #[default]
    Paper,
    /// That of Li and Liang's code, whose rows the paper quotes: other blanks around the separator.
    LiLiang,
}

/// The unit that the loss of texts is a mean over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossOver {
    /// All scored tokens of the step.
    #[default]
    Tokens,
    /// The texts of the step, each with the sum over its tokens, as in Li and Liang's prefix tuning.
    Texts,
}

/// Whether BERT's pooler, which comes with the pretrained weights, is trained with the head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooler {
    /// With every method.
    #[default]
    Trained,
    /// Like any pretrained weight: with full fine-tuning, and its bias with BitFit. As in PEFT and the paper's code.
    Frozen,
}

/// The largest numbers of rows, by default the first ones: the keys of `limit:`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limit {
    /// Rows to train on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Rows of each split to evaluate on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dev: Option<usize>,
    /// Contexts to decode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<usize>,
    /// Draws the rows to train on at random with this seed, the same rows for every method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
    /// One training row of so many is held out, and the run is judged by these in place of dev.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<u64>,
}

impl Limit {
    /// Whether there is no limit.
    pub fn is_none(&self) -> bool {
        *self == Limit::default()
    }

    /// Refuses limits of 0.
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
        ensure!(
            self.held_out.is_none_or(|of| of > 1),
            "`limit.held_out` is {}; it must be 2 or more: one training row of so many is held out",
            self.held_out.unwrap_or_default()
        );
        Ok(())
    }

    /// The rows to train on and those held out. The hash of a row's `text` decides, so that rows of one text stay together.
    pub fn hold_out<T>(&self, rows: Vec<T>, text: impl Fn(&T) -> String) -> (Vec<T>, Vec<T>) {
        let Some(of) = self.held_out else {
            return (rows, Vec::new());
        };
        let stays = |row: &T| !derive(0, &format!("held out {}", text(row)), 0).is_multiple_of(of);
        rows.into_iter().partition(stays)
    }

    /// The rows to train on, in their order.
    pub fn train<T>(&self, rows: Vec<T>) -> Vec<T> {
        let (Some(limit), Some(seed)) = (self.train, self.sample) else {
            return Limit::cut(rows, self.train);
        };
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Selection sampling: each row is taken with the probability that gives `limit` rows in the end.
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

/// How texts are generated after training: the keys of `decode:`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeConfig {
    /// The split of the contexts: `dev` or `test`.
    pub split: String,
    /// How the next token is chosen.
    pub strategy: StrategyKind,
    /// The variant of beam search.
    pub flavour: Flavour,
    /// Beams.
    pub beams: usize,
    /// The score of a finished beam is its log-likelihood divided by its length to this power: more favours longer texts.
    pub length_penalty: f64,
    /// The length of n-grams that must not repeat; 0 for no ban.
    pub no_repeat_ngram: usize,
    /// Sequences of tokens that are never generated: `bad_words_ids` of transformers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_words: Vec<Vec<i64>>,
    /// The largest number of tokens of a text.
    pub max_new_tokens: usize,
    /// The temperature of sampling.
    pub temperature: f64,
    /// Contexts of a batch.
    pub batch_size: usize,
}

/// The name of a [`Strategy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StrategyKind {
    /// The likeliest token.
    Greedy,
    /// A token drawn by its likelihood; the run's seed is that of the draw.
    Sample,
    /// Beam search.
    Beam,
}

impl DecodeConfig {
    /// The strategy with its settings; `seed` is that of sampling.
    pub fn strategy(&self, seed: u64) -> Strategy {
        match self.strategy {
            StrategyKind::Greedy => Strategy::Greedy,
            StrategyKind::Sample => Strategy::Sample {
                temperature: self.temperature,
                top_k: None,
                top_p: None,
                seed,
            },
            StrategyKind::Beam => Strategy::Beam {
                beams: self.beams,
                length_penalty: self.length_penalty,
                flavour: self.flavour,
            },
        }
    }

    /// The settings that have no influence under this strategy.
    pub fn idle_settings(&self) -> Vec<IdleSetting> {
        let settings = [
            ("decode.temperature", StrategyKind::Sample, "sample"),
            ("decode.beams", StrategyKind::Beam, "beam"),
            ("decode.length_penalty", StrategyKind::Beam, "beam"),
            ("decode.flavour", StrategyKind::Beam, "beam"),
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

    /// Refuses values that cannot be used.
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
    fn a_tenth_is_held_out_and_equal_texts_stay_together() {
        let limit = Limit {
            held_out: Some(10),
            ..Limit::default()
        };
        let rows: Vec<usize> = (0..20_000).map(|i| i / 2).collect();
        let (train, judges) = limit.hold_out(rows.clone(), usize::to_string);
        assert!((1700..2300).contains(&judges.len()), "{}", judges.len());
        assert!(judges.iter().all(|row| !train.contains(row)));
        assert_eq!(
            Limit::default().hold_out(rows.clone(), usize::to_string),
            (rows, vec![])
        );
    }

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
