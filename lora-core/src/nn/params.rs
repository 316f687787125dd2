//! A model's variables.

use super::Param;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::collections::HashMap;
use std::fmt;
use tch::Tensor;

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
}

impl Init {
    /// An fp32 tensor on the CPU. It has its own random generator, since all threads share libtorch's.
    pub(super) fn fill(self, seed: u64, dims: &[i64]) -> Tensor {
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
        };
        Tensor::from_slice(&values).view(dims)
    }
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

impl fmt::Debug for ExportFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExportFn")
    }
}

/// All variables of a model, in the order of creation.
#[derive(Debug, Default)]
pub struct Params {
    pub(super) kept: Vec<ExportFn>,
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
