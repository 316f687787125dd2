//! What the readers of config.json check alike.

use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

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
