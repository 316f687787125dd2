//! config.json of DeBERTa-v2 and v3.

use crate::model::config::{check_heads, check_rates, check_sizes, read};
use crate::model::post_norm::PostNormConfig;
use crate::model::{Matrix, ModelShape, Relative};
use crate::nn::{Activation, Init, Role};
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// The keys of config.json that these models use.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Config {
    pub(super) vocab_size: i64,
    pub(super) hidden_size: i64,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: i64,
    pub(super) intermediate_size: i64,
    pub(super) hidden_act: Activation,
    pub(super) hidden_dropout_prob: f64,
    pub(super) attention_probs_dropout_prob: f64,
    pub(super) max_position_embeddings: i64,
    pub(super) type_vocab_size: i64,
    pub(super) layer_norm_eps: f64,
    pub(super) initializer_range: f64,
    pub(super) relative_attention: bool,
    pub(super) max_relative_positions: i64,
    pub(super) position_buckets: i64,
    #[serde(deserialize_with = "listed")]
    pub(super) norm_rel_ebd: Vec<String>,
    pub(super) share_att_key: bool,
    #[serde(deserialize_with = "listed")]
    pub(super) pos_att_type: Vec<String>,
    pub(super) position_biased_input: bool,
    pub(super) attention_head_size: Option<i64>,
    pub(super) embedding_size: Option<i64>,
    pub(super) conv_kernel_size: i64,
    pub(super) conv_groups: i64,
    pub(super) conv_act: Activation,
    pub(super) pooler_hidden_size: Option<i64>,
    pub(super) pooler_dropout: f64,
    pub(super) pooler_hidden_act: Activation,
    pub(super) cls_dropout: Option<f64>,
    // Not serialised: the language model supports one value only.
    #[serde(skip_serializing)]
    legacy: bool,
    #[serde(skip_serializing)]
    tie_word_embeddings: bool,
}

/// [`crate::model::Arch::defaults`]: those of transformers' `DebertaV2Config`, and of its model for keys that the class
/// lacks.
pub(super) fn defaults() -> Value {
    json!({
        "vocab_size": 128100, "hidden_size": 1536, "num_hidden_layers": 24, "num_attention_heads": 24, "intermediate_size": 6144,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512,
        "type_vocab_size": 0, "layer_norm_eps": 1e-7, "initializer_range": 0.02, "relative_attention": false,
        "max_relative_positions": -1, "position_buckets": -1, "norm_rel_ebd": "none", "share_att_key": false, "pos_att_type": null,
        "position_biased_input": true, "attention_head_size": null, "embedding_size": null, "conv_kernel_size": 0,
        "conv_groups": 1, "conv_act": "tanh", "pooler_hidden_size": null, "pooler_dropout": 0.0, "pooler_hidden_act": "gelu",
        "cls_dropout": null, "legacy": true, "tie_word_embeddings": true,
    })
}

/// Parses `a|b` or a list.
fn listed<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        List(Vec<String>),
    }
    let parts = match Option::<Either>::deserialize(d)? {
        None => Vec::new(),
        Some(Either::Text(text)) => text.split('|').map(String::from).collect(),
        Some(Either::List(list)) => list,
    };
    Ok(parts.iter().map(|p| p.trim().to_lowercase()).collect())
}

impl Config {
    pub(super) fn read(value: &Value) -> Result<Config> {
        let c: Config = read(defaults(), value)?;
        let sizes = [
            ("vocab_size", c.vocab_size),
            ("hidden_size", c.hidden_size),
            ("num_hidden_layers", c.num_hidden_layers as i64),
            ("num_attention_heads", c.num_attention_heads),
            ("intermediate_size", c.intermediate_size),
            ("max_position_embeddings", c.max_position_embeddings),
        ];
        let rates = [
            ("hidden_dropout_prob", c.hidden_dropout_prob),
            ("attention_probs_dropout_prob", c.attention_probs_dropout_prob),
            ("pooler_dropout", c.pooler_dropout),
            ("cls_dropout", c.classifier_dropout()),
        ];
        check_sizes(&sizes)?;
        check_rates(&rates)?;
        check_heads(
            ("hidden_size", c.hidden_size),
            ("num_attention_heads", c.num_attention_heads),
        )?;
        match c.unsupported() {
            Some(what) => Err(Error::Config(format!("{what}; no published DeBERTa-v2 or v3 has that"))),
            None => Ok(c),
        }
    }

    /// [`Config::read`] for the language model with transformers' legacy head, whose output layer is tied to the token
    /// embedding.
    pub(super) fn read_lm(value: &Value) -> Result<Config> {
        let c = Config::read(value)?;
        match (c.legacy, c.tie_word_embeddings) {
            (true, true) => Ok(c),
            (false, _) => Err(Error::Config("`legacy` must be true".into())),
            (_, false) => Err(Error::Config("`tie_word_embeddings` must be true".into())),
        }
    }

    /// The first setting that transformers supports but no published model uses.
    fn unsupported(&self) -> Option<String> {
        let other = |size: Option<i64>, of: i64| size.is_some_and(|s| s != of);
        let known = self.pos_att_type.iter().all(|t| t == "c2p" || t == "p2c");
        let refused = [
            (!self.relative_attention, "`relative_attention` is false"),
            (self.position_biased_input, "`position_biased_input` is true"),
            (!known, "`pos_att_type` has something other than c2p and p2c"),
            (
                self.position_buckets > 0 && !(4..=1 << 20).contains(&self.position_buckets),
                "`position_buckets` is below 4",
            ),
            (
                self.position_buckets > 0 && self.span_end() <= self.position_buckets / 2 + 1,
                "`max_relative_positions` does not reach beyond the buckets of single positions",
            ),
            (
                other(self.attention_head_size, self.hidden_size / self.num_attention_heads),
                "`attention_head_size` is not hidden_size / num_attention_heads",
            ),
            (
                other(self.embedding_size, self.hidden_size),
                "`embedding_size` is not `hidden_size`",
            ),
            (
                other(self.pooler_hidden_size, self.hidden_size),
                "`pooler_hidden_size` is not `hidden_size`",
            ),
            (self.conv_groups != 1, "`conv_groups` is not 1"),
            (
                self.conv_kernel_size < 0
                    || self.conv_kernel_size > 1 << 10
                    || (self.conv_kernel_size > 0 && self.conv_kernel_size % 2 == 0),
                "`conv_kernel_size` is not odd",
            ),
            (
                !(0..=1 << 20).contains(&self.type_vocab_size),
                "`type_vocab_size` is negative",
            ),
        ];
        refused
            .into_iter()
            .find(|(is, _)| *is)
            .map(|(_, what)| what.to_string())
    }

    pub(super) fn classifier_dropout(&self) -> f64 {
        self.cls_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    pub(super) fn init(&self) -> Init {
        Init::Normal(self.initializer_range)
    }

    pub(super) fn post_norm(&self) -> PostNormConfig {
        PostNormConfig {
            hidden: self.hidden_size,
            ffn: self.intermediate_size,
            eps: self.layer_norm_eps,
            init: self.init(),
            activation: self.hidden_act,
            dropout: self.hidden_dropout_prob,
        }
    }

    pub(super) fn attends(&self, kind: &str) -> bool {
        self.pos_att_type.iter().any(|t| t == kind)
    }

    /// The largest distance that is distinguished from larger ones.
    pub(super) fn span_end(&self) -> i64 {
        if self.max_relative_positions < 1 {
            self.max_position_embeddings
        } else {
            self.max_relative_positions
        }
    }

    /// Half the rows of the relative position embedding.
    pub(super) fn span(&self) -> i64 {
        if self.position_buckets > 0 {
            self.position_buckets
        } else {
            self.span_end()
        }
    }

    pub(super) fn norms_positions(&self) -> bool {
        self.norm_rel_ebd.iter().any(|n| n == "layer_norm")
    }

    pub(super) fn shape(&self) -> ModelShape {
        let (d, k) = (self.hidden_size, self.conv_kernel_size);
        let conv = if k > 0 { k * d * d + d + 2 * d } else { 0 };
        let position_norm = if self.norms_positions() { 2 * d } else { 0 };
        let mut matrices = Matrix::of_plain_block(d, self.intermediate_size);
        if !self.share_att_key {
            let own = [("c2p", Role::RelPosKey), ("p2c", Role::RelPosQuery)].into_iter();
            let own = own.filter(|(term, _)| self.attends(term));
            matrices.extend(own.map(|(_, role)| Matrix::new(role, d, d, true)));
        }
        ModelShape {
            layers: self.num_hidden_layers as i64,
            hidden: d,
            heads: self.num_attention_heads,
            matrices,
            norm_bias: true,
            outside: (self.vocab_size + self.type_vocab_size + 2 * self.span()) * d + 2 * d + position_norm + conv,
            outside_biases: d + position_norm / 2 + if k > 0 { 2 * d } else { 0 },
            head_hidden: Some(d),
            vocab: self.vocab_size,
            relative: Some(Relative {
                terms: self.pos_att_type.len() as i64,
                table: 2 * self.span(),
            }),
        }
    }
}
