use super::tensors::cast_like;
use tch::Tensor;

/// LayerNorm over the last dimension.
#[derive(Debug)]
pub struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Norm {
    pub(super) fn new(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Norm { weight, bias, eps }
    }

    /// `[T, dim]` to `[T, dim]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (weight, bias) = (cast_like(&self.weight, x), cast_like(&self.bias, x));
        x.layer_norm(self.weight.size(), Some(&weight), Some(&bias), self.eps, true)
    }
}
