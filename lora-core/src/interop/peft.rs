//! Adapters in the format of Hugging Face PEFT (0.21): `adapter_config.json` and `adapter_model.safetensors`.
//!
//! The tensors and a few keys of the configuration determine the computed function. Any other key, known here or not,
//! is accepted if its value is null, false or empty. With another value, a key that changes or may change the function
//! is an error that names it.

use super::adapter::{A, AdapterFile, AdapterForm, B};
use super::base::{Base, Layer, Tensors, fill};
use super::fit::{GAIN, MAGNITUDE, lengths, weight};
use super::layerwise::{self, Layerwise};
use super::peft_file::{CONFIG, PICKLE, PREFIX, WEIGHTS, head, relevant, suffixes, task, write};
use super::vectors;
use crate::method::{Lora, LoraInit};
use crate::nn::{Owner, Params};
use crate::weights::Weights;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// The keys of [`PeftConfig`]; [`Layerwise`] reads others.
const READ: [&str; 9] = [
    "base_model_name_or_path",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "modules_to_save",
    "peft_type",
    "r",
    "use_dora",
    "use_rslora",
];

/// The relevant part of adapter_config.json.
#[derive(Debug, Deserialize)]
struct PeftConfig {
    peft_type: String,
    r: i64,
    lora_alpha: f64,
    #[serde(default)]
    lora_dropout: f64,
    use_rslora: Option<bool>,
    use_dora: Option<bool>,
    base_model_name_or_path: Option<String>,
    init_lora_weights: Option<Value>,
    modules_to_save: Option<Vec<String>>,
    #[serde(skip)]
    layerwise: Layerwise,
}

impl PeftConfig {
    fn read(text: &str) -> Result<PeftConfig, String> {
        let keys = relevant(text, &[&READ[..], &layerwise::KEYS].concat())?;
        let (layered, keys): (Map<_, _>, Map<_, _>) = keys
            .into_iter()
            .partition(|(key, _)| layerwise::KEYS.contains(&key.as_str()));
        let mut config: PeftConfig = serde_json::from_value(Value::Object(keys)).map_err(|e| e.to_string())?;
        config.check()?;
        config.layerwise = Layerwise::read(&layered)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.peft_type != "LORA" {
            return Err(format!(
                "`peft_type` is {}; only LORA, IA3 and VERA are supported",
                self.peft_type
            ));
        }
        if self.r < 1 {
            return Err(format!("`r` is {}; it must be at least 1", self.r));
        }
        if !(self.lora_alpha > 0.0 && self.lora_alpha.is_finite()) {
            let alpha = self.lora_alpha;
            return Err(format!("`lora_alpha` is {alpha}; it must be a positive number"));
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            let rate = self.lora_dropout;
            return Err(format!("`lora_dropout` is {rate}; it must be from 0 to below 1"));
        }
        // The other initialisations change the base, and the adapter compensates for the change. PiSSA's change follows
        // from the base's weights alone.
        let harmless = |how: &str| matches!(how, "gaussian" | "eva" | "orthogonal" | "pissa");
        match &self.init_lora_weights {
            Some(Value::String(how)) if how == "pissa" && self.use_dora == Some(true) => {
                Err("`init_lora_weights` is \"pissa\" and `use_dora` is true: PiSSA's start changes the weights whose magnitudes are \
                     trained, which is not supported"
                    .into())
            }
            Some(Value::String(how)) if !harmless(how) => Err(format!(
                "`init_lora_weights` is \"{how}\": an initialisation that changes the base, which is not supported"
            )),
            _ => Ok(()),
        }
    }

    fn form(&self) -> AdapterForm {
        let pissa = self.init_lora_weights.as_ref().and_then(Value::as_str) == Some("pissa");
        AdapterForm::Lora {
            rslora: self.use_rslora == Some(true),
            init: if pissa { LoraInit::Pissa } else { LoraInit::Kaiming },
            dora: self.use_dora == Some(true),
        }
    }
}

/// Reads an adapter from a folder written by PEFT's `save_pretrained`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for another type of adapter, a setting that is unsupported or unknown, an invalid
/// rank, or tensors that do not match the settings.
pub fn open_peft(dir: &Path) -> Result<AdapterFile> {
    let path = dir.join(CONFIG);
    let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
    let (file, tensors) = tensors(dir)?;
    if let Some(vectors) = vectors::read(&text).map_err(|what| Error::format(&path, what))? {
        return Ok(vectors.adapter(file, tensors));
    }
    let config = PeftConfig::read(&text).map_err(|what| Error::format(&path, what))?;
    let adapter = AdapterFile {
        path: file,
        tensors,
        form: config.form(),
        alpha: Some(config.lora_alpha),
        dropout: config.lora_dropout,
        saved: config.modules_to_save.unwrap_or_default(),
        base: config.base_model_name_or_path.filter(|name| !name.is_empty()),
        layerwise: config.layerwise,
    };
    for norms in adapter.norms()? {
        let own = adapter.layerwise.rank(&norms.layer);
        let (key, r) = own.map_or(("r", config.r), |r| ("rank_pattern", r));
        if norms.r != r {
            return Err(Error::format(
                &path,
                format!(
                    "`{key}` is {r} but the tensors of `{}` have rank {}",
                    norms.layer, norms.r
                ),
            ));
        }
    }
    Ok(adapter)
}

/// The folder's weights file, and its tensors without PEFT's prefix.
fn tensors(dir: &Path) -> Result<(PathBuf, Tensors)> {
    let (file, pickle) = (dir.join(WEIGHTS), dir.join(PICKLE));
    let file = if !file.exists() && pickle.exists() {
        pickle
    } else {
        file
    };
    let weights = Weights::open(&file)?;
    let all = weights.names().map(|n| Ok((n.to_string(), weights.tensor(n)?)));
    let found = all.collect::<Result<Tensors>>()?;
    let bare = |name: String| name.strip_prefix(PREFIX).map_or(name.clone(), String::from);
    Ok((file, found.into_iter().map(|(name, t)| (bare(name), t)).collect()))
}

/// Fills the variables of method and head from a PEFT folder and returns the number of tensors. The method must have
/// been built with the folder's r, alpha and targets: adapter_config.json is not read. ([`open_peft`] reads it, and
/// [`AdapterFile::fit`] returns the method.)
///
/// # Errors
/// [`Error::Format`] if a tensor has no variable or another shape, or a variable of the method has no tensor.
pub fn load_peft(dir: &Path, params: &Params) -> Result<usize> {
    let (file, tensors) = tensors(dir)?;
    fill(params, &tensors, |owner| owner == Owner::Method).map_err(|e| Error::format(file, e.to_string()))?;
    Ok(tensors.len())
}

/// A and B by module.
type Updates = BTreeMap<String, (Tensor, Tensor)>;

/// How many layers of the method are one module to PEFT, by module: the slots of a fused weight, and 1 for any other.
type Slots = BTreeMap<String, i64>;

/// An adapter to be saved in PEFT's format.
#[derive(Debug)]
pub struct Export<'a> {
    /// The base model.
    pub base: &'a Base,
    /// The base's name on the hub, or its folder.
    pub name: &'a str,
    /// The base's commit on the hub.
    pub revision: Option<&'a str>,
    /// The method's settings.
    pub lora: &'a Lora,
    /// The trained tensors, by the names of the model's variables; those of DoRA have gains beside A and B.
    pub trained: &'a Tensors,
}

impl Export<'_> {
    /// Writes `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// Here each slot of a fused weight has its own factors; in PEFT the slots share one A. The factors of n slots
    /// become one update of rank n·r with n·α, whose B is block-diagonal: the same function, but PEFT would train it as
    /// an update of that larger rank. Beside other targets it has them by `rank_pattern` and `alpha_pattern`.
    ///
    /// # Errors
    /// [`Error::Config`], before anything is written, for PiSSA of slots of a fused weight. [`Error::Io`].
    pub fn save(&self, dir: &Path) -> Result<()> {
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        let (updates, slots) = self.updates()?;
        for (module, (a, b)) in &updates {
            tensors.push((format!("{PREFIX}{module}{A}"), a.shallow_clone()));
            tensors.push((format!("{PREFIX}{module}{B}"), b.shallow_clone()));
        }
        if self.is_dora() {
            tensors.extend(self.magnitudes(updates.keys())?);
        }
        tensors.extend(head(self.base, self.trained));
        write(dir, &self.config(&slots), &tensors)
    }

    fn is_dora(&self) -> bool {
        self.trained.keys().any(|name| name.ends_with(GAIN))
    }

    /// The lengths of the rows of each module's weight: the base's, times the gains of its layers.
    fn magnitudes<'m>(&self, modules: impl Iterator<Item = &'m String>) -> Result<Vec<(String, Tensor)>> {
        let variables = self.base.variables()?;
        let of_module = |module: &String| {
            let whole = self.base.layers.iter().find(|l| l.name == *module);
            let whole = whole.ok_or_else(|| Error::Config(format!("the base has no layer `{module}`")))?;
            let magnitudes = lengths(&weight(&variables, whole)?);
            let targets = &self.lora.targets;
            let parts = self
                .base
                .layers
                .iter()
                .filter(|l| l.module.0 == *module && targets.contains(&l.role));
            for layer in parts {
                let gain = self.get(format!("{}{GAIN}", layer.name))?;
                let mut rows = magnitudes.narrow(0, layer.module.1, layer.out_dim);
                let _ = rows.g_mul_(&gain);
            }
            Ok((format!("{PREFIX}{module}{MAGNITUDE}"), magnitudes))
        };
        modules.map(of_module).collect()
    }

    fn get(&self, name: String) -> Result<Tensor> {
        let tensor = self.trained.get(&name).map(|t| t.to_kind(Kind::Float));
        tensor.ok_or_else(|| Error::Config(format!("there is no tensor `{name}`")))
    }

    fn updates(&self) -> Result<(Updates, Slots)> {
        let targets = &self.lora.targets;
        let mut parts: BTreeMap<&str, Vec<&Layer>> = BTreeMap::new();
        for layer in self.base.layers.iter().filter(|l| targets.contains(&l.role)) {
            parts.entry(&layer.module.0).or_default().push(layer);
        }
        let slots = parts
            .iter()
            .map(|(module, layers)| ((*module).to_owned(), layers.len() as i64));
        let slots = slots.collect();
        let updates = parts
            .into_iter()
            .map(|(module, layers)| Ok((module.to_owned(), self.update(module, &layers)?)));
        Ok((updates.collect::<Result<_>>()?, slots))
    }

    fn update(&self, module: &str, layers: &[&Layer]) -> Result<(Tensor, Tensor)> {
        let factors = |l: &&Layer| Ok((self.get(format!("{}{A}", l.name))?, self.get(format!("{}{B}", l.name))?));
        let mut factors = layers.iter().map(factors).collect::<Result<Vec<_>>>()?;
        if layers[0].name == module {
            return Ok(factors.remove(0));
        }
        if self.lora.init == LoraInit::Pissa {
            return Err(Error::Config(format!(
                "PiSSA started from the singular vectors of each slot of `{module}`, and PEFT's starts from those of the whole weight: \
                 train `qkv` to export such an adapter"
            )));
        }
        let a: Vec<&Tensor> = factors.iter().map(|(a, _)| a).collect();
        let whole = self.base.layers.iter().find(|l| l.name == module);
        let out = whole.map_or(0, |l| l.out_dim);
        let r = self.lora.r;
        let b = Tensor::zeros([out, r * layers.len() as i64], (Kind::Float, a[0].device()));
        for (i, (layer, (_, slot_b))) in layers.iter().zip(&factors).enumerate() {
            b.narrow(0, layer.module.1, layer.out_dim)
                .narrow(1, i as i64 * r, r)
                .copy_(slot_b);
        }
        Ok((Tensor::cat(&a, 0), b))
    }

    /// The rank of a module of n slots, and its α: the rank grows with the slots, so α must, too.
    fn grown(&self, slots: i64) -> (i64, Value) {
        let n = slots as f64;
        let alpha = self.lora.alpha * if self.lora.rslora { n.sqrt() } else { n };
        let alpha = if alpha.fract() == 0.0 {
            json!(alpha as i64)
        } else {
            json!(alpha)
        };
        (self.lora.r * slots, alpha)
    }

    fn config(&self, slots: &Slots) -> Value {
        let (base, lora) = (self.base, self.lora);
        let least = slots.values().copied().min().unwrap_or(1);
        let (r, alpha) = self.grown(least);
        let larger: BTreeSet<i64> = slots.values().copied().filter(|n| *n > least).collect();
        let (mut ranks, mut alphas) = (Map::new(), Map::new());
        for n in larger {
            let modules = slots
                .iter()
                .filter(|(_, slots)| **slots == n)
                .map(|(module, _)| module.clone());
            for end in suffixes(&modules.collect(), &base.modules) {
                let (r, alpha) = self.grown(n);
                ranks.insert(end.clone(), json!(r));
                alphas.insert(end, alpha);
            }
        }
        let modules = slots.keys().cloned().collect();
        let init = match lora.init {
            LoraInit::Pissa => json!("pissa"),
            LoraInit::Kaiming | LoraInit::Normal => json!(true),
        };
        let (task, saved) = task(base, self.trained);
        json!({
            "alpha_pattern": alphas, "auto_mapping": null, "base_model_name_or_path": self.name, "bias": "none",
            "fan_in_fan_out": !base.arch.transposed.is_empty(), "inference_mode": true, "init_lora_weights": init, "layers_pattern": null,
            "layers_to_transform": null, "lora_alpha": alpha, "lora_bias": false, "lora_dropout": lora.dropout,
            "modules_to_save": saved, "peft_type": "LORA", "r": r, "rank_pattern": ranks,
            "revision": self.revision, "target_modules": suffixes(&modules, &base.modules), "task_type": task,
            "use_dora": self.is_dora(), "use_rslora": lora.rslora,
        })
    }
}

#[cfg(test)]
#[path = "tests/peft.rs"]
mod tests;
