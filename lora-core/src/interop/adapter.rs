//! Adapters in files of other libraries, and their fit to a base model.

use super::base::{Base, Layer, Tensors};
use super::layerwise::Layerwise;
use super::peft_file::plain;
use crate::method::LoraInit;
use crate::nn::Role;
use crate::nn::check_finite;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tch::{Kind, Tensor};

pub(super) const A: &str = ".lora_A.weight";
pub(super) const B: &str = ".lora_B.weight";

/// What an adapter's tensors are, apart from the head.
#[derive(Clone, Debug, PartialEq)]
pub enum AdapterForm {
    /// LoRA's factors.
    Lora {
        /// Whether the scale is α / √r in place of α / r.
        rslora: bool,
        /// Where A and B started. [`LoraInit::Pissa`] says what the base is: the pretrained weights without A and B of
        /// the start.
        init: LoraInit,
        /// Whether there are magnitudes too, `LAYER.lora_magnitude_vector` `[out]`.
        dora: bool,
    },
    /// (IA)³'s factors: `LAYER.ia3_l` `[out, 1]`, or `[1, in]` for factors of the input.
    Ia3,
    /// VeRA's vectors `LAYER.vera_lambda_d` `[r]` and `LAYER.vera_lambda_b` `[out]`, and `vera_A` and `vera_B` if the file
    /// has them.
    Vera {
        /// The rank.
        r: i64,
        /// The seed of the random matrices.
        key: u32,
        /// The initial value of the vectors `vera_lambda_d`.
        d_initial: f64,
    },
}

impl AdapterForm {
    /// LoRA as loralib has it.
    pub fn plain_lora() -> AdapterForm {
        AdapterForm::Lora {
            rslora: false,
            init: LoraInit::Kaiming,
            dora: false,
        }
    }
}

/// An adapter as stored in a file, with the head if the file has one.
#[derive(Debug)]
pub struct AdapterFile {
    /// The file, for error messages.
    pub path: PathBuf,
    /// Of LoRA `LAYER.lora_A.weight` `[r, in]` and `LAYER.lora_B.weight` `[out, r]`, else as [`AdapterForm`] says; all
    /// other tensors belong to the head.
    pub tensors: Tensors,
    /// What they are.
    pub form: AdapterForm,
    /// α, if the file states it.
    pub alpha: Option<f64>,
    /// Dropout rate on the input of A, in training.
    pub dropout: f64,
    /// PEFT's `modules_to_save`: suffixes of the names of modules that were trained in full.
    pub saved: Vec<String>,
    /// The name of the base model in the file.
    pub base: Option<String>,
    /// What the configuration says of single layers.
    pub layerwise: Layerwise,
}

/// The norms of the update of one layer.
#[derive(Clone, Debug)]
pub struct Norms {
    /// The layer.
    pub layer: String,
    /// The rank.
    pub r: i64,
    /// Frobenius norm of A.
    pub a: f64,
    /// Frobenius norm of B.
    pub b: f64,
    /// Frobenius norm of B A, without the factor α / r.
    pub ba: f64,
}

impl AdapterFile {
    /// The norms of all updates, without forming B A: |BA|² is the sum of (BᵀB) ∘ (AAᵀ), both r x r.
    ///
    /// # Errors
    /// [`Error::Format`] if a layer has only one of A and B, or their ranks differ.
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

    /// The α for which the scale of the updates is α / r, if α is known and the same for all layers.
    pub fn linear_alpha(&self) -> Option<f64> {
        let alpha = self.alpha.filter(|_| !self.layerwise.differ())?;
        let a = self.tensors.iter().find(|(name, _)| name.ends_with(A));
        match (&self.form, a) {
            (AdapterForm::Lora { rslora: true, .. }, Some((_, a))) => Some(alpha * (a.size()[0] as f64).sqrt()),
            _ => Some(alpha),
        }
    }

    /// A message for each tensor with NaN or infinity.
    pub fn damage(&self) -> Vec<String> {
        let checked = self.tensors.iter().map(|(name, t)| check_finite(name, t));
        checked.filter_map(|c| Some(c.err()?.to_string())).collect()
    }

    /// The entries of `modules_to_save` without a tensor in the file. There usually is one, since PEFT lists
    /// `classifier` and `score` for every classifier.
    pub fn unsaved(&self) -> Vec<&str> {
        let has = |end: &String| {
            self.tensors
                .keys()
                .any(|name| ancestors(name).any(|module| module.ends_with(end.as_str())))
        };
        self.saved.iter().filter(|end| !has(end)).map(String::as_str).collect()
    }

    /// The layers with A and B. Fails unless both exist and have the same rank.
    pub(super) fn pairs(&self) -> Result<Vec<(&str, &Tensor, &Tensor)>> {
        let mut pairs = Vec::new();
        for (name, tensor) in &self.tensors {
            let (layer, other, is_a) = match (name.strip_suffix(A), name.strip_suffix(B)) {
                (Some(layer), _) => (layer, format!("{layer}{B}"), true),
                (_, Some(layer)) => (layer, format!("{layer}{A}"), false),
                _ => continue,
            };
            let partner = self.tensors.get(&other);
            let other = partner.ok_or_else(|| self.fault(format!("has `{name}` but no `{other}`")))?;
            let matrices = tensor.dim() == 2 && other.dim() == 2 && tensor.is_floating_point();
            if is_a {
                if !matrices || tensor.size()[0] != other.size()[1] || tensor.size()[0] < 1 {
                    let (a, b) = (tensor.size(), other.size());
                    return Err(self.fault(format!("`{layer}`: A {a:?} and B {b:?} are not factors of one update")));
                }
                pairs.push((layer, tensor, other));
            }
        }
        if pairs.is_empty() {
            return Err(self.fault("has no LoRA factors"));
        }
        Ok(pairs)
    }

    /// Adds the tensors of the head, which are those for which `of_method` is false.
    pub(super) fn add_head(&self, base: &Base, of_method: impl Fn(&str) -> bool, tensors: &mut Tensors) -> Result<()> {
        for (name, tensor) in self.tensors.iter().filter(|(n, _)| !of_method(n)) {
            let found = plain(name);
            let variable = base.find(&found, |n| base.head.contains_key(n));
            let variable = variable.ok_or_else(|| self.fault(self.no_match(base, name)))?;
            tensors.insert(variable.into_owned(), tensor.shallow_clone());
        }
        self.check_saved(base, tensors)
    }

    pub(super) fn layer<'b>(&self, base: &'b Base, name: &str) -> Result<&'b Layer> {
        let found = base.find(name, |n| base.layers.iter().any(|l| l.name == n));
        let found = found.and_then(|name| base.layers.iter().find(|l| l.name == name));
        found.ok_or_else(|| self.fault(self.no_match(base, name)))
    }

    pub(super) fn no_match(&self, base: &Base, name: &str) -> String {
        let kind = base.model_type();
        format!(
            "`{name}` matches no layer of the base {} ({kind}): the adapter belongs to another or a larger base, or adapts a layer that methods here cannot",
            base.dir.display()
        )
    }

    /// Fails unless every block has all targets.
    pub(super) fn check_all_blocks(
        &self,
        base: &Base,
        targets: &BTreeSet<Role>,
        end: &str,
        tensors: &Tensors,
    ) -> Result<()> {
        let lacks = |l: &&Layer| targets.contains(&l.role) && !tensors.contains_key(&format!("{}{end}", l.name));
        match base.layers.iter().find(lacks) {
            Some(layer) => Err(self.fault(format!(
                "has no update for `{}`: the base has more layers than the adapter, or only some layers are adapted, which is not supported",
                layer.name
            ))),
            None => Ok(()),
        }
    }

    /// Fails unless there is a tensor for each variable of the base that matches `modules_to_save`, as in PEFT.
    fn check_saved(&self, base: &Base, tensors: &Tensors) -> Result<()> {
        let matrices = base.modules.iter().map(|module| format!("{module}.weight"));
        let all: BTreeSet<String> = matrices.chain(base.head.keys().cloned()).collect();
        for end in &self.saved {
            let of_it = |name: &&String| ancestors(name).any(|module| module.ends_with(end.as_str()));
            if let Some(name) = all.iter().filter(of_it).find(|name| !tensors.contains_key(*name)) {
                return Err(self.fault(format!(
                    "has no `{name}`, although adapter_config.json lists `{end}` under `modules_to_save`: save the adapter again \
                     with that module, or remove `{end}` from the list to use the base's own weights"
                )));
            }
        }
        Ok(())
    }

    pub(super) fn fault(&self, what: impl Into<String>) -> Error {
        Error::format(&self.path, what)
    }
}

/// The modules that contain the tensor of this name, innermost first.
fn ancestors(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(name.rsplit_once('.'), |(module, _)| module.rsplit_once('.')).map(|(module, _)| module)
}

/// The square root; 0 for a value that rounding made negative. NaN stays NaN.
fn root(square: f64) -> f64 {
    if square < 0.0 { 0.0 } else { square.sqrt() }
}
