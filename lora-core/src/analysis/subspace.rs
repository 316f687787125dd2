//! phi (eq. 4): how much of one subspace lies in another.

use super::matrix::matrix;
use super::svd::Svd;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The directions in the space of inputs that `a` `[r, in]` reads, strongest first: its right singular vectors as columns
/// `[in, k]`, k its numerical rank. (Section 7.2 says right singular vectors of A, Appendix G left ones of matrices that stand
/// upright: the same.)
///
/// # Errors
/// [`Error::Config`] for what is no matrix of finite numbers; libtorch's refusal.
pub fn directions(a: &Tensor) -> Result<Tensor> {
    let svd = Svd::of(a)?;
    Ok(svd.top(svd.rank()?).right)
}

/// The [`directions`] of `a` that an update `b` `a` has: of what A reads, the part that B does not drop. There are as many as
/// the update's rank: none where A or B is zero, and those of A itself where B keeps all that A reads.
///
/// # Errors
/// As [`directions`].
pub fn update_directions(b: &Tensor, a: &Tensor) -> Result<Tensor> {
    let passed = Svd::of(b)?;
    let k = passed.rank()?;
    if k == b.size()[1] {
        return directions(a);
    }
    let a = matrix(a, "A")?;
    if k == 0 {
        return Ok(Tensor::zeros([a.size()[1], 0], (Kind::Double, a.device())));
    }
    directions(&passed.top(k).right.tr().matmul(&a))
}

/// phi(i, j) of two families of nested subspaces, for all i and j at once: the share of the first min(i, j) directions of the
/// one that lies in the other. 0: at right angles; 1: the smaller inside the larger.
#[derive(Clone, Debug)]
pub struct Overlap {
    /// How many directions i counts.
    pub rows: usize,
    /// How many directions j counts.
    pub columns: usize,
    /// phi(i, j), i slowest.
    pub values: Vec<f64>,
}

impl Overlap {
    /// Of the columns of `u` `[d, p]` and `v` `[d, q]`, each orthonormal: with M = Uᵀ V, phi(i, j) is the sum of the squares in the first i
    /// rows and j columns of M over min(i, j).
    ///
    /// # Errors
    /// [`Error::Config`] if the two are not of one space.
    pub fn of(u: &Tensor, v: &Tensor) -> Result<Overlap> {
        let (u, v) = (matrix(u, "the first family")?, matrix(v, "the second family")?);
        let ([d, p], [e, q]) = ([u.size()[0], u.size()[1]], [v.size()[0], v.size()[1]]);
        if d != e {
            return Err(Error::Config(format!(
                "directions in {d} and in {e} dimensions cannot be compared: they are of layers of different width"
            )));
        }
        let squares = u.tr().matmul(&v).square();
        let sums = squares.cumsum(0, Kind::Double).cumsum(1, Kind::Double);
        let count = |n: i64| Tensor::arange(n, (Kind::Double, tch::Device::Cpu)) + 1.0;
        let smaller = count(p).unsqueeze(1).minimum(&count(q).unsqueeze(0));
        let phi = (sums / smaller).contiguous().view([-1]);
        Ok(Overlap {
            rows: p as usize,
            columns: q as usize,
            values: Vec::try_from(phi).map_err(Error::torch("reading phi"))?,
        })
    }

    /// phi(i, j), both from 1; not a number beyond the families.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        if i == 0 || j == 0 || i > self.rows || j > self.columns {
            return f64::NAN;
        }
        self.values[(i - 1) * self.columns + j - 1]
    }

    /// The first `rows` of i alone.
    pub fn top(mut self, rows: usize) -> Overlap {
        self.rows = self.rows.min(rows);
        self.values.truncate(self.rows * self.columns);
        self
    }
}
