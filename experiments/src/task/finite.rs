//! Every number that leaves a run is checked where it arises: one that is not finite ends the run as failed.
//!
//! A metric may be undefined (Pearson's correlation of constant predictions, METEOR without its data): that is `None`, made by
//! whoever computes the metric, and never a NaN.

use crate::task::{Criterion, Metrics};
use anyhow::{Error, Result, bail, ensure};
use datasets::MetricError;
use lora_core::nn::Params;
use lora_core::train::Eval;
use std::fmt::{Display, Formatter};

/// Why a number is none, and what to do about it.
const REMEDY: &str = "training diverged: lower the learning rate, lengthen the warm-up, or clip the gradient";

/// Refuses trained variables that hold a NaN or an infinity.
///
/// # Errors
/// The first of them, by name.
pub fn weights(params: &Params) -> Result<()> {
    let _guard = tch::no_grad_guard();
    for entry in params.trainable() {
        let all = entry.tensor.isfinite().all();
        let finite = bool::try_from(&all).map_err(lora_core::Error::torch("checking the trained weights"))?;
        ensure!(finite, "`{}` is no longer finite; {REMEDY}", entry.param.name);
    }
    Ok(())
}

/// A metric that is no number.
#[derive(Debug)]
struct NotFinite {
    name: String,
    value: f64,
}

impl Display for NotFinite {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}, which is no score", self.name, self.value)
    }
}

impl std::error::Error for NotFinite {}

/// Refuses metrics that are defined and not finite.
///
/// # Errors
/// The first of them, by name.
pub fn metrics(metrics: &Metrics) -> Result<()> {
    let broken = metrics
        .iter()
        .find_map(|(name, value)| Some((name, value.filter(|v| !v.is_finite())?)));
    match broken {
        Some((name, value)) => Err(NotFinite {
            name: name.clone(),
            value,
        }
        .into()),
        None => Ok(()),
    }
}

/// `error`, which came out of evaluating what was trained, with what to do about it where a number is not finite.
pub fn explained(error: Error) -> Error {
    let model = matches!(error.downcast_ref(), Some(MetricError::NotFinite { .. }));
    if model || error.is::<NotFinite>() {
        error.context(REMEDY)
    } else {
        error
    }
}

/// Refuses evaluations, perhaps of a checkpoint, in which a loss is missing: a loss is always defined, so it was not finite.
///
/// # Errors
/// The first of them, by its epoch.
pub fn losses(evals: &[Eval], criterion: &Criterion) -> Result<()> {
    let missing = |eval: &&Eval| !matches!(eval.metrics.get(&criterion.key), Some(Some(_)));
    match evals.iter().find(missing).filter(|_| criterion.lower_is_better) {
        Some(eval) => bail!("{} of epoch {} is not a number; {REMEDY}", criterion.key, eval.epoch),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lora_core::nn::{BaseInit, Build, Init, ParamKind};

    #[test]
    fn undefined_is_no_failure_and_not_finite_is_one() {
        let of = |value: Option<f64>| metrics(&Metrics::from([("dev/pearson".to_string(), value)]));
        assert!(of(None).is_ok() && of(Some(-0.5)).is_ok());
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let said = of(Some(value)).unwrap_err().to_string();
            assert!(said.contains(&format!("dev/pearson is {value}")), "{said}");
        }
    }

    #[test]
    fn a_loss_is_never_undefined() {
        let eval = |key: &str, value| Eval {
            epoch: 2,
            step: 10,
            train_loss: 0.5,
            metrics: Metrics::from([(key.to_string(), value)]),
        };
        let criterion = |key: &str, lower_is_better| Criterion {
            key: key.into(),
            lower_is_better,
        };
        let loss = criterion("dev/loss", true);
        assert!(losses(&[eval("dev/loss", Some(1.0))], &loss).is_ok());
        let said = losses(&[eval("dev/loss", None)], &loss).unwrap_err().to_string();
        assert!(said.contains("dev/loss of epoch 2"), "{said}");
        assert!(losses(&[eval("dev/pearson", None)], &criterion("dev/pearson", false)).is_ok());
    }

    #[test]
    fn one_weight_that_is_not_finite_is_found() {
        let method = lora_core::method::from_yaml("{kind: full}").unwrap();
        for (value, finite) in [(1.0, true), (f64::NAN, false), (f64::INFINITY, false)] {
            let build = Build::new(method.as_ref(), 1).base_init(BaseInit::Random);
            let scope = build.scope().sub("layer");
            let tensor = scope
                .var("weight", ParamKind::Weight, &[2, 3], Init::Const(0.0))
                .unwrap();
            let _ = tch::no_grad(|| tensor.get(1).fill_(value));
            let found = weights(&build.finish().unwrap().params);
            assert_eq!(found.is_ok(), finite);
            let said = found.map_or_else(|e| e.to_string(), |()| String::new());
            assert_eq!(said.contains("`layer.weight` is no longer finite"), !finite, "{said}");
        }
    }
}
