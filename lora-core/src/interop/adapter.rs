//! What a file of another library holds of an adapter, held against a base model.

use super::base::{Base, Layer, Tensors};
use crate::method::{Lora, LoraInit, LoraSettings};
use crate::nn::Role;
use crate::nn::check_finite;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tch::{Kind, Tensor};

pub(super) const A: &str = ".lora_A.weight";
pub(super) const B: &str = ".lora_B.weight";

/// A LoRA adapter as a file holds it, and perhaps a head.
#[derive(Debug)]
pub struct Adapter {
    /// The file, for messages.
    pub path: PathBuf,
    /// `LAYER.lora_A.weight` `[r, in]`, `LAYER.lora_B.weight` `[out, r]`; whatever is called otherwise is the head's.
    pub tensors: Tensors,
    /// α, where the file says it.
    pub alpha: Option<f64>,
    /// Dropout in front of A, in training.
    pub dropout: f64,
    /// Ends of names of modules that the file says were trained whole.
    pub saved: Vec<String>,
    /// The base model by the name that the file gives it.
    pub base: Option<String>,
}

/// One update, and how large it is.
#[derive(Clone, Debug)]
pub struct Norms {
    /// The layer.
    pub layer: String,
    /// Its rank.
    pub r: i64,
    /// Frobenius norm of A.
    pub a: f64,
    /// Frobenius norm of B.
    pub b: f64,
    /// Frobenius norm of B·A, without α / r.
    pub ba: f64,
}

impl Adapter {
    /// The norms of every update, without ever forming B·A: |BA|² is the sum of (BᵀB) ∘ (AAᵀ), both r x r.
    ///
    /// # Errors
    /// [`Error::Format`] for a factor without the other, or two that do not go together.
    pub fn norms(&self) -> Result<Vec<Norms>> {
        let norms = |(layer, a, b): (&str, &Tensor, &Tensor)| {
            let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
            let inner = (b.tr().matmul(&b) * a.matmul(&a.tr())).sum(Kind::Double);
            Norms {
                layer: layer.to_string(),
                r: a.size()[0],
                a: a.norm().double_value(&[]),
                b: b.norm().double_value(&[]),
                ba: root(inner.double_value(&[])),
            }
        };
        Ok(self.pairs()?.into_iter().map(norms).collect())
    }

    /// What is not finite, in words: a line for each such tensor.
    pub fn damage(&self) -> Vec<String> {
        let checked = self.tensors.iter().map(|(name, t)| check_finite(name, t));
        checked.filter_map(|c| Some(c.err()?.to_string())).collect()
    }

    /// The entries of `modules_to_save` of which no tensor is in the file. Those of other models' heads are always among them:
    /// PEFT lists `classifier` and `score` for every classifier.
    pub fn unsaved(&self) -> Vec<&str> {
        let has = |end: &String| {
            self.tensors
                .keys()
                .any(|name| above(name).any(|module| module.ends_with(end.as_str())))
        };
        self.saved.iter().filter(|end| !has(end)).map(String::as_str).collect()
    }

    /// Layer, A and B, each pair whole and of one rank.
    fn pairs(&self) -> Result<Vec<(&str, &Tensor, &Tensor)>> {
        let mut pairs = Vec::new();
        for (name, tensor) in &self.tensors {
            let (layer, other, is_a) = match (name.strip_suffix(A), name.strip_suffix(B)) {
                (Some(layer), _) => (layer, format!("{layer}{B}"), true),
                (_, Some(layer)) => (layer, format!("{layer}{A}"), false),
                _ => continue,
            };
            let partner = self.tensors.get(&other);
            let other = partner.ok_or_else(|| self.fault(format!("has `{name}` and no `{other}`")))?;
            let matrices = tensor.dim() == 2 && other.dim() == 2 && tensor.is_floating_point();
            if is_a {
                if !matrices || tensor.size()[0] != other.size()[1] || tensor.size()[0] < 1 {
                    let (a, b) = (tensor.size(), other.size());
                    return Err(self.fault(format!("`{layer}`: A {a:?} and B {b:?} are no factors of one update")));
                }
                pairs.push((layer, tensor, other));
            }
        }
        if pairs.is_empty() {
            return Err(self.fault("holds no LoRA factor"));
        }
        Ok(pairs)
    }

    /// The method that this adapter is on `base`, and its tensors under the names of that model's variables.
    ///
    /// # Errors
    /// [`Error::Format`] if it is of another base (a name or a shape that is not the base's, fewer or more layers), lacks what it
    /// says was trained, holds what is no number, or is what one LoRA method with one rank for all layers cannot say;
    /// [`Error::Config`] for an α or a rank that is none.
    pub fn fit(&self, base: &Base) -> Result<(Lora, Tensors)> {
        if let Some(damage) = self.damage().first() {
            return Err(self.fault(damage));
        }
        let mut tensors = Tensors::new();
        let mut targets = BTreeSet::new();
        let mut ranks = BTreeSet::new();
        for (name, a, b) in self.pairs()? {
            let layer = self.layer(base, name)?;
            let (wanted, found) = ((layer.in_dim, layer.out_dim), (a.size()[1], b.size()[0]));
            if wanted != found {
                let ((i, o), (fi, fo)) = (wanted, found);
                return Err(self.fault(format!(
                    "`{name}` is for a matrix of {fo} x {fi} and the base's is {o} x {i}: it is an adapter of another base"
                )));
            }
            let (rank, (i, o)) = (a.size()[0], wanted);
            if rank > i.min(o) {
                return Err(self.fault(format!(
                    "has rank {rank} at `{name}`, more than the matrix of {o} x {i} can have, which is not supported"
                )));
            }
            targets.insert(layer.role);
            ranks.insert(a.size()[0]);
            tensors.insert(format!("{}{A}", layer.name), a.shallow_clone());
            tensors.insert(format!("{}{B}", layer.name), b.shallow_clone());
        }
        self.check_whole(base, &targets, &tensors)?;
        for (name, tensor) in self.tensors.iter().filter(|(n, _)| !n.ends_with(A) && !n.ends_with(B)) {
            let place = base.find(name, |n| base.head.contains_key(n));
            let place = place.ok_or_else(|| self.fault(self.no_place(base, name)))?;
            tensors.insert(place.into_owned(), tensor.shallow_clone());
        }
        self.check_saved(base, &tensors)?;
        let r = match ranks.into_iter().collect::<Vec<_>>().as_slice() {
            [r] => *r,
            several => {
                return Err(self.fault(format!(
                    "has layers of the ranks {several:?}; one rank for all layers is supported"
                )));
            }
        };
        let alpha = self.alpha.ok_or_else(|| {
            self.fault("does not say alpha, without which the updates have no size: give it (--alpha)")
        })?;
        let lora = Lora::try_from(LoraSettings {
            r,
            alpha,
            dropout: self.dropout,
            shared_mask: false,
            init: LoraInit::Kaiming,
            targets,
        });
        Ok((lora.map_err(|e| self.fault(e.to_string()))?, tensors))
    }

    fn layer<'b>(&self, base: &'b Base, name: &str) -> Result<&'b Layer> {
        let found = base.find(name, |n| base.layers.iter().any(|l| l.name == n));
        let found = found.and_then(|name| base.layers.iter().find(|l| l.name == name));
        found.ok_or_else(|| self.fault(self.no_place(base, name)))
    }

    fn no_place(&self, base: &Base, name: &str) -> String {
        let kind = base.model_type();
        format!(
            "`{name}` has no place in the base {} ({kind}): it is an adapter of another base or a larger one, or adapts what cannot be adapted here",
            base.dir.display()
        )
    }

    /// Each target in every layer: what PEFT's `layers_to_transform` leaves out cannot be left out here.
    fn check_whole(&self, base: &Base, targets: &BTreeSet<Role>, tensors: &Tensors) -> Result<()> {
        let lacks = |l: &&Layer| targets.contains(&l.role) && !tensors.contains_key(&format!("{}{A}", l.name));
        match base.layers.iter().find(lacks) {
            Some(layer) => Err(self.fault(format!(
                "has nothing for `{}`: the base has more layers than it, or only some were adapted, which is not supported",
                layer.name
            ))),
            None => Ok(()),
        }
    }

    /// A tensor for each variable of the base that the file says was trained, as PEFT asks for.
    fn check_saved(&self, base: &Base, tensors: &Tensors) -> Result<()> {
        let matrices = base.modules.iter().map(|module| format!("{module}.weight"));
        let all: BTreeSet<String> = matrices.chain(base.head.keys().cloned()).collect();
        for end in &self.saved {
            let of_it = |name: &&String| above(name).any(|module| module.ends_with(end.as_str()));
            if let Some(name) = all.iter().filter(of_it).find(|name| !tensors.contains_key(*name)) {
                return Err(self.fault(format!(
                    "has no `{name}`, though adapter_config.json lists `{end}` under `modules_to_save`: part of what was trained is \
                     missing; save the adapter again (or take `{end}` out of the list, if the base's own is meant)"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn fault(&self, what: impl Into<String>) -> Error {
        Error::format(&self.path, what)
    }
}

/// The modules that the tensor of this name is in, the innermost first.
fn above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(name.rsplit_once('.'), |(module, _)| module.rsplit_once('.')).map(|(module, _)| module)
}

/// The root of what is 0 or more but for rounding; NaN stays NaN.
fn root(square: f64) -> f64 {
    if square < 0.0 { 0.0 } else { square.sqrt() }
}
