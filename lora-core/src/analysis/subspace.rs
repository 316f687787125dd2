//! phi (eq. 4): the similarity of two subspaces.

use super::matrix::matrix;
use super::svd::Svd;
use crate::{Error, Result};
use tch::{Kind, Tensor};

/// The right singular vectors of `a` `[r, in]` as columns `[in, k]`, strongest first; k is the numerical rank of `a`.
/// (Section 7.2 of the paper takes right singular vectors of A, Appendix G left ones of its transpose: they are the
/// same.)
///
/// # Errors
/// [`Error::Config`] unless `a` is a matrix of finite numbers; [`Error::Torch`].
pub fn directions(a: &Tensor) -> Result<Tensor> {
    let svd = Svd::of(a)?;
    Ok(svd.top(svd.rank()?).right)
}

/// The [`directions`] of `a` that contribute to the update `b` `a`: A projected on the row space of B. Their number is
/// the numerical rank of the update: 0 if A or B is zero; if B has full column rank they are the directions of A.
///
/// # Errors
/// Those of [`directions`].
pub fn update_directions(b: &Tensor, a: &Tensor) -> Result<Tensor> {
    let svd_b = Svd::of(b)?;
    let k = svd_b.rank()?;
    if k == b.size()[1] {
        return directions(a);
    }
    let a = matrix(a, "A")?;
    if k == 0 {
        return Ok(Tensor::zeros([a.size()[1], 0], (Kind::Double, a.device())));
    }
    directions(&svd_b.top(k).right.tr().matmul(&a))
}

/// phi(i, j) of two families of nested subspaces, for all i and j: the normalised overlap of the first i directions of
/// one and the first j of the other. 0: orthogonal; 1: the smaller subspace lies in the larger.
#[derive(Clone, Debug)]
pub struct Overlap {
    /// Number of directions of the first family, the range of i.
    pub rows: usize,
    /// Number of directions of the second family, the range of j.
    pub columns: usize,
    /// phi(i, j), row by row.
    pub values: Vec<f64>,
}

impl Overlap {
    /// Of the orthonormal columns of `u` `[d, p]` and `v` `[d, q]`: with M = Uᵀ V, phi(i, j) is the sum of squares of
    /// the first i rows and j columns of M, divided by min(i, j).
    ///
    /// # Errors
    /// [`Error::Config`] if the columns differ in length.
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

    /// phi(i, j), both counted from 1; NaN if out of range.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        if i == 0 || j == 0 || i > self.rows || j > self.columns {
            return f64::NAN;
        }
        self.values[(i - 1) * self.columns + j - 1]
    }

    /// Only the first `rows` values of i.
    pub fn top(mut self, rows: usize) -> Overlap {
        self.rows = self.rows.min(rows);
        self.values.truncate(self.rows * self.columns);
        self
    }
}
