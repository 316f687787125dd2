//! AdamW over plain tensors: exact resume needs the optimiser's state, which tch's optimisers do not expose.

use super::ranks;
use crate::nn::{self, AdamUpdate, NamedParam, Params, Updated, copy, fits};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// Variant of AdamW. The two differ in where epsilon is added and when weights decay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdamForm {
    /// PyTorch's: m' / (sqrt(v') + epsilon) with bias-corrected moments m' and v'; weights decay before the update.
    #[default]
    Torch,
    /// That of transformers up to 4.x, which the paper's code uses: epsilon is added to sqrt(v) before the bias
    /// correction, which enlarges it by 1 / sqrt(1 - beta2^t) (31 times in the first step); weights decay after the
    /// update.
    Transformers,
}

impl AdamForm {
    /// Whether this is the default variant.
    pub fn is_torch(&self) -> bool {
        *self == AdamForm::Torch
    }
}

/// AdamW (Loshchilov and Hutter, 2019): Adam with decoupled weight decay.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    form: AdamForm,
    step: u64,
}

#[derive(Debug)]
struct Slot {
    name: String,
    param: Tensor,
    decays: bool,
    /// The factor of the learning rate.
    lr_factor: f64,
    mean: Tensor,
    square: Tensor,
}

impl AdamW {
    /// Over the trainable variables of `params`. Biases and LayerNorm do not decay.
    ///
    /// # Errors
    /// [`Error::Config`] if no variable is trainable; [`Error::OutOfMemory`].
    pub fn new(params: &Params, betas: (f64, f64), eps: f64, weight_decay: f64) -> Result<AdamW> {
        let slots = params.trainable().map(Slot::new).collect::<Result<Vec<_>>>()?;
        if slots.is_empty() {
            return Err(Error::Config(
                "nothing is trained: the method trains no variable and the model has no head".into(),
            ));
        }
        Ok(AdamW {
            slots,
            beta1: betas.0,
            beta2: betas.1,
            eps,
            weight_decay,
            form: AdamForm::Torch,
            step: 0,
        })
    }

    /// Selects the variant.
    pub fn form(self, form: AdamForm) -> AdamW {
        AdamW { form, ..self }
    }

    /// Updates made so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The names of the trainable variables without a gradient.
    pub fn without_gradient(&self) -> Vec<&str> {
        self.slots
            .iter()
            .filter(|s| !s.param.grad().defined())
            .map(|s| s.name.as_str())
            .collect()
    }

    /// Scales all gradients so that their global norm is at most `max_norm`, without a GPU synchronisation.
    pub fn clip(&self, max_norm: f64) {
        let _guard = tch::no_grad_guard();
        let norms: Vec<Tensor> = self.gradients().map(|g| g.norm().to_kind(Kind::Float)).collect();
        let total = Tensor::stack(&norms, 0).norm();
        let scale = (max_norm / (&total + 1e-6)).clamp_max(1.0);
        for mut gradient in self.gradients() {
            let _ = gradient.g_mul_(&scale);
        }
    }

    /// Divides all gradients by `factor`; whether they are then finite, which a GPU has to be waited for.
    ///
    /// # Errors
    /// Those of libtorch.
    pub(super) fn unscale(&self, factor: f64) -> Result<bool> {
        let _guard = tch::no_grad_guard();
        let norms: Vec<Tensor> = self
            .gradients()
            .map(|mut gradient| gradient.g_mul_scalar_(1.0 / factor).norm().to_kind(Kind::Float))
            .collect();
        let total = Tensor::stack(&norms, 0).sum(Kind::Float);
        let total = f64::try_from(&total).map_err(Error::torch("reading the gradients"))?;
        Ok(total.is_finite())
    }

    /// Counts an update without making it, and sets the gradients to zero.
    pub(super) fn leave_out(&mut self) {
        let _guard = tch::no_grad_guard();
        self.step += 1;
        for mut gradient in self.gradients() {
            let _ = gradient.zero_();
        }
    }

    fn gradients(&self) -> impl Iterator<Item = Tensor> {
        self.slots.iter().map(|s| s.param.grad()).filter(Tensor::defined)
    }

    /// Appends all gradients to `flat`, zeros for a variable without one, and then 1 or 0 for each variable: whether it has
    /// one.
    ///
    /// # Errors
    /// Those of libtorch.
    pub(super) fn flatten(&self, flat: &mut Vec<f32>) -> Result<()> {
        let mut has = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let gradient = slot.param.grad();
            has.push(if gradient.defined() { 1.0 } else { 0.0 });
            if gradient.defined() {
                flat.extend(ranks::read(&gradient)?);
            } else {
                flat.resize(flat.len() + slot.param.numel(), 0.0);
            }
        }
        flat.extend(has);
        Ok(())
    }

    /// The numbers that [`AdamW::flatten`] appends.
    pub(super) fn flat_len(&self) -> usize {
        self.slots.iter().map(|slot| slot.param.numel() + 1).sum()
    }

    /// Takes the gradients back from `flat`, the sum of several ranks' [`AdamW::flatten`].
    ///
    /// # Errors
    /// Those of libtorch.
    pub(super) fn unflatten(&self, flat: &[f32]) -> Result<()> {
        let (mut rest, has) = flat.split_at(flat.len() - self.slots.len());
        for (slot, has) in self.slots.iter().zip(has) {
            let (values, after) = rest.split_at(slot.param.numel());
            rest = after;
            if *has == 0.0 {
                continue;
            }
            if !slot.param.grad().defined() {
                // There is no other way to give a variable a gradient.
                (&slot.param * 0.0).sum(Kind::Float).backward();
            }
            let _guard = tch::no_grad_guard();
            ranks::write(&slot.param.grad(), values)?;
        }
        Ok(())
    }

    /// Continues after `step` updates, with the variables and the state as they are.
    pub(super) fn continue_from(&mut self, step: u64) {
        self.step = step;
    }

    /// Updates the variables with learning rate `lr`, then sets the gradients to zero.
    pub fn step(&mut self, lr: f64) {
        let _guard = tch::no_grad_guard();
        self.step += 1;
        let corrections = [self.beta1, self.beta2].map(|beta| 1.0 - beta.powi(self.step as i32));
        for factor in self.lr_factors() {
            let (updated, lr) = (self.updated(factor), lr * factor);
            let on = updated.first().map(|u| u.param.device());
            if on.is_some_and(Device::is_cuda) && nn::is_fused() {
                self.step_fused(&updated, lr, corrections);
            } else if updated.iter().all(|u| nn::takes(u.param) && u.gradient.is_contiguous()) {
                nn::adamw(&updated, self.update(lr, corrections));
            } else {
                self.step_plain(updated, lr, corrections);
            }
        }
    }

    /// The different factors of the learning rate.
    fn lr_factors(&self) -> Vec<f64> {
        let mut factors: Vec<f64> = self.slots.iter().map(|slot| slot.lr_factor).collect();
        factors.sort_by(f64::total_cmp);
        factors.dedup();
        factors
    }

    /// The variables with this factor of the learning rate that have a gradient.
    fn updated(&self, lr_factor: f64) -> Vec<Updated<'_>> {
        let slots = self.slots.iter().filter(|slot| slot.lr_factor == lr_factor);
        let all = slots.map(|slot| Updated {
            param: &slot.param,
            gradient: slot.param.grad(),
            mean: &slot.mean,
            square: &slot.square,
            decays: slot.decays && self.weight_decay != 0.0,
        });
        all.filter(|u| u.gradient.defined()).collect()
    }

    /// Epsilon relative to sqrt(v').
    fn corrected_eps(&self, correction2: f64) -> f64 {
        match self.form {
            AdamForm::Torch => self.eps,
            AdamForm::Transformers => self.eps / correction2.sqrt(),
        }
    }

    fn update(&self, lr: f64, [correction1, correction2]: [f64; 2]) -> AdamUpdate {
        let decay = (1.0 - lr * self.weight_decay) as f32;
        let torch = self.form == AdamForm::Torch;
        AdamUpdate {
            fresh1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            fresh2: (1.0 - self.beta2) as f32,
            rate: (-lr / correction1) as f32,
            root: correction2.sqrt() as f32,
            eps: self.corrected_eps(correction2) as f32,
            before: if torch { decay } else { 1.0 },
            after: if torch { 1.0 } else { decay },
        }
    }

    fn step_fused(&self, updated: &[Updated], lr: f64, [_, correction2]: [f64; 2]) {
        let torch = self.form == AdamForm::Torch;
        let decay = if torch { self.weight_decay } else { 0.0 };
        let eps = self.corrected_eps(correction2);
        nn::fused_adamw(updated, lr, (self.beta1, self.beta2), decay, eps, self.step);
        for one in updated.iter().filter(|u| u.decays && !torch) {
            let _ = one.param.shallow_clone().g_mul_scalar_(1.0 - lr * self.weight_decay);
        }
    }

    /// By libtorch's operators.
    fn step_plain(&self, updated: Vec<Updated>, lr: f64, [correction1, correction2]: [f64; 2]) {
        let torch = self.form == AdamForm::Torch;
        let decay = 1.0 - lr * self.weight_decay;
        for one in updated {
            let (mut param, mut gradient) = (one.param.shallow_clone(), one.gradient);
            let (mut mean, mut square) = (one.mean.shallow_clone(), one.square.shallow_clone());
            if one.decays && torch {
                let _ = param.g_mul_scalar_(decay);
            }
            let _ = mean.lerp_(&gradient, 1.0 - self.beta1);
            let _ = square
                .g_mul_scalar_(self.beta2)
                .g_add_(&(gradient.square() * (1.0 - self.beta2)));
            let scale = (square.sqrt() / correction2.sqrt()).g_add_scalar_(self.corrected_eps(correction2));
            let _ = param.addcdiv_(&(&mean * (-lr / correction1)), &scale);
            if one.decays && !torch {
                let _ = param.g_mul_scalar_(decay);
            }
            let _ = gradient.zero_();
        }
    }

    /// The state to checkpoint: the trained variables and their two moments, by name.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let parts = |s: &Slot| {
            [("param", &s.param), ("mean", &s.mean), ("square", &s.square)]
                .map(|(kind, t)| (format!("{kind}/{}", s.name), t.shallow_clone()))
        };
        self.slots.iter().flat_map(parts).collect()
    }

    /// Restores the state after `step` updates. Nothing is changed unless all of it fits.
    ///
    /// # Errors
    /// [`Error::Config`] if a tensor is missing, has another shape or is not finite.
    pub fn restore(&mut self, step: u64, mut state: HashMap<String, Tensor>) -> Result<()> {
        let mut whole = Vec::new();
        for slot in &self.slots {
            for (kind, tensor) in [("param", &slot.param), ("mean", &slot.mean), ("square", &slot.square)] {
                let name = format!("{kind}/{}", slot.name);
                let saved = state
                    .remove(&name)
                    .ok_or_else(|| Error::Config(format!("the checkpoint has no `{name}`")))?;
                fits(&saved, tensor, &name)?;
                whole.push((saved, tensor, name));
            }
        }
        for (saved, tensor, name) in whole {
            copy(&saved, tensor, &name)?;
        }
        self.step = step;
        Ok(())
    }
}

impl Slot {
    fn new(entry: &NamedParam) -> Result<Slot> {
        let zeros = || {
            entry
                .tensor
                .f_zeros_like()
                .map_err(Error::torch("creating the optimiser's state"))
        };
        Ok(Slot {
            name: entry.param.name.clone(),
            param: entry.tensor.shallow_clone(),
            decays: entry.param.kind.decays(),
            lr_factor: entry.param.lr_factor,
            mean: zeros()?.set_requires_grad(false),
            square: zeros()?.set_requires_grad(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method;
    use crate::nn::{Build, Init, Owner, ParamKind};

    /// Two steps on one weight by hand: w = 1, gradients 0.5 and -0.25, betas 0.9 and 0.999, epsilon 0.1, decay 0.01,
    /// rate 0.1.
    fn two_steps(form: AdamForm) -> Vec<f64> {
        let head = method::from_yaml("{kind: head}").unwrap();
        let build = Build::new(head.as_ref(), 1);
        let scope = build.scope().owned(Owner::Head);
        let weight = scope.var("w", ParamKind::Weight, &[1], Init::Const(1.0)).unwrap();
        let built = build.finish().unwrap();
        let mut optim = AdamW::new(&built.params, (0.9, 0.999), 0.1, 0.01).unwrap().form(form);
        let step = |gradient: f64| {
            (&weight * gradient).sum(Kind::Float).backward();
            optim.step(0.1);
            f64::try_from(weight.detach()).unwrap()
        };
        [0.5, -0.25].map(step).into()
    }

    #[test]
    fn variants_differ_in_epsilon_and_decay() {
        // m1 = 0.05, v1 = 0.00025: corrected 0.5 and 0.25. m2 = 0.02, v2 = 0.00031225: corrected 2/19 and 0.156203...
        let (m1, v1) = (0.5, 0.25f64);
        let (m2, v2) = (0.02 / 0.19, 0.000_312_25 / 0.001_999f64);
        let torch1 = 0.999 - 0.1 * m1 / (v1.sqrt() + 0.1);
        let torch2 = torch1 * 0.999 - 0.1 * m2 / (v2.sqrt() + 0.1);
        // transformers: sqrt(v) + epsilon, and the correction sqrt(1 - beta2^t) in the learning rate.
        let (c1, c2) = (0.001f64.sqrt(), 0.001_999f64.sqrt());
        let other1 = (1.0 - 0.1 * c1 * m1 / (0.000_25f64.sqrt() + 0.1)) * 0.999;
        let other2 = (other1 - 0.1 * c2 * m2 / (0.000_312_25f64.sqrt() + 0.1)) * 0.999;
        for (form, expected) in [
            (AdamForm::Torch, [torch1, torch2]),
            (AdamForm::Transformers, [other1, other2]),
        ] {
            for (found, expected) in two_steps(form).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{form:?}: {found}, by hand {expected}");
            }
        }
    }

    /// Three steps of the three ways to update, with and without decay.
    #[test]
    fn the_ways_to_update_agree() {
        let head = method::from_yaml("{kind: head}").unwrap();
        let after = |form, way: usize| {
            let build = Build::new(head.as_ref(), 1);
            let scope = build.scope().owned(Owner::Head);
            let var = |name, kind| scope.var(name, kind, &[70, 1001], Init::Normal(1.0)).unwrap();
            let (weight, bias) = (var("w", ParamKind::Weight), var("b", ParamKind::Bias));
            let built = build.finish().unwrap();
            let mut optim = AdamW::new(&built.params, (0.9, 0.98), 1e-6, 0.1).unwrap().form(form);
            for step in 1..=3 {
                ((&weight * &bias).sin() * f64::from(step)).sum(Kind::Float).backward();
                let _guard = tch::no_grad_guard();
                optim.step += 1;
                let corrections = [0.9, 0.98].map(|beta: f64| 1.0 - beta.powi(step));
                match way {
                    0 => optim.step_plain(optim.updated(1.0), 0.01, corrections),
                    1 => nn::adamw(&optim.updated(1.0), optim.update(0.01, corrections)),
                    _ => optim.step_fused(&optim.updated(1.0), 0.01, corrections),
                }
                assert_eq!(f64::try_from(weight.grad().abs().max()).unwrap(), 0.0);
            }
            [weight, bias].map(|t| t.detach())
        };
        for form in [AdamForm::Torch, AdamForm::Transformers] {
            let plain = after(form, 0);
            for way in [1, 2] {
                for (a, b) in plain.iter().zip(&after(form, way)) {
                    let apart = f64::try_from((a - b).abs().max()).unwrap();
                    assert!(apart < 1e-6, "{form:?}, way {way}: {apart:e}");
                }
            }
        }
    }
}
