//! Adapters in Hugging Face PEFT's format.

use crate::nn::{Owner, Params};
use crate::weights::{Weights, copy};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// What PEFT puts before the base model's names.
const PREFIX: &str = "base_model.model.";

/// Fills the method's and the head's variables from a PEFT folder's `adapter_model.safetensors`; returns how many.
///
/// # Errors
/// [`Error::Format`] if a tensor has no variable, has another shape, or a variable of the method has no tensor.
pub fn load_peft(dir: &Path, params: &Params) -> Result<usize> {
    let path = dir.join("adapter_model.safetensors");
    let weights = Weights::open(&path)?;
    let mut filled = BTreeSet::new();
    for name in weights.names() {
        let target = name.strip_prefix(PREFIX).unwrap_or(name);
        let entry = params.get(target).filter(|e| e.param.owner != Owner::Base);
        let entry = entry.ok_or_else(|| {
            Error::format(
                &path,
                format!("`{name}` has no place in this model and method; check r, targets and the base"),
            )
        })?;
        copy(&weights.tensor(name)?, &entry.tensor, target).map_err(|e| Error::format(&path, e.to_string()))?;
        filled.insert(target.to_string());
    }
    let missing = params
        .iter()
        .find(|e| e.param.owner == Owner::Method && !filled.contains(&e.param.name));
    match missing {
        Some(entry) => Err(Error::format(
            &path,
            format!("has no tensor for `{}`; check r and targets", entry.param.name),
        )),
        None => Ok(filled.len()),
    }
}
