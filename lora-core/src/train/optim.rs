//! AdamW over plain tensors, because a resumed run needs its state and tch's optimisers cannot give it out.

use crate::nn::{Entry, Params};
use crate::weights::copy;
use crate::{Error, Result};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// AdamW (Loshchilov and Hutter, 2019) as PyTorch's: decoupled decay, bias correction.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    beta1: f64,
    beta2: f64,
    eps: f64,
    weight_decay: f64,
    step: u64,
}

#[derive(Debug)]
struct Slot {
    name: String,
    param: Tensor,
    decays: bool,
    mean: Tensor,
    square: Tensor,
}

impl AdamW {
    /// Over the trainable variables; biases and LayerNorm are not decayed.
    ///
    /// # Errors
    /// [`Error::Config`] if nothing is trained; libtorch's refusal (memory).
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
            step: 0,
        })
    }

    /// Updates made so far.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The variables without a gradient.
    pub fn without_gradient(&self) -> Vec<&str> {
        self.slots
            .iter()
            .filter(|s| !s.param.grad().defined())
            .map(|s| s.name.as_str())
            .collect()
    }

    /// Scales all gradients so that their joint norm is at most `max_norm`, without waiting for a GPU.
    pub fn clip(&self, max_norm: f64) {
        let _guard = tch::no_grad_guard();
        let norms: Vec<Tensor> = self.gradients().map(|g| g.norm().to_kind(Kind::Float)).collect();
        let total = Tensor::stack(&norms, 0).norm();
        let scale = (max_norm / (&total + 1e-6)).clamp_max(1.0);
        for mut gradient in self.gradients() {
            let _ = gradient.g_mul_(&scale);
        }
    }

    fn gradients(&self) -> impl Iterator<Item = Tensor> {
        self.slots.iter().map(|s| s.param.grad()).filter(Tensor::defined)
    }

    /// One update with learning rate `lr`; then the gradients are zeroed.
    pub fn step(&mut self, lr: f64) {
        let _guard = tch::no_grad_guard();
        self.step += 1;
        let n = self.step as i32;
        let (correction1, correction2) = (1.0 - self.beta1.powi(n), 1.0 - self.beta2.powi(n));
        for slot in &mut self.slots {
            let mut gradient = slot.param.grad();
            if !gradient.defined() {
                continue;
            }
            if slot.decays && self.weight_decay != 0.0 {
                let _ = slot.param.g_mul_scalar_(1.0 - lr * self.weight_decay);
            }
            let _ = slot.mean.lerp_(&gradient, 1.0 - self.beta1);
            let _ = slot
                .square
                .g_mul_scalar_(self.beta2)
                .g_add_(&(gradient.square() * (1.0 - self.beta2)));
            let scale = (slot.square.sqrt() / correction2.sqrt()).g_add_scalar_(self.eps);
            let _ = slot.param.addcdiv_(&(&slot.mean * (-lr / correction1)), &scale);
            let _ = gradient.zero_();
        }
    }

    /// Name and value of everything that a resumed run needs: the variables and their two moments.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let parts = |s: &Slot| {
            [("param", &s.param), ("mean", &s.mean), ("square", &s.square)]
                .map(|(kind, t)| (format!("{kind}/{}", s.name), t.shallow_clone()))
        };
        self.slots.iter().flat_map(parts).collect()
    }

    /// Takes the state back after `step` updates.
    ///
    /// # Errors
    /// [`Error::Config`] if a tensor is missing or of another shape.
    pub fn restore(&mut self, step: u64, mut state: HashMap<String, Tensor>) -> Result<()> {
        for slot in &self.slots {
            for (kind, tensor) in [("param", &slot.param), ("mean", &slot.mean), ("square", &slot.square)] {
                let name = format!("{kind}/{}", slot.name);
                let saved = state
                    .remove(&name)
                    .ok_or_else(|| Error::Config(format!("the checkpoint has no `{name}`")))?;
                copy(&saved, tensor, &name)?;
            }
        }
        self.step = step;
        Ok(())
    }
}

impl Slot {
    fn new(entry: &Entry) -> Result<Slot> {
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
            mean: zeros()?.set_requires_grad(false),
            square: zeros()?.set_requires_grad(false),
        })
    }
}
