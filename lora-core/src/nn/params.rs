//! A model's variables.

use super::Param;
use crate::Result;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::collections::HashMap;
use std::fmt;
use tch::{Kind, Tensor};

/// The initial values of a variable.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// A constant.
    Const(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform on (-bound, bound). PyTorch's default for linear layers, `kaiming_uniform(a = sqrt 5)`, is the bound
    /// 1 / sqrt(fan in).
    Uniform(f64),
    /// Uniform on (-bound, bound), drawn as torch's CPU generator draws fp32 values: independent of the run's seed, so
    /// that another program that draws with the same key has the same values.
    Torch {
        /// The bound.
        bound: f64,
        /// The generator's seed.
        key: u32,
        /// The number of values that were drawn before.
        skip: usize,
    },
}

impl Init {
    /// An fp32 tensor on the CPU. It has its own random generator, since all threads share libtorch's.
    pub(crate) fn fill(self, seed: u64, dims: &[i64]) -> Tensor {
        let count = dims.iter().product::<i64>().max(0) as usize;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = match self {
            Init::Const(value) => vec![value as f32; count],
            Init::Normal(std) => (0..count)
                .map(|_| rng.sample::<f32, _>(StandardNormal) * std as f32)
                .collect(),
            Init::Uniform(bound) => (0..count)
                .map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound as f32)
                .collect(),
            Init::Torch { bound, key, skip } => torch_uniform(bound as f32, key, skip, count),
        };
        Tensor::from_slice(&values).view(dims)
    }
}

/// `count` values of torch's `uniform_(-bound, bound)` on the CPU with the generator's seed `key`, after `skip` others:
/// the low 24 bits of each number of a Mersenne twister.
fn torch_uniform(bound: f32, key: u32, skip: usize, count: usize) -> Vec<f32> {
    const BITS: u32 = 24;
    let mut twister = rand_mt::Mt::new(key);
    let mut next = || {
        let share = (twister.next_u32() & ((1 << BITS) - 1)) as f32 / (1_u32 << BITS) as f32;
        share * (bound - -bound) - bound
    };
    (0..skip + count).map(|_| next()).skip(skip).collect()
}

/// A variable.
#[derive(Debug)]
pub struct NamedParam {
    /// The description.
    pub param: Param,
    /// The values. A variable is trained if the tensor requires a gradient.
    pub tensor: Tensor,
}

/// Names and tensors.
pub(super) type Named = Vec<(String, Tensor)>;

/// Computes the tensors that replace train-only variables after training.
pub(super) struct ExportFn(pub(super) Box<dyn Fn() -> Named + Send>);

/// Changes the base after its weights are loaded.
pub(super) struct StartFn(pub(super) Box<dyn Fn() -> Result<()> + Send>);

impl fmt::Debug for StartFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartFn")
    }
}

impl fmt::Debug for ExportFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExportFn")
    }
}

/// All variables of a model, in the order of creation.
#[derive(Debug, Default)]
pub struct Params {
    pub(super) kept: Vec<ExportFn>,
    pub(super) starts: Vec<StartFn>,
    /// Set when the model is complete.
    pub(super) activations: Option<Kind>,
    entries: Vec<NamedParam>,
    index: HashMap<String, usize>,
}

impl Params {
    /// All variables.
    pub fn iter(&self) -> impl Iterator<Item = &NamedParam> {
        self.entries.iter()
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<&NamedParam> {
        self.index.get(name).map(|i| &self.entries[*i])
    }

    /// The data type of activations: that of the frozen base.
    pub fn activation_kind(&self) -> Kind {
        self.activations.unwrap_or(Kind::Float)
    }

    /// The variables that are trained.
    pub fn trainable(&self) -> impl Iterator<Item = &NamedParam> {
        self.entries.iter().filter(|e| e.tensor.requires_grad())
    }

    /// The tensors to save after training: the trained variables, where train-only ones (such as the network of prefix
    /// tuning) are replaced by the tensors that the method computes from them (its keys and values).
    pub fn kept(&self) -> Vec<(String, Tensor)> {
        let _guard = tch::no_grad_guard();
        let trained = self.trainable().filter(|e| !e.param.train_only);
        let named = trained.map(|e| (e.param.name.clone(), e.tensor.shallow_clone()));
        named.chain(self.kept.iter().flat_map(|kept| kept.0())).collect()
    }

    /// Runs what the method does with a base whose weights are all there ([`super::Scope::when_loaded`]).
    pub(crate) fn start(&self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        self.starts.iter().try_for_each(|start| start.0())
    }

    pub(super) fn push(&mut self, param: Param, tensor: &Tensor) {
        self.index.insert(param.name.clone(), self.entries.len());
        self.entries.push(NamedParam {
            param,
            tensor: tensor.shallow_clone(),
        });
    }
}

/// The number of trained parameters by owner, and of all parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Trained parameters of the pretrained model.
    pub base: i64,
    /// Trained parameters that the method adds.
    pub method: i64,
    /// Trained parameters of the task head.
    pub head: i64,
    /// All parameters, trained or not.
    pub total: i64,
}

/// A model's variables after the method has been applied.
#[derive(Debug)]
pub struct BuiltParams {
    /// The variables.
    pub params: Params,
    /// The number of parameters.
    pub counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.empty(5).uniform_(-0.5, 0.5, generator=torch.Generator().manual_seed(7))` of torch 2.11.0.
    #[test]
    fn values_of_torch_s_generator() {
        let expected = [0.034_922_54, -0.301_196_8, 0.159_211_7, 0.156_890_27, -0.267_238_44_f32];
        let fill = |skip, dims: &[i64]| {
            Vec::<f32>::try_from(
                Init::Torch {
                    bound: 0.5,
                    key: 7,
                    skip,
                }
                .fill(1, dims),
            )
            .unwrap()
        };
        assert_eq!(fill(0, &[5]), expected);
        assert_eq!(fill(2, &[3]), expected[2..]);
    }
}
