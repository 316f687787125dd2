//! Scaled dot-product attention over packed rows, the only layer that separates tokens by row.

use super::dropout::{drop_probabilities, next_mask};
use super::tensors::cast_like;
use super::{KvCache, PrefixKv, native};
use crate::batch::Layout;
use tch::{Kind, Tensor};

/// Multi-head self-attention without its projections.
#[derive(Debug)]
pub struct Attention {
    /// Number of heads.
    pub heads: i64,
    /// Number of key/value heads; `heads / kv_heads` query heads share each.
    pub kv_heads: i64,
    /// Dropout on the attention probabilities.
    pub dropout: f64,
    /// Whether a token sees only itself and the tokens before it in its row.
    pub causal: bool,
    /// A method's trained keys and values: [`super::Scope::prefix`].
    pub prefix: Prefix,
}

/// Trained keys and values of one block, if a method has any.
#[derive(Debug)]
pub struct Prefix(Option<Box<dyn PrefixKv>>);

impl Prefix {
    pub(super) fn new(kv: Option<Box<dyn PrefixKv>>) -> Self {
        Prefix(kv)
    }

    /// `k` and `v` `[B, H, L, d / H]` (H key/value heads), preceded by the n trained ones, `[B, H, n + L, d / H]`, and
    /// the additive `mask` `[.., L]` preceded by n columns of zeros, so that every token sees them. With a key/value
    /// cache it is called once, for the prompts.
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

    /// Whether there are trained keys and values.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Attention {
    /// Attends within each row.
    ///
    /// `q` is `[T, d]`, or `[B, d]` with a query only for the first token of each row, which a classification head
    /// reads; `k` and `v` are `[T, d * kv_heads / heads]`. Returns the shape of `q`.
    pub fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor, layout: &Layout, train: bool) -> Tensor {
        self.within_rows([q, k, v], layout, train, None)
    }

    /// [`Attention::forward`] for evaluation that stores keys and values in the next block of `cache`.
    pub fn prefill(&self, q: &Tensor, k: &Tensor, v: &Tensor, layout: &Layout, cache: &mut KvCache) -> Tensor {
        self.within_rows([q, k, v], layout, false, Some(cache))
    }

    /// Attention for one more token in each row of `cache`, in block `layer`: `q` and the result are `[B * beams, d]`,
    /// `k` and `v` `[B * beams, d * kv_heads / heads]`.
    ///
    /// The beams of a prompt share the prompt's keys and values, and query heads share those of their key head, so one
    /// matrix product covers them all.
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
        if cache.is_none() && self.is_native(q) && !(self.causal && first_only) {
            return self.with_rows(layout, first_only, train, |rows| native::attention(q, k, v, rows));
        }
        let q = if first_only {
            self.split(q, rows)
        } else {
            self.split(&layout.pad(q), rows)
        };
        let keys = |t: &Tensor| split(&layout.pad(t), rows, self.kv_heads);
        let (k, v) = (keys(k), keys(v));
        // libtorch's kernels apply the causal mask of a square without a mask tensor.
        let square = self.causal && self.prefix.is_empty() && !(train && self.dropout > 0.0);
        let mask = if square { None } else { self.mask(layout, &q) };
        let (k, v, mask) = self.prefix.extend(k, v, mask);
        if let Some(cache) = cache {
            cache.push(&k, &v);
        }
        let out = self.attend([&q, &k, &v], mask.as_ref(), square, layout, train);
        let out = out.transpose(1, 2).reshape([-1, dim]); // [B * width, d]
        if first_only { out } else { layout.unpad(&out) }
    }

    /// Whether the nodes of `native/` compute attention of `q`.
    pub(crate) fn is_native(&self, q: &Tensor) -> bool {
        native::takes(q) && self.prefix.is_empty()
    }

    /// Calls `attend` with the rows of `layout` and a mask for the probabilities.
    fn with_rows(
        &self,
        layout: &Layout,
        first_only: bool,
        train: bool,
        attend: impl FnOnce(&native::Rows) -> Tensor,
    ) -> Tensor {
        let ones = vec![1; layout.lengths.len()];
        let width = layout.whole.width;
        let grid = [if first_only { 1 } else { width }, width];
        attend(&native::Rows {
            q_len: if first_only { &ones } else { &layout.lengths },
            k_len: &layout.lengths,
            heads: self.heads,
            kv_heads: self.kv_heads,
            causal: self.causal,
            mask: match train && self.dropout > 0.0 {
                true => next_mask(self.dropout).of_grid(layout, self.heads, grid),
                false => native::DropMask::NONE,
            },
            grid,
        })
    }

    /// [`Attention::forward`] with DeBERTa's terms of positions, where [`Attention::is_native`].
    pub(crate) fn disentangled(
        &self,
        [q, k, v]: [&Tensor; 3],
        relative: &native::Relative,
        layout: &Layout,
        train: bool,
    ) -> Tensor {
        let first_only = q.size()[0] == layout.rows && layout.width > 1;
        let attend = |rows: &native::Rows| native::disentangled(q, k, v, rows, relative);
        self.with_rows(layout, first_only, train, attend)
    }

    /// `[B * L, d]` to `[B, H, L, d / H]`.
    pub fn split(&self, x: &Tensor, rows: i64) -> Tensor {
        split(x, rows, self.heads)
    }

    /// The additive mask for the scores of `q` `[B, H, Q, d / H]`. Rows are left-aligned in the padded grid, so under a
    /// causal mask no token sees a cell beyond its row's end.
    fn mask(&self, layout: &Layout, q: &Tensor) -> Option<Tensor> {
        if self.causal {
            let full = Tensor::full([layout.width, layout.width], f64::NEG_INFINITY, (q.kind(), q.device()));
            return Some(full.triu(1));
        }
        layout.mask.as_ref().map(|m| m.to_kind(q.kind()))
    }

    /// Attention over keys and values in the padded grid of `layout`: `q` `[B, H, Q, d / H]`, `k` and `v` `[B, kv_heads,
    /// K, d / H]`, `mask` added to the scores `[.., Q, K]`; with `square` the causal mask of Q = K, and `mask` none.
    /// `[B, H, Q, d / H]`.
    pub fn attend(
        &self,
        [q, k, v]: [&Tensor; 3],
        mask: Option<&Tensor>,
        square: bool,
        layout: &Layout,
        train: bool,
    ) -> Tensor {
        if train && self.dropout > 0.0 {
            let shared = |t: &Tensor| match self.heads / self.kv_heads {
                1 => t.shallow_clone(),
                times => t.repeat_interleave_self_int(times, 1, None),
            };
            self.with_dropout([q, &shared(k), &shared(v)], mask, layout)
        } else {
            let grouped = self.kv_heads != self.heads;
            Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, square, None, grouped)
        }
    }

    /// [`Attention::attend`] with dropout on the probabilities, without libtorch's fused kernels, which lack it on the
    /// CPU.
    fn with_dropout(&self, [q, k, v]: [&Tensor; 3], mask: Option<&Tensor>, layout: &Layout) -> Tensor {
        let scale = 1.0 / (q.size()[3] as f64).sqrt();
        let scores = (q * scale).matmul(&k.transpose(-2, -1)); // [B, H, Q, K]
        let scores = match mask {
            Some(mask) => scores + mask,
            None => scores,
        };
        let probabilities = scores.softmax(-1, None::<Kind>);
        drop_probabilities(&probabilities, self.dropout, layout).matmul(v)
    }
}

/// `[B * L, d]` to `[B, heads, L, d / heads]`.
fn split(x: &Tensor, rows: i64, heads: i64) -> Tensor {
    x.view([rows, -1, heads, x.size()[1] / heads]).transpose(1, 2)
}
