//! Checkpoints of loralib, the paper's code: `LAYER.lora_A` and `LAYER.lora_B` in a file of torch.save.
//!
//! The format (microsoft/LoRA at c4593f0, `loralib/layers.py`): a `Linear` has A `[r, in]` and B `[out, r]`. A
//! `MergedLinear`, such as GPT-2's c_attn, stacks the factors of its g adapted slots: A `[r g, in]`, B `[out / 3 g,
//! r]`. The file states neither α nor which slots are adapted; the paper's GPT-2 code adapts query and value
//! (`enable_lora=[True, False, True]`).

use super::adapter::{A, AdapterFile, AdapterForm, B};
use super::layerwise::Layerwise;
use super::torch_file::read_torch;
use crate::nn::Role;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;
use tch::Tensor;

/// Prefixes that PyTorch's wrappers add to names.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];

/// Reads an adapter, and the head if there is one. `alpha` is the α of the training run: 16 for the RoBERTa releases (r
/// = 8), 32 for the GPT-2 ones (r = 4).
///
/// # Errors
/// Those of [`read_torch`]; [`Error::Format`] if there are no LoRA factors, or a layer has only one of A and B.
pub fn open_loralib(path: &Path, alpha: Option<f64>) -> Result<AdapterFile> {
    let mut factors: BTreeMap<String, [Option<Tensor>; 2]> = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in read_torch(path)? {
        let mut name = name.as_str();
        while let Some(rest) = WRAPPERS.iter().find_map(|w| name.strip_prefix(w)) {
            name = rest;
        }
        match (name.strip_suffix(".lora_A"), name.strip_suffix(".lora_B")) {
            (Some(layer), _) => factors.entry(layer.into()).or_default()[0] = Some(tensor),
            (_, Some(layer)) => factors.entry(layer.into()).or_default()[1] = Some(tensor),
            _ => {
                tensors.insert(name.to_string(), tensor);
            }
        }
    }
    if factors.is_empty() {
        return Err(Error::format(
            path,
            "has no LoRA factors (names that end in lora_A and lora_B)",
        ));
    }
    for (layer, pair) in factors {
        let [Some(a), Some(b)] = pair else {
            return Err(Error::format(
                path,
                format!("`{layer}` has only one of lora_A and lora_B"),
            ));
        };
        for (layer, a, b) in slots(&layer, a, b).map_err(|what| Error::format(path, what))? {
            tensors.insert(format!("{layer}{A}"), a);
            tensors.insert(format!("{layer}{B}"), b);
        }
    }
    Ok(AdapterFile {
        path: path.to_path_buf(),
        tensors,
        form: AdapterForm::plain_lora(),
        alpha,
        dropout: 0.0,
        saved: Vec::new(),
        base: None,
        layerwise: Layerwise::default(),
    })
}

/// The factors of each slot of a layer: several for a `MergedLinear`, otherwise one.
fn slots(layer: &str, a: Tensor, b: Tensor) -> Result<Vec<(String, Tensor, Tensor)>, String> {
    let mismatch = |a: &Tensor, b: &Tensor| {
        let (a, b) = (a.size(), b.size());
        format!("`{layer}`: lora_A {a:?} and lora_B {b:?} are neither a Linear's factors nor a MergedLinear's")
    };
    if a.dim() != 2 || b.dim() != 2 || b.size()[1] < 1 || a.size()[0] % b.size()[1] != 0 {
        return Err(mismatch(&a, &b));
    }
    let (r, groups) = (b.size()[1], a.size()[0] / b.size()[1]);
    let roles: &[Role] = match groups {
        1 => return Ok(vec![(layer.to_string(), a, b)]),
        2 => &[Role::Query, Role::Value],
        3 => &[Role::Query, Role::Key, Role::Value],
        _ => return Err(mismatch(&a, &b)),
    };
    if b.size()[0] % groups != 0 {
        return Err(mismatch(&a, &b));
    }
    let width = b.size()[0] / groups;
    let slot = |(i, role): (usize, &Role)| {
        let i = i as i64;
        (
            format!("{layer}.{role}"),
            a.narrow(0, i * r, r),
            b.narrow(0, i * width, width),
        )
    };
    Ok(roles.iter().enumerate().map(slot).collect())
}

#[cfg(test)]
#[path = "tests/loralib.rs"]
mod tests;
