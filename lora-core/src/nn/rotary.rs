//! Rotary positions (Su et al., 2021): queries and keys are turned by angles that grow with the position, so that their
//! products depend on distances alone.

use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// How the angles are changed for texts longer than those of pretraining; the names and keys are those of config.json.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "rope_type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RotaryScaling {
    /// Not at all.
    Default {},
    /// All angles are divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1: slow angles are divided by `factor`, fast ones stay, and those between are mixed.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Angles of fewer turns than this over the length of pretraining are slow.
        low_freq_factor: f64,
        /// Angles of more turns than this are fast.
        high_freq_factor: f64,
        /// Tokens of the texts of pretraining.
        original_max_position_embeddings: i64,
    },
}

/// The angles of one token's step, `[width / 2]` in fp32.
#[derive(Debug)]
pub struct Rotary {
    steps: Tensor,
}

/// The turn at each of T tokens: cosines and sines `[T, 1, width / 2]`.
#[derive(Debug)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// For heads of `width` features, the slowest of which turns once in about 2π · `theta` tokens.
    pub fn new(width: i64, theta: f64, scaling: &RotaryScaling, device: Device) -> Rotary {
        // In transformers' order of operations, in fp32: far into a text the last bit of an angle counts.
        let exponents = Tensor::arange_start_step(0, width, 2, (Kind::Float, Device::Cpu)) / width as f64;
        let steps = Tensor::pow_scalar(theta, &exponents).reciprocal();
        let steps = match *scaling {
            RotaryScaling::Default {} => steps,
            RotaryScaling::Linear { factor } => steps / factor,
            RotaryScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: length,
            } => {
                let lengths = steps.reciprocal() * TAU; // tokens of one turn
                let share = (lengths.reciprocal() * length as f64 - low) / (high - low);
                let mixed = (1.0 - &share) * &steps / factor + share * &steps;
                let slow = lengths.gt(length as f64 / low);
                let fast = lengths.lt(length as f64 / high);
                let changed = (&steps / factor).where_self(&slow, &mixed);
                steps.where_self(&fast, &changed)
            }
        };
        Rotary {
            steps: steps.to_device(device),
        }
    }

    /// The turn at `positions` `[T]`, in `kind`.
    pub fn at(&self, positions: &Tensor, kind: Kind) -> Rotation {
        let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * &self.steps; // [T, width / 2]
        let angles = angles.unsqueeze(1);
        Rotation {
            cos: angles.cos().to_kind(kind),
            sin: angles.sin().to_kind(kind),
        }
    }
}

impl Rotation {
    /// `x` `[T, heads * width]` with each head turned: feature i with feature i + width / 2.
    pub fn turn(&self, x: &Tensor) -> Tensor {
        let half = self.cos.size()[2];
        let heads = x.view([x.size()[0], -1, 2 * half]);
        let (a, b) = (heads.narrow(-1, 0, half), heads.narrow(-1, half, half));
        let turned = Tensor::cat(&[&a * &self.cos - &b * &self.sin, &b * &self.cos + &a * &self.sin], -1);
        turned.view(x.size().as_slice())
    }
}
