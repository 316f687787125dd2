//! What the readers of config.json check alike.

use crate::nn::RotaryScaling;
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `config` over what transformers assumes where a key is not there.
pub(super) fn over(mut defaults: Value, config: &Value) -> Value {
    if let (Some(all), Some(own)) = (defaults.as_object_mut(), config.as_object()) {
        all.extend(own.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    defaults
}

/// The keys that a model uses, out of `config` over `defaults`.
pub(super) fn read<C: DeserializeOwned>(defaults: Value, config: &Value) -> Result<C> {
    C::deserialize(over(defaults, config)).map_err(|e| Error::Config(format!("config.json: {e}")))
}

/// Each size is at least 1 and small enough that the product of two stays far inside 64 bits.
pub(super) fn check_sizes(sizes: &[(&str, i64)]) -> Result<()> {
    const MAX: i64 = 1 << 24;
    match sizes.iter().find(|(_, size)| !(1..=MAX).contains(size)) {
        Some((key, size)) => Err(Error::Config(format!("`{key}` is {size}; it must be from 1 to {MAX}"))),
        None => Ok(()),
    }
}

/// Each rate of dropout leaves something.
pub(super) fn check_rates(rates: &[(&str, f64)]) -> Result<()> {
    match rates.iter().find(|(_, rate)| !(0.0..1.0).contains(rate)) {
        Some((key, rate)) => Err(Error::Config(format!(
            "`{key}` is {rate}; it must be from 0 to below 1"
        ))),
        None => Ok(()),
    }
}

/// The model's width is shared out evenly among the heads.
pub(super) fn check_heads((width_key, width): (&str, i64), (heads_key, heads): (&str, i64)) -> Result<()> {
    if width % heads == 0 {
        return Ok(());
    }
    Err(Error::Config(format!(
        "`{width_key}` {width} is not divisible by `{heads_key}` {heads}"
    )))
}

/// A configuration as JSON.
pub(super) fn config_json(config: &impl Serialize) -> Result<Value> {
    serde_json::to_value(config).map_err(|e| Error::Config(format!("config.json: {e}")))
}

/// Rotary positions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Rope {
    pub(super) rope_theta: f64,
    #[serde(flatten)]
    pub(super) scaling: RotaryScaling,
}

impl Default for Rope {
    fn default() -> Self {
        Rope {
            rope_theta: 10_000.0,
            scaling: RotaryScaling::Default {},
        }
    }
}

impl Rope {
    /// From `rope_scaling` with `rope_theta` beside it, or from transformers 5's `rope_parameters` with both inside. What is
    /// not known there is refused.
    pub(super) fn read(config: &Value) -> Result<Rope> {
        let given = |key: &str| {
            config
                .get(key)
                .filter(|v| !v.is_null() && *v != &Value::Object(Map::new()))
        };
        let key = if given("rope_scaling").is_some() {
            "rope_scaling"
        } else {
            "rope_parameters"
        };
        let fault = |what: String| Error::Config(format!("`{key}`: {what}"));
        let mut all = match given(key) {
            None => Map::new(),
            Some(Value::Object(all)) => all.clone(),
            Some(other) => return Err(fault(format!("{other} is no mapping"))),
        };
        all.retain(|_, value| !value.is_null());
        let beside = |name: &str| config.get(name).filter(|v| !v.is_null()).cloned();
        let mut found = |name: &str| all.remove(name).or_else(|| beside(name));
        let theta = found("rope_theta").map_or(Some(Rope::default().rope_theta), |v| v.as_f64());
        if found("partial_rotary_factor").is_some_and(|share| share.as_f64() != Some(1.0)) {
            return Err(fault("`partial_rotary_factor` must be 1".into()));
        }
        let kinds = [all.remove("rope_type"), all.remove("type")];
        let kind = kinds.into_iter().flatten().next().unwrap_or_else(|| "default".into());
        if kind == "llama3" {
            let key = "original_max_position_embeddings";
            let lengths = [beside(key), all.remove(key), beside("max_position_embeddings")];
            let length = lengths.into_iter().flatten().next();
            all.extend(length.map(|length| (key.into(), length)));
        }
        all.insert("rope_type".into(), kind);
        let scaling = RotaryScaling::deserialize(Value::Object(all)).map_err(|e| fault(e.to_string()))?;
        let theta = theta.filter(|t| t.is_finite() && *t > 0.0);
        let rope_theta = theta.ok_or_else(|| fault("`rope_theta` must be a positive number".into()))?;
        Rope { rope_theta, scaling }.checked().map_err(fault)
    }

    fn checked(self) -> Result<Rope, String> {
        match self.scaling {
            RotaryScaling::Linear { factor } | RotaryScaling::Llama3 { factor, .. }
                if !(factor.is_finite() && factor >= 1.0) =>
            {
                Err(format!("`factor` is {factor}; it must be at least 1"))
            }
            RotaryScaling::Llama3 {
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: length,
                ..
            } if !(low > 0.0 && high > low && high.is_finite() && length > 0) => Err(format!(
                "`low_freq_factor` {low} and `high_freq_factor` {high} must be positive, the first below the second, and \
                 `original_max_position_embeddings` {length} positive"
            )),
            _ => Ok(self),
        }
    }
}
