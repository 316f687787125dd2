//! The bottleneck that all adapters share: a down-projection, a nonlinearity, an up-projection, and a residual add.

use crate::nn::{Activation, Adapter, Init, Linear, Norm, Scope};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::Tensor;

/// The settings of an adapter. The defaults of each method are in the registry: the paper's, or those of its code.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct BottleneckSettings {
    /// r, the features between down and up.
    bottleneck: i64,
    nonlinearity: Activation,
    /// Whether the adapter has its own LayerNorm before the down-projection.
    layer_norm: bool,
    init: AdapterInit,
    /// Standard deviation of the matrices at the start; biases start at 0.
    std: f64,
    /// Blocks without adapters, counted from 0 at the input.
    drop: BTreeSet<usize>,
}

/// Initialisation of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum AdapterInit {
    /// Both matrices are random, as in the paper's RoBERTa code. At step 0 the model differs slightly from the
    /// pretrained one.
    Normal,
    /// The up-projection is 0: at step 0 the model equals the pretrained one.
    Identity,
}

/// An adapter's settings, validated.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "BottleneckSettings")]
pub(super) struct Bottleneck(BottleneckSettings);

impl TryFrom<BottleneckSettings> for Bottleneck {
    type Error = Error;

    fn try_from(s: BottleneckSettings) -> Result<Self> {
        if s.bottleneck < 1 {
            return Err(Error::Config(format!(
                "bottleneck must be at least 1, not {}",
                s.bottleneck
            )));
        }
        if !(s.std.is_finite() && s.std > 0.0) {
            return Err(Error::Config(format!("std must be a positive number, not {}", s.std)));
        }
        Ok(Bottleneck(s))
    }
}

/// The input of an adapter.
#[derive(Clone, Copy, Debug)]
pub(super) enum AdapterInput {
    /// The output h of the sub-layer (or block) before it.
    Output,
    /// h with the residual added, and normalised if the block is post-LN.
    Closed,
}

impl Bottleneck {
    /// The adapter of the block of `scope`, for `width` features; none if the block is in `drop`.
    ///
    /// # Errors
    /// [`Error::Config`] for a bottleneck wider than the model, or a block in `drop` that does not exist.
    pub(super) fn adapter(&self, input: AdapterInput, width: i64, scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        let BottleneckSettings { bottleneck: r, std, .. } = self.0;
        if r > width {
            return Err(Error::Config(format!(
                "bottleneck = {r} is larger than the model's width of {width}: choose from 1 to {width}"
            )));
        }
        if let Some(depth) = scope.depth() {
            if let Some(beyond) = self.0.drop.iter().find(|block| **block >= depth.of) {
                return Err(Error::Config(format!(
                    "drop names block {beyond}; the model's blocks are 0 to {}",
                    depth.of - 1
                )));
            }
            if self.0.drop.contains(&depth.index) {
                return Ok(None);
            }
        }
        let up = match self.0.init {
            AdapterInit::Normal => Init::Normal(std),
            AdapterInit::Identity => Init::Const(0.0),
        };
        let norm = self.0.layer_norm.then(|| scope.norm("norm", width, 1e-5)).transpose()?;
        Ok(Some(Box::new(Module {
            norm,
            down: scope.linear("down", &[], width, r, Init::Normal(std))?,
            up: scope.linear("up", &[], r, width, up)?,
            nonlinearity: self.0.nonlinearity,
            input,
        })))
    }

    /// Parameters of `per_block` adapters per block in a model of `layers` blocks: 2dr + r + d each, plus 2d with a
    /// LayerNorm.
    pub(super) fn parameters(&self, per_block: i64, layers: i64, width: i64) -> i64 {
        let r = self.0.bottleneck;
        let norm = if self.0.layer_norm { 2 * width } else { 0 };
        let blocks = layers - self.0.drop.len() as i64;
        per_block * blocks * (2 * width * r + r + width + norm)
    }

    /// See [`crate::nn::Method::changes_start`].
    pub(super) fn changes_start(&self) -> Option<&'static str> {
        (self.0.init == AdapterInit::Normal).then_some("both matrices of an adapter start at random values")
    }
}

#[derive(Debug)]
struct Module {
    norm: Option<Norm>,
    down: Linear,
    up: Linear,
    nonlinearity: Activation,
    input: AdapterInput,
}

impl Adapter for Module {
    fn forward(&self, h: &Tensor, close: &dyn Fn(&Tensor) -> Tensor, train: bool) -> Tensor {
        let x = match self.input {
            AdapterInput::Output => h.shallow_clone(),
            AdapterInput::Closed => close(h),
        };
        let x = self.norm.as_ref().map_or(x.shallow_clone(), |norm| norm.forward(&x));
        let low = self.nonlinearity.apply(&self.down.forward(&x, train)); // [T, r]
        h + self.up.forward(&low, train)
    }
}
