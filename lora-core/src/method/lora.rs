//! LoRA (Section 4.1): h = W x + (α / r) B A x, with A and B trained and W frozen.

use super::checks::{bad_dropout, no_targets};
use super::factors::{Factors, LoraInit, is_false, is_one, is_zero, one};
use super::pissa;
use crate::model::ModelShape;
use crate::nn::{AttachPoint, Branch, Init, Method, Param, ParamKind, Role, Scope, Site};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Deref;
use tch::Tensor;

/// LoRA on the matrices named in `targets`, with validated settings.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "LoraSettings")]
pub struct Lora(LoraSettings);

/// The settings of LoRA; [`Lora::try_from`] validates them.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LoraSettings {
    /// The rank.
    pub r: i64,
    /// α; the update is α / r · B A.
    pub alpha: f64,
    /// Whether the update is α / √r · B A (rsLoRA, Kalajdzievski, 2023).
    #[serde(default, skip_serializing_if = "is_false")]
    pub rslora: bool,
    /// The learning rate of B as a multiple of A's (LoRA+, Hayou et al., 2024). As in the authors' code and in PEFT, trained
    /// vectors, such as the biases of the head, have B's rate.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub b_lr_ratio: f64,
    /// Dropout rate on the input of A, in training.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub dropout: f64,
    /// Whether the slots of a fused weight (GPT-2's query, key and value) share one dropout mask, as in the paper's
    /// code.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shared_mask: bool,
    /// Initialisation of A.
    #[serde(default, skip_serializing_if = "LoraInit::is_kaiming")]
    pub init: LoraInit,
    /// The matrices to adapt.
    pub targets: BTreeSet<Role>,
}

impl Deref for Lora {
    type Target = LoraSettings;

    fn deref(&self) -> &LoraSettings {
        &self.0
    }
}

impl TryFrom<LoraSettings> for Lora {
    type Error = Error;

    fn try_from(s: LoraSettings) -> Result<Self> {
        let fault = if s.r < 1 {
            Some(format!("r must be at least 1, not {}", s.r))
        } else if !s.alpha.is_finite() || s.alpha <= 0.0 {
            Some(format!("alpha must be a positive number, not {}", s.alpha))
        } else if !s.b_lr_ratio.is_finite() || s.b_lr_ratio <= 0.0 {
            Some(format!("b_lr_ratio must be a positive number, not {}", s.b_lr_ratio))
        } else {
            bad_dropout(s.dropout).or_else(|| no_targets(&s.targets))
        };
        match fault {
            Some(fault) => Err(Error::Config(fault)),
            // Without dropout there is no mask: equivalent settings get one canonical form.
            None => Ok(Lora(LoraSettings {
                shared_mask: s.shared_mask && s.dropout > 0.0,
                ..s
            })),
        }
    }
}

impl Lora {
    /// The branch with the factors A `[r, in]` and B `[out, r]`.
    pub(crate) fn branch(&self, a: Tensor, b: Tensor) -> Box<dyn Branch> {
        Box::new(self.scaled(a, b))
    }

    /// The factor of B A.
    pub fn scale(&self) -> f64 {
        self.alpha / (self.r as f64).powf(if self.rslora { 0.5 } else { 1.0 })
    }

    fn scaled(&self, a: Tensor, b: Tensor) -> Factors {
        Factors {
            a,
            b,
            scale: self.scale(),
            dropout: self.dropout,
            shared_mask: self.shared_mask,
        }
    }

    /// Creates A and B for the layer at `site`; none if `role` is not a target.
    ///
    /// # Errors
    /// [`Error::Config`] if r is larger than a side of the matrix.
    pub(super) fn factors(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Factors>> {
        if !self.targets.contains(&role) {
            return Ok(None);
        }
        if self.r > site.in_dim.min(site.out_dim) {
            let (i, o) = (site.in_dim, site.out_dim);
            return Err(Error::Config(format!(
                "r = {} is larger than the {role} matrix ({o} x {i})",
                self.r
            )));
        }
        let var = |name: &str, dims, init| scope.sub(name).var("weight", ParamKind::Weight, dims, init);
        let (a, b) = (
            var("lora_A", &[self.r, site.in_dim], self.init.of(site.in_dim))?,
            var("lora_B", &[site.out_dim, self.r], Init::Const(0.0))?,
        );
        if self.init == LoraInit::Pissa {
            scope.when_loaded(pissa::start(site, [&a, &b], self.scale()))?;
        }
        Ok(Some(self.scaled(a, b)))
    }
}

impl Method for Lora {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        self.targets.iter().copied().map(AttachPoint::Linear).collect()
    }

    fn lr_factor(&self, param: &Param) -> f64 {
        let fast = param.name.ends_with(".lora_B.weight") || !param.kind.decays();
        if fast { self.b_lr_ratio } else { 1.0 }
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        let factors = self.factors(role, site, scope)?;
        Ok(factors.map(|factors| Box::new(factors) as Box<dyn Branch>))
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let sides = self.targets.iter().map(|role| shape.dims(*role));
        (0, shape.layers * sides.map(|(i, o)| self.r * (i + o)).sum::<i64>())
    }
}
