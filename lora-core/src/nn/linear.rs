//! The linear layer of all models: a weight, an optional bias, and the branches of a method.

use super::packed::{Packable, PackedWeight};
use super::tensors::{cast_like, copy};
use super::{Branch, LowRank, dropout, native};
use crate::{Error, Result};
use std::cell::RefCell;
use tch::{Kind, Tensor};

/// A branch for a range of output features.
#[derive(Debug)]
struct Slot {
    start: i64,
    len: i64,
    branch: Box<dyn Branch>,
}

/// y = x Wᵀ + b plus the branches; b is optional.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`.
    weight: Tensor,
    /// `[out]`.
    bias: Option<Tensor>,
    slots: Vec<Slot>,
    /// While merged, copies of weight and bias with the branches' changes added; the originals are never modified.
    merged: Option<Merged>,
    /// A packed copy of the weight with the branches' changes added.
    packed: PackedWeight,
    /// The bias beside the packed weight, if a branch changes it.
    packed_bias: RefCell<Option<Tensor>>,
}

/// Weight and bias with the branches' changes added.
#[derive(Debug)]
struct Merged {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub(super) fn new(weight: Tensor, bias: Option<Tensor>) -> Self {
        Linear {
            weight,
            bias,
            slots: Vec::new(),
            merged: None,
            packed: PackedWeight::default(),
            packed_bias: RefCell::default(),
        }
    }

    pub(super) fn attach(&mut self, start: i64, len: i64, branch: Box<dyn Branch>) {
        self.slots.push(Slot { start, len, branch });
    }

    /// Whether there are branches.
    pub(super) fn is_adapted(&self) -> bool {
        !self.slots.is_empty()
    }

    /// `x` `[T, in]` to `[T, out]`, in the data type of `x`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let [y] = Linear::forward_all([self], x, train);
        y
    }

    /// [`Linear::forward`] of several layers for the same `x`, which costs less than one after the other.
    pub fn forward_all<const N: usize>(layers: [&Linear; N], x: &Tensor, train: bool) -> [Tensor; N] {
        let packed = || !train && layers.iter().any(|layer| layer.packed.is_some());
        if native::takes(x) && x.dim() == 2 && !packed() && layers.iter().all(|layer| layer.is_low_rank()) {
            let outputs = native::linears(x, &layers.map(|layer| layer.as_native(x, train)));
            if let Ok(outputs) = outputs.try_into() {
                return outputs;
            }
        }
        layers.map(|layer| layer.plain(x, train))
    }

    /// The weight, if the layer has neither a bias nor branches.
    pub(crate) fn only_weight(&self) -> Option<&Tensor> {
        (self.bias.is_none() && self.slots.is_empty()).then_some(&self.weight)
    }

    /// Whether all branches are low-rank changes.
    fn is_low_rank(&self) -> bool {
        self.merged.is_some() || self.slots.iter().all(|slot| slot.branch.low_rank().is_some())
    }

    /// The layer as an entry of [`native::linears`].
    fn as_native(&self, x: &Tensor, train: bool) -> native::Layer<'_> {
        if let Some(merged) = &self.merged {
            return native::Layer {
                weight: &merged.weight,
                bias: merged.bias.as_ref(),
                slots: Vec::new(),
            };
        }
        let shared = self.slots.iter().find_map(|slot| slot.branch.shared_dropout());
        let dropped = shared.map(|rate| dropout(x, rate, train));
        let mut slots = Vec::new();
        for slot in &self.slots {
            let Some(low) = slot.branch.low_rank() else { continue };
            let input = match (&dropped, slot.branch.shared_dropout()) {
                (Some(dropped), Some(_)) if train => Some(dropped.shallow_clone()),
                _ if train && low.dropout > 0.0 => Some(dropout(x, low.dropout, train)),
                _ => None,
            };
            slots.push(native::Slot {
                start: slot.start,
                len: slot.len,
                a: low.a,
                b: low.b,
                scale: low.scale,
                input,
            });
        }
        native::Layer {
            weight: &self.weight,
            bias: self.bias.as_ref(),
            slots,
        }
    }

    /// [`Linear::forward`] by libtorch's operators.
    fn plain(&self, x: &Tensor, train: bool) -> Tensor {
        if !train && self.packed.is_some() {
            let changed = self.packed_bias.borrow();
            if let Some(y) = self.packed.linear(x, changed.as_ref().or(self.bias.as_ref()), false) {
                return y;
            }
        }
        if let Some(merged) = &self.merged {
            let bias = merged.bias.as_ref().map(|bias| cast_like(bias, x));
            return x.linear(&cast_like(&merged.weight, x), bias.as_ref());
        }
        let bias = self.bias.as_ref().map(|bias| cast_like(bias, x));
        let y = x.linear(&cast_like(&self.weight, x), bias.as_ref());
        let shared = self.slots.iter().find_map(|slot| slot.branch.shared_dropout());
        let dropped = shared.map(|rate| dropout(x, rate, train));
        let seen = |branch: &dyn Branch| match (&dropped, branch.shared_dropout()) {
            (Some(dropped), rate) if rate == shared => dropped.shallow_clone(),
            (_, Some(rate)) => dropout(x, rate, train),
            (_, None) => x.shallow_clone(),
        };
        match self.slots.as_slice() {
            [] => y,
            [only] if only.len == self.weight.size()[0] => only.branch.add_to(&y, &seen(only.branch.as_ref()), train),
            slots => {
                let mut parts = Vec::new();
                let mut done = 0;
                for slot in slots {
                    if slot.start > done {
                        parts.push(y.narrow(-1, done, slot.start - done));
                    }
                    let (own, seen) = (y.narrow(-1, slot.start, slot.len), seen(slot.branch.as_ref()));
                    parts.push(slot.branch.add_to(&own, &seen, train));
                    done = slot.start + slot.len;
                }
                if done < self.weight.size()[0] {
                    parts.push(y.narrow(-1, done, self.weight.size()[0] - done));
                }
                Tensor::cat(&parts, -1)
            }
        }
    }

    /// Adds the branches' changes to a copy of the weight, in fp32 and then rounded to the weight's data type. The
    /// merged layer costs as much as one without branches. A second call has no effect.
    ///
    /// # Errors
    /// [`Error::Config`] if a branch is not equivalent to a change of the weight.
    pub fn merge(&mut self) -> Result<()> {
        if self.merged.is_some() || self.slots.is_empty() {
            return Ok(());
        }
        let merged = self.with_changes();
        let merged = merged.ok_or_else(|| Error::Config("this method cannot be merged into the weights".into()))?;
        let (kind, bias) = (self.weight.kind(), merged.bias.as_ref().or(self.bias.as_ref()));
        self.merged = Some(Merged {
            weight: merged.weight.to_kind(kind),
            bias: bias.map(Tensor::shallow_clone),
        });
        Ok(())
    }

    /// The weight with the branches' changes in fp32, and the bias if one of them changes it; none if one of them is not
    /// equivalent to a change.
    fn with_changes(&self) -> Option<Merged> {
        let _guard = tch::no_grad_guard();
        let weight = self.weight.to_kind(Kind::Float).copy();
        let mut changed: Option<Tensor> = None;
        for slot in &self.slots {
            let _ = weight.narrow(0, slot.start, slot.len).g_add_(&slot.branch.delta()?);
            if let (Some(own), Some(delta)) = (&self.bias, slot.branch.bias_delta()) {
                let bias = changed.get_or_insert_with(|| own.to_kind(Kind::Float).copy());
                let _ = bias.narrow(0, slot.start, slot.len).g_add_(&delta);
            }
        }
        let bias = changed.map(|bias| bias.to_kind(self.bias.as_ref().map_or(Kind::Float, Tensor::kind)));
        Some(Merged { weight, bias })
    }

    /// Overwrites the weight with the merged weight and drops the branches, to save a merged model. Cannot be undone.
    ///
    /// # Errors
    /// Those of [`Linear::merge`].
    pub fn merge_and_drop(&mut self) -> Result<()> {
        self.merge()?;
        self.slots.clear();
        let Some(merged) = self.merged.take() else {
            return Ok(());
        };
        if let (Some(merged), Some(bias)) = (&merged.bias, &self.bias) {
            copy(merged, bias, "a merged bias")?;
        }
        copy(&merged.weight, &self.weight, "a merged weight")
    }

    /// Undoes [`Linear::merge`]: the weight is again exactly the original one.
    pub fn unmerge(&mut self) {
        self.merged = None;
    }

    /// The low-rank changes of this layer, with the first output feature of each.
    pub fn low_rank(&self) -> impl Iterator<Item = (i64, LowRank<'_>)> {
        self.slots.iter().filter_map(|s| Some((s.start, s.branch.low_rank()?)))
    }
}

impl Packable for Linear {
    fn elements(&self) -> usize {
        self.weight.numel()
    }

    fn pack(&self, kind: Kind) {
        let pack = |merged: &Merged| {
            self.packed.pack(&merged.weight, kind);
            let bias = merged.bias.as_ref();
            self.packed_bias.replace(bias.map(Tensor::shallow_clone));
        };
        match (&self.merged, self.slots.is_empty()) {
            (Some(merged), _) => pack(merged),
            (None, true) => self.packed.pack(&self.weight, kind),
            // A branch that is not a change of the weight stays beside it, and the weight as it is.
            (None, false) => self.with_changes().iter().for_each(pack),
        }
    }

    fn unpack(&self) {
        self.packed.unpack();
        self.packed_bias.replace(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method;
    use crate::nn::{Build, Init, Role};

    #[test]
    fn a_merged_weight_is_kept_in_the_kind_of_the_weight() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let method = method::from_yaml("{kind: lora, r: 2, alpha: 2, targets: [query]}").unwrap();
            let build = Build::new(method.as_ref(), 1).base_kind(kind);
            let mut linear = build
                .scope()
                .linear("q", &[Role::Query], 8, 8, Init::Normal(1.0))
                .unwrap();
            let x = Tensor::ones([1, 8], (kind, tch::Device::Cpu));
            linear.merge().unwrap();
            assert_eq!(linear.merged.as_ref().map(|m| m.weight.kind()), Some(kind));
            assert_eq!(linear.forward(&x, false).kind(), kind);
        }
    }
}
