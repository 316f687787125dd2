//! The low-rank product that LoRA and DoRA share.

use crate::nn::{Branch, Init, LowRank, cast_like, dropout};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Initialisation of A; B starts at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraInit {
    /// Uniform within ±1 / sqrt(d_in), which is `kaiming_uniform(a = sqrt 5)`: loralib and PEFT.
    #[default]
    Kaiming,
    /// Normal(0, 0.02): the paper's DeBERTa code, where the initialiser of the whole model runs last. (The paper says
    /// Gaussian, without a standard deviation.)
    Normal,
    /// From the singular vectors of the weight, whose largest `r` components A and B are at the start; the base keeps
    /// the rest, which stays frozen (PiSSA, Meng et al., 2024).
    Pissa,
}

impl LoraInit {
    pub(super) fn is_kaiming(&self) -> bool {
        *self == LoraInit::Kaiming
    }

    /// For an A with `width` input features.
    pub(super) fn of(self, width: i64) -> Init {
        match self {
            LoraInit::Kaiming | LoraInit::Pissa => Init::Uniform(1.0 / (width as f64).sqrt()),
            LoraInit::Normal => Init::Normal(0.02),
        }
    }
}

pub(super) fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde passes a reference
pub(super) fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn is_one(value: &f64) -> bool {
    *value == 1.0
}

pub(super) fn one() -> f64 {
    1.0
}

/// ΔW = `scale` · B · A.
#[derive(Debug)]
pub(super) struct Factors {
    /// `[r, in]`.
    pub(super) a: Tensor,
    /// `[out, r]`.
    pub(super) b: Tensor,
    /// α / r, or α / √r.
    pub(super) scale: f64,
    /// Dropout rate on the input of A.
    pub(super) dropout: f64,
    /// Whether the layer draws one dropout mask for all branches of a fused weight.
    pub(super) shared_mask: bool,
}

impl Factors {
    /// `scale` · A x: `[T, in]` to `[T, r]`.
    fn down(&self, x: &Tensor, train: bool) -> Tensor {
        let x = if self.shared_mask {
            x.shallow_clone()
        } else {
            dropout(x, self.dropout, train)
        };
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
        y.addmm(&low, &cast_like(&self.b, &low).tr()) // y + low Bᵀ in one kernel
    }

    fn shared_dropout(&self) -> Option<f64> {
        self.shared_mask.then_some(self.dropout)
    }

    fn delta(&self) -> Option<Tensor> {
        Some(self.product())
    }

    fn low_rank(&self) -> Option<LowRank<'_>> {
        Some(LowRank {
            a: &self.a,
            b: &self.b,
            scale: self.scale,
            dropout: if self.shared_mask { 0.0 } else { self.dropout },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method;
    use crate::nn::{Build, Linear, Params, Role};
    use tch::{Device, Kind};

    /// A fused query-key-value layer with LoRA on query and value; both have the same A, and B is 1 everywhere.
    fn fused(settings: &str) -> (Linear, Params) {
        let text = format!("{{kind: lora, r: 4, alpha: 4, dropout: 0.5, targets: [query, value]{settings}}}");
        let method = method::from_yaml(&text).unwrap();
        let build = Build::new(method.as_ref(), 1);
        let roles = [Role::Query, Role::Key, Role::Value];
        let linear = build.scope().linear("qkv", &roles, 64, 64, Init::Const(0.0)).unwrap();
        let params = build.finish().unwrap().params;
        let _guard = tch::no_grad_guard();
        let first = params.get("qkv.query.lora_A.weight").unwrap().tensor.shallow_clone();
        for entry in params.iter() {
            let mut tensor = entry.tensor.shallow_clone();
            match entry.param.name.as_str() {
                name if name.contains("lora_B") => drop(tensor.fill_(1.0)),
                name if name.contains("lora_A") => tensor.copy_(&first),
                _ => drop(tensor.zero_()),
            }
        }
        (linear, params)
    }

    #[test]
    fn slots_of_a_fused_weight_share_a_dropout_mask_if_asked() {
        let x = Tensor::ones([3, 64], (Kind::Float, Device::Cpu));
        let parts = |settings: &str, train| {
            let (linear, _params) = fused(settings);
            let y = linear.forward(&x, train).chunk(3, -1);
            (y[0].shallow_clone(), y[2].shallow_clone())
        };
        // A and B are the same for both slots, so only the masks can differ.
        let (q, v) = parts(", shared_mask: true", true);
        assert!(q.equal(&v));
        let (q, v) = parts("", true);
        assert!(!q.equal(&v));
        let (still, _) = parts("", false);
        let (shared, _) = parts(", shared_mask: true", false);
        assert!(
            still.equal(&shared) && !q.equal(&still),
            "there is no mask in evaluation"
        );
    }

    #[test]
    fn a_is_initialised_as_configured() {
        let std = |settings: &str| {
            let (_linear, params) = fused(settings);
            f64::try_from(params.get("qkv.query.lora_A.weight").unwrap().tensor.std(true)).unwrap()
        };
        let kaiming = 1.0 / (3.0f64 * 64.0).sqrt();
        assert!((std("") - kaiming).abs() < 0.1 * kaiming, "{}", std(""));
        assert!(
            (std(", init: normal") - 0.02).abs() < 0.002,
            "{}",
            std(", init: normal")
        );
    }
}
