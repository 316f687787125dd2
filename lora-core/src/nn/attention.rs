//! Scaled dot-product attention over packed rows: the only layer that regroups tokens into rows.

use super::dropout;
use crate::batch::Layout;
use tch::{Kind, Tensor};

/// Multi-head self-attention without its projections.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Number of heads.
    pub heads: i64,
    /// Dropout on the attention probabilities.
    pub dropout: f64,
}

impl Attention {
    /// Attends within each row, in both directions.
    ///
    /// `q` is `[T, d]`, or `[B, d]` when only the first token of each row asks (then the answer is `[B, d]` too: what a
    /// classification head reads); `k` and `v` are `[T, d]`. Returns the shape of `q`.
    pub fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor, layout: &Layout, train: bool) -> Tensor {
        let (rows, dim) = (layout.rows, q.size()[1]);
        let split = |x: &Tensor, width: i64| x.view([rows, width, self.heads, dim / self.heads]).transpose(1, 2); // [B, H, width, dim / H]
        let first_only = q.size()[0] == rows && layout.width > 1;
        let q = if first_only {
            split(q, 1)
        } else {
            split(&layout.pad(q), layout.width)
        };
        let (k, v) = (split(&layout.pad(k), layout.width), split(&layout.pad(v), layout.width));
        let out = if train && self.dropout > 0.0 {
            self.with_dropout(&q, &k, &v, layout)
        } else {
            let mask = layout.mask.as_ref().map(|m| m.to_kind(q.kind()));
            Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, false, None, false)
        };
        let out = out.transpose(1, 2).reshape([-1, dim]); // [B * width, d]
        if first_only { out } else { layout.unpad(&out) }
    }

    /// The same with dropout on the probabilities, spelled out because libtorch's fused kernels have none on the CPU.
    fn with_dropout(&self, q: &Tensor, k: &Tensor, v: &Tensor, layout: &Layout) -> Tensor {
        let scale = 1.0 / (q.size()[3] as f64).sqrt();
        let scores = (q * scale).matmul(&k.transpose(-2, -1)); // [B, H, queries, width]
        let scores = match &layout.mask {
            Some(mask) => scores + mask.to_kind(q.kind()),
            None => scores,
        };
        let probabilities = scores.softmax(-1, None::<Kind>);
        dropout(&probabilities, self.dropout, true).matmul(v)
    }
}
