//! DoRA (Liu et al., 2024; not in the paper): LoRA changes the direction of each row of a weight, a trained vector its
//! magnitude.

use super::factors::Factors;
use super::{Lora, LoraInit};
use crate::model::ModelShape;
use crate::nn::{AttachPoint, Branch, Init, Method, Param, ParamKind, Role, Scope, Site, cast_like};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// W' = m · (W + ΔW) / ‖W + ΔW‖, row by row, with ΔW = (α / r) B A as in LoRA; A, B and the magnitudes m are trained.
///
/// m is stored as `gain` · ‖W‖ with a trained `gain` that starts at 1, because weights are loaded after the method is
/// built; the set of functions is the same. As in the DoRA paper (Section 4.3) no gradient flows through ‖W + ΔW‖.
/// Dropout applies to the input of the low-rank path.
#[derive(Debug, Deserialize, Serialize)]
#[serde(try_from = "Lora")]
pub(super) struct Dora(Lora);

impl TryFrom<Lora> for Dora {
    type Error = Error;

    fn try_from(lora: Lora) -> Result<Self> {
        match lora.init {
            LoraInit::Pissa => Err(Error::Config(
                "init must be kaiming or normal: PiSSA's start changes the weights whose magnitudes are trained".into(),
            )),
            _ => Ok(Dora(lora)),
        }
    }
}

impl Method for Dora {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        self.0.claims()
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        let Some(factors) = self.0.factors(role, site, scope)? else {
            return Ok(None);
        };
        let gain = scope.var("lora_gain", ParamKind::NormWeight, &[site.out_dim], Init::Const(1.0))?;
        Ok(Some(Box::new(DoraBranch {
            factors,
            gain,
            weight: site.weight.shallow_clone(),
            bias: site.bias.as_ref().map(Tensor::shallow_clone),
        })))
    }

    fn lr_factor(&self, param: &Param) -> f64 {
        self.0.lr_factor(param)
    }

    /// LoRA's count, and d_out for each matrix.
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let magnitudes: i64 = self.0.targets.iter().map(|role| shape.dims(*role).1).sum();
        (0, self.0.expected_params(shape).1 + shape.layers * magnitudes)
    }
}

#[derive(Debug)]
struct DoraBranch {
    factors: Factors,
    /// `[out]`.
    gain: Tensor,
    /// The frozen weight, `[out, in]`.
    weight: Tensor,
    /// The frozen bias, `[out]`, where the layer has one.
    bias: Option<Tensor>,
}

impl DoraBranch {
    /// m / ‖W + ΔW‖, `[out]` in fp32.
    fn ratio(&self) -> Tensor {
        let norm = |w: &Tensor| w.norm_scalaropt_dim(2, [1], false).clamp_min(1e-12);
        let weight = self.weight.detach().to_kind(Kind::Float);
        let changed = &weight + self.factors.product().detach();
        &self.gain * (norm(&weight) / norm(&changed))
    }
}

impl Branch for DoraBranch {
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor {
        let ratio = cast_like(&self.ratio(), y);
        let bias = self.bias.as_ref();
        let frozen = bias.map_or_else(|| y.shallow_clone(), |bias| y - cast_like(bias, y)); // W x
        y + frozen * (&ratio - 1.0) + self.factors.forward(x, train) * ratio
    }

    fn shared_dropout(&self) -> Option<f64> {
        self.factors.shared_dropout()
    }

    fn delta(&self) -> Option<Tensor> {
        let weight = self.weight.to_kind(Kind::Float);
        Some((&weight + self.factors.product()) * self.ratio().unsqueeze(1) - weight)
    }
}
