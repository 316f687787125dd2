//! The encoder of BERT and RoBERTa: embeddings, post-LN blocks, and config.json.

use super::config::{check_heads, check_rates, check_sizes, read};
use super::head::Body;
use super::post_norm::{PostNorm, PostNormConfig};
use super::{Matrix, ModelShape, Sizes};
use crate::batch::Batch;
use crate::nn::{
    Activation, ActivationCheckpointing, Attention, Embedding, Init, Linear, Norm, Role, Scope, SoftPrompt, dropout,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::rc::Rc;
use tch::{Kind, Tensor};

/// [`super::Arch::dropouts`] of these models.
pub(super) const DROPOUTS: &[&str] = &["hidden_dropout_prob", "attention_probs_dropout_prob", CLS_DROPOUT];

/// [`super::Arch::cls_dropout`] of these models.
pub(super) const CLS_DROPOUT: &str = "classifier_dropout";

/// The keys of config.json that these models use (others are ignored).
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Config {
    pub(super) vocab_size: i64,
    pub(super) hidden_size: i64,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: i64,
    pub(super) intermediate_size: i64,
    pub(super) max_position_embeddings: i64,
    pub(super) type_vocab_size: i64,
    pub(super) layer_norm_eps: f64,
    pub(super) hidden_act: Activation,
    pub(super) hidden_dropout_prob: f64,
    attention_probs_dropout_prob: f64,
    classifier_dropout: Option<f64>,
    pub(super) initializer_range: f64,
    pub(super) pad_token_id: Option<i64>,
    position_embedding_type: Option<String>,
    // Not serialised: the model supports one value only.
    #[serde(skip_serializing)]
    is_decoder: bool,
    #[serde(skip_serializing)]
    tie_word_embeddings: bool,
}

/// [`super::Arch::defaults`] of BERT: transformers' `BertConfig`. RoBERTa's differ in `vocab_size` and `pad_token_id`.
pub(super) fn defaults() -> Value {
    json!({
        "vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 512,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0, "classifier_dropout": null,
        "position_embedding_type": "absolute", "is_decoder": false, "tie_word_embeddings": true,
    })
}

impl Config {
    pub(super) fn read(value: &Value, defaults: fn() -> Value) -> Result<Config> {
        let c: Config = read(defaults(), value)?;
        let sizes = [
            ("vocab_size", c.vocab_size),
            ("hidden_size", c.hidden_size),
            ("num_hidden_layers", c.num_hidden_layers as i64),
            ("num_attention_heads", c.num_attention_heads),
            ("intermediate_size", c.intermediate_size),
            ("max_position_embeddings", c.max_position_embeddings),
            ("type_vocab_size", c.type_vocab_size),
        ];
        check_sizes(&sizes)?;
        check_heads(
            ("hidden_size", c.hidden_size),
            ("num_attention_heads", c.num_attention_heads),
        )?;
        let rates = [
            ("hidden_dropout_prob", c.hidden_dropout_prob),
            ("attention_probs_dropout_prob", c.attention_probs_dropout_prob),
            ("classifier_dropout", c.classifier_dropout()),
        ];
        check_rates(&rates)?;
        if c.position_embedding_type.as_deref().is_some_and(|t| t != "absolute") {
            return Err(Error::Config("`position_embedding_type` must be \"absolute\"".into()));
        }
        if c.is_decoder {
            return Err(Error::Config(
                "`is_decoder` is true: causal attention is not supported for this model type".into(),
            ));
        }
        Ok(c)
    }

    /// [`Config::read`] for a language model, whose output layer is tied to the token embedding.
    pub(super) fn read_lm(value: &Value, defaults: fn() -> Value) -> Result<Config> {
        let c = Config::read(value, defaults)?;
        if c.tie_word_embeddings {
            Ok(c)
        } else {
            Err(Error::Config("`tie_word_embeddings` must be true".into()))
        }
    }

    pub(super) fn classifier_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    pub(super) fn init(&self) -> Init {
        Init::Normal(self.initializer_range)
    }

    fn post_norm(&self) -> PostNormConfig {
        PostNormConfig {
            hidden: self.hidden_size,
            ffn: self.intermediate_size,
            eps: self.layer_norm_eps,
            init: self.init(),
            activation: self.hidden_act,
            dropout: self.hidden_dropout_prob,
        }
    }

    pub(super) fn shape(&self) -> ModelShape {
        let d = self.hidden_size;
        ModelShape {
            layers: self.num_hidden_layers as i64,
            hidden: d,
            heads: self.num_attention_heads,
            matrices: Matrix::of_plain_block(d, self.intermediate_size),
            norm_bias: true,
            // Three embeddings and their LayerNorm.
            outside: (self.vocab_size + self.max_position_embeddings + self.type_vocab_size + 2) * d,
            outside_biases: d,
            head_hidden: Some(d),
            vocab: self.vocab_size,
            relative: None,
        }
    }
}

/// The body of BERT and RoBERTa.
#[derive(Debug)]
pub(super) struct Encoder {
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: Norm,
    /// A method's tokens: the prefix after the class token, which the head reads, the infix at the end of the row.
    prompt: SoftPrompt,
    blocks: Vec<Block>,
    dropout: f64,
    /// Added to positions: 0 in BERT, the padding id + 1 in RoBERTa, plus the method's shift.
    offset: i64,
    sizes: Sizes,
    /// Data type of the activations.
    kind: Kind,
}

impl Encoder {
    pub(super) fn new(s: &Scope, c: &Config, offset: i64) -> Result<Encoder> {
        let offset = offset + s.shift();
        let max_len = c.max_position_embeddings - offset;
        if offset < 0 || max_len < 1 {
            return Err(Error::Config(format!(
                "`pad_token_id` and the method's `shift` leave {max_len} positions of `max_position_embeddings`"
            )));
        }
        let e = s.sub("embeddings");
        let (d, std) = (c.hidden_size, c.initializer_range);
        let blocks = (0..c.num_hidden_layers)
            .map(|i| Block::new(&s.sub("encoder").sub("layer").at(i, c.num_hidden_layers), c))
            .collect::<Result<_>>()?;
        let prompt = s.prompt(d, c.num_hidden_layers, max_len)?;
        Ok(Encoder {
            words: e.embedding("word_embeddings", c.vocab_size, d, std)?,
            positions: e.embedding("position_embeddings", c.max_position_embeddings, d, std)?,
            types: e.embedding("token_type_embeddings", c.type_vocab_size, d, std)?,
            norm: e.norm("LayerNorm", d, c.layer_norm_eps)?,
            blocks,
            dropout: c.hidden_dropout_prob,
            offset,
            sizes: Sizes::new(max_len, c.vocab_size, &prompt),
            prompt,
            kind: s.activation_kind(),
        })
    }
}

impl Body for Encoder {
    fn tokens<'m>(
        &'m self,
        batch: &Batch,
        first_only: bool,
        train: bool,
        checkpointing: &ActivationCheckpointing<'m>,
    ) -> Tensor {
        let (words, batch) = self.prompt.insert(&self.words.forward(&batch.ids, self.kind), batch, 1);
        let types = self.types.forward(&batch.types, self.kind);
        let positions = self.positions.forward(&(&batch.positions + self.offset), self.kind);
        let mut x = dropout(&self.norm.forward(&(words + types + positions)), self.dropout, train); // [T, d]
        let batch = Rc::new(batch);
        for (i, block) in self.blocks.iter().enumerate() {
            let (rows, first) = (Rc::clone(&batch), first_only && i + 1 == self.blocks.len());
            x = checkpointing.run(&x, move |x| block.forward(x, &rows, first, train));
            x = self.prompt.after_block(i, x, &batch);
        }
        if first_only { x } else { self.prompt.remove(&x, &batch) }
    }

    fn word_scores(&self, x: &Tensor, bias: &Tensor) -> Tensor {
        self.words.scores(x, Some(bias))
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.blocks.iter_mut().flat_map(Block::linears_mut).collect()
    }
}

#[derive(Debug)]
struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    attention: Attention,
    rest: PostNorm,
}

impl Block {
    fn new(s: &Scope, c: &Config) -> Result<Block> {
        let (d, init) = (c.hidden_size, c.init());
        let projections = s.sub("attention").sub("self");
        Ok(Block {
            query: projections.linear("query", &[Role::Query], d, d, init)?,
            key: projections.linear("key", &[Role::Key], d, d, init)?,
            value: projections.linear("value", &[Role::Value], d, d, init)?,
            // Created before attention's prefix: checkpoints depend on the order of variables.
            rest: PostNorm::new(s, &c.post_norm())?,
            attention: Attention {
                heads: c.num_attention_heads,
                kv_heads: c.num_attention_heads,
                dropout: c.attention_probs_dropout_prob,
                causal: false,
                prefix: s.prefix(d)?,
            },
        })
    }

    /// `[T, d]` to `[T, d]`, or to `[B, d]` (the first token of each row) with `first_only`.
    fn forward(&self, x: &Tensor, batch: &Batch, first_only: bool, train: bool) -> Tensor {
        let asking = if first_only {
            x.index_select(0, &batch.layout.first)
        } else {
            x.shallow_clone()
        };
        let (q, k, v) = if first_only {
            let [k, v] = Linear::forward_all([&self.key, &self.value], x, train);
            (self.query.forward(&asking, train), k, v)
        } else {
            let [q, k, v] = Linear::forward_all([&self.query, &self.key, &self.value], x, train);
            (q, k, v)
        };
        let a = self.attention.forward(&q, &k, &v, &batch.layout, train);
        self.rest.forward(&a, &asking, train)
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let projections = [&mut self.query, &mut self.key, &mut self.value];
        projections.into_iter().chain(self.rest.linears_mut()).collect()
    }
}
