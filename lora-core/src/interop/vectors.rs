//! Adapters of PEFT that train vectors: (IA)³ and VeRA.

use super::adapter::{AdapterFile, AdapterForm};
use super::base::{Base, Layer, Tensors};
use super::fit::Fitted;
use super::layerwise::Layerwise;
use super::peft_file::{self, PREFIX, suffixes};
use crate::method;
use crate::nn::{Init, Role};
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::json;
use serde_yaml::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Tensors of a PEFT file, by their names there.
type NamedTensors = Vec<(String, Tensor)>;

const IA3: &str = ".ia3_l";
const LAMBDA_D: &str = ".vera_lambda_d";
const LAMBDA_B: &str = ".vera_lambda_b";
/// VeRA's random matrices, which all layers share.
const RANDOM: [&str; 2] = ["vera_A", "vera_B"];

/// The keys of [`VectorConfig`], and those that the shapes of tensors state (`feedforward_modules`) or that have no
/// influence after training.
const READ: [&str; 13] = [
    "base_model_name_or_path",
    "bias",
    "d_initial",
    "feedforward_modules",
    "init_ia3_weights",
    "init_weights",
    "modules_to_save",
    "peft_type",
    "projection_prng_key",
    "r",
    "save_projection",
    "target_modules",
    "vera_dropout",
];

/// The relevant part of adapter_config.json.
#[derive(Debug, Deserialize)]
pub(super) struct VectorConfig {
    peft_type: String,
    bias: Option<String>,
    r: Option<i64>,
    projection_prng_key: Option<u32>,
    d_initial: Option<f64>,
    vera_dropout: Option<f64>,
    base_model_name_or_path: Option<String>,
    modules_to_save: Option<Vec<String>>,
}

/// Reads adapter_config.json of (IA)³ or VeRA; none for another `peft_type`.
pub(super) fn read(text: &str) -> Result<Option<VectorConfig>, String> {
    let kind: serde_json::Value = serde_json::from_str(text).map_err(|e| format!("is not a JSON object: {e}"))?;
    if !matches!(kind["peft_type"].as_str(), Some("IA3" | "VERA")) {
        return Ok(None);
    }
    let keys = peft_file::relevant(text, &READ)?;
    let config: VectorConfig = serde_json::from_value(serde_json::Value::Object(keys)).map_err(|e| e.to_string())?;
    if let Some(bias) = config.bias.as_deref().filter(|b| *b != "none") {
        return Err(format!("`bias` is \"{bias}\": trained biases, which are not supported"));
    }
    if config.peft_type == "VERA" && (config.r.is_none_or(|r| r < 1) || config.projection_prng_key.is_none()) {
        return Err("VeRA needs `r` of at least 1 and `projection_prng_key` from 0 to 4294967295".into());
    }
    Ok(Some(config))
}

impl VectorConfig {
    pub(super) fn adapter(self, path: PathBuf, tensors: Tensors) -> AdapterFile {
        let form = match (self.peft_type.as_str(), self.r, self.projection_prng_key) {
            ("VERA", Some(r), Some(key)) => AdapterForm::Vera {
                r,
                key,
                d_initial: self.d_initial.unwrap_or(0.1),
            },
            _ => AdapterForm::Ia3,
        };
        let bare = |name: String| match name.strip_prefix("base_model.") {
            Some(random) if RANDOM.contains(&random) => random.to_string(),
            _ => name,
        };
        AdapterFile {
            path,
            tensors: tensors.into_iter().map(|(name, t)| (bare(name), t)).collect(),
            form,
            alpha: None,
            dropout: self.vera_dropout.unwrap_or(0.0),
            saved: self.modules_to_save.unwrap_or_default(),
            base: self.base_model_name_or_path.filter(|name| !name.is_empty()),
            layerwise: Layerwise::default(),
        }
    }
}

impl AdapterFile {
    /// The method of this adapter on `base`, as a mapping with `kind`, and its tensors by the names of that model's
    /// variables.
    ///
    /// # Errors
    /// Those of [`AdapterFile::fit`], but for DoRA and trained biases; [`Error::Format`] for a VeRA whose random matrices are not those of its key.
    pub fn method(&self, base: &Base) -> Result<(Value, Tensors)> {
        if let AdapterForm::Lora { .. } = self.form {
            let fitted = self.fitted(base)?;
            return Ok((settings(&fitted)?, fitted.tensors));
        }
        if let Some(damage) = self.damage().first() {
            return Err(self.fault(damage));
        }
        let (value, tensors) = match &self.form {
            AdapterForm::Vera { r, key, d_initial } => self.vera(base, *r, *key, *d_initial)?,
            _ => self.ia3(base)?,
        };
        Ok((method::resolved(&value)?, tensors))
    }

    fn ia3(&self, base: &Base) -> Result<(Value, Tensors)> {
        let (mut targets, mut feedforward) = (BTreeSet::new(), BTreeSet::new());
        let mut tensors = Tensors::new();
        for (name, factors) in &self.tensors {
            let Some(module) = name.strip_suffix(IA3) else { continue };
            let layer = self.layer(base, module)?;
            let forms = [[layer.out_dim, 1], [1, layer.in_dim]];
            let input = forms.iter().position(|dims| factors.size() == dims);
            let input = input.ok_or_else(|| {
                self.fault(format!(
                    "`{name}` is {:?}, and the base needs {:?} or {:?}",
                    factors.size(),
                    forms[0],
                    forms[1]
                ))
            })?;
            if !targets.insert(layer.role) && (input == 1) != feedforward.contains(&layer.role) {
                return Err(self.fault(format!(
                    "scales the inputs of some {} layers and the outputs of others, which is not supported",
                    layer.role
                )));
            }
            if input == 1 {
                feedforward.insert(layer.role);
            }
            tensors.insert(format!("{}{IA3}", layer.name), factors.shallow_clone());
        }
        if targets.is_empty() {
            return Err(self.fault("has no factors of (IA)³"));
        }
        self.check_all_blocks(base, &targets, IA3, &tensors)?;
        self.add_head(base, |n| n.ends_with(IA3), &mut tensors)?;
        let value = json!({"kind": "ia3", "targets": targets, "feedforward": feedforward});
        Ok((yaml(value)?, tensors))
    }

    fn vera(&self, base: &Base, r: i64, key: u32, d_initial: f64) -> Result<(Value, Tensors)> {
        let mut targets = BTreeSet::new();
        let mut tensors = Tensors::new();
        for (name, vector) in &self.tensors {
            let found = [LAMBDA_D, LAMBDA_B]
                .into_iter()
                .find_map(|end| Some((name.strip_suffix(end)?, end)));
            let Some((module, end)) = found else { continue };
            let layer = self.layer(base, module)?;
            let wanted = if end == LAMBDA_D { r } else { layer.out_dim };
            if vector.size() != [wanted] {
                return Err(self.fault(format!(
                    "`{name}` is {:?}, and the base needs [{wanted}]",
                    vector.size()
                )));
            }
            targets.insert(layer.role);
            tensors.insert(format!("{}{end}", layer.name), vector.shallow_clone());
        }
        if targets.is_empty() {
            return Err(self.fault("has no vectors of VeRA"));
        }
        for end in [LAMBDA_D, LAMBDA_B] {
            self.check_all_blocks(base, &targets, end, &tensors)?;
        }
        for (name, ours) in RANDOM.iter().zip(random(base, &targets, r, key)) {
            let same = |theirs: &Tensor| {
                theirs.size() == ours.size() && theirs.to_kind(Kind::Float).allclose(&ours, 1e-5, 1e-6, false)
            };
            if self.tensors.get(*name).is_some_and(|theirs| !same(theirs)) {
                return Err(self.fault(format!(
                    "`{name}` is not the matrix that PEFT draws with the key {key} for these layers; random matrices of another origin are \
                     not supported"
                )));
            }
        }
        let of_method = |n: &str| RANDOM.contains(&n) || n.ends_with(LAMBDA_D) || n.ends_with(LAMBDA_B);
        self.add_head(base, of_method, &mut tensors)?;
        let value = json!({
            "kind": "vera", "r": r, "d_initial": d_initial, "projection_key": key, "dropout": self.dropout, "targets": targets,
        });
        Ok((yaml(value)?, tensors))
    }
}

/// `{kind: lora, r: ..., ...}`, or dora; where biases are trained, joined with BitFit.
fn settings(fitted: &Fitted) -> Result<Value> {
    let kind = if fitted.dora { "dora" } else { "lora" };
    let lora = serde_json::to_value(&fitted.lora).map_err(|e| Error::Config(e.to_string()))?;
    let mut value = match fitted.biases {
        true => json!({"kind": format!("bitfit+{kind}")}),
        false => json!({"kind": kind}),
    };
    match (value.as_object_mut(), lora) {
        (Some(map), lora) if fitted.biases => drop(map.insert(kind.into(), lora)),
        (Some(map), serde_json::Value::Object(lora)) => map.extend(lora),
        _ => {}
    }
    method::resolved(&yaml(value)?)
}

fn yaml(value: serde_json::Value) -> Result<Value> {
    serde_yaml::to_value(value).map_err(|e| Error::Config(e.to_string()))
}

/// VeRA's A and B for layers with these roles: as [`crate::nn::Scope::shared`] creates them for the method.
fn random(base: &Base, targets: &BTreeSet<Role>, r: i64, key: u32) -> [Tensor; 2] {
    let layers = base.layers.iter().filter(|l| targets.contains(&l.role));
    let dims = layers.fold((0, 0), |most, l| (most.0.max(l.in_dim), most.1.max(l.out_dim)));
    let draw = |dims: [i64; 2], skip| {
        let bound = (6.0 / dims[1] as f64).sqrt();
        Init::Torch { bound, key, skip }.fill(0, &dims)
    };
    [draw([r, dims.0], 0), draw([dims.1, r], (r * dims.0) as usize)]
}

/// An adapter of (IA)³ or VeRA to be saved in PEFT's format.
#[derive(Debug)]
pub struct VectorExport<'a> {
    /// The base model.
    pub base: &'a Base,
    /// The base's name on the hub, or its folder.
    pub name: &'a str,
    /// The base's commit on the hub.
    pub revision: Option<&'a str>,
    /// The method with all its settings.
    pub method: &'a Value,
    /// The trained tensors, by the names of the model's variables.
    pub trained: &'a Tensors,
}

/// The settings of (IA)³ and VeRA.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Settings {
    Ia3 {
        targets: BTreeSet<Role>,
        feedforward: BTreeSet<Role>,
    },
    Vera {
        r: i64,
        d_initial: f64,
        projection_key: u32,
        #[serde(default)]
        dropout: f64,
        targets: BTreeSet<Role>,
    },
}

impl VectorExport<'_> {
    /// Writes `adapter_config.json` and `adapter_model.safetensors`. Factors of some slots of a fused weight become
    /// factors of the whole, with 1 for the other slots.
    ///
    /// # Errors
    /// [`Error::Config`], before anything is written, for another method, or vectors of the slots of a fused weight that
    /// are not factors of its output. [`Error::Io`].
    pub fn save(&self, dir: &Path) -> Result<()> {
        let settings: Settings = serde_yaml::from_value(method::resolved(self.method)?)
            .map_err(|_| Error::Config("PEFT's format holds LoRA, DoRA, (IA)³ and VeRA only".into()))?;
        let (mut tensors, own) = match settings {
            Settings::Ia3 { targets, feedforward } => self.ia3(&targets, &feedforward)?,
            Settings::Vera {
                r,
                d_initial,
                projection_key,
                dropout,
                targets,
            } => {
                let (mut tensors, modules) = self.vera(&targets)?;
                let matrices = random(self.base, &targets, r, projection_key);
                let named = RANDOM
                    .iter()
                    .zip(matrices)
                    .map(|(name, m)| (format!("base_model.{name}"), m));
                tensors.extend(named);
                let own = json!({
                    "peft_type": "VERA", "r": r, "d_initial": d_initial, "projection_prng_key": projection_key, "save_projection": true,
                    "vera_dropout": dropout, "bias": "none", "init_weights": true, "layers_pattern": null, "layers_to_transform": null,
                    "target_modules": suffixes(&modules, &self.base.modules),
                });
                (tensors, own)
            }
        };
        tensors.extend(peft_file::head(self.base, self.trained));
        let (task, saved) = peft_file::task(self.base, self.trained);
        let mut config = json!({
            "auto_mapping": null, "base_model_name_or_path": self.name, "fan_in_fan_out": !self.base.arch.transposed.is_empty(),
            "inference_mode": true, "modules_to_save": saved, "revision": self.revision, "task_type": task,
        });
        if let (Some(config), serde_json::Value::Object(own)) = (config.as_object_mut(), own) {
            config.extend(own);
        }
        peft_file::write(dir, &config, &tensors)
    }

    fn get(&self, name: String) -> Result<Tensor> {
        let found = self.trained.get(&name).map(|t| t.to_kind(Kind::Float));
        found.ok_or_else(|| Error::Config(format!("there is no tensor `{name}`")))
    }

    fn layers(&self, targets: &BTreeSet<Role>) -> impl Iterator<Item = &Layer> {
        self.base.layers.iter().filter(|l| targets.contains(&l.role))
    }

    fn ia3(&self, targets: &BTreeSet<Role>, input: &BTreeSet<Role>) -> Result<(NamedTensors, serde_json::Value)> {
        let mut factors: BTreeMap<&str, Tensor> = BTreeMap::new();
        let [mut outputs, mut inputs] = [BTreeSet::new(), BTreeSet::new()];
        for layer in self.layers(targets) {
            let own = self.get(format!("{}{IA3}", layer.name))?;
            let (module, start) = (layer.module.0.as_str(), layer.module.1);
            let modules = if input.contains(&layer.role) {
                &mut inputs
            } else {
                &mut outputs
            };
            modules.insert(module.to_string());
            if layer.name == module {
                factors.insert(module, own);
                continue;
            }
            if input.contains(&layer.role) {
                return Err(slots(module, "factors of the input"));
            }
            let whole = self
                .base
                .layers
                .iter()
                .find(|l| l.name == module)
                .map_or(0, |l| l.out_dim);
            let all = factors
                .entry(module)
                .or_insert_with(|| Tensor::ones([whole, 1], (Kind::Float, own.device())));
            all.narrow(0, start, layer.out_dim).copy_(&own);
        }
        let [inputs, outputs] = [inputs, outputs].map(|modules| suffixes(&modules, &self.base.modules));
        let own = json!({
            "peft_type": "IA3", "feedforward_modules": inputs, "target_modules": outputs.union(&inputs).collect::<Vec<_>>(),
            "exclude_modules": null, "init_ia3_weights": true,
        });
        let tensors = factors
            .into_iter()
            .map(|(module, t)| (format!("{PREFIX}{module}{IA3}"), t));
        Ok((tensors.collect(), own))
    }

    fn vera(&self, targets: &BTreeSet<Role>) -> Result<(NamedTensors, BTreeSet<String>)> {
        let mut tensors = Vec::new();
        let mut modules = BTreeSet::new();
        for layer in self.layers(targets) {
            if layer.name != layer.module.0 {
                return Err(slots(&layer.module.0, "vectors"));
            }
            for end in [LAMBDA_D, LAMBDA_B] {
                let name = format!("{}{end}", layer.name);
                tensors.push((format!("{PREFIX}{name}"), self.get(name)?));
            }
            modules.insert(layer.name.clone());
        }
        Ok((tensors, modules))
    }
}

fn slots(module: &str, what: &str) -> Error {
    Error::Config(format!(
        "PEFT adapts `{module}` as a whole and has no {what} for a part of it; train `qkv` to export such an adapter"
    ))
}
