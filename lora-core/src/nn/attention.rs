//! Scaled dot-product attention over packed rows: the only layer that regroups tokens into rows.

use super::tensors::cast_like;
use super::{KvCache, PrefixKv, dropout};
use crate::batch::Layout;
use tch::{Kind, Tensor};

/// Multi-head self-attention without its projections.
#[derive(Debug)]
pub struct Attention {
    /// Number of heads.
    pub heads: i64,
    /// Number of heads of keys and values, each of which `heads / kv_heads` heads of queries share.
    pub kv_heads: i64,
    /// Dropout on the attention probabilities.
    pub dropout: f64,
    /// Whether a token sees only itself and what stands before it in its row.
    pub causal: bool,
    /// What a method put before every row's keys and values: [`super::Scope::prefix`].
    pub prefix: Prefix,
}

/// Trained keys and values of one block, if a method has any.
#[derive(Debug)]
pub struct Prefix(Option<Box<dyn PrefixKv>>);

impl Prefix {
    pub(super) fn new(kv: Option<Box<dyn PrefixKv>>) -> Self {
        Prefix(kv)
    }

    /// `k` and `v` `[B, H, L, d / H]` (H of keys and values) with the n trained ones in front, `[B, H, n + L, d / H]`, and the additive `mask`
    /// `[.., L]` with n columns of zeros in front: every token sees them. With a cache of keys and values, call it when
    /// the cache is empty, and keep what it gives.
    pub fn extend(&self, k: Tensor, v: Tensor, mask: Option<Tensor>) -> (Tensor, Tensor, Option<Tensor>) {
        let Some(prefix) = &self.0 else { return (k, v, mask) };
        let (keys, values) = prefix.kv();
        let n = keys.size()[0];
        let front = |trained: &Tensor, own: &Tensor| {
            let size = own.size();
            let trained = cast_like(trained, own)
                .view([1, n, size[1], size[3]])
                .transpose(1, 2) // [1, H, n, d / H]
                .expand([size[0], size[1], n, size[3]], false);
            Tensor::cat(&[&trained, own], 2)
        };
        (
            front(&keys, &k),
            front(&values, &v),
            mask.map(|m| m.constant_pad_nd([n, 0])),
        )
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Attention {
    /// Attends within each row.
    ///
    /// `q` is `[T, d]`, or `[B, d]` when only the first token of each row asks (then the answer is `[B, d]` too: what a
    /// classification head reads); `k` and `v` are `[T, d * kv_heads / heads]`. Returns the shape of `q`.
    pub fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor, layout: &Layout, train: bool) -> Tensor {
        self.within_rows([q, k, v], layout, train, None)
    }

    /// The same outside training, while the next block of `cache` takes in the keys and values.
    pub fn prefill(&self, q: &Tensor, k: &Tensor, v: &Tensor, layout: &Layout, cache: &mut KvCache) -> Tensor {
        self.within_rows([q, k, v], layout, false, Some(cache))
    }

    /// One more token in each row of `cache`, in its block `layer`: `q` and the answer are `[B * beams, d]`, `k` and `v`
    /// `[B * beams, d * kv_heads / heads]`.
    ///
    /// The beams of a prompt share the prompt's keys and values, and heads of queries those of their head of keys, so that
    /// what they read is one matrix product.
    pub fn decode(&self, q: &Tensor, k: &Tensor, v: &Tensor, cache: &mut KvCache, layer: usize) -> Tensor {
        cache.attend([self.heads, self.kv_heads], [q, k, v], layer)
    }

    fn within_rows(
        &self,
        [q, k, v]: [&Tensor; 3],
        layout: &Layout,
        train: bool,
        cache: Option<&mut KvCache>,
    ) -> Tensor {
        let (rows, dim) = (layout.rows, q.size()[1]);
        let first_only = q.size()[0] == rows && layout.width > 1;
        let q = if first_only {
            self.split(q, rows)
        } else {
            self.split(&layout.pad(q), rows)
        };
        let keys = |t: &Tensor| split(&layout.pad(t), rows, self.kv_heads);
        let (k, v) = (keys(k), keys(v));
        // libtorch's kernels know the causal mask of a square, so it need not be written out.
        let square = self.causal && self.prefix.is_empty() && !(train && self.dropout > 0.0);
        let mask = if square { None } else { self.mask(layout, &q) };
        let (k, v, mask) = self.prefix.extend(k, v, mask);
        if let Some(cache) = cache {
            cache.push(&k, &v);
        }
        let out = self.attend(&q, &k, &v, mask.as_ref(), square, train);
        let out = out.transpose(1, 2).reshape([-1, dim]); // [B * width, d]
        if first_only { out } else { layout.unpad(&out) }
    }

    /// `[B * L, d]` to `[B, H, L, d / H]`.
    pub fn split(&self, x: &Tensor, rows: i64) -> Tensor {
        split(x, rows, self.heads)
    }

    /// What is added to the scores of `q` `[B, H, Q, d / H]`. Rows stand at the left of the padded grid, so that under a
    /// causal mask no token sees a cell beyond its row's end.
    fn mask(&self, layout: &Layout, q: &Tensor) -> Option<Tensor> {
        if self.causal {
            let full = Tensor::full([layout.width, layout.width], f64::NEG_INFINITY, (q.kind(), q.device()));
            return Some(full.triu(1));
        }
        layout.mask.as_ref().map(|m| m.to_kind(q.kind()))
    }

    /// Attention over keys and values that are regrouped already: `q` `[B, H, Q, d / H]`, `k` and `v` `[B, kv_heads, K, d / H]`,
    /// `mask` added to the scores `[.., Q, K]`; with `square` the causal mask of Q = K, and `mask` none. `[B, H, Q, d / H]`.
    pub fn attend(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        mask: Option<&Tensor>,
        square: bool,
        train: bool,
    ) -> Tensor {
        if train && self.dropout > 0.0 {
            let shared = |t: &Tensor| match self.heads / self.kv_heads {
                1 => t.shallow_clone(),
                times => t.repeat_interleave_self_int(times, 1, None),
            };
            self.with_dropout(q, &shared(k), &shared(v), mask)
        } else {
            let grouped = self.kv_heads != self.heads;
            Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, square, None, grouped)
        }
    }

    /// The same with dropout on the probabilities, spelled out because libtorch's fused kernels have none on the CPU.
    fn with_dropout(&self, q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let scale = 1.0 / (q.size()[3] as f64).sqrt();
        let scores = (q * scale).matmul(&k.transpose(-2, -1)); // [B, H, Q, K]
        let scores = match mask {
            Some(mask) => scores + mask,
            None => scores,
        };
        let probabilities = scores.softmax(-1, None::<Kind>);
        dropout(&probabilities, self.dropout, true).matmul(v)
    }
}

/// `[B * L, d]` to `[B, heads, L, d / heads]`.
fn split(x: &Tensor, rows: i64, heads: i64) -> Tensor {
    x.view([rows, -1, heads, x.size()[1] / heads]).transpose(1, 2)
}
