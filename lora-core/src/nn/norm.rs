use super::native;
use super::tensors::cast_like;
use tch::{Kind, Tensor};

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

    /// [`Norm::forward`] of `a + x`, both `[T, dim]`.
    pub fn of_sum(&self, a: &Tensor, x: &Tensor) -> Tensor {
        if native::takes(a) && a.kind() == x.kind() {
            native::add_norm(a, x, [&self.weight, &self.bias], self.eps)
        } else {
            self.forward(&(a + x))
        }
    }
}

/// RMSNorm over the last dimension (Zhang and Sennrich, 2019): w · x / sqrt(mean(x²) + ε), with the quotient computed
/// in fp32.
#[derive(Debug)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    pub(super) fn new(weight: Tensor, eps: f64) -> Self {
        RmsNorm { weight, eps }
    }

    /// `[T, dim]` to `[T, dim]`, in the data type of `x`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let wide = x.to_kind(Kind::Float);
        let mean = wide.square().mean_dim(-1, true, None::<Kind>);
        let normed = wide * (mean + self.eps).rsqrt();
        normed.to_kind(x.kind()) * cast_like(&self.weight, x)
    }
}
