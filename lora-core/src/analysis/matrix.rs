//! Checked and random matrices.

use crate::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor};

/// `t` in double precision on the CPU; an error unless it is a matrix of finite numbers.
pub(super) fn matrix(t: &Tensor, what: &str) -> Result<Tensor> {
    if t.dim() != 2 || t.numel() == 0 {
        return Err(Error::Config(format!(
            "{what} has the shape {:?} and is not a matrix",
            t.size()
        )));
    }
    let t = t.detach().to_device(Device::Cpu).to_kind(Kind::Double);
    if t.isfinite().all().int64_value(&[]) == 0 {
        return Err(Error::Config(format!(
            "{what} holds NaN or infinity: only finite numbers can be analysed"
        )));
    }
    Ok(t)
}

/// A matrix `[rows, columns]` of independent standard normal numbers, which depend only on `seed`.
pub fn gaussian(rows: i64, columns: i64, seed: u64) -> Tensor {
    let rng = ChaCha8Rng::seed_from_u64(seed);
    let count = (rows * columns) as usize;
    let numbers: Vec<f64> = StandardNormal.sample_iter(rng).take(count).collect();
    Tensor::from_slice(&numbers).view([rows, columns])
}
