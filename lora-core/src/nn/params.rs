//! A model's variables.

use super::Param;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::collections::HashMap;
use std::fmt;
use tch::Tensor;

/// How a fresh variable is filled.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    /// The same number everywhere.
    Const(f64),
    /// Normal around 0.
    Normal(f64),
    /// Uniform on (-bound, bound). PyTorch's default for a linear layer, `kaiming_uniform(a = sqrt 5)`, is bound 1/sqrt(fan in).
    Uniform(f64),
}

impl Init {
    /// A fresh fp32 tensor on the CPU. The numbers come from a generator of its own: libtorch's is shared by all threads.
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

/// One variable: what it is, and its tensor.
#[derive(Debug)]
pub struct NamedParam {
    /// The description.
    pub param: Param,
    /// The values; `requires_grad` says whether it is trained.
    pub tensor: Tensor,
}

/// Names and tensors.
pub(super) type Named = Vec<(String, Tensor)>;

/// Computes what is kept in the place of a train_only.
pub(super) struct ExportFn(pub(super) Box<dyn Fn() -> Named + Send>);

impl fmt::Debug for ExportFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExportFn")
    }
}

/// All variables of a model, in the order in which they were created.
#[derive(Debug, Default)]
pub struct Params {
    pub(super) kept: Vec<ExportFn>,
    entries: Vec<NamedParam>,
    index: HashMap<String, usize>,
}

impl Params {
    /// Every variable.
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

    /// What is kept when training is over: the variables that were trained, with what a method computes from its scaffold
    /// (such as the keys and values that come out of a network) in the scaffold's place.
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

/// How many numbers are trained, by owner, and how many the whole model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the pretrained model.
    pub base: i64,
    /// Of what the method adds.
    pub method: i64,
    /// Of the task head.
    pub head: i64,
    /// All variables, trained or not.
    pub total: i64,
}

/// A model's variables after the method has had its say.
#[derive(Debug)]
pub struct BuiltParams {
    /// The variables.
    pub params: Params,
    /// What is trained.
    pub counts: Counts,
}
