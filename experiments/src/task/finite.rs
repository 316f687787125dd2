//! Checks that weights and metrics are finite; a run with one that is not fails.
//!
//! An undefined metric (Pearson's correlation of constant predictions, METEOR without its data) is `None`, never NaN.

use crate::task::Metrics;
use anyhow::{Error, Result, bail, ensure};
use datasets::MetricError;
use lora_core::nn::Params;
use lora_core::train::{Criterion, Eval};
use std::fmt::{Display, Formatter};

/// The likely cause of a number that is not finite, and remedies.
const REMEDY: &str = "training diverged: lower the learning rate, lengthen the warm-up, or clip the gradient";

/// Refuses trained weights that are not finite.
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

/// A metric that is not finite.
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

/// Adds the remedy to an error of evaluation where a number is not finite.
pub fn explained(error: Error) -> Error {
    let model = matches!(error.downcast_ref(), Some(MetricError::NotFinite { .. }));
    if model || error.is::<NotFinite>() {
        error.context(REMEDY)
    } else {
        error
    }
}

/// Refuses evaluations without a loss: a loss is always defined, so it was not finite.
///
/// # Errors
/// The first of them, by its epoch.
pub fn losses(evals: &[Eval], criterion: &Criterion) -> Result<()> {
    let missing = |eval: &&Eval| criterion.value(eval).is_none();
    match evals.iter().find(missing).filter(|_| criterion.lower_is_better) {
        Some(eval) => bail!("{} of epoch {} is not a number; {REMEDY}", criterion.metric, eval.epoch),
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
        let loss = Criterion::new("dev/loss");
        assert!(losses(&[eval("dev/loss", Some(1.0))], &loss).is_ok());
        let said = losses(&[eval("dev/loss", None)], &loss).unwrap_err().to_string();
        assert!(said.contains("dev/loss of epoch 2"), "{said}");
        assert!(losses(&[eval("dev/pearson", None)], &Criterion::new("dev/pearson")).is_ok());
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
