//! The bottleneck that all adapters share: down to a few features, a nonlinearity, up again, added to what comes in.

use crate::nn::{Activation, Adapter, Init, Linear, Norm, Scope};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tch::Tensor;

/// What can be set of an adapter. The registry states each method's defaults: the paper's, or its code's.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    /// r: features between down and up.
    bottleneck: i64,
    nonlinearity: Activation,
    /// Whether the adapter has a LayerNorm of its own before the down projection.
    layer_norm: bool,
    init: Start,
    /// Of the normal distribution that the matrices are drawn from; biases start at 0.
    std: f64,
    /// Blocks without adapters, from 0 at the input.
    drop: BTreeSet<usize>,
}

/// How an adapter starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Start {
    /// Both matrices drawn: what the paper's RoBERTa code does. The model is not quite the pretrained one at step 0.
    Normal,
    /// The up matrix at 0: the model is the pretrained one at step 0.
    Identity,
}

/// An adapter's settings, validated.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Settings")]
pub(super) struct Bottleneck(Settings);

impl TryFrom<Settings> for Bottleneck {
    type Error = Error;

    fn try_from(s: Settings) -> Result<Self> {
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

/// What an adapter reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reads {
    /// The output of the sub-layer (or block) that it stands behind.
    Output,
    /// What the block makes of that output: the residual added, and normalised where the block normalises there.
    Closed,
}

impl Bottleneck {
    /// The adapter of the block that `scope` is in, for features of `width`; none where it is dropped.
    ///
    /// # Errors
    /// [`Error::Config`] for a bottleneck wider than the model or a dropped block that does not exist.
    pub(super) fn adapter(&self, reads: Reads, width: i64, scope: &Scope) -> Result<Option<Box<dyn Adapter>>> {
        let Settings { bottleneck: r, std, .. } = self.0;
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
            Start::Normal => Init::Normal(std),
            Start::Identity => Init::Const(0.0),
        };
        let norm = self.0.layer_norm.then(|| scope.norm("norm", width, 1e-5)).transpose()?;
        Ok(Some(Box::new(Module {
            norm,
            down: scope.linear("down", &[], width, r, Init::Normal(std))?,
            up: scope.linear("up", &[], r, width, up)?,
            nonlinearity: self.0.nonlinearity,
            reads,
        })))
    }

    /// Parameters of `each` adapters a block in a model of `layers` blocks: 2dr + r + d each, and 2d with a LayerNorm.
    pub(super) fn parameters(&self, each: i64, layers: i64, width: i64) -> i64 {
        let r = self.0.bottleneck;
        let norm = if self.0.layer_norm { 2 * width } else { 0 };
        let blocks = layers - self.0.drop.len() as i64;
        each * blocks * (2 * width * r + r + width + norm)
    }

    /// See [`crate::nn::Method::changes_start`].
    pub(super) fn changes_start(&self) -> Option<&'static str> {
        (self.0.init == Start::Normal).then_some("both matrices of an adapter are drawn from a normal distribution")
    }
}

#[derive(Debug)]
struct Module {
    norm: Option<Norm>,
    down: Linear,
    up: Linear,
    nonlinearity: Activation,
    reads: Reads,
}

impl Adapter for Module {
    fn forward(&self, h: &Tensor, close: &dyn Fn(&Tensor) -> Tensor, train: bool) -> Tensor {
        let read = match self.reads {
            Reads::Output => h.shallow_clone(),
            Reads::Closed => close(h),
        };
        let read = self
            .norm
            .as_ref()
            .map_or(read.shallow_clone(), |norm| norm.forward(&read));
        let low = self.nonlinearity.apply(&self.down.forward(&read, train)); // [T, r]
        h + self.up.forward(&low, train)
    }
}
