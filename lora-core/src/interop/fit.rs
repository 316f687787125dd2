//! LoRA's and DoRA's factors held against a base: the method with which it computes the same function, and its tensors.
//!
//! Where layers of the file differ, the method is that of the largest: a layer that the adapter leaves out has factors of 0, which
//! training leaves at 0, and so has the rest of a layer of a smaller rank; another scale is a factor of B. A layer of the head is
//! trained as a whole, so its update is added to its weight.

use super::adapter::{A, AdapterFile, AdapterForm, B};
use super::base::{Base, Layer, Tensors};
use super::layerwise::TrainedBiases;
use super::peft_file::plain;
use crate::method::{Lora, LoraInit, LoraSettings};
use crate::nn::Role;
use crate::{Error, Result};
use std::collections::BTreeSet;
use tch::{Kind, Tensor};

/// The lengths of the rows of a layer's weight in PEFT's DoRA, `[out]`.
pub(super) const MAGNITUDE: &str = ".lora_magnitude_vector";
/// The same here, as multiples of the pretrained lengths.
pub(super) const GAIN: &str = ".lora_gain";
const BIAS: &str = ".bias";

/// An adapter as a method here.
pub(super) struct Fitted {
    /// The settings, those of DoRA too.
    pub lora: Lora,
    /// The trained tensors, by the names of the model's variables.
    pub tensors: Tensors,
    /// Whether magnitudes are trained.
    pub dora: bool,
    /// Whether all biases are trained, as by BitFit.
    pub biases: bool,
}

/// The update of one layer.
struct Update<'a> {
    /// The name in the file.
    name: &'a str,
    a: &'a Tensor,
    b: &'a Tensor,
    scale: f64,
    /// The lengths of the rows of the weight, in DoRA.
    magnitude: Option<&'a Tensor>,
}

impl Update<'_> {
    fn rank(&self) -> i64 {
        self.a.size()[0]
    }

    /// `weight` with the update.
    fn applied(&self, weight: &Tensor) -> Tensor {
        let product = self.b.to_kind(Kind::Float).matmul(&self.a.to_kind(Kind::Float)) * self.scale;
        let changed = weight + product;
        match self.magnitude {
            None => changed,
            Some(magnitude) => {
                let ratio = magnitude.to_kind(Kind::Float) / lengths(&changed);
                changed * ratio.unsqueeze(1)
            }
        }
    }
}

/// The lengths of the rows of `weight`, `[out]`.
pub(super) fn lengths(weight: &Tensor) -> Tensor {
    weight.norm_scalaropt_dim(2, [1], false).clamp_min(1e-12)
}

/// The base's own weight of `layer`, `[out, in]`.
pub(super) fn weight(variables: &Tensors, layer: &Layer) -> Result<Tensor> {
    let name = format!("{}.weight", layer.module.0);
    let whole = variables.get(&name);
    let whole = whole.ok_or_else(|| Error::Config(format!("the base has no `{name}`")))?;
    Ok(whole.narrow(0, layer.module.1, layer.out_dim))
}

impl AdapterFile {
    /// The LoRA method of this adapter on `base`, and its tensors by the names of that model's variables.
    ///
    /// # Errors
    /// [`Error::Format`] if it is no LoRA adapter or trains more than LoRA's factors, is for another base (names, shapes or the
    /// number of layers differ), lacks a module of `modules_to_save`, holds NaN or infinity, or has no valid α.
    pub fn fit(&self, base: &Base) -> Result<(Lora, Tensors)> {
        let fitted = self.fitted(base)?;
        if fitted.dora || fitted.biases {
            let more = if fitted.dora { "magnitudes (DoRA)" } else { "biases" };
            return Err(self.fault(format!(
                "trains {more} besides LoRA's factors, which alone can be used here"
            )));
        }
        Ok((fitted.lora, fitted.tensors))
    }

    pub(super) fn fitted(&self, base: &Base) -> Result<Fitted> {
        let AdapterForm::Lora { dora, .. } = self.form else {
            return Err(self.fault("is not an adapter of LoRA"));
        };
        if let Some(damage) = self.damage().first() {
            return Err(self.fault(damage));
        }
        let (mut of_layers, mut of_head) = (Vec::new(), Vec::new());
        for update in self.updates(dora)? {
            let module = format!("{}.weight", update.name);
            match base.find(&module, |n| base.head.get(n) == Some(&false)) {
                Some(variable) => of_head.push((update, variable.into_owned())),
                None => of_layers.push((self.layer(base, update.name)?, update)),
            }
        }
        let biased =
            self.layerwise.biases != TrainedBiases::None && self.tensors.keys().any(|n| self.is_body_bias(base, n));
        let needs_base = dora || biased;
        let variables = if needs_base { base.variables()? } else { Tensors::new() };
        let (lora, mut tensors) = self.layers(base, &of_layers)?;
        if dora {
            self.add_gains(base, &variables, &lora, &of_layers, &mut tensors)?;
        }
        if biased {
            self.add_biases(base, &variables, &mut tensors)?;
        }
        let other = |n: &str| {
            let of_method = [A, B, MAGNITUDE].iter().any(|end| n.ends_with(end));
            !of_method && !self.is_body_bias(base, n) && !self.is_copy(n)
        };
        self.add_head(base, |n| !other(n), &mut tensors)?;
        self.add_to_head(base, &of_head, &mut tensors)?;
        Ok(Fitted {
            lora,
            tensors,
            dora,
            biases: biased,
        })
    }

    /// The updates of all layers, in DoRA each with its magnitudes.
    fn updates(&self, dora: bool) -> Result<Vec<Update<'_>>> {
        let mut updates = Vec::new();
        for (name, a, b) in self.pairs()? {
            let magnitude = self.tensors.get(&format!("{name}{MAGNITUDE}"));
            if dora != magnitude.is_some() {
                let what = if dora {
                    "has no"
                } else {
                    "has, though `use_dora` is not set,"
                };
                return Err(self.fault(format!("{what} `{name}{MAGNITUDE}`")));
            }
            updates.push(Update {
                name,
                a,
                b,
                scale: self.scale(name, a.size()[0])?,
                magnitude,
            });
        }
        let beside = |name: &str| updates.iter().any(|update| update.name == name);
        let stray = |n: &&String| n.strip_suffix(MAGNITUDE).is_some_and(|name| !beside(name));
        match self.tensors.keys().find(stray) {
            Some(name) => Err(self.fault(format!("has `{name}` but no factors beside it"))),
            None => Ok(updates),
        }
    }

    /// The factor of B A in the layer of this name.
    fn scale(&self, name: &str, r: i64) -> Result<f64> {
        let alpha = self.layerwise.alpha(name).or(self.alpha);
        let alpha =
            alpha.ok_or_else(|| self.fault("does not state alpha, which scales the updates: give it with --alpha"))?;
        let root = matches!(self.form, AdapterForm::Lora { rslora: true, .. });
        Ok(alpha / if root { (r as f64).sqrt() } else { r as f64 })
    }

    /// The method, and the factors of all of its layers.
    fn layers(&self, base: &Base, updates: &[(&Layer, Update)]) -> Result<(Lora, Tensors)> {
        let r = updates.iter().map(|(_, update)| update.rank()).max().unwrap_or(0);
        for (layer, update) in updates {
            self.check_shape(layer, update, r)?;
        }
        let Some((_, first)) = updates.first() else {
            return Err(self.fault("adapts layers of the head alone, which are trained as a whole here"));
        };
        let ranks: BTreeSet<i64> = updates.iter().map(|(_, update)| update.rank()).collect();
        if ranks.len() > 1 && !self.layerwise.differ() {
            let ranks: Vec<i64> = ranks.into_iter().collect();
            return Err(self.fault(format!(
                "has layers of ranks {ranks:?}, which its configuration does not say"
            )));
        }
        let alike = updates.iter().all(|(_, u)| (u.rank(), u.scale) == (r, first.scale));
        let targets: BTreeSet<Role> = updates.iter().map(|(layer, _)| layer.role).collect();
        let lora = self.settings(r, (alike, first.scale), targets)?;
        let mut tensors = Tensors::new();
        for (layer, update) in updates {
            let (a, b) = padded(update, r, first.scale);
            tensors.insert(format!("{}{A}", layer.name), a);
            tensors.insert(format!("{}{B}", layer.name), b);
        }
        let missing = self.left_out(base, updates, &lora.targets)?;
        if lora.init == LoraInit::Pissa && !(missing.is_empty() && alike) {
            return Err(self.fault(
                "is of PiSSA, whose start takes the components of A and B out of every adapted weight, and adapts layers with \
                 different ranks or scales, or not all layers of a kind, which is not supported",
            ));
        }
        let zeros = |dims: [i64; 2]| Tensor::zeros(dims, (Kind::Float, tch::Device::Cpu));
        for layer in missing {
            tensors.insert(format!("{}{A}", layer.name), zeros([r, layer.in_dim]));
            tensors.insert(format!("{}{B}", layer.name), zeros([layer.out_dim, r]));
        }
        Ok((lora, tensors))
    }

    /// The settings; where layers are not `alike`, α is the one for which α / r is `scale`.
    fn settings(&self, r: i64, (alike, scale): (bool, f64), targets: BTreeSet<Role>) -> Result<Lora> {
        let (rslora, init) = match self.form {
            AdapterForm::Lora { rslora, init, .. } => (rslora && alike, init),
            _ => (false, LoraInit::Kaiming),
        };
        let stated = self.alpha.filter(|_| alike && !self.layerwise.differ());
        let root = if rslora { (r as f64).sqrt() } else { r as f64 };
        let lora = Lora::try_from(LoraSettings {
            r,
            alpha: stated.unwrap_or(scale * root),
            dropout: self.dropout,
            shared_mask: false,
            rslora,
            b_lr_ratio: 1.0,
            init,
            targets,
        });
        lora.map_err(|e| self.fault(e.to_string()))
    }

    fn check_shape(&self, layer: &Layer, update: &Update, r: i64) -> Result<()> {
        let name = update.name;
        let (wanted, found) = ((layer.in_dim, layer.out_dim), (update.a.size()[1], update.b.size()[0]));
        let (i, o) = wanted;
        if wanted != found {
            let (fi, fo) = found;
            return Err(self.fault(format!(
                "`{name}` is for a matrix of {fo} x {fi} but the base's is {o} x {i}: the adapter belongs to another base"
            )));
        }
        if r > i.min(o) {
            let rank = update.rank();
            let what = match rank == r {
                true => format!("has rank {rank} at `{name}`"),
                false => format!("has rank {r} at other layers than `{name}`, whose rank here must be the same"),
            };
            return Err(self.fault(format!(
                "{what}; a rank above that of the matrix ({o} x {i}) is not supported"
            )));
        }
        if update.magnitude.is_some_and(|m| m.size() != [o]) {
            return Err(self.fault(format!(
                "`{name}{MAGNITUDE}` must have the {o} rows of the base's matrix"
            )));
        }
        Ok(())
    }

    /// The layers of the targeted roles that the adapter leaves out, which its configuration must say.
    fn left_out<'b>(
        &self,
        base: &'b Base,
        updates: &[(&Layer, Update)],
        targets: &BTreeSet<Role>,
    ) -> Result<Vec<&'b Layer>> {
        let adapted: BTreeSet<&str> = updates.iter().map(|(layer, _)| layer.name.as_str()).collect();
        let missing = base
            .layers
            .iter()
            .filter(|l| targets.contains(&l.role) && !adapted.contains(l.name.as_str()));
        let missing: Vec<&Layer> = missing.collect();
        // Files may lack the architecture's prefix, as those of models without a head do.
        let bare = updates.iter().any(|(layer, update)| layer.name != update.name);
        let called = |name: &'b str| match bare {
            true => name.strip_prefix(base.arch.prefix).unwrap_or(name),
            false => name,
        };
        match missing.iter().find(|l| self.layerwise.adapts(called(&l.module.0)) != Some(false)) {
            Some(layer) => Err(self.fault(format!(
                "has no update for `{}`, which its configuration does not leave out: the base has more layers than the adapter",
                layer.name
            ))),
            None => Ok(missing),
        }
    }

    /// Magnitudes as multiples of the base's; 1 for the layers without.
    fn add_gains(
        &self,
        base: &Base,
        variables: &Tensors,
        lora: &Lora,
        updates: &[(&Layer, Update)],
        tensors: &mut Tensors,
    ) -> Result<()> {
        for layer in base.layers.iter().filter(|l| lora.targets.contains(&l.role)) {
            let ones = || Tensor::ones([layer.out_dim], (Kind::Float, tch::Device::Cpu));
            tensors.insert(format!("{}{GAIN}", layer.name), ones());
        }
        for (layer, update) in updates {
            let Some(magnitude) = update.magnitude else { continue };
            let gain = magnitude.to_kind(Kind::Float) / lengths(&weight(variables, layer)?);
            tensors.insert(format!("{}{GAIN}", layer.name), gain);
        }
        Ok(())
    }

    /// Whether `name` is a bias outside the head, in an adapter that trains biases.
    fn is_body_bias(&self, base: &Base, name: &str) -> bool {
        let known = |n: &str| base.head.contains_key(n);
        self.layerwise.biases != TrainedBiases::None
            && name.ends_with(BIAS)
            && base.find(&plain(name), known).is_none()
            && !self.is_copy(name)
    }

    /// Whether `name` is a bias that PEFT writes once more: as it was before training, or under another name.
    fn is_copy(&self, name: &str) -> bool {
        let known = |part: &str| name.contains(part) && self.tensors.contains_key(&name.replace(part, ""));
        known(".original_module") || known(".modules_to_save")
    }

    /// The trained biases, and the base's own where the file has none.
    fn add_biases(&self, base: &Base, variables: &Tensors, tensors: &mut Tensors) -> Result<()> {
        for (name, own) in variables.iter().filter(|(name, _)| name.ends_with(BIAS)) {
            tensors.insert(name.clone(), own.shallow_clone());
        }
        for (name, bias) in self.tensors.iter().filter(|(n, _)| self.is_body_bias(base, n)) {
            let found = plain(name);
            let variable = base.find(&found, |n| variables.contains_key(n));
            let variable = variable.ok_or_else(|| self.fault(self.no_match(base, name)))?;
            tensors.insert(variable.into_owned(), bias.to_kind(Kind::Float));
        }
        Ok(())
    }

    /// Adds the updates of layers of the head to their weights: the file's, or else the base's.
    fn add_to_head(&self, base: &Base, updates: &[(Update, String)], tensors: &mut Tensors) -> Result<()> {
        if updates.is_empty() {
            return Ok(());
        }
        if matches!(
            self.form,
            AdapterForm::Lora {
                init: LoraInit::Pissa,
                ..
            }
        ) {
            return Err(self.fault(format!(
                "is of PiSSA and adapts `{}`, a layer of the head, which is trained as a whole here: its start is not supported",
                updates[0].0.name
            )));
        }
        let own = base.complete(&Tensors::new())?;
        for (update, variable) in updates {
            let weight = tensors.get(variable).or_else(|| own.get(variable));
            let weight = weight.ok_or_else(|| {
                self.fault(format!(
                    "adapts `{}`, whose weight neither it nor the base has",
                    update.name
                ))
            })?;
            let (wanted, found) = (weight.size(), [update.b.size()[0], update.a.size()[1]]);
            if wanted != found {
                return Err(self.fault(format!(
                    "`{}` is for a matrix of {found:?} but the base's is {wanted:?}: the adapter belongs to another base",
                    update.name
                )));
            }
            let changed = update.applied(&weight.to_kind(Kind::Float));
            tensors.insert(variable.clone(), changed);
        }
        Ok(())
    }
}

/// The factors with rank `r` and the given scale.
fn padded(update: &Update, r: i64, scale: f64) -> (Tensor, Tensor) {
    let rest = r - update.rank();
    let (a, b) = (update.a, update.b);
    if rest == 0 && update.scale == scale {
        return (a.shallow_clone(), b.shallow_clone());
    }
    let b = b.to_kind(Kind::Float) * (update.scale / scale);
    let a = a.to_kind(Kind::Float).constant_pad_nd([0, 0, 0, rest]);
    (a, b.constant_pad_nd([0, rest]))
}
