//! (IA)³ (Liu et al., 2022; not in the paper): trained factors of the features of chosen layers.

use super::checks::no_targets;
use crate::model::ModelShape;
use crate::nn::{AttachPoint, Branch, Init, Method, ParamKind, Role, Scope, Site, cast_like};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// y = l · (W x + b) at the layers in `targets`, and y = W (l · x) + b at those that are also in `feedforward`, with a
/// trained vector l that starts at 1. The two forms are PEFT's `target_modules` and `feedforward_modules`.
#[derive(Debug, Deserialize, Serialize)]
#[serde(try_from = "Ia3Settings")]
pub(super) struct Ia3(Ia3Settings);

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Ia3Settings {
    targets: BTreeSet<Role>,
    /// The targets whose input is scaled; by default `ffn_out`, if it is a target.
    #[serde(default)]
    feedforward: Option<BTreeSet<Role>>,
}

impl TryFrom<Ia3Settings> for Ia3 {
    type Error = Error;

    fn try_from(s: Ia3Settings) -> Result<Self> {
        if let Some(fault) = no_targets(&s.targets) {
            return Err(Error::Config(fault));
        }
        let usual = || s.targets.iter().copied().filter(|role| *role == Role::FfnOut).collect();
        let feedforward: BTreeSet<Role> = s.feedforward.unwrap_or_else(usual);
        if let Some(other) = feedforward.difference(&s.targets).next() {
            let what = format!("feedforward names {other}, which is not one of the targets");
            return Err(Error::Config(what));
        }
        Ok(Ia3(Ia3Settings {
            targets: s.targets,
            feedforward: Some(feedforward),
        }))
    }
}

impl Ia3 {
    fn scales_input(&self, role: Role) -> bool {
        self.0.feedforward.as_ref().is_some_and(|roles| roles.contains(&role))
    }
}

impl Method for Ia3 {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        self.0.targets.iter().copied().map(AttachPoint::Linear).collect()
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        if !self.0.targets.contains(&role) {
            return Ok(None);
        }
        let input = self.scales_input(role);
        let dims = if input { [1, site.in_dim] } else { [site.out_dim, 1] }; // as in PEFT
        let factors = scope.var("ia3_l", ParamKind::NormWeight, &dims, Init::Const(1.0))?;
        Ok(Some(Box::new(Scaled {
            factors,
            input,
            weight: site.weight.shallow_clone(),
            bias: site.bias.as_ref().map(Tensor::shallow_clone),
        })))
    }

    /// One factor for each scaled feature.
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let one = |role: &Role| {
            let (i, o) = shape.dims(*role);
            if self.scales_input(*role) { i } else { o }
        };
        (0, shape.layers * self.0.targets.iter().map(one).sum::<i64>())
    }
}

#[derive(Debug)]
struct Scaled {
    /// `[out, 1]`, or `[1, in]` for factors of the input.
    factors: Tensor,
    input: bool,
    /// The frozen weight, `[out, in]`.
    weight: Tensor,
    /// The frozen bias, `[out]`, where the layer has one.
    bias: Option<Tensor>,
}

impl Branch for Scaled {
    fn add_to(&self, y: &Tensor, x: &Tensor, _: bool) -> Tensor {
        let more = cast_like(&(&self.factors - 1.0).flatten(0, 1), y);
        if self.input {
            y + (x * more).linear(&cast_like(&self.weight, x), None::<&Tensor>)
        } else {
            y + y * more
        }
    }

    fn delta(&self) -> Option<Tensor> {
        Some(self.weight.to_kind(Kind::Float) * (&self.factors - 1.0))
    }

    fn bias_delta(&self) -> Option<Tensor> {
        let bias = self.bias.as_ref().filter(|_| !self.input)?;
        Some(bias.to_kind(Kind::Float) * (&self.factors - 1.0).flatten(0, 1))
    }
}
