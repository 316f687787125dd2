//! The low-rank product that LoRA and DoRA share.

use crate::nn::{Branch, LowRank, cast_like, dropout};
use tch::Tensor;

/// ΔW = `scale` · B · A.
#[derive(Debug)]
pub(super) struct Factors {
    /// `[r, in]`.
    pub(super) a: Tensor,
    /// `[out, r]`.
    pub(super) b: Tensor,
    /// α / r.
    pub(super) scale: f64,
    /// On what A reads.
    pub(super) dropout: f64,
}

impl Factors {
    /// `scale` · A x: `[T, in]` to `[T, r]`.
    fn down(&self, x: &Tensor, train: bool) -> Tensor {
        let x = dropout(x, self.dropout, train);
        x.linear(&cast_like(&self.a, &x), None::<&Tensor>) * self.scale
    }

    /// ΔW x: `[T, in]` to `[T, out]`.
    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let low = self.down(x, train);
        low.linear(&cast_like(&self.b, &low), None::<&Tensor>)
    }

    /// ΔW, `[out, in]` in fp32.
    pub(super) fn product(&self) -> Tensor {
        self.b.matmul(&self.a) * self.scale
    }
}

impl Branch for Factors {
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor {
        let low = self.down(x, train);
        y.addmm(&low, &cast_like(&self.b, &low).tr()) // one kernel: y + low Bᵀ
    }

    fn delta(&self) -> Option<Tensor> {
        Some(self.product())
    }

    fn low_rank(&self) -> Option<LowRank<'_>> {
        Some(LowRank {
            a: &self.a,
            b: &self.b,
            scale: self.scale,
        })
    }
}
