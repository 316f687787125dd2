//! LoRA (Section 4.1): h = W x + (α / r) B A x, with A and B trained and W frozen.

use crate::model::ModelShape;
use crate::nn::{Branch, Init, LowRank, Method, ParamKind, Place, Role, Scope, Site, cast_like, dropout};
use crate::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeSet;
use tch::Tensor;

/// Low-rank updates beside the matrices named in `targets`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Settings")]
pub struct Lora {
    r: i64,
    alpha: f64,
    dropout: f64,
    targets: BTreeSet<Role>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    r: i64,
    alpha: f64,
    #[serde(default)]
    dropout: f64,
    targets: BTreeSet<Role>,
}

impl TryFrom<Settings> for Lora {
    type Error = Error;

    fn try_from(s: Settings) -> Result<Self> {
        let fault = if s.r < 1 {
            Some(format!("r must be at least 1, not {}", s.r))
        } else if !s.alpha.is_finite() || s.alpha <= 0.0 {
            Some(format!("alpha must be a positive number, not {}", s.alpha))
        } else if !(0.0..1.0).contains(&s.dropout) {
            Some(format!("dropout must be from 0 to below 1, not {}", s.dropout))
        } else if s.targets.is_empty() {
            Some("targets must name at least one role; for no update at all use the method `head`".into())
        } else {
            None
        };
        match fault {
            Some(fault) => Err(Error::Config(fault)),
            None => Ok(Lora {
                r: s.r,
                alpha: s.alpha,
                dropout: s.dropout,
                targets: s.targets,
            }),
        }
    }
}

impl Method for Lora {
    fn claims(&self) -> BTreeSet<Place> {
        self.targets.iter().copied().map(Place::Linear).collect()
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
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
        // The paper says A is Gaussian; its code draws kaiming_uniform(a = sqrt 5), which is this. B = 0 in both.
        let bound = 1.0 / (site.in_dim as f64).sqrt();
        let a = scope.sub("lora_A").var(
            "weight",
            ParamKind::Weight,
            &[self.r, site.in_dim],
            Init::Uniform(bound),
        )?;
        let b = scope
            .sub("lora_B")
            .var("weight", ParamKind::Weight, &[site.out_dim, self.r], Init::Const(0.0))?;
        Ok(Some(Box::new(LoraBranch {
            a,
            b,
            scale: self.alpha / self.r as f64,
            dropout: self.dropout,
        })))
    }

    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let one = |role: &Role| {
            let (i, o) = shape.dims(*role);
            self.r * (i + o)
        };
        (0, shape.layers * self.targets.iter().map(one).sum::<i64>())
    }
}

#[derive(Debug)]
struct LoraBranch {
    /// `[r, in]`.
    a: Tensor,
    /// `[out, r]`.
    b: Tensor,
    scale: f64,
    dropout: f64,
}

impl Branch for LoraBranch {
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor {
        let x = dropout(x, self.dropout, train);
        let low = x.linear(&cast_like(&self.a, &x), None::<&Tensor>) * self.scale; // [T, r]
        y.addmm(&low, &cast_like(&self.b, &x).tr()) // one kernel: y + low Bᵀ
    }

    fn delta(&self) -> Option<Tensor> {
        Some(self.b.matmul(&self.a) * self.scale)
    }

    fn low_rank(&self) -> Option<LowRank<'_>> {
        Some(LowRank {
            a: &self.a,
            b: &self.b,
            scale: self.scale,
        })
    }
}
