//! DeBERTa-v2 and v3 (He et al., 2021) for sequence classification and for masked language modelling, as transformers'
//! `DebertaV2ForSequenceClassification` and `DebertaV2ForMaskedLM` (legacy head).
//!
//! There are no absolute positions: disentangled attention adds to the content-to-content scores the scores between
//! contents and bucketed relative positions.

mod config;

use super::config::config_json;
use super::head::{Body, Head, MaskedLmHead, WithHead};
use super::post_norm::PostNorm;
use super::{Arch, Sizes};
use crate::Result;
use crate::batch::{Batch, Layout};
use crate::nn::{
    Activation, ActivationCheckpointing, Attention, Embedding, Init, Linear, Norm, Owner, ParamKind, Relative, Role,
    Scope, SoftPrompt, dropout, shared_by_rows,
};
use config::Config;
use serde_json::Value;
use std::rc::Rc;
use tch::{Device, Kind, Tensor};

pub(super) const ARCH: Arch = Arch {
    model_type: "deberta-v2",
    build: Some(|config, labels, scope| {
        let config = Config::read(config)?;
        Ok(Box::new(WithHead {
            body: Encoder::new(&scope.sub("deberta"), &config)?,
            head: ContextPooler::new(&config, labels, scope)?,
        }))
    }),
    build_lm: Some(|config, scope| {
        let config = Config::read_lm(config)?;
        let head = scope.owned(Owner::Head).sub("cls").sub("predictions");
        let (names, sizes) = (
            ["transform.dense", "transform.LayerNorm"],
            (config.vocab_size, config.hidden_size),
        );
        Ok(Box::new(WithHead {
            body: Encoder::new(&scope.sub("deberta"), &config)?,
            head: MaskedLmHead::new(&head, names, sizes, config.layer_norm_eps, config.init())?,
        }))
    }),
    shape: |config: &Value| Ok(Config::read(config)?.shape()),
    read: |config: &Value| config_json(&Config::read(config)?),
    defaults: config::defaults,
    prefix: "deberta.",
    ignored: &[
        "embeddings.position_ids",
        "embeddings.position_embeddings.",
        "lm_predictions.",
        "mask_predictions.",
        "cls.predictions.",
    ],
    transposed: &[],
    dropouts: &[
        "hidden_dropout_prob",
        "attention_probs_dropout_prob",
        "pooler_dropout",
        "cls_dropout",
    ],
    cls_dropout: Some("cls_dropout"),
    classifier: &["pooler.dense", "classifier"],
};

/// The body of DeBERTa-v2 and v3.
#[derive(Debug)]
struct Encoder {
    words: Embedding,
    types: Option<Embedding>,
    norm: Norm,
    positions: Positions,
    blocks: Vec<Block>,
    conv: Option<Conv>,
    prompt: SoftPrompt,
    dropout: f64,
    sizes: Sizes,
    /// Data type of the activations.
    kind: Kind,
}

impl Encoder {
    fn new(s: &Scope, c: &Config) -> Result<Encoder> {
        let (e, encoder) = (s.sub("embeddings"), s.sub("encoder"));
        let (d, std, n) = (c.hidden_size, c.initializer_range, c.num_hidden_layers);
        let blocks = (0..n)
            .map(|i| Block::new(&encoder.sub("layer").at(i, n), c))
            .collect::<Result<_>>()?;
        let types = (c.type_vocab_size > 0).then(|| e.embedding("token_type_embeddings", c.type_vocab_size, d, std));
        let conv = (c.conv_kernel_size > 0).then(|| Conv::new(&encoder.sub("conv"), c));
        let prompt = s.prompt(d, n, c.max_position_embeddings)?;
        Ok(Encoder {
            words: e.embedding("word_embeddings", c.vocab_size, d, std)?,
            types: types.transpose()?,
            norm: e.norm("LayerNorm", d, c.layer_norm_eps)?,
            positions: Positions::new(&encoder, c)?,
            blocks,
            conv: conv.transpose()?,
            dropout: c.hidden_dropout_prob,
            sizes: Sizes::new(c.max_position_embeddings, c.vocab_size, &prompt),
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
        let words = match &self.types {
            Some(types) => words + types.forward(&batch.types, self.kind),
            None => words,
        };
        let embedded = dropout(&self.norm.forward(&words), self.dropout, train); // [T, d]
        let near = Near::new(&self.positions, &batch.layout, embedded.device());
        let (batch, near, positions) = (Rc::new(batch), Rc::new(near), &self.positions);
        let mut x = embedded;
        for (i, block) in self.blocks.iter().enumerate() {
            let conv = self.conv.as_ref().filter(|_| i == 0);
            // The convolution reads neighbouring tokens, so the block before it is computed for all tokens.
            let first = first_only && i + 1 == self.blocks.len() && conv.is_none();
            let (rows, near) = (Rc::clone(&batch), Rc::clone(&near));
            x = checkpointing.run(&x, move |x| {
                let y = block.forward(x, &rows, positions, &near, first, train);
                conv.map_or_else(|| y.shallow_clone(), |conv| conv.forward(x, &y, &rows.layout, train))
            });
            x = self.prompt.after_block(i, x, &batch);
        }
        match (first_only, x.size()[0] == batch.layout.rows) {
            (true, true) => x,
            (true, false) => x.index_select(0, &batch.layout.first),
            (false, _) => self.prompt.remove(&x, &batch),
        }
    }

    fn word_scores(&self, x: &Tensor, bias: &Tensor) -> Tensor {
        self.words.scores(x, Some(bias))
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.blocks.iter_mut().flat_map(Block::linears_mut).collect()
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }
}

/// The relative position embedding, shared by all blocks.
#[derive(Debug)]
struct Positions {
    /// `[2 * span, d]`.
    table: Embedding,
    norm: Option<Norm>,
    /// Number of buckets; 0 for one row per distance.
    buckets: i64,
    /// Half the rows of the embedding.
    span: i64,
    /// The largest distance of the last bucket.
    end: i64,
    dropout: f64,
    kind: Kind,
}

impl Positions {
    fn new(s: &Scope, c: &Config) -> Result<Positions> {
        let norm = c
            .norms_positions()
            .then(|| s.norm("LayerNorm", c.hidden_size, c.layer_norm_eps));
        Ok(Positions {
            table: s.embedding("rel_embeddings", 2 * c.span(), c.hidden_size, c.initializer_range)?,
            norm: norm.transpose()?,
            buckets: c.position_buckets.max(0),
            span: c.span(),
            end: c.span_end(),
            dropout: c.hidden_dropout_prob,
            kind: s.activation_kind(),
        })
    }

    /// The normalised embeddings of `rows` `[W]`, with a dropout mask for one block: `[W, d]`.
    fn rows(&self, rows: &Tensor, train: bool) -> Tensor {
        let x = self.table.forward(rows, self.kind);
        let x = match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        };
        shared_by_rows(|| dropout(&x, self.dropout, train))
    }

    /// The row of the embedding for each of `distances`: one row per distance near zero, then buckets of logarithmic
    /// width. In fp32, to round like the reference.
    fn row_of(&self, distances: &Tensor) -> Tensor {
        let buckets = if self.buckets == 0 {
            distances.shallow_clone()
        } else {
            let middle = self.buckets / 2;
            let far = distances.abs().clamp_min(middle);
            let widest = Tensor::from((self.end - 1) as f32 / middle as f32).log();
            let steps = (far.to_kind(Kind::Float) / middle as f64).log() / widest;
            let wide = ((steps * (middle - 1) as f64).ceil() + middle as f64) * distances.sign();
            distances.where_self(&distances.abs().gt(middle).logical_not(), &wide.to_kind(Kind::Int64))
        };
        (buckets + self.span).clamp(0, 2 * self.span - 1)
    }
}

/// The rows of the position embedding that a batch of some width uses; blocks project only these. Ranks that share a batch use
/// those of the whole batch, on which dropout is the same for all.
#[derive(Debug)]
struct Near {
    /// Rows of the embedding, `[W]`, in order.
    rows: Tensor,
    /// Index into `rows` for each query and key of this batch, `[L, L]`.
    index: Tensor,
    /// Likewise for each distance (query - key) from 1 - L to L - 1.
    at: Vec<i64>,
}

impl Near {
    fn new(positions: &Positions, layout: &Layout, device: Device) -> Near {
        let (width, whole) = (layout.width, layout.whole.width);
        let distances = Tensor::arange_start(1 - whole, whole, (Kind::Int64, Device::Cpu));
        let row = positions.row_of(&distances); // increases with the distance
        let (first, last) = (row.int64_value(&[0]), row.int64_value(&[-1]));
        let row = row.narrow(0, whole - width, 2 * width - 1);
        let places = Tensor::arange(width, (Kind::Int64, Device::Cpu));
        let distance = places.unsqueeze(1) - places.unsqueeze(0) + (width - 1); // [L, L], from 0
        let index = (&row - first).index_select(0, &distance.view(-1)).view([width, width]);
        Near {
            rows: Tensor::arange_start(first, last + 1, (Kind::Int64, device)),
            index: index.to_device(device),
            at: (0..row.size()[0]).map(|i| row.int64_value(&[i]) - first).collect(),
        }
    }
}

/// Separate projections of positions.
#[derive(Debug)]
struct PositionProjections {
    key: Option<Linear>,
    query: Option<Linear>,
}

#[derive(Debug)]
struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    /// None if positions share the projections of contents.
    own: Option<PositionProjections>,
    content_to_position: bool,
    position_to_content: bool,
    attention: Attention,
    rest: PostNorm,
}

impl Block {
    fn new(s: &Scope, c: &Config) -> Result<Block> {
        let (d, init) = (c.hidden_size, c.init());
        let projections = s.sub("attention").sub("self");
        let (c2p, p2c) = (c.attends("c2p"), c.attends("p2c"));
        let project = |name: &str, role: Role| projections.linear(name, &[role], d, d, init);
        let own = |wanted: bool, name: &str, role: Role| wanted.then(|| project(name, role)).transpose();
        Ok(Block {
            query: project("query_proj", Role::Query)?,
            key: project("key_proj", Role::Key)?,
            value: project("value_proj", Role::Value)?,
            own: if c.share_att_key {
                None
            } else {
                Some(PositionProjections {
                    key: own(c2p, "pos_key_proj", Role::RelPosKey)?,
                    query: own(p2c, "pos_query_proj", Role::RelPosQuery)?,
                })
            },
            content_to_position: c2p,
            position_to_content: p2c,
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
    fn forward(
        &self,
        x: &Tensor,
        batch: &Batch,
        positions: &Positions,
        near: &Near,
        first_only: bool,
        train: bool,
    ) -> Tensor {
        let asking = if first_only {
            x.index_select(0, &batch.layout.first)
        } else {
            x.shallow_clone()
        };
        let rows = positions.rows(&near.rows, train);
        let a = self.attend(x, &asking, &rows, near, &batch.layout, train);
        self.rest.forward(&a, &asking, train)
    }

    /// Disentangled attention of `asking` `[T, d]` (or `[B, d]`) to the tokens `x` `[T, d]`; `rows` `[W, d]` are the
    /// position embeddings of `near`.
    fn attend(&self, x: &Tensor, asking: &Tensor, rows: &Tensor, near: &Near, layout: &Layout, train: bool) -> Tensor {
        let (count, dim) = (layout.rows, x.size()[1]);
        let terms = 1 + i64::from(self.content_to_position) + i64::from(self.position_to_content);
        // The scores are divided by sqrt(terms * d / H); attention itself divides by sqrt(d / H).
        let share = 1.0 / (terms as f64).sqrt();
        let first_only = asking.size()[0] == count && layout.width > 1;
        let (q, k, v) = if first_only {
            let [k, v] = Linear::forward_all([&self.key, &self.value], x, train);
            (self.query.forward(asking, train), k, v)
        } else {
            let [q, k, v] = Linear::forward_all([&self.query, &self.key, &self.value], x, train);
            (q, k, v)
        };
        if let Some(out) = self.natively([&q, &k, &v], rows, near, layout, (share, train)) {
            return out;
        }
        let q = q * share;
        let q = if first_only { q } else { layout.pad(&q) };
        let q = self.attention.split(&q, count); // [B, H, Q, d / H]
        let k = self.attention.split(&layout.pad(&k), count);
        let v = self.attention.split(&layout.pad(&v), count);
        let index = near.index.narrow(0, 0, q.size()[2]); // [Q, L]
        let bias = self.position_scores(&q, &k, rows, &index, share, train);
        let (width, mask) = (k.size()[2], layout.mask.as_ref().map(|m| m.to_kind(q.kind())));
        let (k, v, mask) = self.attention.prefix.extend(k, v, mask);
        let trained = k.size()[2] - width; // a method's keys have no position
        let bias = bias.map(|b| b.constant_pad_nd([trained, 0]));
        let mask = match (bias, mask) {
            (Some(bias), Some(mask)) => Some(bias + mask),
            (bias, mask) => bias.or(mask),
        };
        let out = self.attention.attend([&q, &k, &v], mask.as_ref(), false, layout, train);
        let out = out.transpose(1, 2).reshape([-1, dim]);
        if first_only { out } else { layout.unpad(&out) }
    }

    /// [`Block::attend`] by the fused node, where there is one for this device and method.
    fn natively(
        &self,
        qkv: [&Tensor; 3],
        rows: &Tensor,
        near: &Near,
        layout: &Layout,
        (share, train): (f64, bool),
    ) -> Option<Tensor> {
        if !self.attention.is_native(qkv[0]) {
            return None;
        }
        let (key, query) = self.projections();
        let of_positions = |linear: &Linear| shared_by_rows(|| linear.forward(rows, train));
        let (keys, queries) = (key.map(of_positions), query.map(of_positions));
        let width = qkv[0].size()[1] / self.attention.heads;
        let relative = Relative {
            keys: keys.as_ref(),
            queries: queries.as_ref(),
            at: &near.at,
            scale: share / (width as f64).sqrt(),
        };
        Some(self.attention.disentangled(qkv, &relative, layout, train))
    }

    /// The projections of positions to keys and to queries, for the terms that the model has.
    fn projections(&self) -> (Option<&Linear>, Option<&Linear>) {
        let (key, query) = match &self.own {
            Some(own) => (own.key.as_ref(), own.query.as_ref()),
            None => (Some(&self.key), Some(&self.query)),
        };
        (
            key.filter(|_| self.content_to_position),
            query.filter(|_| self.position_to_content),
        )
    }

    /// The position terms of the scores of `q` `[B, H, Q, d / H]` and `k` `[B, H, L, d / H]`: `[B, H, Q, L]`.
    fn position_scores(
        &self,
        q: &Tensor,
        k: &Tensor,
        rows: &Tensor,
        index: &Tensor,
        share: f64,
        train: bool,
    ) -> Option<Tensor> {
        let scale = 1.0 / (q.size()[3] as f64).sqrt();
        let (key, query) = self.projections();
        let heads = |linear: &Linear| {
            let projected = shared_by_rows(|| linear.forward(rows, train));
            self.attention.split(&projected, 1).transpose(-2, -1) // [1, H, d / H, W]
        };
        let (queries, keys) = (q.size(), k.size());
        let content_to_position = key.map(|key| {
            let at = index.expand([queries[0], queries[1], queries[2], keys[2]], false);
            (q * scale).matmul(&heads(key)).gather(3, &at, false)
        });
        let position_to_content = query.map(|query| {
            let at = index.tr().expand([keys[0], keys[1], keys[2], queries[2]], false);
            (k * (scale * share))
                .matmul(&heads(query))
                .gather(3, &at, false)
                .transpose(-2, -1)
        });
        match (content_to_position, position_to_content) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        }
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let own = self.own.iter_mut().flat_map(|o| [&mut o.key, &mut o.query]).flatten();
        own.chain([&mut self.query, &mut self.key, &mut self.value])
            .chain(self.rest.linears_mut())
            .collect()
    }
}

/// A convolution over the embeddings, added to the output of the first block (v2-xlarge and v2-xxlarge).
#[derive(Debug)]
struct Conv {
    /// `[d, d, kernel]`.
    weight: Tensor,
    /// `[d]`.
    bias: Tensor,
    norm: Norm,
    activation: Activation,
    dropout: f64,
}

impl Conv {
    fn new(s: &Scope, c: &Config) -> Result<Conv> {
        let (d, k, inner) = (c.hidden_size, c.conv_kernel_size, s.sub("conv"));
        let bound = 1.0 / ((d * k) as f64).sqrt();
        Ok(Conv {
            weight: inner.var("weight", ParamKind::Weight, &[d, d, k], Init::Uniform(bound))?,
            bias: inner.var("bias", ParamKind::Bias, &[d], Init::Uniform(bound))?,
            norm: s.norm("LayerNorm", d, c.layer_norm_eps)?,
            activation: c.conv_act,
            dropout: c.hidden_dropout_prob,
        })
    }

    /// `embedded` and the first block's output `x`, both `[T, d]`, to `[T, d]`. Rows are padded with zeros.
    fn forward(&self, embedded: &Tensor, x: &Tensor, layout: &Layout, train: bool) -> Tensor {
        let (rows, width, dim) = (layout.rows, layout.width, x.size()[1]);
        let grid = layout.pad(embedded).view([rows, width, dim]);
        let grid = match &layout.mask {
            Some(mask) => grid.masked_fill(&mask.view([rows, width, 1]).lt(0.0), 0.0),
            None => grid,
        };
        let (weight, bias) = (self.weight.to_kind(x.kind()), self.bias.to_kind(x.kind()));
        let padding = (self.weight.size()[2] - 1) / 2;
        let out = grid.transpose(1, 2).conv1d(&weight, Some(&bias), 1, padding, 1, 1);
        let out = layout.unpad(&out.transpose(1, 2).reshape([rows * width, dim]));
        self.norm
            .forward(&(x + self.activation.apply(&dropout(&out, self.dropout, train))))
    }
}

/// Dropout, dense, activation of the first token; dropout, linear layer.
#[derive(Debug)]
struct ContextPooler {
    pooler: Linear,
    activation: Activation,
    pooler_dropout: f64,
    classifier: Linear,
    dropout: f64,
}

impl ContextPooler {
    fn new(c: &Config, labels: i64, s: &Scope) -> Result<ContextPooler> {
        let (d, head) = (c.hidden_size, s.owned(Owner::Head));
        Ok(ContextPooler {
            pooler: head.sub("pooler").linear("dense", &[], d, d, c.init())?,
            activation: c.pooler_hidden_act,
            pooler_dropout: c.pooler_dropout,
            classifier: head.linear("classifier", &[], d, labels, c.init())?,
            dropout: c.classifier_dropout(),
        })
    }
}

impl Head for ContextPooler {
    fn logits(&self, first: &Tensor, _: &dyn Body, train: bool) -> Tensor {
        let first = dropout(first, self.pooler_dropout, train);
        let pooled = self.activation.apply(&self.pooler.forward(&first, train));
        self.classifier.forward(&dropout(&pooled, self.dropout, train), train)
    }
}
