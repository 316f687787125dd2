//! GPT-2 (Radford et al., 2019) as a language model: transformers' `GPT2LMHeadModel`.
//!
//! The output layer is tied to the token embedding, so there is no separate head. Query, key and value are one fused
//! weight with three roles. Published files store matrices as `[in, out]`; they are transposed on load.

use super::config::{check_heads, check_rates, check_sizes, config_json, read};
use super::{Arch, Causal, Matrix, Model, ModelShape, Sizes};
use crate::batch::Batch;
use crate::nn::{
    Activation, ActivationCheckpointing, AdapterSite, Attention, Embedding, Init, KvCache, Linear, Norm, Packable,
    PackedWeights, Role, Scope, SoftPrompt, TapPoint, dropout,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::rc::Rc;
use tch::{Kind, Tensor};

pub(super) const ARCH: Arch = Arch {
    model_type: "gpt2",
    build: None,
    build_lm: Some(|config, scope| Ok(Box::new(Gpt2::new(&Config::read(config)?, scope)?))),
    shape: |config: &Value| Ok(Config::read(config)?.shape()),
    read: |config: &Value| config_json(&Config::read(config)?),
    defaults,
    prefix: "transformer.",
    ignored: &["lm_head.weight", ".attn.bias", ".attn.masked_bias"],
    transposed: &[".c_attn.weight", ".c_proj.weight", ".c_fc.weight"],
    dropouts: &["attn_pdrop", "resid_pdrop", "embd_pdrop"],
    cls_dropout: None,
    classifier: &[],
};

/// The keys of config.json that this model uses (others are ignored).
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Config {
    vocab_size: i64,
    n_positions: i64,
    n_embd: i64,
    n_layer: usize,
    n_head: i64,
    /// Width of the feed-forward network; null for four times the model's width.
    n_inner: Option<i64>,
    activation_function: Activation,
    attn_pdrop: f64,
    resid_pdrop: f64,
    embd_pdrop: f64,
    layer_norm_epsilon: f64,
    initializer_range: f64,
    scale_attn_weights: bool,
    scale_attn_by_inverse_layer_idx: bool,
    add_cross_attention: bool,
    tie_word_embeddings: bool,
}

/// [`super::Arch::defaults`]: transformers' `GPT2Config`.
fn defaults() -> Value {
    json!({
        "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": null,
        "activation_function": "gelu_new", "attn_pdrop": 0.1, "resid_pdrop": 0.1, "embd_pdrop": 0.1, "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02, "scale_attn_weights": true, "scale_attn_by_inverse_layer_idx": false,
        "add_cross_attention": false, "tie_word_embeddings": true,
    })
}

impl Config {
    fn read(value: &Value) -> Result<Config> {
        // transformers accepts these names too; GPT-2's own names take precedence.
        let others = [
            ("n_positions", "max_position_embeddings"),
            ("n_embd", "hidden_size"),
            ("n_layer", "num_hidden_layers"),
            ("n_head", "num_attention_heads"),
        ];
        let mut value = value.clone();
        for (own, other) in others {
            if let (None, Some(size)) = (value.get(own), value.get(other).cloned()) {
                value[own] = size;
            }
        }
        let c: Config = read(defaults(), &value)?;
        check_sizes(&[
            ("vocab_size", c.vocab_size),
            ("n_positions", c.n_positions),
            ("n_embd", c.n_embd),
            ("n_layer", c.n_layer as i64),
            ("n_head", c.n_head),
            ("n_inner", c.inner()),
        ])?;
        check_heads(("n_embd", c.n_embd), ("n_head", c.n_head))?;
        check_rates(&[
            ("attn_pdrop", c.attn_pdrop),
            ("resid_pdrop", c.resid_pdrop),
            ("embd_pdrop", c.embd_pdrop),
        ])?;
        let must = [
            ("scale_attn_weights", c.scale_attn_weights, true),
            (
                "scale_attn_by_inverse_layer_idx",
                c.scale_attn_by_inverse_layer_idx,
                false,
            ),
            ("add_cross_attention", c.add_cross_attention, false),
            ("tie_word_embeddings", c.tie_word_embeddings, true),
        ];
        match must.iter().find(|(_, is, wanted)| is != wanted) {
            Some((key, _, wanted)) => Err(Error::Config(format!("`{key}` must be {wanted}"))),
            None => Ok(c),
        }
    }

    fn inner(&self) -> i64 {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    fn init(&self) -> Init {
        Init::Normal(self.initializer_range)
    }

    /// Initialisation of the layers that write to the residual stream, two per block.
    fn residual_init(&self) -> Init {
        Init::Normal(self.initializer_range / (2.0 * self.n_layer as f64).sqrt())
    }

    fn shape(&self) -> ModelShape {
        ModelShape {
            layers: self.n_layer as i64,
            hidden: self.n_embd,
            heads: self.n_head,
            matrices: Matrix::of_plain_block(self.n_embd, self.inner()),
            norm_bias: true,
            // Two embeddings and the final LayerNorm.
            outside: (self.vocab_size + self.n_positions + 2) * self.n_embd,
            outside_biases: self.n_embd,
            head_hidden: None,
            vocab: self.vocab_size,
            relative: None,
        }
    }
}

#[derive(Debug)]
struct Gpt2 {
    wte: Embedding,
    wpe: Embedding,
    /// A method's tokens: the prefix at the start of the row, the infix after the prompt.
    prompt: SoftPrompt,
    blocks: Vec<Block>,
    ln_f: Norm,
    dropout: f64,
    /// Added to positions.
    shift: i64,
    sizes: Sizes,
    /// Data type of the activations.
    kind: Kind,
}

impl Gpt2 {
    fn new(c: &Config, s: &Scope) -> Result<Gpt2> {
        let t = s.sub("transformer");
        let shift = s.shift();
        let prompt = s.prompt(c.n_embd, c.n_layer, c.n_positions - shift)?;
        Ok(Gpt2 {
            wte: t
                .output()
                .embedding("wte", c.vocab_size, c.n_embd, c.initializer_range)?,
            wpe: t.embedding("wpe", c.n_positions, c.n_embd, c.initializer_range)?,
            blocks: (0..c.n_layer)
                .map(|i| Block::new(&t.sub("h").at(i, c.n_layer), c))
                .collect::<Result<_>>()?,
            ln_f: t.output().norm("ln_f", c.n_embd, c.layer_norm_epsilon)?,
            dropout: c.embd_pdrop,
            sizes: Sizes::new(c.n_positions - shift, c.vocab_size, &prompt),
            shift,
            prompt,
            kind: s.activation_kind(),
        })
    }

    /// Ids `[T]` to `[T, d]`, without positions.
    fn words(&self, ids: &Tensor) -> Tensor {
        self.wte.forward(ids, self.kind)
    }

    /// The input of the first block.
    fn placed(&self, words: Tensor, positions: &Tensor, train: bool) -> Tensor {
        let x = words + self.wpe.forward(&(positions + self.shift), self.kind);
        dropout(&x, self.dropout, train)
    }

    /// The embeddings of `batch` with the method's tokens inserted, and the longer batch.
    fn begin(&self, batch: &Batch) -> (Tensor, Batch) {
        self.prompt.insert(&self.words(&batch.ids), batch, 0)
    }

    /// The output of the last block for `batch`, `[T, d]`; `step` runs one block.
    fn run<'m>(
        &'m self,
        words: Tensor,
        batch: &Batch,
        train: bool,
        mut step: impl FnMut(&'m Block, &Tensor) -> Tensor,
    ) -> Tensor {
        let mut x = self.placed(words, &batch.positions, train);
        for (i, block) in self.blocks.iter().enumerate() {
            x = step(block, &x);
            x = self.prompt.after_block(i, x, batch);
        }
        x
    }

    /// The logits of the last block's output `x` `[S, d]`: `[S, vocab]` in fp32.
    fn scores(&self, x: &Tensor) -> Tensor {
        self.wte.scores(&self.ln_f.forward(x), None).to_kind(Kind::Float)
    }
}

impl Model for Gpt2 {
    fn features<'m>(&'m self, batch: &Batch, train: bool, checkpointing: &ActivationCheckpointing<'m>) -> Tensor {
        let (words, longer) = self.begin(batch);
        let longer = Rc::new(longer);
        let step = |block: &'m Block, x: &Tensor| {
            let rows = Rc::clone(&longer);
            checkpointing.run(x, move |x| {
                let attend = |a: &Attention, [q, k, v]: [&Tensor; 3]| a.forward(q, k, v, &rows.layout, train);
                block.forward(x, attend, train)
            })
        };
        let x = self.run(words, &longer, train, step);
        let x = self.prompt.remove_causal(&x, &longer);
        match &batch.scored {
            Some(scored) => x.index_select(0, scored),
            None => x,
        }
    }

    fn logits(&self, features: &Tensor, _: bool) -> Tensor {
        self.scores(features)
    }

    fn output_layer(&self, features: &Tensor) -> Option<(Tensor, &Tensor)> {
        Some((self.ln_f.forward(features), self.wte.table()))
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.blocks.iter_mut().flat_map(Block::linears_mut).collect()
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn causal(&self) -> Option<&dyn Causal> {
        Some(self)
    }
}

impl Causal for Gpt2 {
    fn prefill(&self, batch: &Batch, beams: i64) -> (Tensor, KvCache) {
        let (words, batch) = self.begin(batch);
        let mut cache = KvCache::new(&batch, beams);
        let step = |block: &Block, x: &Tensor| {
            let attend = |a: &Attention, [q, k, v]: [&Tensor; 3]| a.prefill(q, k, v, &batch.layout, &mut cache);
            block.forward(x, attend, false)
        };
        let x = self.run(words, &batch, false, step);
        (self.scores(&x.index_select(0, &batch.layout.last)), cache)
    }

    fn packed(&self) -> PackedWeights<'_> {
        let mut layers: Vec<&dyn Packable> = vec![&self.wte];
        for block in &self.blocks {
            layers.extend(block.linears().map(|linear| linear as &dyn Packable));
        }
        PackedWeights::new(layers, self.wte.device(), self.kind)
    }

    fn decode(&self, ids: &Tensor, cache: &mut KvCache) -> Tensor {
        let mut x = self.placed(self.words(ids), &cache.positions(), false);
        for (layer, block) in self.blocks.iter().enumerate() {
            let attend = |a: &Attention, [q, k, v]: [&Tensor; 3]| a.decode(q, k, v, cache, layer);
            x = block.forward(&x, attend, false);
        }
        cache.advance();
        self.scores(&x)
    }
}

#[derive(Debug)]
struct Block {
    ln_1: Norm,
    /// Query, key and value, fused.
    c_attn: Linear,
    attention: Attention,
    attn_out: Linear,
    ln_2: Norm,
    ffn_in: Linear,
    ffn_out: Linear,
    after_attention: TapPoint,
    after_ffn: TapPoint,
    after_block: TapPoint,
    activation: Activation,
    dropout: f64,
}

impl Block {
    fn new(s: &Scope, c: &Config) -> Result<Block> {
        let (d, f, eps) = (c.n_embd, c.inner(), c.layer_norm_epsilon);
        let (attn, mlp) = (s.sub("attn"), s.sub("mlp"));
        Ok(Block {
            ln_1: s.norm("ln_1", d, eps)?,
            c_attn: attn.linear("c_attn", &[Role::Query, Role::Key, Role::Value], d, d, c.init())?,
            attention: Attention {
                heads: c.n_head,
                kv_heads: c.n_head,
                dropout: c.attn_pdrop,
                causal: true,
                prefix: s.prefix(d)?,
            },
            attn_out: attn.linear("c_proj", &[Role::AttnOut], d, d, c.residual_init())?,
            ln_2: s.norm("ln_2", d, eps)?,
            ffn_in: mlp.linear("c_fc", &[Role::FfnIn], d, f, c.init())?,
            ffn_out: mlp.linear("c_proj", &[Role::FfnOut], f, d, c.residual_init())?,
            after_attention: s.tap(AdapterSite::AfterAttention, d)?,
            after_ffn: s.tap(AdapterSite::AfterFfn, d)?,
            after_block: s.tap(AdapterSite::AfterBlock, d)?,
            activation: c.activation_function,
            dropout: c.resid_pdrop,
        })
    }

    /// `[T, d]` to `[T, d]`; `attend` computes attention, with or without a cache.
    fn forward(&self, x: &Tensor, attend: impl FnOnce(&Attention, [&Tensor; 3]) -> Tensor, train: bool) -> Tensor {
        let qkv = self.c_attn.forward(&self.ln_1.forward(x), train).chunk(3, -1);
        let a = attend(&self.attention, [&qkv[0], &qkv[1], &qkv[2]]);
        let a = dropout(&self.attn_out.forward(&a, train), self.dropout, train);
        let x = self.after_attention.close(&a, train, |a| a + x);
        let f = self
            .activation
            .apply(&self.ffn_in.forward(&self.ln_2.forward(&x), train));
        let f = dropout(&self.ffn_out.forward(&f, train), self.dropout, train);
        let x = self.after_ffn.close(&f, train, |f| f + &x);
        self.after_block.close(&x, train, Tensor::shallow_clone)
    }

    fn linears(&self) -> [&Linear; 4] {
        [&self.c_attn, &self.attn_out, &self.ffn_in, &self.ffn_out]
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        vec![
            &mut self.c_attn,
            &mut self.attn_out,
            &mut self.ffn_in,
            &mut self.ffn_out,
        ]
    }
}
