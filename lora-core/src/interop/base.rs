//! Base models of adapters: layers by name and role, and the variables of the head.

use crate::model::{self, Arch, Model, ModelShape};
use crate::nn::copy;
use crate::nn::{AttachPoint, Branch, Build, BuiltParams, Method, Owner, ParamKind, Params, Role, Scope, Site};
use crate::weights::Weights;
use crate::{Error, Result};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tch::{Device, Kind, Tensor};

/// Tensors by the names of a model's variables.
pub type Tensors = BTreeMap<String, Tensor>;

/// A linear layer that methods can adapt.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The full name; a slot of a fused weight has its role as suffix (`...c_attn.query`).
    pub name: String,
    /// The role.
    pub role: Role,
    /// Features in.
    pub in_dim: i64,
    /// Features out.
    pub out_dim: i64,
    /// The module that holds the weight, and the index of the layer's first output feature in it.
    pub module: (String, i64),
}

/// A base model's folder.
#[derive(Debug)]
pub struct Base {
    /// The folder.
    pub dir: PathBuf,
    /// Its config.json.
    pub config: Value,
    /// Its architecture.
    pub arch: &'static Arch,
    /// All layers that methods can adapt.
    pub layers: Vec<Layer>,
    /// All modules with a matrix or an embedding.
    pub modules: BTreeSet<String>,
    /// The variables of the head, and whether each has one row per output.
    pub head: BTreeMap<String, bool>,
}

/// A method without effect that records the layers of a model.
#[derive(Debug, Default)]
struct Probe(Mutex<Vec<LinearLayer>>);

/// Name, role, and features in and out of a layer.
type LinearLayer = (String, Role, [i64; 2]);

impl Method for Probe {
    fn claims(&self) -> BTreeSet<AttachPoint> {
        BTreeSet::new()
    }

    fn at_linear(&self, role: Role, site: &Site, scope: &Scope) -> Result<Option<Box<dyn Branch>>> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push((scope.name().to_string(), role, [site.in_dim, site.out_dim]));
        Ok(None)
    }

    fn expected_params(&self, _: &ModelShape) -> (i64, i64) {
        (0, 0)
    }
}

impl Base {
    /// Reads the folder's config.json. Weights are only read by [`Base::load`] and [`Base::complete`].
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Format`] or [`Error::Config`] for a config.json that is missing, damaged or of an
    /// unknown architecture.
    pub fn open(dir: &Path) -> Result<Base> {
        let probe = Probe::default();
        let shapes = |params: Params| -> BTreeMap<String, (Owner, ParamKind, Vec<i64>)> {
            let one =
                |e: &crate::nn::NamedParam| (e.param.name.clone(), (e.param.owner, e.param.kind, e.tensor.size()));
            params.iter().map(one).collect()
        };
        let (config, arch) = model::load_config(dir)?;
        let mut base = Base {
            dir: dir.to_path_buf(),
            config,
            arch,
            layers: Vec::new(),
            modules: BTreeSet::new(),
            head: BTreeMap::new(),
        };
        let build = Build::new(&probe, 0);
        let _model = base.model(2, &build)?;
        let two = shapes(build.finish()?.params);
        base.layers = layers(probe.0.into_inner().unwrap_or_else(PoisonError::into_inner));
        let nothing = Probe::default();
        let build = Build::new(&nothing, 0);
        let _model = base.model(1, &build)?;
        for (name, (owner, kind, size)) in shapes(build.finish()?.params) {
            if matches!(kind, ParamKind::Weight | ParamKind::Embedding) {
                base.modules.insert(name.trim_end_matches(".weight").to_string());
            }
            if owner == Owner::Head {
                let grows = two.get(&name).is_none_or(|(.., other)| *other != size);
                base.head.insert(name, grows);
            }
        }
        Ok(base)
    }

    /// The architecture's `model_type`.
    pub fn model_type(&self) -> &'static str {
        self.arch.model_type
    }

    /// Builds the model with a head of `outputs` outputs (ignored by a language model).
    pub(crate) fn model(&self, outputs: i64, build: &Build) -> Result<Box<dyn Model>> {
        match self.arch.build {
            Some(_) => self.arch.classifier(&self.config, outputs, &build.scope()),
            None => self.arch.language_model(&self.config, &build.scope()),
        }
    }

    /// The name of the model's variable that a file calls `name`, which may lack the architecture's prefix.
    pub(super) fn find<'n>(&self, name: &'n str, known: impl Fn(&str) -> bool) -> Option<Cow<'n, str>> {
        if known(name) {
            return Some(name.into());
        }
        let full = format!("{}{name}", self.arch.prefix);
        known(&full).then_some(full.into())
    }

    /// The trained tensors, completed with the base's own variables of the head.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Format`] for weights that cannot be read.
    pub fn complete(&self, trained: &Tensors) -> Result<Tensors> {
        let mut all: Tensors = trained.iter().map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        let weights = Weights::open(&self.dir)?;
        for name in weights.names() {
            let Some(variable) = self.find(name, |n| self.head.contains_key(n)) else {
                continue;
            };
            if !all.contains_key(variable.as_ref()) {
                all.insert(variable.into_owned(), weights.tensor(name)?);
            }
        }
        Ok(all)
    }

    /// The base's own variables but for the head, in fp32, by the names of the model's variables.
    ///
    /// # Errors
    /// [`Error::Load`], [`Error::Io`] or [`Error::Format`] for weights that are missing or cannot be read.
    pub fn variables(&self) -> Result<Tensors> {
        let (_model, built) = self.load(&Probe::default(), 1, Device::Cpu, Kind::Float)?;
        let own = built.params.iter().filter(|e| e.param.owner == Owner::Base);
        Ok(own.map(|e| (e.param.name.clone(), e.tensor.detach())).collect())
    }

    /// The number of outputs of the head in `trained`; 1 for a language model, which has no head.
    ///
    /// # Errors
    /// [`Error::Format`] if `trained` lacks the head's last layer.
    pub fn outputs(&self, trained: &Tensors) -> Result<i64> {
        let last: Vec<&String> = self.head.iter().filter(|(_, grows)| **grows).map(|(n, _)| n).collect();
        let Some(first) = last.first() else { return Ok(1) };
        let rows = last.iter().find_map(|name| trained.get(*name)?.size().first().copied());
        rows.ok_or_else(|| {
            let what = format!("has no `{first}`, and neither has the adapter: there is no classification head");
            Error::format(&self.dir, what)
        })
    }

    /// The model with `method`, the base's weights, and a head of `outputs` outputs; variables of the head that the
    /// base lacks or has in another shape are freshly initialised.
    ///
    /// # Errors
    /// [`Error::Load`]; [`Error::Config`] for a method that does not fit the model.
    pub fn load(
        &self,
        method: &dyn Method,
        outputs: i64,
        device: Device,
        kind: Kind,
    ) -> Result<(Box<dyn Model>, BuiltParams)> {
        let build = Build::new(method, 0).device(device).base_kind(kind);
        let model = self.model(outputs, &build)?;
        let built = build.finish()?;
        let mut report = Weights::open(&self.dir)?.load_into(&built.params, self.arch)?;
        // The base's file may have the head of another task.
        report.mismatched.retain(|(name, ..)| !self.head.contains_key(name));
        report.require_complete()?;
        Ok((model, built))
    }

    /// [`Base::load`], then copies `trained`, completed by [`Base::complete`], into the model's variables. The names
    /// and shapes must be exactly those of the trained variables.
    ///
    /// # Errors
    /// Those of [`Base::load`]; [`Error::Config`] for a tensor that is missing, unexpected or of another shape.
    pub fn load_trained(
        &self,
        method: &dyn Method,
        trained: &Tensors,
        device: Device,
        kind: Kind,
    ) -> Result<(Box<dyn Model>, BuiltParams)> {
        let trained = self.complete(trained)?;
        let (model, built) = self.load(method, self.outputs(&trained)?, device, kind)?;
        fill(&built.params, &trained, |_| true)?;
        Ok((model, built))
    }
}

/// Copies `trained` into the variables of these names. Every tensor must have a variable, and every trainable variable
/// whose owner is `wanted` a tensor.
pub(crate) fn fill(params: &Params, trained: &Tensors, wanted: impl Fn(Owner) -> bool) -> Result<()> {
    for (name, tensor) in trained {
        let entry = params.get(name).filter(|e| e.tensor.requires_grad());
        let entry = entry.ok_or_else(|| {
            Error::Config(format!(
                "`{name}` is not a trainable variable of this model and method: check r, targets and the base"
            ))
        })?;
        copy(tensor, &entry.tensor, name)?;
    }
    let mut missing = params
        .trainable()
        .filter(|e| wanted(e.param.owner) && !trained.contains_key(&e.param.name));
    match missing.next() {
        Some(entry) => Err(Error::Config(format!(
            "there is no tensor for `{}`; check r, targets and the base",
            entry.param.name
        ))),
        None => Ok(()),
    }
}

/// Adds to each layer the module that holds its weight.
fn layers(seen: Vec<LinearLayer>) -> Vec<Layer> {
    // The name of a slot of a fused weight is the weight's name and the slot's role.
    let fused: BTreeSet<String> = seen
        .iter()
        .filter(|(_, role, _)| *role == Role::Qkv)
        .map(|(name, ..)| name.clone())
        .collect();
    let mut starts: BTreeMap<String, i64> = BTreeMap::new();
    let layer = |(name, role, [in_dim, out_dim]): LinearLayer| {
        let parent = name.strip_suffix(&format!(".{role}")).filter(|n| fused.contains(*n));
        let module = match parent {
            Some(module) => {
                let start = starts.entry(module.to_string()).or_default();
                *start += out_dim;
                (module.to_string(), *start - out_dim)
            }
            None => (name.clone(), 0),
        };
        Layer {
            name,
            role,
            in_dim,
            out_dim,
            module,
        }
    };
    seen.into_iter().map(layer).collect()
}
