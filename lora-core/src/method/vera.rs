//! VeRA (Kopiczko et al., 2024; not in the paper): two fixed random matrices for all layers, and trained vectors between.

use super::checks::{bad_dropout, no_targets};
use super::factors::is_zero;
use crate::model::ModelShape;
use crate::nn::{AttachPoint, Branch, Init, Method, ParamKind, Role, Scope, Site, cast_like, dropout};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::Tensor;

/// ΔW = diag(b) B diag(d) A. A `[r, in]` and B `[out, r]` are random, frozen and shared: each layer takes the first columns
/// of A and the first rows of B. Trained are d `[r]`, which starts at `d_initial`, and b `[out]`, which starts at 0.
///
/// A and B follow from `projection_key` as in PEFT, whatever the run's seed, so they are not saved.
#[derive(Debug, Deserialize, Serialize)]
#[serde(try_from = "VeraSettings")]
pub(super) struct Vera(VeraSettings);

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct VeraSettings {
    r: i64,
    d_initial: f64,
    /// The seed of A and B: PEFT's `projection_prng_key`.
    projection_key: u32,
    /// Dropout rate on the input of A, in training.
    #[serde(default, skip_serializing_if = "is_zero")]
    dropout: f64,
    targets: BTreeSet<Role>,
}

impl TryFrom<VeraSettings> for Vera {
    type Error = Error;

    fn try_from(s: VeraSettings) -> Result<Self> {
        const MAX: i64 = 1 << 20;
        let fault = if !(1..=MAX).contains(&s.r) {
            Some(format!("r must be from 1 to {MAX}, not {}", s.r))
        } else if !s.d_initial.is_finite() || s.d_initial == 0.0 {
            let what = format!("d_initial must be a number other than 0, not {}", s.d_initial);
            Some(what + ": nothing would be trained")
        } else {
            bad_dropout(s.dropout).or_else(|| no_targets(&s.targets))
        };
        fault.map_or(Ok(Vera(s)), |fault| Err(Error::Config(fault)))
    }
}

impl Method for Vera {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        self.0.targets.iter().copied().map(AttachPoint::Linear).collect()
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        let s = &self.0;
        if !s.targets.contains(&role) {
            return Ok(None);
        }
        let shape = scope.shape()?;
        let dims = s.targets.iter().map(|role| shape.dims(*role));
        let (width, height) = dims.fold((0, 0), |most, dims| (most.0.max(dims.0), most.1.max(dims.1)));
        // kaiming_uniform with the gain √2: within √(6 / fan in).
        let random = |name: &str, dims: [i64; 2], skip| {
            let (bound, key) = ((6.0 / dims[1] as f64).sqrt(), s.projection_key);
            let init = Init::Torch { bound, key, skip };
            scope.frozen().shared(name, ParamKind::Weight, &dims, init)
        };
        let a = random("vera_A", [s.r, width], 0)?;
        let b = random("vera_B", [height, s.r], (s.r * width) as usize)?;
        let own = |name: &str, size, start| scope.var(name, ParamKind::Weight, &[size], Init::Const(start));
        Ok(Some(Box::new(VeraBranch {
            a: a.narrow(1, 0, site.in_dim),
            b: b.narrow(0, 0, site.out_dim),
            lambda_d: own("vera_lambda_d", s.r, s.d_initial)?,
            lambda_b: own("vera_lambda_b", site.out_dim, 0.0)?,
            dropout: s.dropout,
        })))
    }

    /// r + d_out for each matrix.
    fn expected_params(&self, shape: &ModelShape) -> (i64, i64) {
        let outputs = self.0.targets.iter().map(|role| self.0.r + shape.dims(*role).1);
        (0, shape.layers * outputs.sum::<i64>())
    }
}

#[derive(Debug)]
struct VeraBranch {
    /// `[r, in]`.
    a: Tensor,
    /// `[out, r]`.
    b: Tensor,
    /// `[r]`.
    lambda_d: Tensor,
    /// `[out]`.
    lambda_b: Tensor,
    /// Dropout rate on the input of A.
    dropout: f64,
}

impl Branch for VeraBranch {
    fn add_to(&self, y: &Tensor, x: &Tensor, train: bool) -> Tensor {
        let product = |x: &Tensor, m: &Tensor| x.linear(&cast_like(m, x), None::<&Tensor>);
        let low = product(&dropout(x, self.dropout, train), &self.a) * cast_like(&self.lambda_d, x);
        y + product(&low, &self.b) * cast_like(&self.lambda_b, x)
    }

    fn delta(&self) -> Option<Tensor> {
        let [a, b] = [&self.a, &self.b].map(|m| m.to_kind(tch::Kind::Float));
        Some((b * &self.lambda_d).matmul(&a) * self.lambda_b.unsqueeze(1))
    }
}
