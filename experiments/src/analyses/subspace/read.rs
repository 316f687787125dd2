//! Adapters and frozen weights, by layer and module.

use crate::tools::adapter::stored::{AdapterSource, BaseModel, Stored, open_foreign};
use anyhow::{Context, Result, bail, ensure};
use lora_core::analysis::update_directions;
use lora_core::fsutil::sha256_file;
use lora_core::interop::Tensors;
use lora_core::method;
use lora_core::nn::Role;
use lora_core::nn::check_finite;
use results::Store;
use results::analysis::{Adapter, Module};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// A block, from 1, and one of its modules.
pub type Spot = (u32, Module);

/// The factors A `[r, in]` and B `[out, r]`.
pub type Factors = (Tensor, Tensor);

/// An opened adapter.
#[derive(Debug)]
pub struct Opened {
    /// Its description.
    pub about: Adapter,
    /// Its name on the command line, for messages.
    pub path: PathBuf,
    /// Its updates.
    pub updates: BTreeMap<Spot, Factors>,
    /// The full name of each layer, without that of the module.
    pub names: BTreeMap<String, u32>,
    /// The base by name, and the hash of its weights, where the adapter knows them.
    pub base: Option<(String, Option<String>)>,
}

/// The contents of a file beside its tensors.
struct Raw {
    tensors: Tensors,
    alpha: Option<f64>,
    origin: String,
    file: PathBuf,
    seed: Option<u64>,
    task: Option<String>,
    base: Option<(String, Option<String>)>,
}

impl Opened {
    /// Reads an adapter of any form; `alpha` is for loralib's files, which lack it.
    ///
    /// # Errors
    /// A missing or damaged file, another format, a method other than LoRA, no update of a matrix of attention.
    pub fn read(path: &Path, role: Option<&str>, alpha: Option<f64>) -> Result<Opened> {
        let place = AdapterSource::of(path)?;
        let raw = match &place {
            AdapterSource::Run(..) | AdapterSource::Folder(_) => own(&place)?,
            AdapterSource::Peft(_) | AdapterSource::Loralib(_) => foreign(&place, path, alpha)?,
        };
        let (updates, names) = updates(&raw.tensors).with_context(|| path.display().to_string())?;
        let ranks: Vec<i64> = updates.values().map(|(a, _)| a.size()[0]).collect();
        let rank = ranks.iter().copied().max().unwrap_or(0);
        ensure!(
            ranks.iter().all(|r| *r == rank),
            "{}: its layers have different ranks; one rank for all is supported",
            path.display()
        );
        let directions = directions(&updates).with_context(|| path.display().to_string())?;
        Ok(Opened {
            about: Adapter {
                role: role.map(String::from),
                origin: raw.origin,
                sha256: sha256_file(&raw.file)?,
                rank: u32::try_from(rank).context("the rank")?,
                directions: (directions < rank).then_some(u32::try_from(directions).context("the rank")?),
                alpha: raw.alpha,
                seed: raw.seed,
                task: raw.task,
            },
            path: path.into(),
            updates,
            names,
            base: raw.base,
        })
    }

    /// The update at a spot.
    ///
    /// # Errors
    /// No update there; the error lists those that exist.
    pub fn at(&self, (layer, module): Spot) -> Result<&Factors> {
        self.updates.get(&(layer, module)).with_context(|| {
            let mut has: Vec<&str> = self.updates.keys().map(|(_, m)| m.name()).collect();
            has.sort_unstable();
            has.dedup();
            format!(
                "{}: has no update of `{}` in layer {layer}; it has updates of {} in layers 1 to {}",
                self.path.display(),
                module.name(),
                has.join(", "),
                self.layers()
            )
        })
    }

    /// The last block with an update.
    pub fn layers(&self) -> u32 {
        self.updates.keys().map(|(layer, _)| *layer).max().unwrap_or(0)
    }
}

/// An adapter of this project.
fn own(place: &AdapterSource) -> Result<Raw> {
    let stored = Stored::open(place)?;
    let lora = method::lora(&stored.about.method)
        .with_context(|| format!("{}: only LoRA's updates can be analysed", stored.about.origin))?;
    let (file, seed) = match place {
        AdapterSource::Run(out, id) => {
            let record = Store::open(out)?.get(id)?;
            (
                crate::task::run_paths::RunPaths::new(out, id).weights(),
                record.map(|r| r.seed),
            )
        }
        AdapterSource::Folder(dir) => (dir.join("adapter.safetensors"), None),
        AdapterSource::Peft(path) | AdapterSource::Loralib(path) => bail!("{}: not this project's own", path.display()),
    };
    Ok(Raw {
        alpha: Some(lora.scale() * lora.r as f64),
        origin: stored.about.origin,
        file,
        seed,
        task: stored.about.task,
        base: Some((stored.about.base.word(), stored.about.base.weights_sha256)),
        tensors: stored.trained,
    })
}

/// A PEFT or loralib adapter.
fn foreign(place: &AdapterSource, path: &Path, alpha: Option<f64>) -> Result<Raw> {
    let peft = matches!(place, AdapterSource::Peft(_));
    // PEFT's files state alpha; --alpha may be meant for loralib files beside them.
    let adapter = open_foreign(place, alpha.filter(|_| !peft))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let what = if peft { "PEFT adapter" } else { "loralib checkpoint" };
    let files = ["adapter_model.safetensors", "adapter_model.bin"].map(|f| path.join(f));
    let file = files.into_iter().find(|f| f.is_file()).unwrap_or(path.into());
    Ok(Raw {
        alpha: adapter.linear_alpha(),
        tensors: adapter.tensors,
        origin: format!("{what} {name}"),
        file,
        seed: None,
        task: None,
        base: adapter.base.map(|name| (name, None)),
    })
}

/// The largest rank of the updates.
fn directions(updates: &BTreeMap<Spot, Factors>) -> Result<i64> {
    let mut most = 0;
    for (a, b) in updates.values() {
        most = most.max(update_directions(b, a)?.size()[1]);
    }
    Ok(most)
}

/// The updates by block and module, and the names of the layers.
fn updates(tensors: &Tensors) -> Result<(BTreeMap<Spot, Factors>, BTreeMap<String, u32>)> {
    let (mut updates, mut names) = (BTreeMap::new(), BTreeMap::new());
    for (name, a) in tensors {
        let Some(layer) = name.strip_suffix(".lora_A.weight") else {
            continue;
        };
        let b = tensors.get(&format!("{layer}.lora_B.weight"));
        let b = b.with_context(|| format!("`{layer}` has a lora_A and no lora_B"))?;
        ensure!(
            a.dim() == 2 && b.dim() == 2 && a.size()[0] == b.size()[1],
            "`{layer}`: A {:?} and B {:?} are no factors of one update",
            a.size(),
            b.size()
        );
        let Some((block, depth, rest)) = split(layer) else {
            continue;
        };
        names.insert(block.to_string(), depth);
        check_finite(name, a)?;
        check_finite(&format!("{layer}.lora_B.weight"), b)?;
        for (module, start, share) in modules(rest) {
            let rows = b.size()[0] / share;
            let part = b.narrow(0, start * rows, rows);
            updates.insert((depth, module), (a.shallow_clone(), part));
        }
    }
    ensure!(!updates.is_empty(), "has no update of a matrix of attention");
    Ok((updates, names))
}

/// Splits `x.layer.3.attention.self.query` into the block `x.layer.3`, its number from 1, and the rest.
fn split(layer: &str) -> Option<(&str, u32, &str)> {
    let mut at = 0;
    for part in layer.split('.') {
        at += part.len() + 1;
        if let Ok(depth) = part.parse::<u32>() {
            return Some((layer.get(..at - 1)?, depth.checked_add(1)?, layer.get(at..)?));
        }
    }
    None
}

/// The modules of a linear by its name in the block, with the part of its outputs that each has.
fn modules(name: &str) -> Vec<(Module, i64, i64)> {
    let last = name.rsplit('.').next().unwrap_or(name);
    match (name, last) {
        (_, "query" | "query_proj" | "q_proj" | "q_lin") => vec![(Module::Query, 0, 1)],
        (_, "key" | "key_proj" | "k_proj" | "k_lin") => vec![(Module::Key, 0, 1)],
        (_, "value" | "value_proj" | "v_proj" | "v_lin") => vec![(Module::Value, 0, 1)],
        ("attention.output.dense" | "attn.c_proj", _) => vec![(Module::AttnOut, 0, 1)],
        // PEFT has one A for the three modules of GPT-2's fused matrix.
        (_, "c_attn") => vec![(Module::Query, 0, 3), (Module::Key, 1, 3), (Module::Value, 2, 3)],
        _ => Vec::new(),
    }
}

fn role(module: Module) -> Role {
    match module {
        Module::Query => Role::Query,
        Module::Key => Role::Key,
        Module::Value => Role::Value,
        Module::AttnOut => Role::AttnOut,
    }
}

/// The frozen weights `[out, in]` by block and module, and the number of blocks.
///
/// # Errors
/// Weights that cannot be read.
pub fn weights(found: &BaseModel) -> Result<(BTreeMap<Spot, Tensor>, u32)> {
    let head = method::from_yaml("{kind: head}")?;
    // The base's own head may have any number of outputs; tensors that are not read are left out.
    let (_model, built) = found.base.load(head.as_ref(), 2, Device::Cpu, Kind::Float)?;
    let mut weights = BTreeMap::new();
    for layer in &found.base.layers {
        let (Some((_, depth, _)), Some(module)) = (
            split(&layer.name),
            Module::ALL.into_iter().find(|m| role(*m) == layer.role),
        ) else {
            continue;
        };
        let (name, start) = &layer.module;
        if let Some(entry) = built.params.get(&format!("{name}.weight")) {
            let weight = entry.tensor.detach().narrow(0, *start, layer.out_dim).copy();
            weights.insert((depth, module), weight);
        }
    }
    let layers = weights.keys().map(|(layer, _)| *layer).max().unwrap_or(0);
    Ok((weights, layers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_library_are_read() {
        let of = |name: &str| split(name).map(|(_, depth, rest)| (depth, modules(rest)));
        let one = |depth, module| Some((depth, vec![(module, 0, 1)]));
        assert_eq!(
            of("roberta.encoder.layer.0.attention.self.query"),
            one(1, Module::Query)
        );
        assert_eq!(
            of("deberta.encoder.layer.11.attention.self.value_proj"),
            one(12, Module::Value)
        );
        assert_eq!(of("transformer.h.2.attn.c_attn.key"), one(3, Module::Key));
        assert_eq!(of("transformer.h.2.attn.c_proj"), one(3, Module::AttnOut));
        assert_eq!(of("encoder.layer.4.attention.output.dense"), one(5, Module::AttnOut));
        assert_eq!(of("h.0.attn.c_attn").map(|(_, m)| m.len()), Some(3));
        assert_eq!(of("encoder.layer.4.output.dense"), Some((5, Vec::new())));
        assert_eq!(of("classifier.dense"), None);
    }
}
