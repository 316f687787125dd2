//! Packed copies of a model's weights during a generation.

use super::native::is_fused;
use super::native_decode::{Engine, Packed};
use std::cell::RefCell;
use std::fmt::Debug;
use tch::{Device, Kind, Tensor};

/// A layer whose products can read a packed copy of its weight.
pub(crate) trait Packable {
    /// Elements of the weight.
    fn elements(&self) -> usize;
    /// Makes the copy for inputs in `kind`, if that is faster on this machine.
    fn pack(&self, kind: Kind);
    /// Drops it.
    fn unpack(&self);
}

/// A layer's packed weight, if it has one at the time.
#[derive(Debug, Default)]
pub(super) struct PackedWeight(RefCell<Option<Packed>>);

impl PackedWeight {
    /// Packs `weight` `[out, in]`.
    pub(super) fn pack(&self, weight: &Tensor, kind: Kind) {
        self.0.replace(Packed::new(weight, kind, Engine::Auto));
    }

    pub(super) fn unpack(&self) {
        self.0.replace(None);
    }

    pub(super) fn is_some(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// x Wᵀ + bias in the data type of `x`, or in that of the products if `wide`; none without a packed weight.
    pub(super) fn linear(&self, x: &Tensor, bias: Option<&Tensor>, wide: bool) -> Option<Tensor> {
        self.0.borrow().as_ref().map(|packed| packed.linear(x, bias, wide))
    }
}

/// Packed copies of a model's weights, until it is dropped.
///
/// Their products need no repacking at each call. Low-rank and other changes of the weights are added to the copies, so
/// that they cost nothing: logits are those of the branches to 1e-5. Where the processor multiplies fp32 faster than bf16,
/// the copies of bf16 weights are in fp32 too, and logits closer to exact than bf16's. Copies take the memory of the
/// weights in fp32 once more, and are not made where less than twice that is available.
#[derive(Default)]
pub struct PackedWeights<'m>(Vec<&'m dyn Packable>);

impl Debug for PackedWeights<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedWeights({})", self.0.len())
    }
}

impl<'m> PackedWeights<'m> {
    /// Packs the weights of `layers` on `device` for inputs in `kind`.
    pub(crate) fn new(layers: Vec<&'m dyn Packable>, device: Device, kind: Kind) -> PackedWeights<'m> {
        let bytes = 4 * layers.iter().map(|layer| layer.elements()).sum::<usize>();
        let known = matches!(kind, Kind::Float | Kind::BFloat16);
        if device != Device::Cpu || !known || !is_fused() || available().is_some_and(|room| room < 2 * bytes) {
            return PackedWeights(Vec::new());
        }
        let _guard = tch::no_grad_guard();
        layers.iter().for_each(|layer| layer.pack(kind));
        PackedWeights(layers)
    }
}

impl Drop for PackedWeights<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|layer| layer.unpack());
    }
}

/// Bytes of memory that programs can take, where the system says so.
fn available() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
