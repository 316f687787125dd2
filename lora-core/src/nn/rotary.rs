//! Rotary position embeddings (Su et al., 2021): queries and keys are rotated by angles proportional to the position,
//! so that their products depend only on distances.

use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// Scaling of the angles for texts longer than those of pretraining, with the names and keys of config.json.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "rope_type", rename_all = "snake_case", deny_unknown_fields)]
pub enum RotaryScaling {
    /// No scaling.
    Default {},
    /// All angles are divided by `factor`.
    Linear {
        /// At least 1.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided by `factor`, high ones are unchanged, those between are interpolated.
    Llama3 {
        /// At least 1.
        factor: f64,
        /// Frequencies below this number of turns over the pretraining length are low.
        low_freq_factor: f64,
        /// Frequencies above this number of turns are high.
        high_freq_factor: f64,
        /// The pretraining length in tokens.
        original_max_position_embeddings: i64,
    },
}

/// The angle per position of each feature pair, `[width / 2]` in fp32.
#[derive(Debug)]
pub struct Rotary {
    steps: Tensor,
}

/// The rotations at T tokens: cosines and sines, `[T, 1, width / 2]`.
#[derive(Debug)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// For heads of `width` features; the lowest frequency is one turn in about 2π · `theta` tokens.
    pub fn new(width: i64, theta: f64, scaling: &RotaryScaling, device: Device) -> Rotary {
        // In fp32 and in transformers' order of operations: at high positions the last bit of an angle matters.
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
                let lengths = steps.reciprocal() * TAU; // tokens per turn
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

    /// The rotations at `positions` `[T]`, in the data type `kind`.
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
    /// Rotates each head of `x` `[T, heads * width]`: feature i is paired with feature i + width / 2.
    pub fn turn(&self, x: &Tensor) -> Tensor {
        let half = self.cos.size()[2];
        let heads = x.view([x.size()[0], -1, 2 * half]);
        let (a, b) = (heads.narrow(-1, 0, half), heads.narrow(-1, half, half));
        let turned = Tensor::cat(&[&a * &self.cos - &b * &self.sin, &b * &self.cos + &a * &self.sin], -1);
        turned.view(x.size().as_slice())
    }
}
