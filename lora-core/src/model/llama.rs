//! Decoders of the Llama family as language models: Llama (Touvron et al., 2023), transformers' `LlamaForCausalLM`, and
//! Qwen2 (Yang et al., 2024), `Qwen2ForCausalLM`, which differs in its biases and in the defaults of its config.json.
//!
//! RMSNorm before each sub-layer, rotary positions, grouped-query attention, a gated feed-forward network, and an
//! output layer that is tied to the token embedding or separate.

use super::config::{Rope, check_heads, check_rates, check_sizes, config_json, read};
use super::{Arch, Causal, Matrix, Model, ModelShape, Sizes};
use crate::batch::Batch;
use crate::nn::{
    Activation, ActivationCheckpointing, AdapterSite, Attention, Embedding, Init, KvCache, Linear, Packable,
    PackedWeights, RmsNorm, Role, Rotary, Rotation, Scope, SoftPrompt, TapPoint,
};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::rc::Rc;
use tch::{Kind, Tensor};

pub(super) const LLAMA: Arch = Arch {
    model_type: "llama",
    build: None,
    build_lm: Some(|config, scope| Ok(Box::new(Decoder::new(&Config::llama(config)?, scope)?))),
    shape: |config: &Value| Ok(Config::llama(config)?.shape()),
    read: |config: &Value| config_json(&Config::llama(config)?),
    defaults: llama_defaults,
    prefix: "model.",
    ignored: &["lm_head.weight", ".rotary_emb.inv_freq"],
    transposed: &[],
    dropouts: &["attention_dropout"],
    cls_dropout: None,
    classifier: &[],
};

pub(super) const QWEN2: Arch = Arch {
    model_type: "qwen2",
    build_lm: Some(|config, scope| Ok(Box::new(Decoder::new(&Config::qwen2(config)?, scope)?))),
    shape: |config: &Value| Ok(Config::qwen2(config)?.shape()),
    read: |config: &Value| config_json(&Config::qwen2(config)?),
    defaults: qwen2_defaults,
    ..LLAMA
};

/// The keys of config.json that these models use (others are ignored).
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Config {
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    hidden_act: Activation,
    max_position_embeddings: i64,
    initializer_range: f64,
    rms_norm_eps: f64,
    tie_word_embeddings: bool,
    attention_dropout: f64,
    /// Whether query, key and value (in Llama also the projection after attention) have biases.
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    /// Whether the projection after attention has a bias. Not a key of config.json.
    #[serde(skip)]
    out_bias: bool,
    #[serde(skip_deserializing)]
    rope: Rope,
    // Not serialised: the model supports one value only.
    #[serde(default, skip_serializing)]
    use_sliding_window: bool,
    #[serde(skip_serializing)]
    sliding_window: Option<i64>,
    #[serde(default, skip_serializing)]
    max_window_layers: usize,
    #[serde(skip_serializing)]
    layer_types: Option<Vec<String>>,
    #[serde(skip_serializing)]
    quantization_config: Option<Value>,
}

/// [`super::Arch::defaults`] of Llama: transformers' `LlamaConfig`.
fn llama_defaults() -> Value {
    json!({
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": null, "head_dim": null, "hidden_act": "silu", "max_position_embeddings": 2048,
        "initializer_range": 0.02, "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "attention_bias": false,
        "attention_dropout": 0.0, "mlp_bias": false, "eos_token_id": 2,
    })
}

/// [`super::Arch::defaults`] of Qwen2: transformers' `Qwen2Config`.
fn qwen2_defaults() -> Value {
    json!({
        "vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 32, "hidden_act": "silu", "max_position_embeddings": 32768, "initializer_range": 0.02,
        "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "attention_dropout": 0.0, "use_sliding_window": false,
        "sliding_window": 4096, "max_window_layers": 28, "layer_types": null, "eos_token_id": null,
    })
}

impl Config {
    fn llama(value: &Value) -> Result<Config> {
        let mut c: Config = read(llama_defaults(), value)?;
        c.out_bias = c.attention_bias;
        c.checked(value)
    }

    /// Only query, key and value have biases.
    fn qwen2(value: &Value) -> Result<Config> {
        let mut c: Config = read(qwen2_defaults(), value)?;
        (c.attention_bias, c.mlp_bias) = (true, false);
        c.checked(value)
    }

    fn checked(mut self, value: &Value) -> Result<Config> {
        let heads = self.num_attention_heads;
        let kv_heads = *self.num_key_value_heads.get_or_insert(heads);
        check_sizes(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers as i64),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        check_heads(("num_attention_heads", heads), ("num_key_value_heads", kv_heads))?;
        check_heads(("hidden_size", self.hidden_size), ("num_attention_heads", heads))?;
        let width = *self.head_dim.get_or_insert(self.hidden_size / heads);
        check_sizes(&[("head_dim", width)])?;
        check_rates(&[("attention_dropout", self.attention_dropout)])?;
        self.rope = Rope::read(value)?;
        self.unsupported(width)
            .map_or(Ok(self), |what| Err(Error::Config(what)))
    }

    fn unsupported(&self, width: i64) -> Option<String> {
        let types = self.layer_types.as_deref().unwrap_or_default();
        let other = |t: &&String| !["full_attention", "sliding_attention"].contains(&t.as_str());
        let window = self.sliding_window.filter(|_| self.use_sliding_window);
        let slides = types.iter().any(|t| t == "sliding_attention")
            || self.layer_types.is_none() && window.is_some() && self.max_window_layers < self.num_hidden_layers;
        if width % 2 != 0 {
            Some(format!("`head_dim` is {width}; rotary positions need an even number"))
        } else if let Some(other) = types.iter().find(other) {
            Some(format!("`layer_types` names `{other}`, which is not supported"))
        } else if slides && window.is_none_or(|window| window < self.max_position_embeddings) {
            let window = window.map_or("null".into(), |window| window.to_string());
            Some(format!(
                "`sliding_window` is {window}, which hides tokens of a row of `max_position_embeddings` = {}: not supported",
                self.max_position_embeddings
            ))
        } else {
            let quantised = self.quantization_config.as_ref();
            quantised.map(|_| "`quantization_config`: quantised weights are not supported".into())
        }
    }

    /// Query heads, key/value heads, and features per head.
    fn heads(&self) -> [i64; 3] {
        let heads = self.num_attention_heads;
        let width = self.head_dim.unwrap_or(self.hidden_size / heads);
        [heads, self.num_key_value_heads.unwrap_or(heads), width]
    }

    /// The matrices of a block, in the order of [`Block`]'s fields.
    fn matrices(&self) -> [Matrix; 7] {
        let (d, f, [heads, kv_heads, width]) = (self.hidden_size, self.intermediate_size, self.heads());
        [
            Matrix::new(Role::Query, d, heads * width, self.attention_bias),
            Matrix::new(Role::Key, d, kv_heads * width, self.attention_bias),
            Matrix::new(Role::Value, d, kv_heads * width, self.attention_bias),
            Matrix::new(Role::AttnOut, heads * width, d, self.out_bias),
            Matrix::new(Role::FfnGate, d, f, self.mlp_bias),
            Matrix::new(Role::FfnIn, d, f, self.mlp_bias),
            Matrix::new(Role::FfnOut, f, d, self.mlp_bias),
        ]
    }

    fn shape(&self) -> ModelShape {
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        ModelShape {
            layers: self.num_hidden_layers as i64,
            hidden: self.hidden_size,
            heads: self.num_attention_heads,
            matrices: self.matrices().into(),
            norm_bias: false,
            // The token embedding, the output layer, and the final RMSNorm.
            outside: (tables * self.vocab_size + 1) * self.hidden_size,
            outside_biases: 0,
            head_hidden: None,
            vocab: self.vocab_size,
            relative: None,
        }
    }
}

#[derive(Debug)]
struct Decoder {
    tokens: Embedding,
    /// A method's tokens: the prefix at the start of the row, the infix after the prompt.
    prompt: SoftPrompt,
    blocks: Vec<Block>,
    norm: RmsNorm,
    /// None if the output layer is tied to the token embedding.
    head: Option<Linear>,
    rotary: Rotary,
    /// Added to positions.
    shift: i64,
    sizes: Sizes,
    /// Data type of the activations.
    kind: Kind,
}

impl Decoder {
    fn new(c: &Config, s: &Scope) -> Result<Decoder> {
        let (t, d, layers) = (s.sub("model"), c.hidden_size, c.num_hidden_layers);
        let (shift, init) = (s.shift(), Init::Normal(c.initializer_range));
        let prompt = s.prompt(d, layers, c.max_position_embeddings - shift)?;
        let of_tokens = if c.tie_word_embeddings { t.output() } else { t.clone() };
        let head = || s.output().linear_with("lm_head", &[], (d, c.vocab_size), false, init);
        Ok(Decoder {
            tokens: of_tokens.embedding("embed_tokens", c.vocab_size, d, c.initializer_range)?,
            blocks: (0..layers)
                .map(|i| Block::new(&t.sub("layers").at(i, layers), c))
                .collect::<Result<_>>()?,
            norm: t.output().rms_norm("norm", d, c.rms_norm_eps)?,
            head: (!c.tie_word_embeddings).then(head).transpose()?,
            rotary: Rotary::new(c.heads()[2], c.rope.rope_theta, &c.rope.scaling, s.device()),
            sizes: Sizes::new(c.max_position_embeddings - shift, c.vocab_size, &prompt),
            shift,
            prompt,
            kind: s.activation_kind(),
        })
    }

    /// The embeddings of `batch` with the method's tokens inserted, the longer batch, and the rotations at its tokens.
    fn begin(&self, batch: &Batch) -> (Tensor, Batch, Rotation) {
        let words = self.tokens.forward(&batch.ids, self.kind);
        let (words, longer) = self.prompt.insert(&words, batch, 0);
        let rotation = self.rotary.at(&(&longer.positions + self.shift), self.kind);
        (words, longer, rotation)
    }

    /// The output of the last block for `batch`, `[T, d]`; `step` runs one block.
    fn run<'m>(&'m self, mut x: Tensor, batch: &Batch, mut step: impl FnMut(&'m Block, &Tensor) -> Tensor) -> Tensor {
        for (i, block) in self.blocks.iter().enumerate() {
            x = step(block, &x);
            x = self.prompt.after_block(i, x, batch);
        }
        x
    }

    /// The logits of the last block's output `x` `[S, d]`: `[S, vocab]` in fp32.
    fn scores(&self, x: &Tensor) -> Tensor {
        let x = self.norm.forward(x);
        let scores = self
            .head
            .as_ref()
            .map_or_else(|| self.tokens.scores(&x, None), |head| head.forward(&x, false));
        scores.to_kind(Kind::Float)
    }
}

impl Model for Decoder {
    fn features<'m>(&'m self, batch: &Batch, train: bool, checkpointing: &ActivationCheckpointing<'m>) -> Tensor {
        let (words, longer, rotation) = self.begin(batch);
        let (longer, rotation) = (Rc::new(longer), Rc::new(rotation));
        let step = |block: &'m Block, x: &Tensor| {
            let (rows, rotation) = (Rc::clone(&longer), Rc::clone(&rotation));
            checkpointing.run(x, move |x| {
                let attend = |a: &Attention, [q, k, v]: [&Tensor; 3]| a.forward(q, k, v, &rows.layout, train);
                block.forward(x, &rotation, attend, train)
            })
        };
        let x = self.run(words, &longer, step);
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
        let matrix = match &self.head {
            Some(head) => head.only_weight()?,
            None => self.tokens.table(),
        };
        Some((self.norm.forward(features), matrix))
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.blocks.iter_mut().flat_map(|block| &mut block.linears).collect()
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn causal(&self) -> Option<&dyn Causal> {
        Some(self)
    }
}

impl Causal for Decoder {
    fn prefill(&self, batch: &Batch, beams: i64) -> (Tensor, KvCache) {
        let (words, batch, rotation) = self.begin(batch);
        let mut cache = KvCache::new(&batch, beams);
        let step = |block: &Block, x: &Tensor| {
            let attend = |a: &Attention, [q, k, v]: [&Tensor; 3]| a.prefill(q, k, v, &batch.layout, &mut cache);
            block.forward(x, &rotation, attend, false)
        };
        let x = self.run(words, &batch, step);
        (self.scores(&x.index_select(0, &batch.layout.last)), cache)
    }

    fn packed(&self) -> PackedWeights<'_> {
        let linears = self.blocks.iter().flat_map(|block| &block.linears);
        let mut layers: Vec<&dyn Packable> = linears.map(|linear| linear as &dyn Packable).collect();
        match &self.head {
            Some(head) => layers.push(head),
            None => layers.push(&self.tokens),
        }
        PackedWeights::new(layers, self.tokens.device(), self.kind)
    }

    fn decode(&self, ids: &Tensor, cache: &mut KvCache) -> Tensor {
        let mut x = self.tokens.forward(ids, self.kind);
        let rotation = self.rotary.at(&(cache.positions() + self.shift), self.kind);
        for (layer, block) in self.blocks.iter().enumerate() {
            let attend = |a: &Attention, [q, k, v]: [&Tensor; 3]| a.decode(q, k, v, cache, layer);
            x = block.forward(&x, &rotation, attend, false);
        }
        cache.advance();
        self.scores(&x)
    }
}

#[derive(Debug)]
struct Block {
    before_attention: RmsNorm,
    before_ffn: RmsNorm,
    /// In the order of [`Config::matrices`]: query, key, value, projection after attention; gate, up, down.
    linears: [Linear; 7],
    attention: Attention,
    after_attention: TapPoint,
    after_ffn: TapPoint,
    after_block: TapPoint,
    activation: Activation,
}

impl Block {
    fn new(s: &Scope, c: &Config) -> Result<Block> {
        let (d, eps, [heads, kv_heads, width]) = (c.hidden_size, c.rms_norm_eps, c.heads());
        let init = Init::Normal(c.initializer_range);
        let [q, k, v, o, gate, up, down] = c.matrices();
        let linear = |name, m: Matrix| s.linear_with(name, &[m.role], (m.in_dim, m.out_dim), m.bias, init);
        Ok(Block {
            before_attention: s.rms_norm("input_layernorm", d, eps)?,
            before_ffn: s.rms_norm("post_attention_layernorm", d, eps)?,
            linears: [
                linear("self_attn.q_proj", q)?,
                linear("self_attn.k_proj", k)?,
                linear("self_attn.v_proj", v)?,
                linear("self_attn.o_proj", o)?,
                linear("mlp.gate_proj", gate)?,
                linear("mlp.up_proj", up)?,
                linear("mlp.down_proj", down)?,
            ],
            attention: Attention {
                heads,
                kv_heads,
                dropout: c.attention_dropout,
                causal: true,
                prefix: s.prefix(kv_heads * width)?,
            },
            after_attention: s.tap(AdapterSite::AfterAttention, d)?,
            after_ffn: s.tap(AdapterSite::AfterFfn, d)?,
            after_block: s.tap(AdapterSite::AfterBlock, d)?,
            activation: c.hidden_act,
        })
    }

    /// `[T, d]` to `[T, d]`; `attend` computes attention, with or without a cache.
    fn forward(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        attend: impl FnOnce(&Attention, [&Tensor; 3]) -> Tensor,
        train: bool,
    ) -> Tensor {
        let [q, k, v, o, gate, up, down] = self.linears.each_ref();
        let h = self.before_attention.forward(x);
        let [q, k, v] = [q, k, v].map(|linear| linear.forward(&h, train));
        let a = attend(&self.attention, [&rotation.turn(&q), &rotation.turn(&k), &v]);
        let x = self.after_attention.close(&o.forward(&a, train), train, |a| a + x);
        let h = self.before_ffn.forward(&x);
        let f = self.activation.apply(&gate.forward(&h, train)) * up.forward(&h, train);
        let x = self.after_ffn.close(&down.forward(&f, train), train, |f| f + &x);
        self.after_block.close(&x, train, Tensor::shallow_clone)
    }
}
